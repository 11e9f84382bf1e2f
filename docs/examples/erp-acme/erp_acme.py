"""ACME: sales orders by the HTTP interface of Acme, an imaginary ERP.

GET  company                    {"name": "Acme GmbH", "environment": "production", "currency": "EUR"}
GET  orders?externalId=…        {"orders": [{"id": 7, "number": "SO-1007", "state": "open"}]}
POST orders                     201 and the order; 409 DUPLICATE where it has the externalId already
any fault                       {"error": {"code": "CREDIT_LIMIT", "message": "…"}}
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from connectors import exact_json
from connectors.config import INERT
from connectors.exact_json import Json
from connectors.exceptions import ConnectorError, Said
from connectors.formats.order_mapping import OrderMappingFields, one_currency
from connectors.order import Order, OrderLine
from connectors.port import Awaited, ExportContext, Guarantee, StepNote
from connectors.results import AckStatus, Document, RemoteIdentity
from connectors.transports.http_answers import Unusable
from connectors.transports.http_auth import AUTH_KIND, BearerFields
from connectors.transports.http_client import Judged
from connectors.transports.http_erp import HttpErpConfig, HttpErpConnector, HttpErpSession, Placed
from connectors.transports.http_errors import Meaning, rule

RULES: Final = (
    rule(409, Meaning.EXISTS, path="$.error.code", contains="DUPLICATE"),
    rule(422, Meaning.TEMPORARY, path="$.error.code", contains="PERIOD_CLOSED"),
)
_STATUS: Final = {"open": AckStatus.ACKED, "cancelled": AckStatus.REJECTED}  # "pending" is neither


class AcmeConfig(OrderMappingFields, BearerFields, HttpErpConfig):
    """Where Acme is reached, and with which token."""

    auth_kind: Annotated[Literal["bearer"], AUTH_KIND, INERT] = "bearer"


class AcmeSession(HttpErpSession[AcmeConfig]):
    """One connection that takes many orders."""

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:  # noqa: ARG002  # a hook
        judged = self.client.call("GET", "orders", params={"externalId": str(names.export_id)})
        found = _object(judged).get("orders")
        if not isinstance(found, list):
            raise _unusable(judged)
        return [self._placed(each, judged) for each in found]

    def create(self, document: Document, context: ExportContext) -> Placed | None:  # noqa: ARG002  # as above
        headers = {"Content-Type": document.media_type}
        judged = self.client.call("POST", "orders", headers=headers, content=document.content)
        return None if judged.exists else self._placed(_object(judged), judged)

    def check_access(self, note: StepNote) -> None:
        self.client.call("GET", "orders", params={"externalId": "none"})
        note.detail = "Orders can be read."

    def identity(self) -> RemoteIdentity:
        said = _object(self.client.call("GET", "company"))
        company, environment, currency = (_text(said.get(name)) for name in ("name", "environment", "currency"))
        return RemoteIdentity(company=company, environment=environment, currency=currency)

    def _placed(self, made: Any, judged: Judged) -> Placed:
        if not isinstance(made, dict) or not isinstance(made.get("id"), int) or not _text(made.get("number")):
            raise _unusable(judged)
        state = _text(made.get("state")) or ""
        return Placed(
            key=str(made["id"]),
            location=f"{self.config.base_url.rstrip('/')}/orders/{made['id']}",
            number=made["number"],
            status=_STATUS.get(state),
            said=Said(code=state if state == "cancelled" else None),
        )


class AcmeConnector(HttpErpConnector[AcmeConfig]):
    """Makes each order in Acme, which refuses a second one of the same externalId."""

    connector_type: ClassVar[str] = "ACME"
    title: ClassVar[str] = "Acme"
    summary: ClassVar[str] = "Makes each order as a sales order of Acme."
    Config = AcmeConfig
    Session = AcmeSession
    rules = RULES

    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    supports_identify: ClassVar[bool] = True

    def render(self, order: Order, config: AcmeConfig, context: ExportContext) -> Document:
        body: dict[str, Json] = {
            "externalId": str(context.export_id),
            "customerNumber": config.customer_number(order),
            "reference": config.reference(order),
            "orderDate": config.order_day(order).isoformat(),
            "currency": one_currency(order),
            "text": config.notes(order),
            "lines": [_line(line, config) for line in order.lines],
        }
        content = exact_json.dumps(body).encode()
        return Document(filename=f"{context.export_id}.json", content=content, media_type="application/json")


def _line(line: OrderLine, config: AcmeConfig) -> dict[str, Json]:
    price = line.unit_price if config.send_prices else None
    described: dict[str, Json] = {"item": config.item_number(line), "text": config.description(line)}
    return described | {"quantity": line.qty, "unit": config.unit(line), "price": price}


def _object(judged: Judged) -> dict[str, Any]:
    said = judged.json()
    if not isinstance(said, dict):
        raise _unusable(judged)
    return said


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _unusable(judged: Judged) -> ConnectorError:
    return judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
