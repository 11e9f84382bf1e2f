"""Makes the database of a Tryton server: the module sale, a company with its accounts, customers and things to sell.

Run by the Python of the server's own virtualenv, and never imported: `python tryton_database.py FOLDER`.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

try:
    from trytond.config import config
except ImportError:  # from 7.8 on
    from trytond import config
from trytond import backend
from trytond.model.modelstorage import ModelStorage
from trytond.modules.account.tests import create_chart
from trytond.modules.company.tests import create_company, set_company
from trytond.modules.currency.tests import create_currency
from trytond.pool import Pool
from trytond.transaction import Transaction, TransactionError

NAME = "erp"
PASSWORD = "s3cret-and-never-shown"
LOGINS = {"shop": ("sale.group_sale", "account_credit_limit.group_credit_limit"), "guest": (), "locked": ()}
"""The users besides admin, and the groups they are in where there are such groups."""
ADDRESS = {"street": "Große Straße 1", "postal_code": "80331", "city": "München"}


def main(folder: Path) -> None:
    """Write `erp.sqlite` into a folder."""
    (folder / f"{NAME}.sqlite").touch()
    (folder / "trytond.conf").write_text(f"[database]\nuri = sqlite://\npath = {folder}\n")
    config.update_etc(str(folder / "trytond.conf"))
    with Transaction().start(NAME, 0, autocommit=True):
        database = backend.Database(NAME)
        database.connect()
        database.init()
    Pool.start()
    pool = Pool(NAME)
    _activate(pool)
    _in_one_transaction(lambda: _fill(pool))


def _activate(pool: Any) -> None:
    """Activate the modules, without checking again what their makers ship: that takes a third of the time."""
    optional = [name for name in ("sale_credit_limit",) if find_spec(f"trytond.modules.{name}")]
    gc.disable()
    with patch.object(ModelStorage, "_validate", classmethod(lambda *_, **__: None)):
        pool.init(update=["ir", "res", "sale", *optional], lang=["en"], activatedeps=True)
    gc.enable()


def _in_one_transaction(act: Callable[[], None]) -> None:
    """Do it; once more, if only meanwhile it turns out which tables have to be locked from the start."""
    locks: dict[str, Any] = {}
    while True:
        with Transaction().start(NAME, 1, **locks) as transaction:
            try:
                return act()
            except TransactionError as error:
                transaction.rollback()
                error.fix(locks)


def _fill(pool: Any) -> None:
    company = create_company("Acme Trading", create_currency("EUR"))
    with set_company(company):
        create_chart(company, tax=True)
        _users(pool, company)
        _customers(pool)
        _products(pool)


def _users(pool: Any, company: Any) -> None:
    users = pool.get("res.user")
    users.write([users(1)], {"password": PASSWORD})
    groups = {(data.module, data.fs_id): data.db_id for data in pool.get("ir.model.data").search(
        [("model", "=", "res.group")])}  # fmt: skip
    for login, names in LOGINS.items():
        belongs = [groups[key] for name in names if (key := tuple(name.split("."))) in groups]
        of_company = {"companies": [("add", [company.id])], "company": company.id}
        users.create(
            [{"name": login, "login": login, "password": PASSWORD, "groups": [("add", belongs)], **of_company}]
        )


def _customers(pool: Any) -> None:
    def customer(code: str, **more: Any) -> dict[str, Any]:
        return {"name": f"Customer {code}", "code": code, "addresses": [("create", [ADDRESS])], **more}

    parties = pool.get("party.party")
    parties.create([customer("4711"), customer("c-1"), customer("homeless", addresses=[])])
    if "credit_limit_amount" in parties._fields:
        parties.create([customer("indebted", credit_limit_amount=Decimal(5))])
    parties.create([customer("twins"), customer("twins-2")])
    twins = parties.search([("code", "like", "twins%")])
    identifiers = [{"party": twin.id, "type": None, "code": "4012345000009"} for twin in twins]
    pool.get("party.identifier").create(identifiers)


def _products(pool: Any) -> None:
    (metre,) = pool.get("product.uom").search([("symbol", "=", "m")])
    metre.digits, metre.rounding = 3, 0.001
    metre.save()
    (tax,) = pool.get("account.tax").search([])
    (revenue,) = pool.get("account.account").search([("type.revenue", "=", True), ("closed", "!=", True)], limit=1)
    accounting = {"accounting": True, "account_revenue": revenue.id, "customer_taxes": [("add", [tax.id])]}
    (category,) = pool.get("product.category").create([{"name": "Cables", **accounting}])
    cable = {"type": "goods", "salable": True, "default_uom": metre.id, "sale_uom": metre.id}
    for number in range(1, 4):
        product = {"suffix_code": f"INT-{number}", "identifiers": [("create", [{"code": f"400638133393{number}"}])]}
        pool.get("product.template").create(
            [
                {
                    "name": f"Cable {number}",
                    "list_price": Decimal("9.99"),
                    "account_category": category.id,
                    "products": [("create", [product])],
                    **cable,
                }
            ]
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
