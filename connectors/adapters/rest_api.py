"""REST_API: any ERP that takes an order as JSON over HTTP, described by its configuration alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import httpx2

from connectors.adapters.rest_addresses import address, fill, fill_query, location_of, values_of
from connectors.adapters.rest_config import RestApiConfig
from connectors.adapters.rest_questions import ask, not_proven, question, read
from connectors.codes import Code
from connectors.exceptions import ConnectorError, DocumentError, OutcomeUnknown, Said
from connectors.formats import mapping, orderflow_json_v1
from connectors.order import Order
from connectors.port import Context, ERPConnectorPort, ExportContext, ExportSession, Guarantee
from connectors.results import Acknowledgement, Document, ExportResult, Receipt, Settlement, TestResult
from connectors.transports.http_answers import Unusable
from connectors.transports.http_client import HTTP_ERRORS, HTTP_TEST_STEPS, HttpClient, Judged, open_client
from connectors.transports.http_errors import Meaning, rule

_EXISTS_ALREADY: Final = (rule(412, Meaning.EXISTS),)
_REPLAYED: Final = ("Idempotent-Replayed", "Idempotency-Replayed", "X-Idempotent-Replay")
_LAST_SECONDS: Final = 2.0


class RestApiConnector(ERPConnectorPort[RestApiConfig]):
    """Sends each order as one request, and reads the ERP's number and state from its answers."""

    connector_type: ClassVar[str] = "REST_API"
    title: ClassVar[str] = "REST API"
    summary: ClassVar[str] = (
        "Sends each order as JSON to an HTTP interface that the configuration describes: requests, body, credentials, "
        "signature, answers and errors."
    )
    Config = RestApiConfig

    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    raises: ClassVar[frozenset[type[ConnectorError]]] = HTTP_ERRORS
    supports_render: ClassVar[bool] = True
    supports_find_export: ClassVar[bool] = True
    supports_acknowledgements: ClassVar[bool] = True
    supports_session: ClassVar[bool] = True

    def guarantee_of(self, config: RestApiConfig) -> Guarantee:
        return config.guarantee

    def export(self, order: Order, config: RestApiConfig, context: ExportContext) -> ExportResult:
        with self.open_session(config, context) as session:
            return session.export(order, context)

    def find_export(self, order: Order, config: RestApiConfig, context: ExportContext) -> ExportResult | None:
        with self.open_session(config, context) as session:
            return session.find(order, context)

    @contextmanager
    def open_session(self, config: RestApiConfig, context: Context) -> Iterator[RestSession]:
        with open_client(config, context) as client:
            yield RestSession(self, config, client)

    def render(self, order: Order, config: RestApiConfig, context: ExportContext) -> Document:
        names: dict[str, Any] = {"export_id": context.export_id, "created_at": context.created_at}
        if not config.body:
            return orderflow_json_v1.render(order, org_slug=context.org_slug, **names)
        return Document(
            filename=orderflow_json_v1.filename(order.order_id, **names),
            content=mapping.render(config.body, order, org_slug=context.org_slug, **names),
            media_type=orderflow_json_v1.MEDIA_TYPE,
        )

    def test_connection(self, config: RestApiConfig, context: Context) -> TestResult:
        with context.steps.plan(*HTTP_TEST_STEPS), open_client(config, context) as client:
            with context.steps.step("authenticate"):
                client.authenticate()
            with context.steps.step("read") as note:
                read(client, config, note)
        return context.steps.result(not_proven=tuple(not_proven(config)))

    def poll_acknowledgements(
        self, config: RestApiConfig, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        questions = [(awaited, path) for awaited in context.awaited() if (path := question(config, awaited))]
        if not questions:
            return 0
        applied = 0
        with open_client(config, context) as client:
            for awaited, path in questions:
                if context.remaining_s < _LAST_SECONDS:
                    break
                answer = ask(client, config, context, awaited, path)
                applied += answer is not None and settle(answer) is Settlement.APPLIED
        return applied


@dataclass(frozen=True)
class RestSession(ExportSession):
    """One connection that takes many orders."""

    connector: RestApiConnector
    config: RestApiConfig
    client: HttpClient

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""
        document = context.document or self.connector.render(order, self.config, context)
        if self.config.guarantee is Guarantee.LOOKUP and (found := self._look_up(order, document, context)):
            return found
        values = values_of(order, context)
        path = fill(self.config.create_path, values)
        if path is None:
            raise DocumentError(where=" (at header.external_order_number: it is missing, and the address needs it)")
        with context.steps.step("deliver"):
            judged = self.client.call(
                self.config.create_method,
                path,
                params=fill_query(self.config.query, values),
                headers=self._headers(document, context),
                content=document.content,
                safe=False,
                rules=(*self.config.error_rules, *(_EXISTS_ALREADY if self.config.create_only else ())),
                context=context,
            )
            return self._result(judged, order, document, context, path)

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:
        """Look an export up; see `ERPConnectorPort.find_export`."""
        document = context.document or self.connector.render(order, self.config, context)
        if self.config.lookup_path is None:
            if self._may_be_repeated(context):
                return None
            raise OutcomeUnknown
        found = self._look_up(order, document, context)
        if found is None and context.doubt is not None and not self._may_be_repeated(context):
            time.sleep(max(0.0, min(self.config.settle_s, context.remaining_s - _LAST_SECONDS)))
            found = self._look_up(order, document, context)
        return found

    def cut(self) -> None:
        """Break off, called by another thread."""
        self.client.session.close()

    def _may_be_repeated(self, context: ExportContext) -> bool:
        """Return whether the ERP itself takes care that the same request does not make a second order."""
        if self.config.create_method == "PUT":
            return True
        kept = timedelta(hours=self.config.idempotency_hours)
        return bool(self.config.idempotency_header) and context.clock.now() - context.created_at < kept

    def _headers(self, document: Document, context: ExportContext) -> dict[str, str]:
        config = self.config
        headers = {"Accept": "application/json", **config.headers, "Content-Type": config.content_type}
        if config.idempotency_header:
            quote = '"' if config.idempotency_quoted else ""
            headers[config.idempotency_header] = f"{quote}{context.idempotency_key}{quote}"
        if config.create_only:
            headers["If-None-Match"] = "*"
        now = int(context.clock.now().timestamp())
        return headers | config.signature(document.content, message_id=str(context.export_id), timestamp=now)

    def _look_up(self, order: Order, document: Document, context: ExportContext) -> ExportResult | None:
        config, values = self.config, values_of(order, context)
        path = fill(config.lookup_path or "", values)
        if path is None:
            raise OutcomeUnknown  # without what it is looked up by, nobody can tell
        with context.steps.step("look_up"):
            judged = self.client.call(
                "GET",
                path,
                params=fill_query(config.lookup_query, values),
                headers={"Accept": "application/json", **config.headers},
                rules=config.error_rules,
                context=context,
            )
            found = [] if judged.is_missing else config.orders(judged.json())
            numbers = [config.number(item) or "without a number" for item in found]
            if len(found) > 1:
                raise OutcomeUnknown(Code.FOUND_TWICE, path=numbers[0], other=numbers[1])
        if not found:
            return None
        created_at = address(config.base_url, fill(config.create_path, values) or path)
        return self._final(config.result(found[0], _receipt(document, created_at, already_delivered=True)))

    def _result(
        self, judged: Judged, order: Order, document: Document, context: ExportContext, path: str
    ) -> ExportResult:
        config, answer = self.config, judged.answer
        if judged.exists and config.lookup_path is not None and (found := self._look_up(order, document, context)):
            return found
        replayed = any(answer.headers.get(name, "").lower() == "true" for name in _REPLAYED)
        location = location_of(address(config.base_url, path), answer.headers.get("Location"))
        receipt = _receipt(
            document,
            location if answer.status == 202 and location else address(config.base_url, path),
            already_delivered=judged.exists or replayed,
        )
        if judged.exists:
            return ExportResult(receipt=receipt)
        reads_body = config.number_at or config.state_at or config.warnings_at
        body = judged.json() if reads_body and answer.content.strip() else {}
        result = config.result(body, receipt)
        if location and config.number_in_location and result.erp_order_id is None:
            number = unquote(httpx2.URL(location).path.rstrip("/").rpartition("/")[2])
            result = replace(result, erp_order_id=Said(message=number).message)
        if answer.status == 202:
            return result
        if (config.number_at or config.number_in_location) and result.erp_order_id is None:
            raise answer.unusable(Unusable.NO_NUMBER)
        return self._final(result)

    def _final(self, result: ExportResult) -> ExportResult:
        """Return a result as the last word, where the ERP has no state to ask for."""
        has_a_state = self.config.state_at is not None or self.config.status_path is not None
        return result if has_a_state else replace(result, acknowledged=True)


def _receipt(document: Document, location: str, *, already_delivered: bool) -> Receipt:
    return Receipt(
        transport="http",
        location=location,
        size=document.size,
        sha256=document.sha256,
        already_delivered=already_delivered,
    )
