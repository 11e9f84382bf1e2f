"""How Business Central is reached: a company's address, the login through Microsoft Entra, errors, and look-ups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, Fault
from connectors.transports import odata
from connectors.transports.http_answers import Unusable
from connectors.transports.http_auth import AUTH_KIND, BasicFields, OAuth2Fields, WebAddress, when
from connectors.transports.http_client import HttpClient
from connectors.transports.http_erp import HttpErpConfig, ambiguous, unknown
from connectors.transports.http_errors import Meaning, rule
from connectors.validation import Line

CODE: Final = "error.code"
HEADERS: Final = {**odata.JSON, "Accept-Language": "en-US", "Prefer": "odata.maxpagesize=200"}

_CLOUD: Final = "https://api.businesscentral.dynamics.com"
_GUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_MAX_PAGES: Final = 20
_MAX_KNOWN: Final = 10_000
_ASKED_AT_ONCE: Final = 40
"""So many numbers fit into the address of one request."""

RULES: Final = (
    rule((401, 403), Meaning.AUTHENTICATION),
    rule(429, Meaning.RATE_LIMITED),
    rule((), Meaning.RATE_LIMITED, path=CODE, contains="Application_TooManyRequests"),
    rule((), Meaning.AUTHENTICATION, path=CODE, contains="Authentication_"),
    rule((), Meaning.AUTHENTICATION, path=CODE, contains="Authorization_"),
    # Rights that are missing are told by a sentence, under the code of any other refusal.
    rule((), Meaning.AUTHENTICATION, path="error.message", contains="current permissions prevented the action"),
    rule((), Meaning.AUTHENTICATION, path="error.message", contains="You do not have permissions"),
    rule((), Meaning.CONFIGURATION, path=CODE, contains="Internal_CompanyNotFound"),
    rule((), Meaning.CONFIGURATION, path=CODE, contains="NoEnvironment"),
    rule((), Meaning.CONFIGURATION, path=CODE, contains="BadRequest_ResourceNotFound"),
    rule((), Meaning.CONFIGURATION, path=CODE, contains="BadRequest_Method"),
    rule((), Meaning.EXISTS, path=CODE, contains="Internal_EntityWithSameKeyExists"),
    rule((), Meaning.UNKNOWN, path=CODE, contains="Request_EntityChanged"),
    rule((), Meaning.UNKNOWN, path=CODE, contains="Internal_ServerError"),
    rule((), Meaning.UNKNOWN, path=CODE, contains="Internal_TenantUnavailable"),
    # What is wrong with an order comes with any status: the code decides.
    rule((), Meaning.REJECTED, path=CODE, contains="Application_"),
    rule((), Meaning.REJECTED, path=CODE, contains="Internal_RecordNotFound"),
    rule((), Meaning.REJECTED, path=CODE, contains="Internal_InvalidTableRelation"),
    rule((), Meaning.REJECTED, path=CODE, contains="Internal_DataNotFoundFilter"),
    rule(404, Meaning.NOT_FOUND, path=CODE, contains="BadRequest_NotFound", safe=True),
    rule((), Meaning.REJECTED, path=CODE, contains="BadRequest"),
    rule((502, 503), Meaning.RATE_LIMITED, header="Retry-After", safe=True),
    rule((408, 412, "5xx"), Meaning.UNKNOWN),  # also 503: the operation may run on behind the gateway
)
"""What the answers of Business Central mean beyond the usual; the prefix of a code says more than the status."""


class CompanyConfig(BasicFields, OAuth2Fields, HttpErpConfig):
    """Which company of which environment, and who we are there."""

    needed: ClassVar[dict[str, tuple[str, ...]]] = {
        "oauth2": ("tenant", "client_id", "client_secret"),
        "basic": ("username", "password"),
    }

    base_url: Annotated[
        WebAddress,
        Field(
            title="Address",
            description="Where Business Central is: online up to /v2.0, on premises up to the server instance.",
            examples=["https://bc.example.com:7048/BC"],
        ),
    ] = f"{_CLOUD}/v2.0"
    auth_kind: Annotated[Literal["oauth2", "basic"], AUTH_KIND] = "oauth2"
    tenant: Annotated[
        Annotated[str, Field(max_length=255, pattern=r"^[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?$")] | None,
        Field(
            title="Tenant",
            description="Id or domain of the Microsoft Entra tenant.",
            examples=["example.onmicrosoft.com"],
            json_schema_extra=when("oauth2"),
        ),
    ] = None
    environment: Annotated[
        Annotated[str, Field(max_length=64, pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]*$")] | None,
        Field(title="Environment", description="Its name; empty on premises.", examples=["Production"]),
    ] = None
    company: Annotated[
        Annotated[Line, Field(max_length=255)], Field(title="Company", description="Id or name of the company.")
    ]
    token_url: Annotated[
        WebAddress | None,
        Field(
            title="Token address",
            description="Empty for that of the tenant in the worldwide cloud.",
            json_schema_extra=when("oauth2"),
        ),
    ] = None
    scope: Annotated[
        Annotated[Line, Field(max_length=1000)] | None,
        Field(title="Scope", description="What the token is for.", json_schema_extra=when("oauth2")),
    ] = f"{_CLOUD}/.default"
    client_secret_in: Annotated[
        Literal["header", "body"],
        Field(
            title="Client secret in",
            description="body: as form fields, as Microsoft documents it. header: HTTP Basic.",
            json_schema_extra=when("oauth2"),
        ),
    ] = "body"  # noqa: S105  # a place

    @property
    def root(self) -> str:
        """The path of the environment, below the address."""
        return f"{self.tenant}/{self.environment}/" if self.environment else ""

    def token_address(self) -> str:
        return self.token_url or f"https://login.microsoftonline.com/{self.tenant}/oauth2/v2.0/token"

    def cross_field_faults(self) -> Iterable[Fault]:
        yield from super().cross_field_faults()
        if self.environment is None and self.base_url.startswith(_CLOUD):
            yield Fault(path="environment", message="is required online", code="missing")
        if self.environment is not None and self.auth_kind == "basic":
            yield Fault(path="environment", message="is only online, where there is no basic", code="not_applicable")


class Company:
    """Reads from one company; what was found once is not asked for again."""

    def __init__(self, client: HttpClient, config: CompanyConfig) -> None:
        """Begin without having asked.

        Args:
            client: sends the requests.
            config: names the company.
        """
        self._client, self._config = client, config
        self._known: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)

    @cached_property
    def entity(self) -> dict[str, Any]:
        """The company itself, with its `id` and `name`.

        Raises:
            AuthenticationFailed: PATH_NOT_FOUND; there is none of this name or id, or more than one.
        """
        rows = self._read("companies", {"$select": "id,name,displayName"})
        named = [row for row in rows if self._is_meant(row, "id", "name")]
        named = named or [row for row in rows if self._is_meant(row, "displayName")]
        if len(named) != 1:
            raise AuthenticationFailed(Code.PATH_NOT_FOUND, path=f"The company {self._config.company}")
        return named[0]

    @property
    def path(self) -> str:
        """The path of the company, below the address of the configuration."""
        return f"{self._config.root}api/v2.0/companies({self.entity['id']})"

    def read(self, entities: str, options: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the entities of a collection, all its pages; each has an id.

        Args:
            entities: names the collection.
            options: `$filter` and others; the id has to be among what is selected.

        Raises:
            ConnectorError: it cannot be read, or is too large.
        """
        return self._read(f"companies({self.entity['id']})/{entities}", options)

    def numbers(self, entities: str, by: str, wanted: Iterable[str]) -> dict[str, str]:
        """Return the number that each of these values stands for.

        Args:
            entities: names the collection: customers, items, units.
            by: the property that has the values.
            wanted: the values.

        Raises:
            DocumentError: one of them is not known, or stands for more than one.
        """
        # A number stays what it is; a GTIN may move to another item.
        known, wanted = self._known[entities] if by != "gtin" else {}, sorted(set(wanted))
        if len(known) > _MAX_KNOWN:
            known.clear()
        number = "code" if by == "code" else "number"
        select = ",".join(sorted({"id", by, number}))
        unseen = [value for value in wanted if folded(value) not in known]
        for start in range(0, len(unseen), _ASKED_AT_ONCE):
            asked = " or ".join(odata.equal({by: value}) for value in unseen[start : start + _ASKED_AT_ONCE])
            for row in self.read(entities, {"$filter": asked, "$select": select}):
                known.setdefault(folded(row.get(by)), set()).add(str(row.get(number)))
        for value in wanted:
            if len(found := known.get(folded(value), ())) != 1:
                raise (ambiguous if found else unknown)(f"{value} of {entities}")
        return {value: next(iter(known[folded(value)])) for value in wanted}

    def _read(self, resource: str, options: Mapping[str, str]) -> list[dict[str, Any]]:
        address = odata.path(f"{self._config.root}api/v2.0/{resource}", options)
        rows: list[dict[str, Any]] = []
        for _ in range(_MAX_PAGES):
            judged = self._client.call("GET", address, headers=HEADERS)
            answer = judged.answer
            if judged.is_missing:  # what is asked for here is always there, if only empty
                raise AuthenticationFailed(Code.ENDPOINT_UNUSABLE, host=answer.host, status=answer.status)
            page = odata.entities(judged)
            if not all(is_guid(row.get("id")) for row in page):
                raise answer.unusable(Unusable.NOT_AS_EXPECTED)
            rows += page
            following = odata.next_page(judged)
            if following is None:
                return rows
            if not following.startswith(("https://", "http://")):
                raise answer.unusable(Unusable.LEADS_ELSEWHERE)
            address = following
        raise answer.unusable(Unusable.TOO_LARGE)

    def _is_meant(self, row: Mapping[str, Any], *names: str) -> bool:
        return any(folded(row.get(name)) == folded(self._config.company) for name in names)


def is_guid(value: Any) -> bool:
    """Return whether a value is an id, which is safe to stand in a path."""
    return isinstance(value, str) and _GUID.fullmatch(value) is not None


def folded(value: Any) -> str:
    """Return a code as Business Central compares it."""
    return str(value).strip().upper()
