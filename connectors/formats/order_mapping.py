"""What is mapped alike for every ERP: which field is the customer's number, the item's, our reference; units; texts.

An adapter adds `OrderMappingFields` to its configuration and reads an order through it:

    class AcmeConfig(OrderMappingFields, BasicFields, HttpConfig): ...

    config.customer_number(order), config.item_number(line), config.unit(line), config.reference(order), …

What an order lacks ends as a DocumentError that names the field.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from connectors.config import INERT, ConnectorConfig
from connectors.exceptions import DocumentError
from connectors.order import Order, OrderLine
from connectors.validation import Line

_Cell = Annotated[Line, Field(max_length=64)]


class OrderMappingFields(ConnectorConfig):
    """How an order's fields become those of the ERP. None of them decides where a secret is sent."""

    customer_number_from: Annotated[
        Literal["erp_customer_number", "id", "bill_to_gln", "ship_to_gln"],
        INERT,
        Field(title="Customer number from", description="Which field of the order names the customer in the ERP."),
    ] = "erp_customer_number"
    item_number_from: Annotated[
        Literal["internal_sku", "customer_sku_raw", "gtin"],
        INERT,
        Field(title="Item number from", description="Which field of a line names the item in the ERP."),
    ] = "internal_sku"
    reference_from: Annotated[
        Literal["external_order_number", "order_id"],
        INERT,
        Field(
            title="Reference from",
            description="What stands in the ERP as the customer's order number. An order without it takes its own id.",
        ),
    ] = "external_order_number"
    order_type: Annotated[
        Annotated[Line, Field(max_length=32)] | None,
        INERT,
        Field(title="Order type", description="The ERP's type of sales order; empty for its usual one."),
    ] = None
    units: Annotated[
        Annotated[dict[_Cell, _Cell], Field(max_length=200)],
        INERT,
        Field(
            title="Units",
            description="The ERP's name for each unit of an order, as a JSON object; others go as they are.",
            examples=['{"PCE": "EA", "M": "MTR"}'],
        ),
    ] = {}  # noqa: RUF012  # pydantic copies it
    only_known_units: Annotated[
        bool,
        INERT,
        Field(title="Only these units", description="Refuse an order with a unit that is not in the table."),
    ] = False
    date_from: Annotated[
        Literal["approved_at", "order_date"],
        INERT,
        Field(title="Order date from", description="What the ERP takes as the date of the order."),
    ] = "order_date"
    send_prices: Annotated[
        bool,
        INERT,
        Field(title="Send prices", description="Off where the ERP finds the prices itself."),
    ] = True
    send_notes: Annotated[
        bool,
        INERT,
        Field(title="Send notes", description="Whether the notes of an order become a text in the ERP."),
    ] = True
    send_descriptions: Annotated[
        bool,
        INERT,
        Field(title="Send descriptions", description="Whether a line's description replaces that of the item."),
    ] = True

    def customer_number(self, order: Order) -> str:
        """Return the ERP's number of the customer.

        Raises:
            DocumentError: the order has none.
        """
        match self.customer_number_from:
            case "id":
                return order.customer.id
            case "erp_customer_number":
                return _present(order.customer.erp_customer_number, "customer.erp_customer_number")
            case "bill_to_gln":
                return _present(order.bill_to.gln if order.bill_to else None, "bill_to.gln")
        return _present(order.ship_to.gln if order.ship_to else None, "ship_to.gln")

    def item_number(self, line: OrderLine) -> str:
        """Return the ERP's number of the item in a line.

        Raises:
            DocumentError: the line has none.
        """
        number: str | None = getattr(line, self.item_number_from)
        return _present(number, f"line {line.line_no}, {self.item_number_from}")

    def unit(self, line: OrderLine) -> str:
        """Return the ERP's name of the unit in a line.

        Raises:
            DocumentError: the table does not know it, and only known units are allowed.
        """
        known = self.units.get(line.uom)
        return _present(known, f"line {line.line_no}, unit {line.uom}") if self.only_known_units else known or line.uom

    def reference(self, order: Order) -> str:
        """Return what stands in the ERP as the customer's order number."""
        number = order.header.external_order_number if self.reference_from == "external_order_number" else None
        return number or order.order_id

    def order_day(self, order: Order) -> date:
        """Return the date of the order: that on which it was approved where it has no other."""
        approved = order.approved_at.date()
        return approved if self.date_from == "approved_at" else order.header.order_date or approved

    def notes(self, order: Order) -> str | None:
        """Return the text of the order."""
        return order.header.notes if self.send_notes else None

    def description(self, line: OrderLine) -> str | None:
        """Return the text of a line."""
        return line.description if self.send_descriptions else None


def one_currency(order: Order) -> str:
    """Return the currency of an order, for an ERP in which all lines have the same.

    Raises:
        DocumentError: a line is in another one.
    """
    for line in order.lines:
        if line.currency != order.header.currency:
            raise DocumentError(where=f" (at line {line.line_no}, currency: it differs from that of the order)")
    return order.header.currency


def _present(value: str | None, where: str) -> str:
    if not value:
        raise DocumentError(where=f" (at {where}: it is missing)")
    return value
