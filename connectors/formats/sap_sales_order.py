"""The sales order of SAP S/4HANA as its OData services take it: API_SALES_ORDER_SRV (V2) and CE_SALESORDER_0001 (V4).

Both take the header with everything below it in one object. They differ in what dates and amounts look like, and in
some names: V2 writes amounts as strings and days as milliseconds, V4 as numbers and ISO dates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from connectors import exact_json, strict_json
from connectors.config import INERT
from connectors.exact_json import Json
from connectors.exceptions import Fault, InvalidInput, Said
from connectors.formats.edi import fit, pieces, refuse
from connectors.formats.order_mapping import OrderMappingFields
from connectors.order import Address, Order, OrderLine, exact
from connectors.port import Awaited, ExportContext
from connectors.results import AckStatus
from connectors.validation import Line

MEDIA_TYPE: Final = "application/json"

_MAX_WARNINGS: Final = 20
_MARKS: Final = (
    "^(PurchaseOrderByCustomer|PurchaseOrderByShipToParty|AssignmentReference|AccountingDocExternalReference"
    "|YY1_[A-Za-z0-9_]{1,50})$"
)
_MARK_LENGTHS: Final = {"AssignmentReference": 18, "AccountingDocExternalReference": 16}
"""Of the header fields that are shorter than an export's id."""

Key2 = Annotated[Line, Field(max_length=2)]
Key4 = Annotated[Line, Field(max_length=4)]
_Number = Annotated[Line, Field(max_length=10)]


class SalesOrderFields(OrderMappingFields):
    """How an order becomes one of S/4HANA. None of the fields decides where a secret is sent."""

    odata_version: Annotated[
        Literal["V2", "V4"],
        INERT,
        Field(
            title="OData version",
            description="V2: API_SALES_ORDER_SRV, which every S/4HANA has. V4: CE_SALESORDER_0001, of newer releases.",
        ),
    ] = "V2"
    sales_organization: Annotated[
        Key4, INERT, Field(title="Sales organisation", description="Of the sales area.", examples=["1710"])
    ]
    distribution_channel: Annotated[
        Key2, INERT, Field(title="Distribution channel", description="Of the sales area.", examples=["10"])
    ]
    division: Annotated[Key2, INERT, Field(title="Division", description="Of the sales area.", examples=["00"])]
    order_type: Annotated[
        Key4, INERT, Field(title="Order type", description="SAP's type of sales order, such as OR (in German TA).")
    ] = "OR"
    mark_field: Annotated[
        Annotated[str, Field(pattern=_MARKS)] | None,
        INERT,
        Field(
            title="Field for the export's id",
            description="PurchaseOrderByShipToParty, AssignmentReference, AccountingDocExternalReference, "
            "PurchaseOrderByCustomer (which then no longer holds the customer's number), or a field of your own "
            "(YY1_…). By it each order is found again; empty: by the customer's order number and the sold-to party.",
            examples=["PurchaseOrderByShipToParty"],
        ),
    ] = None
    partner_numbers: Annotated[
        Annotated[dict[Annotated[Line, Field(max_length=64)], _Number], Field(max_length=5000)],
        INERT,
        Field(
            title="Customer numbers",
            description="SAP's customer number for each GLN or number of an order, as a JSON object; others go as "
            "they are.",
            examples=['{"4012345000009": "1000042"}'],
        ),
    ] = {}  # noqa: RUF012  # pydantic copies it
    send_addresses: Annotated[
        bool,
        INERT,
        Field(
            title="Send addresses",
            description="Whether ship-to and bill-to of an order become its partners: the customer whose GLN is known, "
            "else the sold-to party with this address. Off where SAP takes them from its master data.",
        ),
    ] = True
    ship_to_function: Annotated[
        Key2, INERT, Field(title="Partner function of ship-to", description="SH, or WE where SAP's keys are German.")
    ] = "SH"
    bill_to_function: Annotated[
        Key2, INERT, Field(title="Partner function of bill-to", description="BP, or RE where SAP's keys are German.")
    ] = "BP"
    line_number_to: Annotated[
        Literal["none", "SalesOrderItem", "UnderlyingPurchaseOrderItem"],
        INERT,
        Field(
            title="Line number to",
            description="What our line number becomes: that of the item, or that of the customer's order (V2 only). "
            "none: SAP numbers the items, and ours stay here.",
        ),
    ] = "none"
    unit_codes: Annotated[
        Literal["external", "sap", "iso"],
        INERT,
        Field(
            title="Unit codes",
            description="Whether units are those that people see, SAP's internal ones, or ISO codes. V4 knows the last "
            "two only, and takes external as sap.",
        ),
    ] = "external"
    send_prices: Annotated[
        bool,
        INERT,
        Field(
            title="Send prices",
            description="Adds a condition with our price to each item. Off where SAP finds the prices itself.",
        ),
    ] = False
    condition_type: Annotated[
        Key4, INERT, Field(title="Condition type", description="Of the condition with our price.")
    ] = "PPR0"
    send_descriptions: Annotated[
        bool,
        INERT,
        Field(
            title="Send descriptions",
            description="Whether a line's description, of 40 characters at most, replaces that of the material.",
        ),
    ] = False
    text_id: Annotated[
        Key4, INERT, Field(title="Text type", description="The type of header text that the notes become.")
    ] = "TX01"
    text_language: Annotated[Key2, INERT, Field(title="Text language", description="Of that text.")] = "EN"
    delivery_block: Annotated[
        Key2 | None,
        INERT,
        Field(title="Delivery block", description="Set on each order until somebody in SAP lifts it."),
    ] = None
    billing_block: Annotated[
        Key2 | None,
        INERT,
        Field(title="Billing block", description="Set on each order until somebody in SAP lifts it."),
    ] = None

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from super().cross_field_faults()
        if self.odata_version == "V4" and self.line_number_to == "UnderlyingPurchaseOrderItem":
            yield Fault(path="line_number_to", message="is not known to V4", code="not_applicable")

    def sold_to(self, order: Order) -> str:
        """Return SAP's number of the customer."""
        number = self.customer_number(order).strip()
        return fit(self.partner_numbers.get(number, number), 10, f"customer, {self.customer_number_from}")

    def customer_reference(self, order: Order) -> str:
        """Return the customer's number of the order."""
        number = self.reference(order).strip()
        is_theirs = number == (order.header.external_order_number or "").strip()
        return fit(number, 35, "header.external_order_number" if is_theirs else "order_id")

    def origin(self, order: Order, names: ExportContext | Awaited) -> dict[str, str]:
        """Return the header fields by which the order of an export is found again, the telling one first.

        What was sent decides, once it is written down: the configuration may have changed since.
        """
        if not isinstance(names, ExportContext) or names.document is None:
            return self.marks(order, names.export_id)
        sent = strict_json.loads(names.document.content)
        telling = self.mark_field if self.mark_field and self.mark_field in sent else "PurchaseOrderByCustomer"
        return {name: str(sent[name]) for name in (telling, "SoldToParty")}

    def marks(self, order: Order, export_id: UUID) -> dict[str, str]:
        """Return the fields of a new document by which its order is to be found again."""
        sold_to = {"SoldToParty": self.sold_to(order)}
        if self.mark_field is None:
            return {"PurchaseOrderByCustomer": self.customer_reference(order)} | sold_to
        length = _MARK_LENGTHS.get(self.mark_field, 32)
        # An id may begin with the time, and ends at random; some fields turn small letters into capitals.
        return {self.mark_field: export_id.hex.upper()[-length:]} | sold_to


# What both versions call differently


@dataclass(frozen=True, kw_only=True)
class _Dialect:
    """How one version of OData says it."""

    day: Callable[[date], str]
    amount: Callable[[Decimal], Json]
    items: str
    partners: str
    texts: str
    prices: str
    rate: str
    item_numbers: dict[str, tuple[str, int]]
    """The field for each kind of item number, and its length."""
    unit: str
    """The kind of unit that `external` stands for."""


def _milliseconds(day: date) -> str:
    """Return a day as V2 writes it: the moment at which it begins in UTC, whatever zone the reader is in."""
    return f"/Date({int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000})/"


_DIALECTS: Final = {
    "V2": _Dialect(
        day=_milliseconds,
        amount=exact,
        items="to_Item",
        partners="to_Partner",
        texts="to_Text",
        prices="to_PricingElement",
        rate="ConditionRateValue",
        item_numbers={
            "internal_sku": ("Material", 40),
            "customer_sku_raw": ("MaterialByCustomer", 35),
            "gtin": ("Material", 40),
        },
        unit="",
    ),
    "V4": _Dialect(
        day=date.isoformat,
        amount=lambda number: number,
        items="_Item",
        partners="_Partner",
        texts="_Text",
        prices="_ItemPricingElement",
        rate="ConditionRateAmount",
        item_numbers={
            "internal_sku": ("Product", 40),
            "customer_sku_raw": ("MaterialByCustomer", 35),
            "gtin": ("InternationalArticleNumber", 18),
        },
        unit="SAP",
    ),
}


# The document


def render(order: Order, fields: SalesOrderFields, *, export_id: UUID) -> bytes:
    """Return the body of the request that makes an order.

    Raises:
        DocumentError: a field of the order does not fit; it is named, and nothing is cut or rounded.
    """
    say = _DIALECTS[fields.odata_version]
    header: dict[str, Json] = {
        "SalesOrderType": fields.order_type,
        "SalesOrganization": fields.sales_organization,
        "DistributionChannel": fields.distribution_channel,
        "OrganizationDivision": fields.division,
        **fields.marks(order, export_id),
        "SalesOrderDate": say.day(fields.order_day(order)),
        "TransactionCurrency": order.header.currency,
    }
    if "PurchaseOrderByCustomer" not in header:
        header["PurchaseOrderByCustomer"] = fields.customer_reference(order)
    if order.header.order_date:
        header["CustomerPurchaseOrderDate"] = say.day(order.header.order_date)
    if delivery := _delivery_day(order):
        header["RequestedDeliveryDate"] = say.day(delivery)
    if fields.delivery_block:
        header["DeliveryBlockReason"] = fields.delivery_block
    if fields.billing_block:
        header["HeaderBillingBlockReason"] = fields.billing_block
    if partners := list(_partners(order, fields)):
        header[say.partners] = partners
    if notes := fields.notes(order):
        text: Json = {"Language": fields.text_language, "LongTextID": fields.text_id, "LongText": notes}
        header[say.texts] = [text]
    header[say.items] = [_item(line, fields, say) for line in order.lines]
    return exact_json.dumps(header).encode()


def left_out(order: Order, fields: SalesOrderFields) -> tuple[str, ...]:
    """Return a sentence for each part of an order that S/4HANA has no place for."""
    day = _delivery_day(order)
    own = [str(line.line_no) for line in order.lines if line.requested_delivery_date not in (None, day)]
    if fields.odata_version == "V4" or not own:
        return ()
    listed = ", ".join(own[:10]) + (", …" if len(own) > 10 else "")
    return (f"V2 takes one delivery date for the whole order; those of these lines were left out: {listed}.",)


def _delivery_day(order: Order) -> date | None:
    """Return when an order is wanted: as early as the first of its lines where the order itself does not say."""
    days = (line.requested_delivery_date for line in order.lines if line.requested_delivery_date)
    return order.header.requested_delivery_date or min(days, default=None)


def _item(line: OrderLine, fields: SalesOrderFields, say: _Dialect) -> Json:
    where = f"line {line.line_no}"
    kind = {"external": say.unit, "sap": "SAP", "iso": "ISO"}[fields.unit_codes]
    unit = fit(fields.unit(line), 3, f"{where}, unit {line.uom}")
    name, length = say.item_numbers[fields.item_number_from]
    item: dict[str, Json] = {
        name: fit(fields.item_number(line), length, f"{where}, {fields.item_number_from}"),
        "RequestedQuantity": say.amount(line.qty),
        f"RequestedQuantity{kind}Unit": unit,
    }
    if fields.line_number_to != "none":
        item[fields.line_number_to] = str(line.line_no)
    if text := fields.description(line):
        item["SalesOrderItemText"] = fit(" ".join(text.split()), 40, f"{where}, description")
    if fields.odata_version == "V4" and line.requested_delivery_date:
        item["RequestedDeliveryDate"] = say.day(line.requested_delivery_date)
    if fields.send_prices:
        rate, quantity = _rate(line.unit_price)
        price: dict[str, Json] = {
            "ConditionType": fields.condition_type,
            say.rate: say.amount(rate),
            "ConditionCurrency": line.currency,
            "ConditionQuantity": say.amount(quantity),
            f"ConditionQuantity{kind}Unit": unit,
        }
        item[say.prices] = [price]
    return item


def _rate(price: Decimal) -> tuple[Decimal, Decimal]:
    """Return a price with two decimals at most, and for how many it is: 0.1234 for one is 12.34 for a hundred."""
    finest = price.normalize().as_tuple().exponent
    shift = max(0, -2 - finest) if isinstance(finest, int) else 0
    return (price.scaleb(shift), Decimal(10**shift)) if shift else (price, Decimal(1))


def _partners(order: Order, fields: SalesOrderFields) -> Iterator[Json]:
    if not fields.send_addresses:
        return
    for function, address, where in (
        (fields.ship_to_function, order.ship_to, "ship_to"),
        (fields.bill_to_function, order.bill_to, "bill_to"),
    ):
        if address is None:
            continue
        number = fields.partner_numbers.get(address.gln or "")
        if number:
            yield {"PartnerFunction": function, "Customer": number}
        elif fields.odata_version == "V4" or not address.name:
            refuse(where, "its GLN is not in partner_numbers, and an address alone cannot be sent")
        else:
            said = [_address(address, where)]
            yield {"PartnerFunction": function, "Customer": fields.sold_to(order), "to_Address": said}


def _address(address: Address, where: str) -> Json:
    names = [*pieces(address.name or "", 40, 4, f"{where}.name"), *pieces(address.name2 or "", 40, 4, f"{where}.name2")]
    if len(names) > 4:
        refuse(f"{where}.name2", "has more than 4 times 40 characters together with the name")
    said: dict[str, Json] = {f"OrganizationName{number}": name for number, name in enumerate(names, 1)}
    for target, source, length in (
        ("StreetName", "street", 60),
        ("PostalCode", "postal_code", 10),
        ("CityName", "city", 40),
        ("Region", "region", 3),
        ("Country", "country", 3),
    ):
        if value := getattr(address, source):
            said[target] = fit(value, length, f"{where}.{source}")
    return said


# What SAP says of an order


def status(order: dict[str, Any]) -> AckStatus:
    """Return whether an order still is one: it is from the moment it is saved, until all its items were rejected.

    How far it was processed (OverallSDProcessStatus) and whether it is blocked says nothing else.
    """
    return AckStatus.REJECTED if order.get("OverallSDDocumentRejectionSts") == "C" else AckStatus.ACKED


def warnings(order: dict[str, Any], sap_message: str | None = None) -> tuple[str, ...]:
    """Return what somebody should look at although an order was taken, such as that it is not complete.

    Args:
        order: the entity; V4 has its messages in it.
        sap_message: the header of the answer; JSON with further messages in `details`.
    """
    said = [_sentence(message) for message in (*_messages(sap_message), *_listed(order.get("SAP__Messages")))]
    if order.get("OverallSDDocumentRejectionSts") == "B":
        said.append("Some of its items were rejected.")
    return tuple(dict.fromkeys(filter(None, said)))[:_MAX_WARNINGS]


def _messages(header: str | None) -> list[dict[str, Any]]:
    try:
        first = strict_json.loads((header or "null").encode())
    except (InvalidInput, UnicodeEncodeError):
        return []
    return [first, *_listed(first.get("details"))] if isinstance(first, dict) else []


def _listed(found: Any) -> list[dict[str, Any]]:
    return [item for item in found[:_MAX_WARNINGS] if isinstance(item, dict)] if isinstance(found, list) else []


def _sentence(message: dict[str, Any]) -> str | None:
    """Return what a message says; none for what is only said by the way (severities info and success, or below 3)."""
    severity, number = message.get("severity"), message.get("numericSeverity", message.get("@Common.numericSeverity"))
    if severity in ("info", "success") or (isinstance(number, int) and number < 3):
        return None
    code, text = message.get("code"), message.get("message")
    return Said(message=": ".join(part for part in (code, text) if isinstance(part, str) and part)).message
