"""A sale of Tryton as JSON: with the codes that people know as the document, with the ids of Tryton when it is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from connectors import exact_json
from connectors.config import INERT
from connectors.exact_json import Json
from connectors.exceptions import DocumentError, Fault
from connectors.formats import orderflow_json_v1
from connectors.formats.order_mapping import OrderMappingFields
from connectors.order import Address, Order, OrderLine, exact
from connectors.results import AckStatus, Document

ADDRESSES: Final = {"invoice_address": "bill_to", "shipment_address": "ship_to"}
"""The addresses of a sale, and those of an order."""
PROPOSED: Final = ("invoice_address", "shipment_address", "payment_term", "invoice_method", "shipment_method")
"""What Tryton itself proposes for a customer."""

STATUS: Final = {
    "confirmed": AckStatus.ACKED,
    "processing": AckStatus.ACKED,
    "done": AckStatus.ACKED,
    "cancelled": AckStatus.REJECTED,
}
"""The states of a sale that are a yes or a no."""

_STEPS: Final = {"draft": 0, "quotation": 1, "confirmed": 2}
_TAKEN: Final = (
    *ADDRESSES, *PROPOSED, "comment", "company", "currency", "id", "lines", "number", "party", "reference", "sale_date",
    "shipping_date", "state",
)  # fmt: skip
_COMPARED: Final = ("street", "postal_code", "city")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)


class TrytonSaleFields(OrderMappingFields):
    """What stands in a sale."""

    find_customers_by: Annotated[
        Literal["code", "identifier"],
        INERT,
        Field(
            title="Find customers by",
            description="Whether the customer's number is the code of a party, or one of its identifiers such as the "
            "VAT number.",
        ),
    ] = "code"
    find_items_by: Annotated[
        Literal["code", "identifier"],
        INERT,
        Field(
            title="Find items by",
            description="Whether the item's number is the code of a product, or one of its identifiers such as the "
            "GTIN.",
        ),
    ] = "code"
    export_id_field: Annotated[
        Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,62}$")] | None,
        INERT,
        Field(
            title="Field for our id",
            description="The field of a sale that keeps the id of the export, by which the sale is found again: "
            "description, or one that a module of yours adds. Empty: it is found by the customer and his reference.",
        ),
    ] = "description"
    addresses: Annotated[
        Literal["match", "comment"],
        INERT,
        Field(
            title="Addresses",
            description="match: the addresses of an order have to be among those of the customer in Tryton, by "
            "street, postal code and city. comment: the sale takes those that Tryton proposes, and the order's stand "
            "in its comment.",
        ),
    ] = "match"

    target_state: Annotated[
        Literal["draft", "quotation", "confirmed"],
        INERT,
        Field(
            title="Bring sales to",
            description="draft: a person looks at each sale. quotation: it has a number. confirmed: Tryton goes on "
            "with shipments and invoices.",
        ),
    ] = "draft"

    def buttons(self) -> dict[str, str]:
        """Return what is pressed in each state, on the way to where sales are brought."""
        return dict([("draft", "quote"), ("quotation", "confirm")][: _STEPS[self.target_state]])

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from super().cross_field_faults()
        if self.order_type is not None:
            yield Fault(path="order_type", message="is not known in Tryton; leave it empty", code="not_applicable")
        if self.export_id_field in _TAKEN:
            yield Fault(path="export_id_field", message="is needed for something else", code="duplicate")


@dataclass(frozen=True, kw_only=True)
class KnownLine:
    """What Tryton calls the things that a line names, and what it proposes for them."""

    product: int
    unit: int
    taxes: list[int]
    unit_price: Json = None
    """Tryton's own, as it writes it."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What Tryton calls the things that an order names, and what it proposes for them."""

    company: int
    party: int
    currency: int
    header: dict[str, Json]
    lines: list[KnownLine]


def render(order: Order, fields: TrytonSaleFields, *, export_id: UUID, created_at: datetime) -> Document:
    """Return the sale with codes; the same arguments always give the same.

    Raises:
        DocumentError: the order lacks something, or has a quantity that Tryton cannot keep.
    """
    return Document(
        filename=orderflow_json_v1.filename(order.order_id, export_id=export_id, created_at=created_at),
        content=exact_json.dumps(_body(order, fields, export_id)).encode(),
        media_type=orderflow_json_v1.MEDIA_TYPE,
    )


def _body(order: Order, fields: TrytonSaleFields, export_id: UUID) -> dict[str, Json]:
    day, wanted = fields.order_day(order), order.header.requested_delivery_date
    addresses = {name: getattr(order, source) for name, source in ADDRESSES.items()}
    are_texts = fields.addresses == "comment"
    body: dict[str, Json | None] = {
        "party": fields.customer_number(order),
        "reference": fields.reference(order),
        **({fields.export_id_field: str(export_id)} if fields.export_id_field else {}),
        "currency": order.header.currency,
        "sale_date": day.isoformat(),
        # Tryton ships no earlier than it sells.
        "shipping_date": max(day, wanted).isoformat() if wanted else None,
        **{name: _place(address) for name, address in addresses.items() if address and not are_texts},
        "comment": "\n\n".join(_comments(fields.notes(order), addresses if are_texts else {})) or None,
        "lines": [_line(line, order, fields) for line in order.lines],
    }
    return {name: value for name, value in body.items() if value is not None}


def values_of(body: dict[str, Any], known: Known) -> dict[str, Json]:
    """Return what Tryton is sent to make a sale, lines and all."""
    lines: list[Json] = [_known_line(line, its) for line, its in zip(body["lines"], known.lines, strict=True)]
    dates: dict[str, Json] = {name: typed_date(body[name]) for name in ("sale_date", "shipping_date") if name in body}
    ids: dict[str, Json] = {"company": known.company, "party": known.party, "currency": known.currency}
    return {**body, **dates, **known.header, **ids, "lines": [["create", lines]]}


def typed_date(text: str) -> dict[str, Json]:
    """Return a date as Tryton writes it in JSON."""
    day = date.fromisoformat(text)
    return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}


def decimal_in(value: Any) -> Decimal | None:
    """Return an amount that Tryton wrote in JSON; None for what is none."""
    match value:
        case {"__class__": "Decimal", "decimal": str(digits)} if _DECIMAL.fullmatch(digits):
            return Decimal(digits)
    return None


def added_in(value: Any) -> list[int]:
    """Return the ids of records that a change adds, as Tryton writes it."""
    match value:
        case {"add": [*added]}:
            return [record["id"] for _, record in added]
    return []


def codes_in(product: dict[str, Any]) -> set[str]:
    """Return the codes by which a product may have been found."""
    return {product["code"]} if "code" in product else {its["code"] for its in product["identifiers."]}


def by_name(found: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return what goes by each name."""
    named: dict[str, list[dict[str, Any]]] = {}
    for name, row in found:
        named.setdefault(name, []).append(row)
    return named


def is_at(address: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether an address of Tryton is that of an order; spaces and case do not count."""
    return bool(wanted) and all(_plain(address.get(part)) == _plain(text) for part, text in wanted.items())


def _plain(text: Any) -> str:
    return " ".join(str(text or "").split()).casefold()


def _place(address: Address) -> dict[str, Json]:
    return {part: text for part in _COMPARED if (text := getattr(address, part))}


def _comments(notes: str | None, addresses: dict[str, Address | None]) -> Iterator[str]:
    if notes:
        yield notes
    for title, name in (("Invoice to", "invoice_address"), ("Deliver to", "shipment_address")):
        if address := addresses.get(name):
            town = _joined((address.postal_code, address.city), " ")
            parts = (address.name, address.name2, address.street, town, address.region, address.country, address.gln)
            yield f"{title}: {_joined(parts, ', ')}"


def _joined(parts: Iterable[str | None], separator: str) -> str:
    return separator.join(part for part in parts if part)


def _line(line: OrderLine, order: Order, fields: TrytonSaleFields) -> dict[str, Json]:
    # Tryton keeps quantities as binary numbers of 53 bits, and would round silently.
    if Decimal(repr(float(line.qty))) != line.qty:
        raise DocumentError(where=f" (at line {line.line_no}, qty: Tryton cannot keep so many digits)")
    wanted = line.requested_delivery_date
    is_own = wanted is not None and wanted != order.header.requested_delivery_date
    body: dict[str, Json | None] = {
        "sequence": line.line_no,
        "product": fields.item_number(line),
        "quantity": line.qty,
        "unit": fields.unit(line),
        "unit_price": line.unit_price if fields.send_prices else None,
        "description": fields.description(line),
        "note": f"Requested delivery: {wanted}" if is_own else None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _known_line(line: dict[str, Any], known: KnownLine) -> dict[str, Json]:
    price = known.unit_price
    if "unit_price" in line:  # as a number; Tryton would take it for a binary one, and refuse its digits
        price = {"__class__": "Decimal", "decimal": exact(Decimal(line["unit_price"]))}
    ids: dict[str, Json] = {"product": known.product, "unit": known.unit, "taxes": [["add", [*known.taxes]]]}
    return {**line, **ids, "type": "line", "unit_price": price}
