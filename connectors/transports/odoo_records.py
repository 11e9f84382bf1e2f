"""What Odoo knows under the numbers and names that people use: each is one record of one company, or an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, DocumentError
from connectors.transports.http_erp import ambiguous, unknown
from connectors.transports.odoo_rpc import Domain, Odoo, Row

_WITHOUT_PAYMENT_TERMS: Final = 16
"""Before this version an order made by a program did not take those of its customer."""


@dataclass(frozen=True, kw_only=True)
class Company:
    """Whose orders they are."""

    key: int
    name: str
    currency: str


class Records:
    """The records of one company, as one user sees them; what hardly changes is asked once."""

    def __init__(self, odoo: Odoo, company: str | None) -> None:
        """Look through the eyes of a company.

        Args:
            odoo: the login.
            company: its name; None for that of the user.
        """
        self.odoo = odoo
        self._company_name = company
        self._known: dict[tuple[str, str, str], int] = {}
        self._currencies: dict[int, str] = {}

    @cached_property
    def company(self) -> Company:
        """The company; from here on Odoo shows and makes only what is its own.

        Raises:
            AuthenticationFailed: the user has no access to it.
        """
        domain: Domain = [["name", "=", self._company_name]]
        if self._company_name is None:
            users = self.odoo.search_read("res.users", [["id", "=", self.odoo.uid]], ["company_id"], limit=1)
            domain = [["id", "=", id_of(users[0].get("company_id")) if users else None]]
        rows = self.odoo.search_read("res.company", domain, ["name", "currency_id"], limit=2)
        if len(rows) != 1:
            raise closed(f"The company {self._company_name or 'of the user'}")
        (row,) = rows
        self.odoo.environment["allowed_company_ids"] = [row["id"]]
        return Company(key=row["id"], name=str(row.get("name")), currency=_name_of(row.get("currency_id")))

    def customer(self, field: str, number: str) -> Row:
        """Return the customer with this number, and what an order takes from it."""
        fields = ["property_product_pricelist"]
        if self.odoo.major < _WITHOUT_PAYMENT_TERMS:
            fields.append("property_payment_term_id")
        domain: Domain = [[field, "=", number], ["parent_id", "=", False], self._ours_or_shared]
        return self._one("res.partner", domain, fields, f"customer {number}")

    def delivery_address(self, customer: int, field: str, number: str, *, required: bool) -> int | None:
        """Return the delivery address of a customer with this number, or the customer itself where that has it."""
        own: Domain = ["|", ["id", "=", customer], "&", ["parent_id", "=", customer], ["type", "=", "delivery"]]
        where = f"delivery address {number}"
        rows = self.odoo.search_read("res.partner", [*own, [field, "=", number]], ["type"], limit=2)
        if len(rows) > 1:
            raise ambiguous(where)
        if not rows and required:
            raise unknown(where)
        return int(rows[0]["id"]) if rows else None

    def price_list(self, customer: Row, name: str | None, currency: str) -> int | None:
        """Return the price list that puts an order into a currency; None where that of the company does.

        Args:
            customer: see `customer`.
            name: of the price list; None for that of the customer.
            currency: of the order.

        Raises:
            DocumentError: the customer's price list is in another currency.
        """
        if name is not None:
            return self.named("product.pricelist", name, [["currency_id.name", "=", currency]])
        key = id_of(customer.get("property_product_pricelist"))
        if key is not None and key not in self._currencies:
            rows = self.odoo.search_read("product.pricelist", [["id", "=", key]], ["currency_id"], limit=1)
            self._currencies[key] = _name_of(rows[0].get("currency_id")) if rows else ""
        if (self._currencies[key] if key is not None else self.company.currency) != currency:
            raise DocumentError(where=f" (at header.currency: the customer has no price list in {currency})")
        return key

    def products(self, field: str, lines: Mapping[str, int]) -> dict[str, Row]:
        """Return the product with each number.

        Args:
            field: that holds the number.
            lines: the numbers, and a line in which each stands.
        """
        domain: Domain = [[field, "in", list(lines)], self._ours_or_shared]
        rows = self.odoo.search_read("product.product", domain, [field, "uom_id"], limit=2 * len(lines))
        found = Counter(str(row.get(field)) for row in rows)
        for number, line in lines.items():
            if found[number] > 1:
                raise ambiguous(f"line {line}, item {number}")
        # So many fit into the limit that none is missing for want of room.
        for number, line in lines.items():
            if not found[number]:
                raise unknown(f"line {line}, item {number}")
        return {str(row.get(field)): row for row in rows}

    def unit(self, product: Row, name: str, line: int) -> int:
        """Return the unit of this name: that in which the product is kept, if it is called so."""
        own = product.get("uom_id")
        if _name_of(own) == name and (key := id_of(own)) is not None:
            return key
        place = ("uom.uom", name, "")
        if place not in self._known:
            self._known[place] = self._one("uom.uom", [["name", "=", name]], ["name"], f"line {line}, unit {name}")[
                "id"
            ]
        return self._known[place]

    def named(self, model: str, name: str, domain: Domain | None = None) -> int:
        """Return what a setting names.

        Raises:
            AuthenticationFailed: there is none or more than one: no fault of a single order.
        """
        place = (model, name, str(domain))
        if place not in self._known:
            wanted: Domain = [["name", "=", name], *(domain or []), self._ours_or_shared]
            rows = self.odoo.search_read(model, wanted, ["name"], limit=2)
            if len(rows) != 1:
                raise closed(f"{model} {name}")
            self._known[place] = rows[0]["id"]
        return self._known[place]

    def check(self, rights: Iterable[tuple[str, str]], fields: Iterable[tuple[str, str]]) -> None:
        """Find out whether the user has these rights, and the models have these fields.

        Raises:
            AuthenticationFailed: something is missing.
        """
        for model, operation in rights:
            if not self.odoo.may(model, operation):
                raise closed(f"{model} ({operation})")
        for model, field in fields:
            if field not in self.odoo.types_of(model, [field]):
                raise closed(f"{model}.{field}")

    @property
    def _ours_or_shared(self) -> list[Any]:
        return ["company_id", "in", [False, self.company.key]]

    def _one(self, model: str, domain: Domain, fields: list[str], where: str) -> Row:
        rows = self.odoo.search_read(model, domain, fields, limit=2)
        if not rows:
            raise unknown(where)
        if len(rows) > 1:
            raise ambiguous(where)
        return rows[0]


def closed(what: str) -> AuthenticationFailed:
    """Return the error for what this user does not reach; nothing is sent until that is mended."""
    return AuthenticationFailed(Code.PERMISSION_DENIED, path=what)


def id_of(relation: Any) -> int | None:
    """Return the id in a relation, which is `[id, name]` or False."""
    return relation[0] if isinstance(relation, list) and relation and isinstance(relation[0], int) else None


def _name_of(relation: Any) -> str:
    return str(relation[1]) if isinstance(relation, list) and len(relation) > 1 else ""
