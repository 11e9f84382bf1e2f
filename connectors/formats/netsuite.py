"""The sales order of Oracle NetSuite (SuiteTalk REST, record v1): one object with its lines in it.

A reference is an object with one name: NetSuite follows `id` and `externalId` by itself, what the others mean inside
the ERP has to be asked for.

    {"entity": {"entityId": "C-100"}, "item": {"items": [{"item": {"itemId": "4711"}, "quantity": 12.5}]}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from connectors import exact_json
from connectors.config import INERT
from connectors.exact_json import Json
from connectors.exceptions import DocumentError, Fault
from connectors.formats.order_mapping import OrderMappingFields
from connectors.order import Address, Order, OrderLine
from connectors.validation import Line

MEDIA_TYPE: Final = "application/json"

LOOKED_UP: Final = {
    "entityId": ("customer", "entityid"),
    "symbol": ("currency", "symbol"),
    "itemId": ("item", "itemid"),
    "upcCode": ("item", "upccode"),
}
"""Each name that NetSuite does not follow by itself: table and column that know it."""

_CUSTOM_PRICE: Final = "-1"
"""The price level without which NetSuite takes its own price."""
_FROM_THE_ORDER: Final = {
    "order_fields": (
        "externalId", "entity", "tranDate", "otherRefNum", "memo", "shipDate", "currency", "orderStatus", "customForm",
        "shippingAddress", "billingAddress", "item",
    ),
    "line_fields": ("item", "quantity", "price", "rate", "description", "units", "expectedShipDate"),
}  # fmt: skip
_CUSTOMER_FIELDS: Final = {
    "erp_customer_number": "customer.erp_customer_number",
    "id": "customer.id",
    "bill_to_gln": "bill_to.gln",
    "ship_to_gln": "ship_to.gln",
}


def _field_value(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """Say in one sentence what is wrong; pydantic would name each kind of value by its own words for it."""
    try:
        return handler(value)
    except ValidationError:
        pass
    raise PydanticCustomError("field_value", 'must be a text, a whole number, true, false, or such as {"id": "7"}')


_Cell = Annotated[Line, Field(max_length=64)]
_FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][0-9A-Za-z_]*$", max_length=64)]
_FieldValue = Annotated[
    bool
    | int
    | Annotated[Line, Field(max_length=1000)]
    | Annotated[dict[Literal["id", "externalId"], _Cell], Field(min_length=1, max_length=1)],
    WrapValidator(_field_value),
]
_MoreFields = Annotated[dict[_FieldName, _FieldValue], Field(max_length=50)]


class NetSuiteFields(OrderMappingFields):
    """How an order becomes one of NetSuite. None of the fields decides where a secret is sent."""

    customer_by: Annotated[
        Literal["entityId", "externalId", "id"],
        INERT,
        Field(title="Customers are found by", description="entityId is the customer id that people see."),
    ] = "entityId"
    item_by: Annotated[
        Literal["itemId", "upcCode", "externalId", "id"],
        INERT,
        Field(title="Items are found by", description="itemId is the item's name or number that people see."),
    ] = "itemId"
    order_type: Annotated[
        _Cell | None,
        INERT,
        Field(title="Form", description="Internal id of the form; empty for the usual one.", examples=["107"]),
    ] = None
    order_status: Annotated[
        Literal["A", "B"] | None,
        INERT,
        Field(
            title="Status of a new order",
            description="A: pending approval. B: pending fulfilment, which needs a right of its own. Empty: as "
            "NetSuite is set up.",
        ),
    ] = None
    units: Annotated[
        Annotated[dict[_Cell, _Cell], Field(max_length=200)],
        INERT,
        Field(
            title="Units",
            description="NetSuite's internal id of each unit of an order, as a JSON object. For the others NetSuite "
            "takes the sales unit of the item.",
            examples=['{"PCE": "1", "M": "12"}'],
        ),
    ] = {}  # noqa: RUF012  # pydantic copies it
    send_currency: Annotated[
        bool,
        INERT,
        Field(title="Send the currency", description="Off where the account has one currency only."),
    ] = True
    send_addresses: Annotated[
        bool,
        INERT,
        Field(title="Send addresses", description="Off where those of the customer always count."),
    ] = True
    strict_fields: Annotated[
        bool,
        INERT,
        Field(
            title="Refuse unknown fields",
            description="Off: NetSuite leaves out, without a word, what this account or role has no field for.",
        ),
    ] = True
    order_fields: Annotated[
        _MoreFields,
        INERT,
        Field(
            title="Further fields of an order",
            description="The same for every order, as a JSON object in NetSuite's names.",
            examples=['{"location": {"id": "2"}, "custbody_channel": "shop"}'],
        ),
    ] = {}  # noqa: RUF012  # as above
    line_fields: Annotated[
        _MoreFields,
        INERT,
        Field(
            title="Further fields of a line",
            description="The same for every line, as a JSON object in NetSuite's names.",
            examples=['{"taxCode": {"id": "5"}}'],
        ),
    ] = {}  # noqa: RUF012  # as above

    def cross_field_faults(self) -> Iterable[Fault]:
        yield from super().cross_field_faults()
        for name, taken in _FROM_THE_ORDER.items():
            for key in getattr(self, name):
                if key in taken:
                    yield Fault(path=f"{name}.{key}", message="is taken from the order", code="not_applicable")


def render(order: Order, fields: NetSuiteFields, *, external_id: str) -> bytes:
    """Return an order as the body of the request that creates it, lines and all, in numbers that people know.

    Args:
        order: the order.
        fields: how it is mapped.
        external_id: what NetSuite accepts only once.

    Raises:
        DocumentError: something is missing, or has two currencies.
    """
    header = order.header
    if odd := next((line for line in order.lines if line.currency != header.currency), None):
        raise DocumentError(where=f" (at line {odd.line_no}, currency: it is not that of the order)")
    body: dict[str, Json | None] = {
        "externalId": external_id,
        "entity": {fields.customer_by: fields.customer_number(order)},
        "tranDate": fields.order_day(order).isoformat(),
        "otherRefNum": fields.reference(order),
        "memo": " ".join((fields.notes(order) or "").split()) or None,  # it has one line
        "shipDate": _day(header.requested_delivery_date),
        "currency": {"symbol": header.currency} if fields.send_currency else None,
        "orderStatus": {"id": fields.order_status} if fields.order_status else None,
        "customForm": {"id": fields.order_type} if fields.order_type else None,
        "shippingAddress": _address(order.ship_to) if fields.send_addresses else None,
        "billingAddress": _address(order.bill_to) if fields.send_addresses else None,
        **fields.order_fields,  # type: ignore[dict-item]  # a dict of text is Json
        "item": {"items": [_line(line, fields) for line in order.lines]},
    }
    return exact_json.dumps(_given(body)).encode()


def left_out(order: Order, fields: NetSuiteFields) -> tuple[str, ...]:
    """Return a sentence for each part of an order that does not reach NetSuite."""
    found = []
    for name in ("ship_to", "bill_to"):
        address: Address | None = getattr(order, name)
        if address and not (fields.send_addresses and _address(address)):
            found.append(f"NetSuite takes the customer's own address; {name} was left out.")
    if fields.units and (units := sorted({line.uom for line in order.lines} - fields.units.keys())):
        found.append(f"NetSuite takes the sales unit of the item; {', '.join(units)} was left out.")
    return tuple(found)


def references(body: dict[str, Any], fields: NetSuiteFields) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each reference in a body that names what people know, and which field of the order that came from."""
    yield _CUSTOMER_FIELDS[fields.customer_number_from], body["entity"]
    if "currency" in body:
        yield "header.currency", body["currency"]
    for index, line in enumerate(body["item"]["items"]):
        yield f"lines.{index}.{fields.item_number_from}", line["item"]


def question(name: str, numbers: Iterable[str] | None = None) -> str:
    """Return the SuiteQL that asks for internal ids.

    Args:
        name: one of `LOOKED_UP`.
        numbers: whose; None for all.
    """
    table, column = LOOKED_UP[name]
    asked = f"SELECT id, {column} FROM {table} WHERE isinactive = 'F'"  # noqa: S608  # nosec B608  # names of ours
    if numbers is None:
        return asked
    # There are no parameters over REST.
    quoted = ", ".join("'" + number.replace("'", "''") + "'" for number in numbers)
    return f"{asked} AND {column} IN ({quoted})"


def _line(line: OrderLine, fields: NetSuiteFields) -> dict[str, Json]:
    fields.unit(line)  # refuses what is not in the table, where that is wanted
    priced = fields.send_prices
    return _given(
        {
            "item": {fields.item_by: fields.item_number(line)},
            "quantity": line.qty,
            "price": {"id": _CUSTOM_PRICE} if priced else None,
            "rate": line.unit_price if priced else None,
            "description": fields.description(line),
            "units": fields.units.get(line.uom),
            "expectedShipDate": _day(line.requested_delivery_date),
            **fields.line_fields,  # type: ignore[dict-item]  # as above
        }
    )


def _address(address: Address | None) -> dict[str, Json] | None:
    """Return an address; None for one that is but a GLN, which has no place there."""
    if address is None or address.name is None:
        return None
    return _given(
        {
            "addressee": address.name,
            "attention": address.name2,
            "addr1": address.street,
            "city": address.city,
            "state": address.region,
            "zip": address.postal_code,
            "country": {"id": address.country} if address.country else None,
        }
    )


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _given(members: dict[str, Json | None]) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value is not None}
