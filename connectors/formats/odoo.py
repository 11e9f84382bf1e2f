"""Sales orders of Odoo (`sale.order`, 14 to 19): an order in Odoo's field names, with the numbers that people know.

    {"origin": "<export id>", "client_order_ref": "PO-12345", "partner_id": "4711", "currency_id": "EUR", …,
     "order_line": [[0, 0, {"product_id": "INT-1", "product_uom_qty": 10.50, "product_uom_id": "m", …}]]}

That is the document. What Odoo takes has its own ids in the place of numbers and names: `values` puts them there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from connectors import exact_json, strict_json
from connectors.config import INERT
from connectors.exact_json import Json
from connectors.exceptions import DocumentError, Fault
from connectors.formats import orderflow_json_v1
from connectors.formats.order_mapping import OrderMappingFields
from connectors.order import Order, OrderLine
from connectors.results import AckStatus, Document
from connectors.validation import Line

OPEN_STATES: Final = ("draft", "sent")
"""Those of a quotation that can be confirmed."""
REFERENCES: Final = ("origin", "client_order_ref")
"""The fields of a sales order for the numbers of others."""

_STATES: Final = {"sale": AckStatus.ACKED, "done": AckStatus.ACKED, "cancel": AckStatus.REJECTED}
_UNITS: Final = {
    **dict.fromkeys(("C62", "EA", "H87", "PCE", "PCS", "STK"), "Units"),
    **dict.fromkeys(("DZN", "DPC"), "Dozens"),
    **dict.fromkeys(("M", "MTR"), "m"),
    **dict.fromkeys(("CM", "CMT"), "cm"),
    **dict.fromkeys(("KM", "KMT"), "km"),
    **dict.fromkeys(("M2", "MTK"), "m²"),
    **dict.fromkeys(("M3", "MTQ"), "m³"),
    **dict.fromkeys(("G", "GRM"), "g"),
    **dict.fromkeys(("KG", "KGM"), "kg"),
    "TNE": "t",
    **dict.fromkeys(("L", "LTR"), "L"),
    **dict.fromkeys(("H", "HUR"), "Hours"),
    "DAY": "Days",
}
"""What Odoo calls the units of UN/ECE Recommendation 20, and what people write for them."""

_FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,62}$")]
_Text = Annotated[Line, Field(max_length=128)]


class OdooOrderFields(OrderMappingFields):
    """How an order becomes one of Odoo's. None of them decides where a secret is sent."""

    company: Annotated[
        _Text | None,
        INERT,
        Field(title="Company", description="The company whose order it is, by name; empty for that of the user."),
    ] = None
    customer_field: Annotated[
        _FieldName,
        INERT,
        Field(
            title="Customer field",
            description="The field of a contact that holds the customer's number.",
            examples=["ref", "vat", "company_registry", "barcode", "x_customer_number"],
        ),
    ] = "ref"
    item_field: Annotated[
        _FieldName,
        INERT,
        Field(
            title="Item field",
            description="The field of a product that holds the item's number.",
            examples=["default_code", "barcode", "x_item_number"],
        ),
    ] = "default_code"
    ship_to: Annotated[
        Literal["required", "if_known", "never"],
        INERT,
        Field(
            title="Delivery address",
            description="An order's ship_to is found by its GLN. required: an order whose address is not found fails. "
            "if_known: the customer's own address takes its place. never: it always does.",
        ),
    ] = "required"
    ship_to_field: Annotated[
        _FieldName,
        INERT,
        Field(title="Delivery address field", description="The field of a delivery address that holds its GLN."),
    ] = "ref"
    pricelists: Annotated[
        dict[Annotated[str, Field(pattern="^[A-Z]{3}$")], _Text],
        INERT,
        Field(
            title="Price lists",
            description="The price list for each currency, by name, as a JSON object; for others that of the customer.",
            examples=['{"USD": "Export USD"}'],
            max_length=50,
        ),
    ] = {}  # noqa: RUF012  # pydantic copies it
    tax: Annotated[
        _Text | None,
        INERT,
        Field(title="Tax", description="The tax on each line, by name; empty where Odoo chooses."),
    ] = None
    more_fields: Annotated[
        Annotated[dict[_FieldName, bool | int | _Text], Field(max_length=30)],
        INERT,
        Field(
            title="More fields",
            description="Further fields of each order, the same for all, as a JSON object; relations by their id.",
            examples=['{"warehouse_id": 2, "team_id": 5}'],
        ),
    ] = {}  # noqa: RUF012  # as above
    export_id_field: Annotated[
        _FieldName,
        INERT,
        Field(
            title="Export id field",
            description="The field of a sales order that takes the id of the export, by which it is found again.",
            examples=["origin", "client_order_ref", "x_export_id"],
        ),
    ] = "origin"
    export_id_is_unique: Annotated[
        bool,
        INERT,
        Field(
            title="Export id is unique",
            description="Odoo itself refuses a second order with the same id: the field has a unique constraint.",
        ),
    ] = False
    confirm: Annotated[
        bool,
        INERT,
        Field(title="Confirm", description="Confirm each order at once; else it stays a quotation for somebody there."),
    ] = False

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from super().cross_field_faults()
        if self.export_id_field in _WRITTEN:
            message = "has another meaning in a sales order; take origin, client_order_ref or a field of your own"
            yield Fault(path="export_id_field", message=message, code="reserved")
        if self.export_id_is_unique and self.export_id_field in REFERENCES:
            message = "is only for a field of your own: Odoo's are not unique"
            yield Fault(path="export_id_is_unique", message=message, code="not_applicable")
        for name in sorted({*self.more_fields} & {*_WRITTEN, *REFERENCES, self.export_id_field}):
            yield Fault(path=f"more_fields.{name}", message="is filled from the order", code="duplicate")

    def unit_name(self, line: OrderLine) -> str:
        """Return Odoo's name for the unit of a line."""
        unit = self.unit(line)
        return unit if line.uom in self.units else _UNITS.get(unit, unit)


_WRITTEN: Final = (
    "commitment_date", "company_id", "currency_id", "date_order", "name", "note", "order_line", "partner_id",
    "partner_shipping_id", "payment_term_id", "pricelist_id", "state", "type_id",
)  # fmt: skip


def render(order: Order, config: OdooOrderFields, *, export_id: UUID, created_at: datetime) -> Document:
    """Return the order as a document; the same arguments always give the same bytes.

    Raises:
        DocumentError: the order lacks the number of its customer, an item or the delivery address.
    """
    header = order.header
    # By whichever of the two Odoo knows the export, the other one takes the customer's own number.
    reference_field = REFERENCES[config.export_id_field != "client_order_ref"]
    optional: dict[str, Json] = {
        "company_id": config.company,
        "partner_shipping_id": _ship_to(order, config),
        "pricelist_id": config.pricelists.get(header.currency),
        "commitment_date": _noon(header.requested_delivery_date),
        "note": config.notes(order),
        "type_id": config.order_type,
        **config.more_fields,
    }
    body: dict[str, Json] = {
        config.export_id_field: str(export_id),
        reference_field: config.reference(order),
        "partner_id": config.customer_number(order),
        "currency_id": header.currency,
        "date_order": _noon(config.order_day(order)),
        **_given(optional),
        "order_line": [[0, 0, _line(line, config)] for line in order.lines],
    }
    return Document(
        filename=orderflow_json_v1.filename(order.order_id, export_id=export_id, created_at=created_at),
        content=exact_json.dumps(body).encode(),
        media_type=orderflow_json_v1.MEDIA_TYPE,
    )


def left_out(order: Order, config: OdooOrderFields) -> tuple[str, ...]:
    """Return a sentence for each part of the order that was not sent."""
    asked_for = {line.requested_delivery_date for line in order.lines} - {None, order.header.requested_delivery_date}
    parts = {
        "bill_to": order.bill_to is not None and config.customer_number_from != "bill_to_gln",
        "ship_to": order.ship_to is not None and config.ship_to == "never",
        "requested_delivery_date of the lines": bool(asked_for),
    }
    return tuple(f"Odoo has no place for {part}; it was left out." for part, used in parts.items() if used)


def _ship_to(order: Order, config: OdooOrderFields) -> str | None:
    if order.ship_to is None or config.ship_to == "never" or config.customer_number_from == "ship_to_gln":
        return None
    if order.ship_to.gln is None and config.ship_to == "required":
        raise DocumentError(where=" (at ship_to.gln: it is missing)")
    return order.ship_to.gln


def _line(line: OrderLine, config: OdooOrderFields) -> Json:
    optional: dict[str, Json] = {
        "price_unit": line.unit_price if config.send_prices else None,
        "name": config.description(line),
        "tax_ids": [config.tax] if config.tax else None,
    }
    return {
        "sequence": line.line_no,
        "product_id": config.item_number(line),
        "product_uom_qty": line.qty,
        "product_uom_id": config.unit_name(line),
        **_given(optional),
    }


def _given(members: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value is not None}


def _noon(day: date | None) -> str | None:
    """Return a day as Odoo's time in UTC; at noon it is the same day nearly everywhere."""
    return f"{day.isoformat()} 12:00:00" if day else None


# What Odoo takes


@dataclass(frozen=True, kw_only=True)
class Known:
    """What Odoo knows under the numbers and names of a document, and what this version calls its fields."""

    header: Mapping[str, int | None]
    """By field; None takes the field away."""
    products: Mapping[str, int]
    units: Mapping[tuple[str, str], int]
    """By item and unit."""
    taxes: Mapping[str, int]
    unit_field: str
    tax_field: str
    note_is_html: bool


def read(document: Document) -> dict[str, Any]:
    """Return what stands in a document."""
    body: dict[str, Any] = strict_json.loads(document.content)
    return body


def lines_of(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a document."""
    return (line for _, _, line in body["order_line"])


def values(body: Mapping[str, Any], known: Known) -> dict[str, Json]:
    """Return a document as Odoo's `create` takes it."""
    note = body.get("note")
    if note is not None and known.note_is_html:
        note = escape(note).replace("\n", "<br>")
    lines: list[Json] = [[0, 0, _line_values(line, known)] for line in lines_of(body)]
    return _given({**body, "note": note, **known.header, "order_line": lines})


def _line_values(line: dict[str, Any], known: Known) -> Json:
    item, unit = line["product_id"], line["product_uom_id"]
    sent: dict[str, Json] = {name: line[name] for name in line if name not in ("product_uom_id", "tax_ids")}
    sent |= {"product_id": known.products[item], known.unit_field: known.units[item, unit]}
    if "tax_ids" in line:
        sent[known.tax_field] = [[6, 0, [known.taxes[name] for name in line["tax_ids"]]]]
    return sent


# What Odoo says


def status_of(state: Any) -> AckStatus | None:
    """Return what the state of a sales order means; None for a quotation, and for states of an approval."""
    return _STATES.get(state)
