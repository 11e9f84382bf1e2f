"""A Sales Order of ERPNext as JSON: what stands in it, what it is found by, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from html import escape
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from connectors import exact_json
from connectors.config import INERT
from connectors.exact_json import Json
from connectors.exceptions import DocumentError, Fault
from connectors.formats import orderflow_json_v1
from connectors.formats.order_mapping import OrderMappingFields
from connectors.json_path import JsonPath
from connectors.order import Order, OrderLine
from connectors.results import Document
from connectors.validation import Line

DOCTYPE: Final = "Sales Order"
CANCELLED: Final = 2
"""`docstatus` is 0 for a draft, 1 for what was submitted, and this."""

ADDRESSES: Final = {"shipping_address_name": "ship_to", "customer_address": "bill_to"}
"""Where an address goes, and where it stands in the order."""

_OURS: Final = (
    "address_display", "company", "customer", "customer_address", "currency", "delivery_date", "docstatus", "doctype",
    "ignore_pricing_rule", "items", "name", "order_type", "po_date", "po_no", "shipping_address_name",
    "transaction_date",
)  # fmt: skip

Filters = list[list[str]]
"""What Frappe lists is asked for: field, operator and value each, and before them the table where it is another."""
FieldName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=140)]


class ErpNextFields(OrderMappingFields):
    """What stands in a Sales Order."""

    company: Annotated[
        Annotated[Line, Field(max_length=140)],
        INERT,
        Field(title="Company", description="Whose orders these are, by its name in ERPNext.", examples=["ACME Europe"]),
    ]
    export_id_field: Annotated[
        FieldName | None,
        INERT,
        Field(
            title="Field for our id",
            description="A field of Sales Order (type Data, No Copy) that keeps the id of the export, by which the "
            "order is found again. Empty: it is found by the customer and his order number.",
            examples=["custom_export_id"],
        ),
    ] = None
    delivery_days: Annotated[
        int | None,
        INERT,
        Field(
            title="Days to deliver",
            description="From the date of the order, where neither order nor line asks for a day. ERPNext takes no "
            "order without one: empty, such an order is refused.",
            ge=0,
            le=365,
        ),
    ] = None
    notes_field: Annotated[
        FieldName,
        INERT,
        Field(
            title="Field for the notes",
            description="The field of Sales Order (type Text Editor) that takes the notes of an order.",
        ),
    ] = "terms"
    customer_field: Annotated[
        FieldName,
        INERT,
        Field(
            title="Field of the customer",
            description="The field of Customer that holds the customer's number.",
            examples=["tax_id"],
        ),
    ] = "name"
    item_by: Annotated[
        Literal["item_code", "customer_code", "barcode"],
        INERT,
        Field(
            title="Find items by",
            description="What the item numbers of an order are: item codes, codes of the customer that stand with the "
            "item, or barcodes.",
        ),
    ] = "item_code"
    address_field: Annotated[
        FieldName | None,
        INERT,
        Field(
            title="Field of the GLN",
            description="The field of Address by whose value addresses of an order are found among those of the "
            "customer. Empty: ERPNext takes the customer's usual ones.",
            examples=["custom_gln"],
        ),
    ] = None
    more_fields: Annotated[
        Annotated[dict[FieldName, Annotated[Line, Field(max_length=140)] | int], Field(max_length=30)],
        INERT,
        Field(
            title="More fields",
            description="Further fields of each Sales Order, the same for all, as a JSON object.",
            examples=['{"naming_series": "SAL-EDI-.YYYY.-", "set_warehouse": "Stores - AE"}'],
        ),
    ] = {}  # noqa: RUF012  # pydantic copies it

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from super().cross_field_faults()
        taken = {*_OURS, self.notes_field, self.export_id_field}
        for name in sorted(name for name in self.more_fields if name in taken):
            yield Fault(path=f"more_fields.{name}", message="is filled from the order", code="duplicate")


def render(order: Order, fields: ErpNextFields, *, export_id: UUID, created_at: datetime) -> Document:
    """Return the order as a draft of a Sales Order; the same arguments always give the same bytes.

    Customer, items and addresses stand in it by the numbers that the order has for them.

    Raises:
        DocumentError: the order lacks something that ERPNext needs, or has something that it would change.
    """
    return Document(
        filename=orderflow_json_v1.filename(order.order_id, export_id=export_id, created_at=created_at),
        content=exact_json.dumps(_body(order, fields, export_id)).encode(),
        media_type="application/json",
    )


def _body(order: Order, fields: ErpNextFields, export_id: UUID) -> dict[str, Json]:
    header = order.header
    days = [_delivery_day(order, line, fields) for line in order.lines]
    body: dict[str, Json] = {**fields.more_fields}
    body |= {"company": fields.company, "customer": fields.customer_number(order), "po_no": reference(order, fields)}
    if fields.export_id_field:
        body[fields.export_id_field] = str(export_id)
    body |= {"order_type": fields.order_type or "Sales", "currency": header.currency}
    body |= {"transaction_date": fields.order_day(order).isoformat(), "delivery_date": max(days).isoformat()}
    if header.order_date:
        body["po_date"] = header.order_date.isoformat()
    if fields.send_prices:
        body["ignore_pricing_rule"] = 1
    if notes := fields.notes(order):
        body[fields.notes_field] = _as_html(notes)
    if fields.address_field:
        body |= _addresses(order)
    body["items"] = [_item(line, day, order, fields) for line, day in zip(order.lines, days, strict=True)]
    return body


def _item(line: OrderLine, day: date, order: Order, fields: ErpNextFields) -> dict[str, Json]:
    if line.currency != order.header.currency:
        raise DocumentError(where=f" (at line {line.line_no}, currency: it differs from that of the order)")
    item: dict[str, Json] = {"item_code": fields.item_number(line), "qty": line.qty, "uom": fields.unit(line)}
    if fields.send_prices:
        item["rate"] = line.unit_price
    item["delivery_date"] = day.isoformat()
    if description := fields.description(line):
        item["description"] = _as_html(description)
    return item


def _delivery_day(order: Order, line: OrderLine, fields: ErpNextFields) -> date:
    asked = line.requested_delivery_date or order.header.requested_delivery_date
    if asked is None and fields.delivery_days is None:
        raise DocumentError(where=" (at header.requested_delivery_date: it is missing)")
    try:
        return asked or fields.order_day(order) + timedelta(days=fields.delivery_days or 0)
    except OverflowError:  # beyond the year 9999
        raise DocumentError(where=" (at header.order_date: it leaves no day to deliver)") from None


def _addresses(order: Order) -> dict[str, Json]:
    given = {name: (where, getattr(order, where)) for name, where in ADDRESSES.items() if getattr(order, where)}
    for where, address in given.values():
        if not address.gln:
            raise DocumentError(where=f" (at {where}.gln: it is missing)")
    return {name: address.gln for name, (_, address) in given.items()}


def reference(order: Order, fields: ErpNextFields) -> str:
    """Return the customer's order number as ERPNext keeps it.

    Raises:
        DocumentError: it does not: it would take a part of it for markup.
    """
    number = fields.reference(order).strip()
    if "<" in number or ">" in number:
        raise DocumentError(where=" (at the customer's order number: ERPNext does not keep < and >)")
    return number


def left_out(order: Order, fields: ErpNextFields) -> tuple[str, ...]:
    """Return a sentence for each part of the order that ERPNext is not told."""
    if fields.address_field:
        return ()
    given = (name for name in ADDRESSES.values() if getattr(order, name) is not None)
    return tuple(f"{name} was left out: ERPNext takes the usual address of the customer." for name in given)


def _as_html(text: str) -> str:
    return "<br>".join(escape(text, quote=False).splitlines())


# What is asked


def ours(fields: ErpNextFields, *, customer: str, reference: str, export_id: str) -> Filters:
    """Return what the Sales Order of an export is found by."""
    if fields.export_id_field:
        return [[fields.export_id_field, "=", export_id]]
    return [["po_no", "=", reference], ["customer", "=", customer], ["company", "=", fields.company]]


def customer_by(fields: ErpNextFields, number: str) -> Filters:
    """Return what a Customer is found by."""
    return [[fields.customer_field, "=", number]]


def item_by(fields: ErpNextFields, number: str, customer: str) -> Filters:
    """Return what an Item is found by that is not named by its code."""
    if fields.item_by == "barcode":
        return [["Item Barcode", "barcode", "=", number]]
    table = "Item Customer Detail"
    return [[table, "ref_code", "=", number], [table, "customer_name", "=", customer]]


def address_by(fields: ErpNextFields, gln: str, customer: str) -> Filters:
    """Return what an Address of a customer is found by."""
    links = [["Dynamic Link", "link_doctype", "=", "Customer"], ["Dynamic Link", "link_name", "=", customer]]
    return [[fields.address_field or "", "=", gln], *links]


def questions(fields: ErpNextFields) -> Iterator[tuple[str, Filters]]:
    """Yield each kind of question that is asked while an order is sent, about what nobody has."""
    yield DOCTYPE, ours(fields, customer="-", reference="-", export_id="-")
    if fields.customer_field != "name":
        yield "Customer", customer_by(fields, "-")
    if fields.item_by != "item_code":
        yield "Item", item_by(fields, "-", "-")
    if fields.address_field:
        yield "Address", address_by(fields, "-", "-")


# What stands in the answers


def standing(orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of several that count: none that was amended, and a cancelled one only where there is no other."""
    amended = [order.get("amended_from") for order in orders]
    last = [order for order in orders if order["name"] not in amended]
    return [order for order in last if order.get("docstatus") != CANCELLED] or last[:1]


def lost(sent: Mapping[str, Any], made: Mapping[str, Any], fields: ErpNextFields) -> Iterator[str]:
    """Yield a sentence for each field that was not kept as it was sent, and by which an order is found again."""
    for name in ("po_no", fields.export_id_field):
        if name and made.get(name) != sent.get(name):
            yield f"ERPNext has not kept {name}, by which the order is found again."


def is_kept(body: Any, name: str, *, unique: bool) -> bool | None:
    """Return whether Sales Orders have a field, a unique one if need be; None where the answer does not tell.

    Args:
        body: what `frappe.desk.form.load.getdoctype` says.
        name: of the field.
        unique: whether it has to be unique.
    """
    fields = JsonPath.parse("docs[0].fields[*]").find(body)
    found = [field for field in fields if isinstance(field, Mapping) and field.get("fieldname") == name]
    return None if not fields else any(field.get("unique") == 1 or not unique for field in found)
