"""TRYTON: sales in Tryton 7 and 8, over its JSON-RPC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Final

from connectors import strict_json
from connectors.codes import Code
from connectors.exact_json import Json
from connectors.exceptions import AuthenticationFailed, DocumentError, OutcomeUnknown, RejectedByERP, Said
from connectors.formats import tryton as format_
from connectors.formats.tryton import Known, KnownLine, TrytonSaleFields
from connectors.json_path import JsonPath
from connectors.order import Order
from connectors.port import Awaited, ExportContext, StepNote
from connectors.results import Document, RemoteIdentity
from connectors.transports import tryton_rpc
from connectors.transports.http_erp import HttpErpConnector, HttpErpSession, Placed, ambiguous, unknown
from connectors.transports.tryton_rpc import Domain, Row, TrytonRpc, TrytonServerConfig, is_id

_SALE: Final = "sale.sale"
_READ_BACK: Final = ("number", "state", "untaxed_amount")
_NEEDED: Final = {
    _SALE: ("read", "create", "write"),
    **dict.fromkeys(("party.party", "party.address", "product.product", "product.uom"), ("read",)),
}
_FIELD_OF: Final = {"code": "code", "identifier": "identifiers.code"}


class TrytonConfig(TrytonSaleFields, TrytonServerConfig):
    """Where Tryton is reached, as which user, and what is done there."""


class TrytonSession(HttpErpSession[TrytonConfig]):
    """One connection that takes many orders."""

    @cached_property
    def rpc(self) -> TrytonRpc:
        """How Tryton is asked."""
        return TrytonRpc(self.client, self.config)

    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:
        config = self.config
        ours: Domain = [["company", "=", self._company["id"]]]
        if isinstance(names, Awaited) and (key := self._key(names.location)):
            ours += [["id", "=", key]]  # whatever was done with it since, a copy included
        elif config.export_id_field:
            ours += [[config.export_id_field, "=", str(names.export_id)]]
        else:
            ours += [["reference", "=", config.reference(order)]]
            ours += [[f"party.{_FIELD_OF[config.find_customers_by]}", "=", config.customer_number(order)]]
        return [self._placed(row) for row in self.rpc.rows(_SALE, ours, _READ_BACK, limit=2)]

    def create(self, document: Document, context: ExportContext) -> Placed | None:
        body = strict_json.loads(document.content)
        warnings: list[str] = []
        made = self._change(warnings, "create", [format_.values_of(body, self._known(body))])
        if not isinstance(made, list) or len(made) != 1 or not is_id(made[0]):
            raise OutcomeUnknown
        made_of = {"id": made[0], "number": None, "state": "draft", "untaxed_amount": None}
        return replace(self._placed(made_of), is_complete=False, warnings=tuple(warnings))

    def complete(self, placed: Placed, context: ExportContext) -> Placed:
        warnings = list(placed.warnings)
        sale = self._sale(placed.key)
        while (button := self._next(sale)) is not None:
            refusal: str | None = "Tryton left it as it was"
            try:
                self._change(warnings, button, [sale["id"]])
            except RejectedByERP as error:
                refusal = (error.said.message if error.said else None) or "no reason is given"
            before, sale = sale, self._sale(placed.key)
            if sale["state"] == before["state"]:
                # The sale is there: a person does what is missing, and goes on with it or cancels it.
                warnings.append(f"The sale is still in state {sale['state']}: {refusal}")
                break
        return replace(self._placed(sale), is_complete=True, warnings=tuple(warnings))

    def check_access(self, note: StepNote) -> None:
        granted = self.rpc.record("model.ir.model.access.get_access", [*_NEEDED])
        for model, right in ((model, right) for model, rights in _NEEDED.items() for right in rights):
            if not JsonPath.parse(f"$['{model}'].{right}").first(granted):
                raise AuthenticationFailed(Code.PERMISSION_DENIED, path=f"{model} ({right})")
        name = self.config.export_id_field
        if name and name not in self.rpc.record(f"model.{_SALE}.fields_get", [name]):
            raise AuthenticationFailed(Code.PATH_NOT_FOUND, path=f"The field {name} of sales")
        note.detail = self.client.shown(f"{self.config.username}, {self._company['rec_name']}")

    def identity(self) -> RemoteIdentity:
        company = self._company
        return RemoteIdentity(company=company["rec_name"], currency=company["currency."].get("code"))

    # What an order names, and what Tryton calls it.

    @cached_property
    def _company(self) -> Row:
        """The company whose sales these are; goes with each call from now on."""
        wanted: Domain
        if self.config.company:
            wanted, path = [["party.name", "=", self.config.company]], f"The company {self.config.company}"
        else:
            own = self.rpc.record("model.res.user.get_preferences", True).get("company")
            wanted, path = [["id", "=", own if is_id(own) else -1]], "The company of the user"
        found = self.rpc.rows("company.company", wanted, ["rec_name", "currency.code"], limit=2)
        if len(found) != 1:
            raise AuthenticationFailed(Code.PATH_NOT_FOUND, path=path)
        self.rpc.environment["company"] = found[0]["id"]
        return found[0]

    def _known(self, body: dict[str, Any]) -> Known:
        config, company = self.config, self._company["id"]
        by = _FIELD_OF[config.find_customers_by]
        party = self._one("party.party", by, body["party"], config.customer_number_from)
        currency = self._one("currency.currency", "code", body["currency"], "header.currency")
        sale: dict[str, Json] = {"company": company, "party": party, "currency": currency}
        proposed = self.rpc.record(f"model.{_SALE}.on_change", {**sale, "lines": []}, ["party"])
        header = {name: proposed[name] for name in format_.PROPOSED if name in proposed}
        return Known(
            company=company,
            party=party,
            currency=currency,
            header=header | self._addresses(party, body),
            lines=self._lines(body["lines"], {f"_parent_sale.{name}": value for name, value in sale.items()}),
        )

    def _one(self, model: str, field: str, number: str, where: str) -> int:
        return int(_only(self.rpc.rows(model, [[field, "=", number]], limit=2), where)["id"])

    def _addresses(self, party: int, body: dict[str, Any]) -> dict[str, Json]:
        wanted = {name: where for name, where in format_.ADDRESSES.items() if name in body}
        if not wanted:
            return {}
        known = self.rpc.rows("party.address", [["party", "=", party]], ["street", "postal_code", "city"])
        fitting = {name: [address for address in known if format_.is_at(address, body[name])] for name in wanted}
        return {name: _only(fitting[name], where)["id"] for name, where in wanted.items()}

    def _lines(self, lines: list[dict[str, Any]], sale: dict[str, Json]) -> list[KnownLine]:
        products, units = self._products(lines), self._units(lines)
        proposals: dict[object, Row] = {}
        known = []
        for line in lines:
            where = f"line {line['sequence']}, "
            product = _only(products.get(line["product"], []), where + self.config.item_number_from)
            category = product["default_uom_category"]
            fitting = [unit for unit in units.get(line["unit"], []) if unit["category"] == category]
            unit = _only(fitting, f"{where}unit {line['unit']}")
            # Taxes follow from the category of a product; Tryton's own price from everything.
            alike = product["account_category"] if "unit_price" in line else line["sequence"]
            if alike not in proposals:
                proposals[alike] = self._proposal(product["id"], unit["id"], line["quantity"], sale)
            proposal = proposals[alike]
            price = proposal.get("unit_price")
            if "unit_price" not in line and price is None:
                raise DocumentError(where=f" (at {where}unit_price: Tryton proposes none)")
            taxes = format_.added_in(proposal.get("taxes"))
            known.append(KnownLine(product=product["id"], unit=unit["id"], taxes=taxes, unit_price=price))
        return known

    def _proposal(self, product: int, unit: int, quantity: Json, sale: dict[str, Json]) -> Row:
        """Return what Tryton fills in when somebody enters a product."""
        line: dict[str, Json] = {"type": "line", "product": product, "unit": unit, "quantity": quantity, "taxes": []}
        return self.rpc.record("model.sale.line.on_change", {**line, **sale}, ["product"])

    def _products(self, lines: Iterable[dict[str, Any]]) -> dict[str, list[Row]]:
        field, numbers = _FIELD_OF[self.config.find_items_by], sorted({line["product"] for line in lines})
        wanted: Domain = [[field, "in", [*numbers]]]
        found = self.rpc.rows("product.product", wanted, [field, "default_uom_category", "account_category"])
        return format_.by_name((number, row) for row in found for number in format_.codes_in(row))

    def _units(self, lines: Iterable[dict[str, Any]]) -> dict[str, list[Row]]:
        names = sorted({line["unit"] for line in lines})
        wanted: Domain = ["OR", ["symbol", "in", [*names]], ["name", "in", [*names]]]
        found = self.rpc.rows("product.uom", wanted, ["symbol", "name", "category"])
        return format_.by_name((name, row) for row in found for name in {row["symbol"], row["name"]})

    # A sale, and what is done with it.

    def _change(self, warnings: list[str], method: str, argument: list[Json]) -> Any:
        name = f"model.{_SALE}.{method}"
        if self.config.accept_warnings:
            return self.rpc.call_despite(warnings, name, argument)
        return self.rpc.call(name, argument, safe=False)

    def _sale(self, key: str) -> Row:
        found = self.rpc.rows(_SALE, [["id", "=", int(key)]], _READ_BACK, limit=1)
        if not found:
            raise OutcomeUnknown  # somebody has deleted it since
        return found[0]

    def _next(self, sale: Row) -> str | None:
        """Return what has to be pressed now, on the way to where a sale is to be brought."""
        return self.config.buttons().get(sale["state"])

    @property
    def _folder(self) -> str:
        """Where the web client shows sales."""
        return f"{self.config.base_url.rstrip('/')}/#{self.config.database}/model/{_SALE}/"

    def _key(self, location: str | None) -> int | None:
        """Return the id of a sale that is shown there."""
        key = (location or "").removeprefix(self._folder)
        return int(key) if re.fullmatch("[0-9]{1,18}", key, re.ASCII) else None

    def _placed(self, sale: Row) -> Placed:
        state = sale["state"]
        return Placed(
            key=str(sale["id"]),
            location=f"{self._folder}{sale['id']}",
            number=Said(message=sale["number"]).message,
            status=format_.STATUS.get(state),
            is_complete=self._next(sale) is None,
            said=Said(code=state) if state == "cancelled" else Said(),
            net_total=format_.decimal_in(sale["untaxed_amount"]) if self.config.send_prices else None,
        )


def _only(found: list[Row], where: str) -> Row:
    if len(found) != 1:
        raise ambiguous(where) if found else unknown(where)
    return found[0]


class TrytonConnector(HttpErpConnector[TrytonConfig]):
    """Makes each order as a sale, and brings it as far as the configuration says."""

    connector_type: ClassVar[str] = "TRYTON"
    title: ClassVar[str] = "Tryton"
    summary: ClassVar[str] = (
        "Makes each order as a sale in Tryton 7 and 8, with the taxes, terms and addresses that Tryton proposes, and "
        "quotes and confirms it where that is wanted."
    )
    Config = TrytonConfig
    Session = TrytonSession
    rules = tryton_rpc.RULES
    supports_identify: ClassVar[bool] = True

    def render(self, order: Order, config: TrytonConfig, context: ExportContext) -> Document:
        return format_.render(order, config, export_id=context.export_id, created_at=context.created_at)

    def unpack(self, body: Any) -> Any:
        return tryton_rpc.unpack(body)

    def not_proven(self, config: TrytonConfig) -> tuple[str, ...]:
        buttons = "".join(f", or to {button} them" for button in config.buttons().values())
        return (f"That this user is allowed to make sales{buttons}, whatever else Tryton asks for: a test makes none.",)
