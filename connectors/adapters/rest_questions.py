"""What REST_API asks without changing anything: the state of an order, and whether a connection works."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from connectors.adapters.rest_addresses import address, fill, location_of, values_of
from connectors.adapters.rest_config import RestApiConfig
from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, ConnectorError, Said
from connectors.json_path import JsonPath
from connectors.port import Awaited, Context, Guarantee, StepNote
from connectors.results import Acknowledgement, AckStatus, MalformedAcknowledgement
from connectors.transports.http_answers import Unusable
from connectors.transports.http_client import HttpClient


def question(config: RestApiConfig, awaited: Awaited) -> str | None:
    """Return where to ask about an export: where the ERP said when it put it aside, else as configured."""
    values = values_of(awaited.order, awaited)
    if awaited.location and awaited.location != address(config.base_url, fill(config.create_path, values) or ""):
        return location_of(config.base_url, awaited.location)
    return fill(config.status_path, values) if config.status_path is not None else None


def ask(
    client: HttpClient, config: RestApiConfig, context: Context, awaited: Awaited, path: str
) -> Acknowledgement | None:
    """Return what the ERP says of an export now; None as long as it says neither yes nor no."""
    headers = {"Accept": "application/json", **config.headers}
    with context.steps.step("ask"):
        judged = client.call("GET", path, headers=headers, rules=config.error_rules)
        if judged.is_missing or judged.answer.status == 202:
            return None
        try:
            item = judged.json()
        except ConnectorError as error:
            fingerprint = hashlib.sha256(judged.answer.content).hexdigest()
            reason = str(error.params.get("reason", "it is not valid JSON"))
            context.report_malformed(
                MalformedAcknowledgement(
                    source=awaited.filename, fingerprint=fingerprint, reason=reason, filename=awaited.filename
                )
            )
            return None
    status = config.status(item)
    if config.state_at is None and config.number(item):
        status = AckStatus.ACKED  # an order with a number is one
    if status is None:
        return None
    said = config.reason(item) if status is AckStatus.REJECTED else Said()
    return Acknowledgement(
        filename=awaited.filename,
        status=status,
        erp_order_id=config.number(item) or awaited.erp_order_id,
        error_code=said.code,
        message=said.message,
    )


def read(client: HttpClient, config: RestApiConfig, note: StepNote) -> None:
    """Read something that the configuration names, or else ask whether the server is there."""
    headers = {"Accept": "application/json", **config.headers}
    if config.test_path is None:
        answer = client.exchange("HEAD", "", headers=headers)
        if answer.status in (401, 403, 407):
            raise AuthenticationFailed(said=client.said(answer))
        if answer.status >= 500:
            raise answer.failure(Code.REMOTE_ERROR, during=f" (HTTP {answer.status})")
        note.detail = f"The server answers (HTTP {answer.status})."
        return
    judged = client.call(config.test_method, config.test_path, headers=headers, rules=config.error_rules)
    if judged.is_missing:
        host, status = judged.answer.host, judged.answer.status
        raise AuthenticationFailed(Code.ENDPOINT_UNUSABLE, host=host, status=status)
    if config.test_expects and JsonPath.parse(config.test_expects).first(judged.json()) is None:
        raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
    note.detail = f"HTTP {judged.answer.status}"


def not_proven(config: RestApiConfig) -> Iterator[str]:
    """Yield what a test of this configuration cannot show."""
    yield "That orders may be created: a test creates none."
    if config.test_path is None:
        yield "That the credentials are right: without test_path the server is only asked whether it is there."
    if config.guarantee is Guarantee.AT_MOST_ONCE:
        yield (
            "That an order cannot get lost: without an idempotency header, a PUT or a look-up, an order whose answer "
            "is missing waits for a person."
        )
    if config.guarantee is Guarantee.HARD and config.create_method == "POST":
        yield "That the ERP recognises a request that comes again by its idempotency header."
