"""ODOO: sales orders in Odoo 14 and later, over JSON-2 or JSON-RPC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Final

from connectors.exceptions import OutcomeUnknown, RejectedByERP, Said
from connectors.formats import odoo as format_
from connectors.formats.odoo import Known, OdooOrderFields
from connectors.order import Order
from connectors.port import Awaited, ExportContext, Guarantee, StepNote
from connectors.results import AckStatus, Document, RemoteIdentity
from connectors.transports.http_erp import HttpErpConnector, HttpErpSession, Placed
from connectors.transports.http_errors import ErrorRule, Meaning, Status, rule
from connectors.transports.odoo_records import Records, id_of
from connectors.transports.odoo_rpc import Domain, Odoo, OdooServerConfig, Row, log_in

_READ_BACK: Final = ("name", "state", "amount_untaxed")
_PLACES: Final[tuple[tuple[Status, str], ...]] = (("4xx", "$"), ("5xx", "$"), (200, "$.error.data"))
_BUSINESS: Final = ("UserError", "ValidationError", "MissingError", "KeyError", "ValueError")


def _named(meaning: Meaning, *names: str, told: bool = True, **when: Any) -> Iterator[ErrorRule]:
    """Yield the rules for errors of these classes, as each of the two interfaces tells of them.

    Args:
        told: whether their message is for people; that of the database names hosts, paths and rows.
    """
    for name in names:
        for status, at in _PLACES:
            said = {"code_path": f"{at}.name", "message_path": f"{at}.message" if told else f"{at}.name"}
            yield rule(status, meaning, path=f"{at}.name", contains=name, **said, **when)


RULES: Final = (
    *_named(Meaning.AUTHENTICATION, "AccessDenied", "Unauthorized", "SessionExpired", "AccessError", "Forbidden"),
    # Rolled back as a whole: nothing was done.
    *_named(Meaning.TEMPORARY, "SerializationFailure", "LockNotAvailable", "DeadlockDetected", told=False),
    # No module of that name, or no database: not the fault of an order.
    *_named(Meaning.CONFIGURATION, "werkzeug.exceptions.NotFound"),
    rule(200, Meaning.CONFIGURATION, path="$.error.data.message", contains="doesn't exist"),
    rule(200, Meaning.CONFIGURATION, path="$.error.data.message", contains='" does not exist',
         message_path="$.error.data.name"),
    # What is only asked for names nothing but our settings; a record may be gone at that moment.
    *_named(Meaning.TEMPORARY, "MissingError", safe=True),
    *_named(Meaning.CONFIGURATION, *_BUSINESS, "UnprocessableEntity", safe=True),
    *_named(Meaning.REJECTED, *_BUSINESS, "RedirectWarning"),
    *_named(Meaning.REJECTED, "IntegrityError", "Violation", told=False),
    rule("5xx", Meaning.UNKNOWN, path="$.name", message_path="$.name"),
    rule(200, Meaning.UNKNOWN, path="$.error", message_path="$.error.data.name"),
)  # fmt: skip
"""By the last part of an error's class; its module, and the code of JSON-RPC, differ from version to version."""


class OdooConfig(OdooOrderFields, OdooServerConfig):
    """Which database, who we are there, and how an order becomes one of Odoo's."""


class OdooSession(HttpErpSession[OdooConfig]):
    """One user in one company."""

    def authenticate(self) -> None:
        _ = self.odoo.uid

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:
        return [self._placed(row) for row in self._exported(names)]

    def create(self, document: Document, context: ExportContext) -> Placed | None:
        body = format_.read(document)
        known = self._known(body)
        try:
            key = self.odoo.create("sale.order", format_.values(body, known))
        except RejectedByERP:
            # Where the field for our id is unique, it is refused for just that.
            if self._exported(context):
                return None
            raise
        is_elsewhere = "partner_shipping_id" in body and known.header["partner_shipping_id"] is None
        return Placed(
            key=str(key),
            location=self._location(key),
            number=None,
            status=None,
            is_complete=False,
            warnings=("Odoo does not know the delivery address: the customer's own took its place.",) * is_elsewhere,
        )

    def complete(self, placed: Placed, context: ExportContext) -> Placed:
        key, refusal = int(placed.key), ""
        if self.config.confirm:
            try:
                self.odoo.act("sale.order", "action_confirm", key)
            except RejectedByERP as error:  # somebody was faster, or it stays a quotation until somebody confirms it
                refusal = f": {error.said.message}" if error.said and error.said.message else ""
        rows = self._read([["id", "=", key]])
        if not rows:
            raise OutcomeUnknown
        found = self._placed(rows[0])
        refused = () if found.is_complete else (f"Odoo did not confirm the order{refusal}",)
        return replace(found, is_complete=True, warnings=(*placed.warnings, *refused))

    def check_access(self, note: StepNote) -> None:
        config, company = self.config, self.records.company
        self.records.check(
            rights=(("sale.order", "create"), ("res.partner", "read"), ("product.product", "read")),
            fields=(
                ("sale.order", config.export_id_field),
                ("res.partner", config.customer_field),
                ("res.partner", config.ship_to_field),
                ("product.product", config.item_field),
                *(("sale.order", name) for name in config.more_fields),
            ),
        )
        self._taxes([config.tax] if config.tax else [])
        self._order_type(config.order_type)
        for currency, name in config.pricelists.items():
            self.records.price_list({}, name, currency)
        note.detail = f"{self.odoo.interface} of Odoo {self.odoo.version}, company {company.name}"

    def identity(self) -> RemoteIdentity:
        company = self.records.company
        return RemoteIdentity(company=company.name, currency=company.currency, server="Odoo")

    # An order there

    @cached_property
    def odoo(self) -> Odoo:
        return log_in(self.client, self.config)

    @cached_property
    def records(self) -> Records:
        return Records(self.odoo, self.config.company)

    def _exported(self, names: ExportContext | Awaited) -> list[Row]:
        """Return the orders with the id of an export, also where that stood in another field when they were made."""
        fields = {self.config.export_id_field, *format_.REFERENCES}
        marked: Domain = [[field, "=", str(names.export_id)] for field in sorted(fields)]
        return self._read(["|"] * (len(fields) - 1) + marked + [["company_id", "=", self.records.company.key]])

    def _read(self, domain: Domain) -> list[Row]:
        return self.odoo.search_read("sale.order", domain, _READ_BACK, limit=2, archived=True)

    def _placed(self, row: Row) -> Placed:
        state, name = row.get("state"), row.get("name")
        status = format_.status_of(state)
        return Placed(
            key=str(row["id"]),
            location=self._location(row["id"]),
            number=Said(message=name).message if isinstance(name, str) else None,
            status=status,
            is_complete=not (self.config.confirm and state in format_.OPEN_STATES),
            said=Said(code=state) if status is AckStatus.REJECTED else Said(),
            net_total=row.get("amount_untaxed") if self.config.send_prices else None,
        )

    def _location(self, key: int) -> str:
        return f"{self.config.base_url.rstrip('/')}/web#id={key}&model=sale.order&view_type=form"

    # What it refers to

    def _known(self, body: dict[str, Any]) -> Known:
        config, records = self.config, self.records
        customer = records.customer(config.customer_field, body["partner_id"])
        lines = list(format_.lines_of(body))
        products = records.products(config.item_field, {line["product_id"]: line["sequence"] for line in lines})
        units = {(line["product_id"], line["product_uom_id"]): line["sequence"] for line in lines}
        return Known(
            header={
                "company_id": records.company.key,
                "partner_id": customer["id"],
                "partner_shipping_id": self._ship_to(customer["id"], body.get("partner_shipping_id")),
                "currency_id": None,  # Odoo takes that of the price list
                "pricelist_id": records.price_list(customer, body.get("pricelist_id"), body["currency_id"]),
                "payment_term_id": id_of(customer.get("property_payment_term_id")),
                "type_id": self._order_type(body.get("type_id")),
            },
            products={number: product["id"] for number, product in products.items()},
            units={(item, unit): records.unit(products[item], unit, line) for (item, unit), line in units.items()},
            taxes=self._taxes({name for line in lines for name in line.get("tax_ids", ())}),
            unit_field="product_uom_id" if "product_uom_id" in self._line_fields else "product_uom",
            tax_field="tax_ids" if "tax_ids" in self._line_fields else "tax_id",
            note_is_html=self._header_fields.get("note") == "html",
        )

    def _ship_to(self, customer: int, number: str | None) -> int | None:
        if number is None:
            return None
        required = self.config.ship_to == "required"
        return self.records.delivery_address(customer, self.config.ship_to_field, number, required=required)

    def _taxes(self, names: Iterable[str]) -> dict[str, int]:
        return {name: self.records.named("account.tax", name, [["type_tax_use", "=", "sale"]]) for name in names}

    def _order_type(self, name: str | None) -> int | None:
        return self.records.named("sale.order.type", name) if name else None

    @cached_property
    def _line_fields(self) -> dict[str, str]:
        names = ("product_uom", "product_uom_id", "tax_id", "tax_ids")  # the first of each pair until 18
        return self.odoo.types_of("sale.order.line", names)

    @cached_property
    def _header_fields(self) -> dict[str, str]:
        return self.odoo.types_of("sale.order", ["note"])


class OdooConnector(HttpErpConnector[OdooConfig]):
    """Makes each order in Odoo as a quotation, confirms it where that is wanted, and reads its number and state."""

    connector_type: ClassVar[str] = "ODOO"
    title: ClassVar[str] = "Odoo"
    summary: ClassVar[str] = (
        "Makes each order in Odoo 14 or later as a quotation, over JSON-2 (from 19 on) or JSON-RPC, confirms it where "
        "that is wanted, and reads its number and state."
    )
    Config = OdooConfig
    Session = OdooSession
    rules: ClassVar[tuple[ErrorRule, ...]] = RULES
    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    supports_identify: ClassVar[bool] = True

    def guarantee_of(self, config: OdooConfig) -> Guarantee:
        return Guarantee.HARD if config.export_id_is_unique else Guarantee.LOOKUP

    def render(self, order: Order, config: OdooConfig, context: ExportContext) -> Document:
        return format_.render(order, config, export_id=context.export_id, created_at=context.created_at)

    def left_out(self, order: Order, config: OdooConfig) -> tuple[str, ...]:
        return format_.left_out(order, config)
