"""BUSINESS_CENTRAL: sales orders in Microsoft Dynamics 365 Business Central, online or on premises, by its API v2.0."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import Field

from connectors import exact_json, strict_json
from connectors.codes import Code
from connectors.config import INERT
from connectors.exceptions import DocumentError, Fault, OutcomeUnknown
from connectors.formats import business_central, orderflow_json_v1
from connectors.formats.business_central import COMMENT, ITEM, BusinessCentralFields
from connectors.order import Order
from connectors.port import Awaited, ExportContext, Guarantee, StepNote
from connectors.results import AckStatus, Document, RemoteIdentity
from connectors.transports import odata
from connectors.transports.business_central import CODE, HEADERS, RULES, Company, CompanyConfig, folded, is_guid
from connectors.transports.http_answers import Unusable
from connectors.transports.http_erp import HttpErpConnector, HttpErpSession, Placed
from connectors.transports.http_errors import Meaning, rule

_SEGMENT: Final = r"[0-9A-Za-z_-][0-9A-Za-z_.(){}-]*"
_IS_GONE: Final = (rule(404, Meaning.REJECTED, path=CODE, contains="BadRequest_NotFound"),)


class BusinessCentralConfig(BusinessCentralFields, CompanyConfig):
    """Which company of which environment, who we are there, and how an order becomes one of it."""

    release_action: Annotated[
        Annotated[str, Field(max_length=500, pattern=rf"^({_SEGMENT}/)*{_SEGMENT}$")] | None,
        Field(
            title="Action that releases an order",
            description="The path of a bound action below the environment. Business Central has none of its own: it "
            "comes with an extension.",
            examples=["api/contoso/sales/v1.0/companies({company})/orders({order})/Microsoft.NAV.release"],
        ),
    ] = None
    accepted_when: Annotated[
        Literal["created", "released"],
        INERT,
        Field(title="Accepted when", description="When an order counts as accepted by the ERP."),
    ] = "created"

    def cross_field_faults(self) -> Iterable[Fault]:
        yield from super().cross_field_faults()
        if self.number_prefix and not self.own_numbers:
            yield Fault(path="number_prefix", message="is only for own_numbers; leave it empty", code="not_applicable")
        if self.release_action and "{order}" not in self.release_action:
            yield Fault(path="release_action", message="must name the {order} that it releases", code="missing")
        if self.release_action and not (self.order_id_line or self.own_numbers):
            message = "is needed for release_action: else an order that somebody else entered could be released"
            yield Fault(path="order_id_line", message=message, code="missing")
        if self.order_type is not None:
            yield Fault(path="order_type", message="is not known to Business Central", code="not_applicable")


class _Place(NamedTuple):
    """Where an order can be: it leaves the first place for the second when all of it is invoiced."""

    entities: str
    lines: str
    number: str


_ORDERS: Final = _Place("salesOrders", "salesOrderLines", "number")
_INVOICES: Final = _Place("salesInvoices", "salesInvoiceLines", "orderNumber")
_ORIGIN: Final = ("customerNumber", "externalDocumentNumber")
_NET_TOTAL: Final = "totalAmountExcludingTax"


class BusinessCentralSession(HttpErpSession[BusinessCentralConfig]):
    """Asks one company."""

    @cached_property
    def company(self) -> Company:
        """The company that the configuration names."""
        return Company(self.client, self.config)

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:
        attempt = names if isinstance(names, ExportContext) else None
        # What was sent counts, and not what the order would become today.
        document = attempt.document.content if attempt and attempt.document else None
        sent = strict_json.loads(document or business_central.render(order, self.config))
        found: dict[str | None, Placed] = {}
        for place in (_ORDERS, _INVOICES):
            is_in_doubt = place is _ORDERS and attempt is not None and attempt.doubt is not None
            for row in self._alike(sent, place):
                lines, wanted = row.get(place.lines), sent[_ORDERS.lines]
                is_ours = _is_ours(lines, wanted, mark=business_central.mark(order))
                if is_in_doubt and _is_cut_short(lines, wanted, is_ours):
                    raise OutcomeUnknown(Code.TARGET_EXISTS, path=str(row[place.number]))
                if is_ours:
                    placed = self._placed(row, place)
                    found.setdefault(placed.number, placed)
        return list(found.values())

    def create(self, document: Document, context: ExportContext) -> Placed | None:
        judged = self.client.call(
            "POST",
            f"{self.company.path}/{_ORDERS.entities}",
            headers={**HEADERS, "Content-Type": document.media_type},
            content=self._with_their_numbers(document.content),
        )
        if judged.exists:
            return None
        row = odata.entity(judged)
        if not row.get("number") or not is_guid(row.get("id")):
            raise judged.answer.unusable(Unusable.NO_NUMBER)
        return self._placed(row, _ORDERS)

    def complete(self, placed: Placed, context: ExportContext) -> Placed:
        action = (self.config.release_action or "").replace("{order}", placed.key)
        address = self.config.root + action.replace("{company}", self.company.entity["id"])
        self.client.call("POST", odata.path(address), headers=HEADERS, rules=_IS_GONE)
        options = {"$filter": f"id eq {placed.key}", "$select": f"id,number,status,{_NET_TOTAL}"}
        released = self.company.read(_ORDERS.entities, options)
        return self._placed({"number": placed.number} | released[0], _ORDERS) if released else placed

    def check_access(self, note: StepNote) -> None:
        for entities in (_ORDERS.entities, _INVOICES.entities, "customers", "items", "unitsOfMeasure"):
            self.company.read(entities, {"$top": "1", "$select": "id"})
        name = self.client.shown(str(self.company.entity.get("name")))
        note.detail = f"Orders, invoices, customers, items and units of the company {name} can be read."

    def identity(self) -> RemoteIdentity:
        company = self.company.entity
        information = self.company.read("companyInformation", {"$select": "id,currencyCode"})
        currency = next((row["currencyCode"] for row in information if row.get("currencyCode")), "")
        return RemoteIdentity(
            company=self.client.shown(f"{company.get('name')} ({company['id']})"),
            environment=self.config.environment,
            currency=self.client.shown(str(currency)) or None,
        )

    def _alike(self, sent: dict[str, Any], place: _Place) -> Iterator[dict[str, Any]]:
        """Yield the orders of the same customer with the same reference, or the one with our number.

        Raises:
            DocumentError: TARGET_EXISTS; our number is that of another order.
        """
        own, origin = sent.get("number"), {name: sent[name] for name in _ORIGIN}
        options = {
            "$filter": odata.equal({place.number: own} if own else origin),
            "$select": ",".join(("id", place.number, "status", _NET_TOTAL, *_ORIGIN)),
            "$expand": f"{place.lines}($select=lineType,lineObjectNumber,description)",
        }
        for row in self.company.read(place.entities, options):
            same = [folded(row.get(name, value)) == folded(value) for name, value in origin.items()]
            if own and not any(same):
                raise DocumentError(Code.TARGET_EXISTS, path=own)
            if row.get(place.number) and (own or all(same)):  # an invoice without an order is not one of ours
                yield row

    def _placed(self, row: dict[str, Any], place: _Place) -> Placed:
        state = "Open" if place is _INVOICES else str(row.get("status"))
        is_draft = state == "Draft"
        is_accepted = state == "Open" or (is_draft and self.config.accepted_when == "created")
        address = f"{self.config.base_url.rstrip('/')}/{self.company.path}/{place.entities}({row['id']})"
        return Placed(
            key=row["id"],
            location=address,
            number=self.client.shown(str(row[place.number])),
            status=AckStatus.ACKED if is_accepted else None,
            is_complete=not (is_draft and self.config.release_action),
            net_total=row.get(_NET_TOTAL) if place is _ORDERS and self.config.send_prices else None,
        )

    def _with_their_numbers(self, content: bytes) -> bytes:
        """Return the document with the item numbers that its GTINs stand for.

        Raises:
            DocumentError: Business Central does not know the customer, an item or a unit.
        """
        order = strict_json.loads(content)
        items = [line for line in order["salesOrderLines"] if line["lineType"] == ITEM]
        by = "gtin" if self.config.item_number_from == "gtin" else "number"
        self.company.numbers("customers", "number", [order["customerNumber"]])
        self.company.numbers("unitsOfMeasure", "code", [line["unitOfMeasureCode"] for line in items])
        numbers = self.company.numbers("items", by, [line["lineObjectNumber"] for line in items])
        if by == "number":
            return content
        for line in items:
            line["lineObjectNumber"] = numbers[line["lineObjectNumber"]]
        return exact_json.dumps(order).encode()


def _is_ours(lines: object, sent: list[dict[str, Any]], *, mark: str) -> bool:
    """Tell an order from others of the same customer with the same reference."""
    return not isinstance(lines, list) or mark not in _told(sent, COMMENT) or mark in _told(lines, COMMENT)


def _is_cut_short(lines: object, sent: list[dict[str, Any]], is_ours: bool) -> bool:
    """Return whether an order may be ours, but has only the first of its lines: then nobody knows what happened."""
    if not isinstance(lines, list):
        return False
    items, all_items = _told(lines, ITEM), _told(sent, ITEM)
    return len(items) < len(all_items) and (is_ours or items == all_items[: len(items)])


def _told(lines: list[Any], kind: str) -> list[str]:
    """Return the numbers of the items in an order, or the texts of the comments."""
    of_kind = [line for line in lines if isinstance(line, dict) and line.get("lineType") == kind]
    if kind == ITEM:
        return [folded(line.get("lineObjectNumber")) for line in of_kind]
    return [str(line.get("description")).strip() for line in of_kind]


class BusinessCentralConnector(HttpErpConnector[BusinessCentralConfig]):
    """Makes each order a sales order of one company, and reads its number and status from there."""

    connector_type: ClassVar[str] = "BUSINESS_CENTRAL"
    title: ClassVar[str] = "Microsoft Dynamics 365 Business Central"
    summary: ClassVar[str] = (
        "Creates each order as a sales order with its lines, online or on premises, and reads its number and status."
    )
    Config = BusinessCentralConfig
    Session = BusinessCentralSession
    rules = RULES
    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    supports_identify: ClassVar[bool] = True

    def guarantee_of(self, config: BusinessCentralConfig) -> Guarantee:
        return Guarantee.HARD if config.own_numbers else Guarantee.LOOKUP

    def looks_first(self, config: BusinessCentralConfig) -> bool:
        return True  # a number is free again once its order is invoiced

    def not_proven(self, config: BusinessCentralConfig) -> tuple[str, ...]:
        numbers = ("That the number series takes our numbers.",) if config.own_numbers else ()
        release = ("That the action releases orders.",) if config.release_action else ()
        return (*super().not_proven(config), *numbers, *release)

    def render(self, order: Order, config: BusinessCentralConfig, context: ExportContext) -> Document:
        return Document(
            filename=orderflow_json_v1.filename(
                order.order_id, export_id=context.export_id, created_at=context.created_at
            ),
            content=business_central.render(order, config),
            media_type=business_central.MEDIA_TYPE,
        )

    def left_out(self, order: Order, config: BusinessCentralConfig) -> tuple[str, ...]:
        return business_central.left_out(order, config)
