"""TRYTON against real servers, 7.0 and 8.0: from the front door, by the contract, and what is particular to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest

from connectors import strict_json
from connectors.adapters.tryton import TrytonConnector
from connectors.exceptions import ConfigurationError, ConnectorError, DocumentError, OutcomeUnknown
from connectors.formats.tryton import ADDRESSES, decimal_in
from connectors.models import ERPConnection
from connectors.order import Order
from connectors.port import ExportContext
from connectors.results import Document, RemoteIdentity
from connectors.services import acknowledgements
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract, Provocation
from connectors.testing.fakes import context, export_context
from connectors.tests.adapters.over_http import SECRET, FrontDoor
from connectors.tests.adapters.provocations import over_http
from connectors.tests.peers.https import Authority, HttpServer
from connectors.tests.peers.imitation import says
from connectors.tests.peers.tryton import DATABASE, PASSWORD, Trytond, TrytonErp, home, method_of

ADDRESS = ("street", "postal_code", "city")
assert PASSWORD == SECRET


def running(version: str) -> Iterator[Trytond]:
    installed = home(version)
    if installed is None:
        pytest.skip(f"needs .ci/tryton, which installs Tryton {version}")
    with Trytond(installed) as server:
        yield server


@pytest.fixture(scope="session")
def trytond() -> Iterator[Trytond]:
    yield from running("7.0")


@pytest.fixture(scope="session")
def trytond_8() -> Iterator[Trytond]:
    yield from running("8.0")


@contextmanager
def _emptied(server: Trytond) -> Iterator[TrytonErp]:
    """Stand in front of a server, and leave no sale there."""
    try:
        yield TrytonErp(server)
    finally:
        server.empty()


CONFIG: dict[str, Any] = {
    "database": DATABASE,
    "username": "shop",
    "password": PASSWORD,
    "units": {"M": "m"},
    "target_state": "quotation",
    "timeout_s": 30,
    "settle_s": 0,
}


class OfTryton(FrontDoor):
    """How a connection to Tryton is made, and what it is asked for."""

    connector_type = "TRYTON"
    number = "1"
    final_status = "SENT"

    @pytest.fixture
    def erp(self, trytond: Trytond) -> Iterator[TrytonErp]:
        with _emptied(trytond) as erp:
            yield erp

    def config(self) -> dict[str, Any]:
        return CONFIG

    def orders_of(self, erp: TrytonErp) -> list[Any]:
        return erp.server.sales()

    def refuse(self, erp: TrytonErp) -> None:
        erp.server.change_password("shop", "another-password")

    def double(self, erp: TrytonErp) -> None:
        (sale,) = erp.server.sales()
        erp.server.call("model.sale.sale.copy", [sale["id"]], {})


class TestFrontDoor(OfTryton):
    """What every connector over HTTP goes through, against 7.0."""

    def test_an_order_that_is_made_after_we_stopped_waiting(self, connect, push, erp):
        super().test_an_order_that_is_made_after_we_stopped_waiting(lambda: connect(timeout_s=3), push, erp)

    def test_a_confirmed_sale_is_one_like_any_other(self, connect, push, erp):
        export = push(connect(target_state="confirmed"))

        (sale,) = erp.server.sales("state", "untaxed_amount", "tax_amount", "invoice_address", "payment_term")
        assert (sale["state"], bool(sale["invoice_address"])) == ("processing", True)
        assert (export.status, export.erp_order_id) == ("ACKED", "1")
        assert decimal_in(sale["tax_amount"]) == round(decimal_in(sale["untaxed_amount"]) / 5, 2)  # 20 % as proposed

    @pytest.mark.parametrize("faults", [("passes", "drop"), ("passes", "passes", "drop"), ("passes", "cut")])
    def test_it_is_quoted_and_confirmed_where_an_attempt_ended(self, connect, push, erp, faults):
        erp.faults += [getattr(erp, name) for name in faults]

        export = push(connect(target_state="confirmed"), times=2)

        assert (export.status, export.erp_order_id, export.attempts) == ("ACKED", "1", 2), export.error
        assert len(erp.server.sales()) == 1

    def test_a_warning_is_accepted_and_told(self, connect, push):
        export = push(
            connect(target_state="confirmed", accept_warnings=True),
            customer={"id": "c", "erp_customer_number": "indebted"},
        )

        assert (export.status, export.erp_order_id) == ("ACKED", "1"), export.error
        assert any("credit" in warning for warning in export.warnings)

    def test_what_is_refused_on_the_way_is_for_a_person(self, connect, push, erp):
        connection = connect(target_state="confirmed")
        export = push(connection, customer={"id": "c", "erp_customer_number": "indebted"})
        assert (export.status, export.erp_order_id) == ("SENT", "1"), export.error
        assert any("state quotation" in warning and "credit" in warning for warning in export.warnings)

        (sale,) = erp.server.sales()
        erp.server.call("model.sale.sale.cancel", [sale["id"]])
        assert acknowledgements.poll(connection.pk) == 1

        export.refresh_from_db()
        assert (export.status, export.error["erp"]["code"]) == ("REJECTED", "cancelled")

    def test_a_draft_is_followed_until_somebody_confirms_it(self, connect, push, erp):
        connection = connect(target_state="draft", addresses="comment")
        export = push(connection)
        assert (export.status, export.erp_order_id) == ("SENT", "")
        assert acknowledgements.poll(connection.pk) == 0

        (sale,) = erp.server.sales("comment")
        assert "Deliver to: Muster GmbH, Wareneingang, Große Straße 1, 80331 München, BY, DE" in sale["comment"]
        for button in ("quote", "confirm"):
            erp.server.call(f"model.sale.sale.{button}", [sale["id"]])
        assert acknowledgements.poll(connection.pk) == 1

        export.refresh_from_db()
        assert (export.status, export.erp_order_id) == ("ACKED", "1")

    @pytest.mark.parametrize(
        ("changes", "order", "status", "text"),
        [
            ({}, {"customer": {"id": "c", "erp_customer_number": "nobody"}}, "FAILED", "erp_customer_number"),
            ({"find_customers_by": "identifier"},
             {"customer": {"id": "c", "erp_customer_number": "4012345000009"}}, "FAILED", "more than one"),
            ({"units": {}}, {}, "FAILED", "line 1, unit M"),
            ({"units": {"M": "u"}}, {}, "FAILED", "line 1, unit u"),
            ({"find_items_by": "identifier"}, {}, "FAILED", "line 1, internal_sku"),
            ({}, {"ship_to": {"name": "X", "street": "Nowhere 1", "city": "X"}}, "FAILED", "ship_to"),
            ({}, {"ship_to": {"name": "X", "gln": "4012345000009"}}, "FAILED", "ship_to"),
        ],
    )  # fmt: skip
    def test_what_tryton_does_not_know(self, connect, push, erp, changes, order, status, text):
        export = push(connect(**changes), **order)

        assert (export.status, text in export.error["message"]) == (status, True), export.error
        assert not erp.server.sales()

    @pytest.mark.parametrize(
        ("answer", "status", "health", "said"),
        [
            (["UserError", ["No <b>more</b>", "", [["a" * 9000]]]], "REJECTED", "UNTESTED", "No more"),
            (["UserWarning", ["name", "Sure?", ""]], "REJECTED", "UNTESTED", "Sure?"),
            (["UserError", ['You are not allowed to access "Sale".', "", None]], "PENDING", "AUTH_FAILED",
             'You are not allowed to access "Sale".'),
            (["ConcurrencyException", "Records have been modified"], "PENDING", "UNTESTED", None),
            (["'sale.sale'", ""], "PENDING", "AUTH_FAILED", None),
            (["connection to 10.1.2.3 failed", f"Traceback: {SECRET}"], "PENDING", "UNTESTED", None),
        ],
    )  # fmt: skip
    def test_what_an_error_means(self, connect, push, erp, answer, status, health, said):
        erp.faults.append(says(200, {"id": 1, "error": answer}))

        export = push(connect(target_state="draft"))

        assert (export.status, ERPConnection.objects.get().health) == (status, health), export.error
        assert (export.error.get("erp") or {}).get("message") == said
        assert SECRET not in str(export.error)
        assert "10.1.2.3" not in str(export.error)


class Recording(TrytonConnector):
    """Remembers what it rendered for which export."""

    documents: ClassVar[dict[str, Document]] = {}

    def render(self, order: Order, config: Any, context: ExportContext) -> Document:
        document = super().render(order, config, context)
        self.documents[str(context.export_id)] = document
        return document


@pytest.mark.usefixtures("host_names")
class TestContract(ConnectorContract):
    connector_class = Recording

    @pytest.fixture(autouse=True)
    def _servers(
        self, trytond: Trytond, start_https: Callable[..., HttpServer], authority: Authority
    ) -> Iterator[None]:
        with _emptied(trytond) as self.erp:
            self.https, self.ca = start_https(self.erp), authority.certificate
            self.read: dict[int, tuple[str, bytes]] = {}
            yield

    def config(self) -> dict[str, Any]:
        there = {"base_url": self.https.url(), "ca_bundle": self.ca, "customer_number_from": "id"}
        return CONFIG | there | {"target_state": "draft", "timeout_s": 10}

    def far_end(self) -> Mapping[str, bytes]:
        here = [sale["id"] for sale in self.erp.server.sales()]
        self.read |= {key: self._read(key) for key in here if key not in self.read}
        return dict(self.read[key] for key in here)

    def _read(self, key: int) -> tuple[str, bytes]:
        """Return the name and the content of the document from which a sale was made, if that is what it says."""
        (sale,) = self.erp.server.sales(*READ, key=key)
        document = Recording.documents[sale["description"]]
        sent = strict_json.loads(document.content)
        says_it = _as_sent(sale, sent)
        return document.filename, document.content if says_it == sent else repr(says_it).encode()

    def broken_configs(self) -> list[dict[str, Any]]:
        changes = [{"database": "nothing"}, {"company": "Nobody"}, {"export_id_field": "nothing"}, {"ca_bundle": None}]
        return [self.config() | change for change in changes]

    def failures(self) -> Mapping[type[ConnectorError], Callable[[], Provocation]]:
        return over_http(self, self.erp.faults, self.erp.drop, _order(internal_sku="NOTHING"))


READ = (
    "party.code", "reference", "description", "currency.code", "sale_date", "shipping_date", "comment",
    *(f"{address}.{part}" for address in ("invoice_address", "shipment_address") for part in ADDRESS),
    *(f"lines.{name}" for name in ("sequence", "product.code", "quantity", "unit.symbol", "unit_price", "description",
                                   "note")),
)  # fmt: skip


def _as_sent(sale: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """Return a sale as the document that it came from, as far as that says anything."""
    said = {
        "party": sale["party."]["code"],
        "reference": sale["reference"],
        "description": sale["description"],
        "currency": sale["currency."]["code"],
        "sale_date": _day(sale["sale_date"]),
        "shipping_date": _day(sale["shipping_date"]),
        "comment": sale["comment"],
        **{name: {part: sale[f"{name}."][part] for part in ADDRESS} for name in ADDRESSES if name in sent},
        "lines": [
            {
                "sequence": line["sequence"],
                "product": line["product."]["code"],
                "quantity": line["quantity"],
                "unit": line["unit."]["symbol"],
                "unit_price": decimal_in(line["unit_price"]),
                "description": line["description"],
                "note": line["note"],
            }
            for line in sale["lines."]
        ],
    }
    said["lines"] = [_without_none(line) for line in said["lines"]]
    return _without_none(said)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _day(value: Any) -> str | None:
    return value and f"{value['year']}-{value['month']:02}-{value['day']:02}"


def _order(**line: Any) -> Order:
    """Return an order with one line that differs."""
    order = sample_orders.minimal("SO-OTHER").as_json()
    order["lines"][0] |= line
    return Order.parse(order)


@pytest.mark.usefixtures("host_names")
class TestDirectly:
    """What shows without the front door."""

    @pytest.fixture(autouse=True)
    def _servers(
        self, trytond: Trytond, start_https: Callable[..., HttpServer], authority: Authority
    ) -> Iterator[None]:
        with _emptied(trytond) as self.erp:
            self.http, self.ca = start_https(self.erp), authority.certificate
            yield

    def config(self, **changes: Any) -> Any:
        there = {"base_url": self.http.url(), "ca_bundle": self.ca, "target_state": "draft"}
        return TrytonConnector.Config.parse(CONFIG | there | changes)

    @pytest.mark.parametrize("auth_kind", ["session", "basic"])
    def test_who_is_asked_and_who_answers(self, auth_kind):
        config = self.config(auth_kind=auth_kind, company="Acme Trading")

        result = TrytonConnector().test_connection(config, context())

        assert result.success, result.failed_step
        assert result.identity == RemoteIdentity(company="Acme Trading", currency="EUR")
        assert result.steps[-1].detail == "shop, Acme Trading"

    @pytest.mark.parametrize(
        ("changes", "step", "code"),
        [
            ({"username": "guest"}, "read", "PERMISSION_DENIED"),
            ({"username": "nobody"}, "authenticate", "AUTHENTICATION_FAILED"),
            ({"username": "nobody", "auth_kind": "basic"}, "read", "AUTHENTICATION_FAILED"),
            ({"username": "locked"}, "authenticate", "RATE_LIMITED"),
            ({"database": "nothing"}, "authenticate", "ENDPOINT_UNUSABLE"),
            ({"company": "Nobody"}, "read", "PATH_NOT_FOUND"),
            ({"export_id_field": "nothing"}, "read", "PATH_NOT_FOUND"),
        ],
    )
    def test_what_is_missing(self, changes, step, code):
        self.erp.server.lock("locked")

        failed = TrytonConnector().test_connection(self.config(**changes), context()).failed_step

        assert failed
        assert (failed.name, failed.code) == (step, code)

    def test_one_number_twice_without_a_field_of_ours(self):
        config = self.config(export_id_field=None)
        first, second = sample_orders.complete("SO-1"), sample_orders.complete("SO-2")

        TrytonConnector().export(first, config, export_context())
        again = TrytonConnector().export(second, config, export_context())

        assert again.receipt.already_delivered
        assert len(self.erp.server.sales()) == 1

    def test_a_session_that_tryton_has_ended_is_renewed(self):
        with TrytonConnector().open_session(self.config(), context()) as session:
            session.export(sample_orders.complete(), export_context())
            self.erp.server.end_sessions()
            session.export(sample_orders.complete(), export_context())

        logins = [request.path for request in self.http.requests if method_of(request) == "common.db.login"]
        assert logins == ["/erp/rpc/", "/erp/"] * 2
        assert len(self.erp.server.sales()) == 2

    def test_the_prices_of_tryton(self):
        config = self.config(send_prices=False, addresses="comment")

        TrytonConnector().export(sample_orders.complete(), config, export_context())

        (sale,) = self.erp.server.sales("lines.unit_price")
        assert [decimal_in(line["unit_price"]) for line in sale["lines."]] == [Decimal("9.99")] * 3

    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"order_type": "OR"}, "order_type"),
            ({"export_id_field": "reference"}, "export_id_field"),
            ({"username": "a:b"}, "username"),
            ({"database": "../other"}, "database"),
        ],
    )
    def test_what_cannot_be_configured(self, changes, path):
        with pytest.raises(ConfigurationError) as refusal:
            self.config(**changes)

        assert [fault.path for fault in refusal.value.faults] == [path]

    def test_a_quantity_that_tryton_would_round(self):
        order = _order(qty="123456789012345.123")

        with pytest.raises(DocumentError, match="line 1, qty"):
            TrytonConnector().render(order, self.config(customer_number_from="id"), export_context())


def test_the_document():
    config = TrytonConnector.Config.parse(CONFIG | {"base_url": "https://erp.test/", "addresses": "comment"})
    attempt = export_context(export_id=UUID(int=7))

    document = TrytonConnector().render(sample_orders.complete(), config, attempt)

    address = "Muster GmbH, Wareneingang, Große Straße 1, 80331 München, BY, DE, 4012345000009"
    assert document.content.decode() == (
        '{"party":"4711","reference":"PO-12345","description":"00000000-0000-0000-0000-000000000007",'
        '"currency":"EUR","sale_date":"2025-12-01","shipping_date":"2025-12-10",'
        rf'"comment":"Bitte vor 8 Uhr.\n\tTor 3 \\ links\n\nInvoice to: {address}\n\nDeliver to: {address}",'
        '"lines":[{"sequence":1,"product":"INT-1","quantity":10.50,"unit":"m","unit_price":1.2300,'
        '"description":"Kabel NYM-J 3x1,5 ⚡","note":"Requested delivery: 2025-12-11"},'
        '{"sequence":2,"product":"INT-2","quantity":0.001,"unit":"m","unit_price":12345678901234.5678},'
        '{"sequence":3,"product":"INT-3","quantity":123456789012345.100,"unit":"m","unit_price":0.0000}]}'
    )


@pytest.mark.usefixtures("host_names")
def test_the_other_address_of_8_0(trytond_8, start_https, authority):
    connector, attempt = TrytonConnector(), export_context()
    with _emptied(trytond_8) as erp:
        http = start_https(erp)
        there = {"base_url": http.url(), "ca_bundle": authority.certificate}
        config = connector.Config.parse(CONFIG | there | {"target_state": "confirmed"})
        assert connector.test_connection(config, context()).success
        erp.faults += [erp.passes, erp.drop]
        with pytest.raises(OutcomeUnknown):
            connector.export(sample_orders.complete(), config, attempt)

        found = connector.find_export(sample_orders.complete(), config, attempt)

    assert found
    assert (found.erp_order_id, found.acknowledged, found.receipt.already_delivered) == ("1", True, True)
    assert {request.path for request in http.requests} == {"/erp/rpc/"}
