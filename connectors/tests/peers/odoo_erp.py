"""An imitation of Odoo, written from its documentation and from recorded answers of 18 and 19; not Odoo itself.

POST /json/2/<model>/<method>    JSON-2, from version 19 on
POST /jsonrpc                    JSON-RPC: common.version, common.authenticate, object.execute_kw
GET  /web/version                from version 19 on

It holds a few models in tables, evaluates domains, and is as strict as the original: unknown fields, arguments and
relations are errors, amounts are floats, what is empty is False, and a method that fails has done nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply, read_json

DATABASE: Final = "acme"
LOGIN: Final = "shop"
UID: Final = 7

Row = dict[str, Any]

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_RELATION: Final = re.compile(r"many2one (.+)")
_FIELDS: Final[dict[str, dict[str, str]]] = {
    "res.users": {"name": "char", "company_id": "many2one res.company"},
    "res.company": {"name": "char", "currency_id": "many2one res.currency"},
    "res.currency": {"name": "char"},
    "res.partner": {
        "name": "char", "ref": "char", "vat": "char", "barcode": "char", "type": "selection",
        "parent_id": "many2one res.partner", "company_id": "many2one res.company",
        "property_product_pricelist": "many2one product.pricelist",
        "property_payment_term_id": "many2one account.payment.term",
    },
    "account.payment.term": {"name": "char"},
    "account.tax": {"name": "char", "type_tax_use": "selection", "company_id": "many2one res.company"},
    "product.pricelist": {
        "name": "char", "currency_id": "many2one res.currency", "company_id": "many2one res.company",
    },
    "uom.uom": {"name": "char", "category": "char"},
    "product.product": {
        "name": "char", "default_code": "char", "barcode": "char", "uom_id": "many2one uom.uom",
        "company_id": "many2one res.company", "active": "boolean",
    },
    "sale.order": {
        "name": "char", "state": "selection", "origin": "char", "client_order_ref": "char", "x_export_id": "char",
        "x_channel": "char",
        "partner_id": "many2one res.partner", "partner_shipping_id": "many2one res.partner",
        "company_id": "many2one res.company", "pricelist_id": "many2one product.pricelist",
        "payment_term_id": "many2one account.payment.term", "currency_id": "many2one res.currency",
        "date_order": "datetime", "commitment_date": "datetime", "note": "html", "order_line": "one2many",
        "amount_untaxed": "monetary", "amount_total": "monetary",
    },
    "sale.order.line": {
        "name": "text", "sequence": "integer", "product_id": "many2one product.product", "product_uom_qty": "float",
        "price_unit": "float", "discount": "float",
    },
}  # fmt: skip
_COMPUTED: Final = ("name", "state", "currency_id", "amount_untaxed", "amount_total")


class OdooError(Exception):
    """What a method raises: the class as it is told to clients, and the status that JSON-2 gives it."""

    def __init__(self, name: str, message: str, status: int = 422) -> None:
        self.name, self.message, self.status = name, message, status

    def as_json(self) -> Row:
        """Return it as both interfaces tell it, with everything that should stay inside."""
        debug = f'Traceback (most recent call last):\n  File "/opt/odoo/odoo/http.py", line 2\n{self.message}'
        return {"name": self.name, "message": self.message, "arguments": [self.message], "context": {}, "debug": debug}


class OdooErp(Imitation):
    """One Odoo with one database of two companies."""

    def __init__(self, api_key: str, version: int = 19) -> None:
        super().__init__()
        self.api_key, self.version = api_key, version
        self.tables: dict[str, dict[int, Row]] = {name: {} for name in _FIELDS}
        self.sent: dict[int, Row] = {}
        """What `create` was given, by order."""
        self.denied: set[tuple[str, str]] = set()
        """What the user may not do: model and operation."""
        self.unique: str | None = None
        """A field of sales orders with a unique index."""
        self.refusal: OdooError | None = None
        """Raised by each confirmation."""
        self.installed = True
        """Whether the Sales app is."""
        self.price_digits = 4
        self._next_number = 1
        self._fill()

    @property
    def orders(self) -> dict[int, Row]:
        """The sales orders, by id."""
        return self.tables["sale.order"]

    def add(self, model: str, **values: Any) -> int:
        """Put a record into a table and return its id."""
        key = max(self.tables[model], default=0) + 1
        self.tables[model][key] = {"id": key} | dict.fromkeys(self.fields(model)) | {"active": True} | values
        return key

    def fields(self, model: str) -> dict[str, str]:
        """Return the fields of a model in this version, by name, with their types."""
        if model not in _FIELDS or (model.startswith("sale.") and not self.installed):
            raise KeyError(model)
        if model == "sale.order.line":
            unit, tax = ("product_uom_id", "tax_ids") if self.version >= 19 else ("product_uom", "tax_id")
            return _FIELDS[model] | {unit: "many2one uom.uom", tax: "many2many"}
        return _FIELDS[model] | ({"note": "text"} if model == "sale.order" and self.version < 15 else {})

    # The wire

    def changes(self, exchange: Exchange) -> bool:
        if exchange.path == "/jsonrpc":
            arguments = json.loads(exchange.body)["params"]["args"]
            return len(arguments) > 4 and arguments[4] in ("create", "action_confirm")
        return exchange.path.rpartition("/")[2] in ("create", "action_confirm")

    def respond(self, exchange: Exchange) -> Reply:
        match exchange.command, urlsplit(exchange.path).path.split("/")[1:]:
            case "GET", ["web", "version"] if self.version >= 19:
                return Reply(
                    body={"version_info": [self.version, 0, 0, "final", 0, ""], "version": f"{self.version}.0"}
                )
            case "POST", ["jsonrpc"]:
                return self._json_rpc(exchange)
            case "POST", ["json", "2", model, method] if self.version >= 19:
                return self._json_2(exchange, model, method)
        return _page(404, "Not Found")

    def _json_2(self, exchange: Exchange, model: str, method: str) -> Reply:
        if not exchange.headers.get("Content-Type", "").startswith("application/json"):
            return _page(415, "Unsupported Media Type")
        if exchange.headers.get("X-Odoo-Database", DATABASE) != DATABASE:
            return _page(404, "Not Found")
        kind, _, key = exchange.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or key != self.api_key:
            error = OdooError("werkzeug.exceptions.Unauthorized", "Invalid apikey", 401)
            return Reply(401, error.as_json(), {"WWW-Authenticate": "Bearer"})
        try:
            return Reply(body=self._call_by_name(model, method, read_json(exchange)))
        except OdooError as error:
            return Reply(error.status, error.as_json())

    def _call_by_name(self, model: str, method: str, body: Row) -> Any:
        ids, context = body.pop("ids", []), body.pop("context", {})
        found = self._method(model, method, 404, "werkzeug.exceptions.NotFound")
        if found.of_the_model and ids:
            raise OdooError("werkzeug.exceptions.UnprocessableEntity", f"cannot call {model}.{method} with ids")
        if unknown := set(body) - set(found.arguments):
            message = f"got an unexpected keyword argument {unknown.pop()!r}"
            raise OdooError("werkzeug.exceptions.UnprocessableEntity", message)
        return found(self, model, ids, body, context)

    def _json_rpc(self, exchange: Exchange) -> Reply:
        try:
            request = read_json(exchange)
        except ValueError:
            return _page(400, "Invalid JSON data")
        about = {"jsonrpc": "2.0", "id": request["id"]}
        params = request["params"]
        try:
            match params["service"], params["method"]:
                case "common", "version":
                    info = [self.version, 0, 0, "final", 0, ""]
                    result: Any = {"server_version": f"{self.version}.0", "server_version_info": info}
                case "common", "authenticate":
                    result = self._uid(*params["args"])
                case "object", "execute_kw":
                    result = self._execute(*params["args"])
        except OdooError as error:
            code = 0 if self.version >= 19 else 200
            return Reply(
                body=about | {"error": {"code": code, "message": "Odoo Server Error", "data": error.as_json()}}
            )
        return Reply(body=about | {"result": result})

    def _uid(self, database: str, login: str, password: str, _: Row) -> int | bool:
        if database != DATABASE:
            message = (
                f'connection to server at "db.internal", port 5432 failed: FATAL:  database "{database}" does not exist'
            )
            raise OdooError("psycopg2.OperationalError", message)
        return UID if (login, password) == (LOGIN, self.api_key) else False

    def _execute(
        self, database: str, uid: int, password: str, model: str, method: str, positional: list[Any], named: Row
    ) -> Any:
        if self._uid(database, LOGIN, password, {}) != uid:
            raise OdooError("odoo.exceptions.AccessDenied", "Access Denied")
        context = named.pop("context", {})
        try:
            found = self._method(model, method, 422, "builtins.AttributeError")
        except KeyError:
            raise OdooError("odoo.exceptions.UserError", f"Object {model} doesn't exist") from None
        ids = [] if found.of_the_model else positional.pop(0)
        body = dict(zip(found.arguments, positional, strict=False)) | named
        if set(body) - set(found.arguments) or (method == "create" and not positional):
            raise OdooError("builtins.TypeError", f"{method}() got an unexpected keyword argument")
        return found(self, model, ids, body, context)

    def _method(self, model: str, method: str, status: int, missing: str) -> _Method:
        try:
            self.fields(model)
        except KeyError:
            if status == 422:
                raise
            raise OdooError(missing, f"the model {model!r} does not exist", status) from None
        found = _METHODS.get(method)
        if found is None or not found.since <= self.version < found.until:
            raise OdooError(missing, f"The method '{model}.{method}' does not exist", status)
        return found

    # What the methods do

    def read(self, model: str, rows: list[Row], names: list[str]) -> list[Row]:
        """Return records as clients see them."""
        types = self.fields(model)
        if unknown := set(names) - set(types) - {"id"}:
            raise OdooError("builtins.ValueError", f"Invalid field {unknown.pop()!r} on model {model!r}", 500)
        return [{"id": row["id"]} | {name: self._shown(types[name], row[name]) for name in names} for row in rows]

    def _shown(self, type_: str, value: Any) -> Any:
        if value is None:
            return 0.0 if type_ in ("float", "monetary") else False
        if relation := _RELATION.fullmatch(type_):
            return [value, self.tables[relation[1]][value]["name"]]
        return float(value) if type_ in ("float", "monetary") else value

    def search(self, model: str, domain: list[Any], context: Row) -> list[Row]:
        """Return the records that a domain describes, as far as the companies of the context reach."""
        fits = self._filter(model, domain)
        companies = [None, *context.get("allowed_company_ids", [1, 2])]
        hides = context.get("active_test", True)
        return [
            row
            for row in self.tables[model].values()
            if fits(row) and row.get("company_id") in companies and (row["active"] or not hides)
        ]

    def _filter(self, model: str, domain: list[Any]) -> Callable[[Row], bool]:
        rest = iter(domain)

        def one() -> Callable[[Row], bool]:
            match next(rest):
                case "|":
                    left, right = one(), one()
                    return lambda row: left(row) or right(row)
                case "&":
                    first, second = one(), one()
                    return lambda row: first(row) and second(row)
                case [str() as path, ("=" | "in") as operator, wanted]:
                    values = wanted if operator == "in" else [wanted]
                    self._followed(model, path, {})
                    return lambda row: (self._followed(model, path, row) or False) in values
            raise OdooError("builtins.ValueError", "Invalid leaf in a domain", 500)

        terms = []
        while rest.__length_hint__():
            terms.append(one())
        return lambda row: all(term(row) for term in terms)

    def _followed(self, model: str, path: str, row: Mapping[str, Any]) -> Any:
        name, _, rest = path.partition(".")
        type_ = {"id": "integer", **self.fields(model)}.get(name)
        if type_ is None:
            raise OdooError("builtins.ValueError", f"Invalid field {model}.{name} in leaf", 500)
        value = row.get(name)
        if rest and (relation := _RELATION.fullmatch(type_)):
            return self._followed(relation[1], rest, self.tables[relation[1]].get(value, {}))
        return value

    def make(self, values: Row, context: Row) -> int:
        """Make a sales order; a number is used up also where that fails."""
        number, self._next_number = f"S{self._next_number:05}", self._next_number + 1
        self._check("sale.order", values)
        (company,) = context["allowed_company_ids"]
        self._check_company(values, values.get("company_id", company))
        if not values.get("partner_id"):
            raise OdooError("odoo.exceptions.ValidationError", "Missing required value for the field 'Customer'")
        if self.unique and any(values[self.unique] == order[self.unique] for order in self.orders.values()):
            raise OdooError("odoo.exceptions.ValidationError", f"The {self.unique} has to be unique")
        net = sum(self._amount(line) for _, _, line in values["order_line"])
        partner = self.tables["res.partner"][values["partner_id"]]
        price_list = self.tables["product.pricelist"].get(
            values.get("pricelist_id") or partner["property_product_pricelist"], {"currency_id": 1}
        )
        key = self.add(
            "sale.order",
            **{name: value for name, value in values.items() if name != "order_line"},
            name=number,
            state="draft",
            currency_id=price_list["currency_id"],
            amount_untaxed=net,
            amount_total=net * 1.15,  # a tax that nobody asked for
        )
        self.sent[key] = values
        return key

    def _check(self, model: str, values: Row) -> None:
        types = self.fields(model)
        for name, value in values.items():
            if name not in types or (model == "sale.order" and name in _COMPUTED):
                raise OdooError("builtins.ValueError", f"Invalid field {name!r} on model {model!r}", 500)
            if relation := _RELATION.fullmatch(types[name]):
                if value not in self.tables[relation[1]]:
                    raise OdooError("odoo.exceptions.MissingError", "Record does not exist or has been deleted.", 404)
            elif types[name] == "datetime" and not _TIME.fullmatch(value):
                raise OdooError("builtins.ValueError", f"time data {value!r} does not match the format", 500)
            elif types[name] == "float" and not isinstance(value, int | Decimal):
                raise OdooError("builtins.TypeError", "must be real number, not str", 500)
            elif types[name] == "many2many" and not (
                value[0][:2] == [6, 0] and set(value[0][2]) <= set(self.tables["account.tax"])
            ):
                raise OdooError("builtins.ValueError", "Wrong value for a relation", 500)
        for command in values.get("order_line", []):
            if command[:2] != [0, 0]:
                raise OdooError("builtins.ValueError", "Wrong value for sale.order.order_line", 500)
            self._check("sale.order.line", command[2])

    def _check_company(self, values: Row, company: int) -> None:
        products = [self.tables["product.product"][line["product_id"]] for _, _, line in values["order_line"]]
        for row in (self.tables["res.partner"].get(values.get("partner_id"), {}), *products):
            if row.get("company_id") not in (None, company):
                raise OdooError("odoo.exceptions.UserError", "Uh-oh! You've got some company inconsistencies here")
        for (_, _, line), product in zip(values["order_line"], products, strict=True):
            units = self.tables["uom.uom"]
            if (
                units[line.get("product_uom_id") or line["product_uom"]]["category"]
                != units[product["uom_id"]]["category"]
            ):
                raise OdooError("odoo.exceptions.UserError", "The unit of measure does not belong to the same category")

    def _amount(self, line: Row) -> float:
        price = round(float(line.get("price_unit", 1)), self.price_digits)
        return round(float(line["product_uom_qty"]) * price, 2)

    def confirm(self, ids: list[int]) -> bool:
        """Confirm quotations."""
        if self.refusal is not None:
            raise self.refusal
        if any(self.orders[key]["state"] not in ("draft", "sent") for key in ids):
            raise OdooError("odoo.exceptions.UserError", "Some orders are not in a state requiring confirmation.")
        for key in ids:
            self.orders[key]["state"] = "sale"
        return True

    def allow(self, model: str, operation: str) -> None:
        """Raise where the user may not do something."""
        if (model, operation) in self.denied:
            message = f"You are not allowed to {operation} '{model}' records."
            raise OdooError("odoo.exceptions.AccessError", message, 403)

    def _fill(self) -> None:
        for name in ("EUR", "USD"):
            self.add("res.currency", name=name)
        for number, name in enumerate(("ACME Europe", "ACME Overseas"), 1):
            self.add("res.company", name=name, currency_id=number)
        self.tables["res.users"][UID] = {"id": UID, "name": "Shop", "company_id": 1, "active": True}
        self.add("product.pricelist", name="Public", currency_id=1)
        self.add("product.pricelist", name="Export USD", currency_id=2)
        self.add("account.payment.term", name="30 days")
        self.add("account.tax", name="19%", type_tax_use="sale", company_id=1)
        for name, category in (("Units", "Unit"), ("m", "Length"), ("km", "Length")):
            self.add("uom.uom", name=name, category=category)
        for number in ("4711", "c-1"):
            terms = {"property_product_pricelist": 1, "property_payment_term_id": 1}
            customer = self.add("res.partner", name="Muster GmbH", ref=number, type="contact", **terms)
            self.add("res.partner", name="Gate 3", ref="4012345000009", type="delivery", parent_id=customer)
        for number in (1, 2, 3):
            self.add("product.product", name=f"Cable {number}", default_code=f"INT-{number}", uom_id=2)


class _Method:
    """A public method: its arguments, whether it belongs to the model, and in which versions there is one."""

    def __init__(
        self,
        do: Callable[..., Any],
        *arguments: str,
        of_the_model: bool = True,
        since: int = 0,
        until: int = 99,
    ) -> None:
        self._do, self.arguments, self.of_the_model = do, arguments, of_the_model
        self.since, self.until = since, until

    def __call__(self, erp: OdooErp, model: str, ids: list[int], arguments: Row, context: Row) -> Any:
        if context.get("lang", "en_US") != "en_US":
            raise OdooError("werkzeug.exceptions.UnprocessableEntity", f"Invalid language code: {context['lang']}")
        return self._do(erp, model, ids, context, **arguments)


def _search_read(
    erp: OdooErp,
    model: str,
    _: list[int],
    context: Row,
    *,
    domain: list[Any],
    fields: list[str],
    limit: int,
    order: str,
) -> list[Row]:
    erp.allow(model, "read")
    found = sorted(erp.search(model, domain, context), key=lambda row: int(row[order]))
    return erp.read(model, found[:limit], fields)


def _create(erp: OdooErp, model: str, _: list[int], context: Row, *, vals_list: Any) -> Any:
    erp.allow(model, "create")
    many = vals_list if isinstance(vals_list, list) else [vals_list]
    made = [erp.make(values, context) for values in many]
    return made if isinstance(vals_list, list) else made[0]


def _action_confirm(erp: OdooErp, model: str, ids: list[int], _: Row) -> bool:
    erp.allow(model, "write")
    return erp.confirm(ids)


def _fields_get(
    erp: OdooErp, model: str, _: list[int], __: Row, *, allfields: list[str], attributes: list[str]
) -> dict[str, Row]:
    types = erp.fields(model)
    return {name: {"type": types[name].split()[0]} for name in allfields if name in types and attributes == ["type"]}


def _has_access(
    erp: OdooErp, model: str, _: list[int], __: Row, *, operation: str, raise_exception: bool = False
) -> bool:
    return (model, operation) not in erp.denied


def _context_get(_: OdooErp, __: str, ___: list[int], ____: Row) -> Row:
    return {"lang": "en_US", "tz": False, "uid": UID}


_METHODS: Final[dict[str, _Method]] = {
    "search_read": _Method(_search_read, "domain", "fields", "offset", "limit", "order"),
    "create": _Method(_create, "vals_list"),
    "action_confirm": _Method(_action_confirm, of_the_model=False),
    "fields_get": _Method(_fields_get, "allfields", "attributes"),
    "has_access": _Method(_has_access, "operation", of_the_model=False, since=18),
    "check_access_rights": _Method(_has_access, "operation", "raise_exception", until=19),
    "context_get": _Method(_context_get),
}


def _page(status: int, text: str) -> Reply:
    page = f"<!doctype html><html lang=en><title>{status} {text}</title><h1>{text}</h1>"
    return Reply(status, page, {"Content-Type": "text/html; charset=utf-8"})
