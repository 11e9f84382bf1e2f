"""The configuration of REST_API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.config import JsonDict

from connectors.adapters.rest_addresses import Headers, Path, Query
from connectors.adapters.rest_answers import AnswerFields
from connectors.config import INERT
from connectors.exceptions import Fault
from connectors.formats import mapping
from connectors.formats.mapping import BodyMapping
from connectors.json_path import PathText
from connectors.port import Guarantee
from connectors.transports.http_auth import (
    AUTH_KIND,
    ApiKeyFields,
    AssertionFields,
    BasicFields,
    BearerFields,
    ClientCertificateFields,
    HeaderName,
    HttpConfig,
    OAuth2Fields,
)
from connectors.transports.http_errors import ErrorRules
from connectors.transports.http_signing import SigningFields

_CHOSEN_BY_US: Final = ("{export_id}", "{order_id}")
_FOR_PUT: Final[JsonDict] = {"x-when": {"create_method": ["PUT"]}}


class RestApiConfig(
    AnswerFields,
    SigningFields,
    BasicFields,
    BearerFields,
    ApiKeyFields,
    OAuth2Fields,
    AssertionFields,
    ClientCertificateFields,
    HttpConfig,
):
    """Which requests create an order, find it again and tell its state, and how the answers are read.

    Paths and parameters may name `{export_id}`, `{order_id}`, `{reference}` and, once it is known, `{erp_order_id}`.
    """

    auth_kind: Annotated[Literal["none", "basic", "bearer", "api_key", "oauth2", "jwt"], AUTH_KIND] = "none"

    create_method: Annotated[
        Literal["POST", "PUT"],
        Field(title="Create with", description="PUT writes to an address of our choice, and may be repeated."),
    ] = "POST"
    create_path: Annotated[
        Path,
        Field(title="Create at", description="Where orders are sent.", examples=["orders", "orders/{export_id}"]),
    ]
    create_only: Annotated[
        bool,
        INERT,
        Field(
            title="Never overwrite",
            description="Sends If-None-Match: * with a PUT; a 412 then means that the order is there already.",
            json_schema_extra=_FOR_PUT,
        ),
    ] = False
    query: Annotated[
        Query,
        Field(title="Query", description="Added to the address when an order is created, as a JSON object."),
    ] = {}  # noqa: RUF012  # pydantic copies it
    headers: Annotated[
        Headers,
        Field(title="Headers", description="Sent with each request, as a JSON object. No credentials: they are shown."),
    ] = {}  # noqa: RUF012  # as above
    content_type: Annotated[
        str,
        INERT,
        Field(
            title="Media type",
            description="What a body is declared as; it is JSON in any case.",
            pattern=r"^application/([a-z0-9.+-]+\+)?json(; ?[a-z-]+=[a-z0-9-]+)*$",
            max_length=100,
        ),
    ] = "application/json"
    body: Annotated[
        BodyMapping,
        INERT,
        Field(
            title="Body",
            description="The fields of the body as a JSON list; empty for orderflow_export_json_v1.",
            examples=['[{"target": "customer", "source": "customer.erp_customer_number"}]'],
        ),
    ] = ()

    idempotency_header: Annotated[
        HeaderName | None,
        INERT,
        Field(
            title="Idempotency header",
            description="By which the ERP recognises a request that comes again; empty where it does not.",
            examples=["Idempotency-Key"],
        ),
    ] = None
    idempotency_quoted: Annotated[
        bool,
        INERT,
        Field(title="Key in quotes", description="As the draft of the standard wants it; most servers do not."),
    ] = False
    idempotency_hours: Annotated[
        int,
        INERT,
        Field(title="Keys are kept (hours)", description="How long the ERP remembers a key.", ge=1, le=8760),
    ] = 24

    lookup_path: Annotated[
        Path | None,
        INERT,
        Field(title="Look up at", description="Where one of our orders is found again; empty where it cannot be."),
    ] = None
    lookup_query: Annotated[
        Query,
        INERT,
        Field(
            title="Look up with",
            description="The query of the look-up, as a JSON object.",
            examples=['{"reference": "{export_id}"}'],
        ),
    ] = {}  # noqa: RUF012  # as above
    settle_s: Annotated[
        int,
        INERT,
        Field(
            title="Look again after (seconds)",
            description="A slow ERP may finish an order after we stopped waiting: that nothing is found is believed "
            "when it still is not found after so long.",
            ge=0,
            le=60,
        ),
    ] = 5

    status_path: Annotated[
        Path | None,
        INERT,
        Field(
            title="Ask for the state at",
            description="Asked again and again until the ERP has said yes or no; empty where it says so at once.",
            examples=["orders/{erp_order_id}"],
        ),
    ] = None

    test_method: Annotated[
        Literal["GET", "HEAD", "OPTIONS"], INERT, Field(title="Test with", description="What changes nothing.")
    ] = "GET"
    test_path: Annotated[
        Path | None,
        INERT,
        Field(
            title="Test at",
            description="Something that may be read with these credentials; empty to ask the address itself only.",
        ),
    ] = None
    test_expects: Annotated[
        PathText | None,
        INERT,
        Field(title="Test expects", description="What has to be there in the answer to the test."),
    ] = None

    error_rules: Annotated[
        ErrorRules,
        INERT,
        Field(
            title="Errors",
            description="What answers mean that are not as usual, as a JSON list; the first that fits decides.",
            examples=[
                '[{"when": {"status": [409], "json_path": "$.code", "contains": "DUPLICATE"}, "outcome": "exists"}]'
            ],
        ),
    ] = ()

    def cross_field_faults(self) -> Iterable[Fault]:
        yield from super().cross_field_faults()
        yield from self.signing_faults()
        yield from mapping.faults(self.body, "body")
        if self.create_method == "PUT" and not any(name in self.create_path for name in _CHOSEN_BY_US):
            message = "needs {export_id} or {order_id}: each order has to have an address of its own"
            yield Fault(path="create_path", message=message, code="missing")
        if self.create_only and self.create_method != "PUT":
            yield Fault(path="create_only", message="is only for PUT", code="not_applicable")
        for name in ("create_path", "lookup_path"):
            if "{erp_order_id}" in (getattr(self, name) or ""):
                yield Fault(path=name, message="cannot name {erp_order_id}: it is not known yet", code="placeholder")
        if any("{erp_order_id}" in value for value in (*self.query.values(), *self.lookup_query.values())):
            yield Fault(
                path="lookup_query", message="cannot name {erp_order_id}: it is not known yet", code="placeholder"
            )
        if set(self.accepted_states) & set(self.rejected_states):
            yield Fault(path="rejected_states", message="has a state that also means yes", code="duplicate")

    @property
    def guarantee(self) -> Guarantee:
        """What keeps an order from arriving twice with these settings."""
        if self.create_method == "PUT" or self.idempotency_header:
            return Guarantee.HARD
        return Guarantee.LOOKUP if self.lookup_path is not None else Guarantee.AT_MOST_ONCE
