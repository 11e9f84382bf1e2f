"""The sales order of Microsoft Dynamics 365 Business Central (API v2.0): one object with its lines in it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from connectors import exact_json
from connectors.config import INERT
from connectors.exact_json import Json
from connectors.exceptions import DocumentError
from connectors.formats.order_mapping import OrderMappingFields, one_currency
from connectors.order import Address, Order, OrderLine
from connectors.validation import Line

MEDIA_TYPE: Final = "application/json"
COMMENT: Final = "Comment"
ITEM: Final = "Item"

_TEXT: Final = 100
"""The length of a line's text; what is longer goes on in comment lines below it."""


class BusinessCentralFields(OrderMappingFields):
    """How an order becomes one of Business Central. None of the fields decides where a secret is sent."""

    own_numbers: Annotated[
        bool,
        INERT,
        Field(
            title="Our own numbers",
            description="The order's id becomes its number there, and a second one is refused. Only where the number "
            "series allows manual numbers.",
        ),
    ] = False
    number_prefix: Annotated[
        Annotated[Line, Field(max_length=10, pattern=r"^[0-9A-Z_/.-]+$")] | None,
        INERT,
        Field(title="Prefix of our numbers", description="Stands before the order's id.", examples=["WEB-"]),
    ] = None
    order_id_line: Annotated[
        bool,
        INERT,
        Field(
            title="Line with the order's id",
            description="Ends each order with a comment line that holds its id: by it, orders of a customer who uses a "
            "reference twice are told apart. Not needed with our own numbers.",
        ),
    ] = True
    send_line_dates: Annotated[
        bool,
        INERT,
        Field(
            title="Send the dates of lines",
            description="The delivery date of a line becomes its shipment date; Business Central takes no other.",
        ),
    ] = False


def render(order: Order, fields: BusinessCentralFields) -> bytes:
    """Return an order as the body of a request that creates it, lines and all.

    The customer's, the items' and the units' numbers are those that people know.

    Raises:
        DocumentError: something is missing, or longer than Business Central takes it.
    """
    reference = fields.reference(order)
    body: dict[str, Json] = {"number": _own_number(order, fields)} if fields.own_numbers else {}
    body |= {
        "customerNumber": _fitted(fields.customer_number(order), 20, "the number of the customer"),
        "externalDocumentNumber": _fitted(
            reference, 35, "order_id" if reference == order.order_id else "header.external_order_number"
        ),
        "orderDate": fields.order_day(order).isoformat(),
        # That of the company is taken by its name, too, and becomes an empty one there.
        "currencyCode": one_currency(order),
    }
    if order.header.requested_delivery_date:
        body["requestedDeliveryDate"] = order.header.requested_delivery_date.isoformat()
    if order.ship_to and order.ship_to.name:
        body |= _ship_to(order.ship_to)
    body["salesOrderLines"] = list(_lines(order, fields))
    return exact_json.dumps(body).encode()


def mark(order: Order) -> str:
    """Return the text of the comment by which an order is told from others with the same reference."""
    return order.order_id.strip()


def left_out(order: Order, fields: BusinessCentralFields) -> tuple[str, ...]:
    """Return a sentence for each part of an order that Business Central has no place for."""
    found = []
    if order.bill_to:
        found.append("Business Central invoices to the address of the customer; bill_to was left out.")
    if order.ship_to and not order.ship_to.name:
        found.append("A delivery address needs a name; ship_to was left out.")
    if not fields.send_line_dates and any(line.requested_delivery_date for line in order.lines):
        found.append("Lines have no delivery date of their own; those of this order were left out.")
    return tuple(found)


def _own_number(order: Order, fields: BusinessCentralFields) -> str:
    number = f"{fields.number_prefix or ''}{order.order_id}"
    if number != number.upper():
        # "so-1" and "SO-1" would be one number, and the second order would count as one that has arrived.
        raise DocumentError(where=" (at order_id: a number has no small letters)")
    return _fitted(number, 20, "order_id")


def _ship_to(address: Address) -> dict[str, Json]:
    """Return the whole address: what we left out would stay that of the customer."""
    fitted: dict[str, Json] = {}
    for target, source, limit in (
        ("shipToName", "name", 100),
        ("shipToContact", "name2", 100),
        ("shipToAddressLine1", "street", 100),
        ("shipToPostCode", "postal_code", 20),
        ("shipToCity", "city", 30),
        ("shipToState", "region", 30),
        ("shipToCountry", "country", 10),
    ):
        fitted[target] = _fitted(getattr(address, source) or "", limit, f"ship_to.{source}")
    return fitted | {"shipToAddressLine2": ""}


def _lines(order: Order, fields: BusinessCentralFields) -> Iterator[Json]:
    """Yield the lines in their sequence. They have no numbers of ours: some versions refuse orders with `sequence`."""
    yield from (_comment(text) for text in _wrapped(fields.notes(order)))
    for line in order.lines:
        first, *more = _wrapped(fields.description(line)) or [""]
        yield _item(line, first, fields)
        yield from (_comment(text) for text in more)
    if fields.order_id_line and not fields.own_numbers:  # at the end: where it stands, all the others do
        yield _comment(mark(order))


def _item(line: OrderLine, text: str, fields: BusinessCentralFields) -> Json:
    where = f"line {line.line_no}"
    # In the sequence in which Business Central fills them in: type before number, number before unit.
    body: dict[str, Json] = {
        "lineType": ITEM,
        "lineObjectNumber": _fitted(fields.item_number(line), 20, f"{where}, {fields.item_number_from}"),
    }
    if text:
        body["description"] = text
    body["unitOfMeasureCode"] = _fitted(fields.unit(line), 10, f"{where}, uom")
    body["quantity"] = line.qty
    if fields.send_prices:
        body["unitPrice"] = line.unit_price
    if fields.send_line_dates and line.requested_delivery_date:
        body["shipmentDate"] = line.requested_delivery_date.isoformat()
    return body


def _comment(text: str) -> Json:
    return {"lineType": COMMENT, "description": text}


def _wrapped(text: str | None) -> list[str]:
    """Return a text in parts that fit into a line each."""
    parts: list[str] = []
    for line in (text or "").splitlines():
        # Characters beyond the first plane of Unicode count twice.
        parts += textwrap.wrap(line, _TEXT if _length(line) == len(line) else _TEXT // 2)
    return parts


def _fitted(value: str, limit: int, where: str) -> str:
    value = value.strip()
    if _length(value) > limit:
        raise DocumentError(where=f" (at {where}: it is longer than {limit} characters)")
    return value


def _length(text: str) -> int:
    """Return the length as Business Central counts it."""
    return len(text.encode("utf-16-le")) // 2
