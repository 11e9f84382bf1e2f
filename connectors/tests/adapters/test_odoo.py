"""ODOO against an imitation of Odoo 14 to 19: the shared scenarios, the contract, and what is particular to Odoo."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx2
import pytest

from connectors import exact_json
from connectors.adapters.odoo import RULES, OdooConfig, OdooConnector
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RejectedByERP,
    TemporaryError,
)
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Awaited, ExportContext, Guarantee
from connectors.results import AckStatus, ExportResult, RemoteIdentity, Settlement, TestResult
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract
from connectors.testing.fakes import context, export_context
from connectors.tests.adapters.over_http import SECRET, TRACEBACK, FrontDoor
from connectors.tests.adapters.provocations import Failures, over_http
from connectors.tests.peers.https import Authority, Exchange, HttpServer
from connectors.tests.peers.imitation import says
from connectors.tests.peers.odoo_erp import DATABASE, LOGIN, OdooErp, OdooError
from connectors.transports.http_answers import Answer
from connectors.transports.http_errors import judge

CONNECTOR = OdooConnector()
ACCOUNT: dict[str, Any] = {"database": DATABASE, "username": LOGIN, "api_key": SECRET}
VERSIONS = (19, 17)
"""One for each interface."""


class TestFrontDoor(FrontDoor):
    """By JSON-2; with confirmation, so that an order takes two steps."""

    connector_type = "ODOO"
    number = "S00001"

    @pytest.fixture
    def erp(self) -> OdooErp:
        return OdooErp(SECRET)

    def config(self) -> dict[str, Any]:
        return ACCOUNT | {"confirm": True}

    def orders_of(self, erp: Any) -> dict[int, Any]:
        return erp.orders

    def refuse(self, erp: Any) -> None:
        erp.api_key = "another"

    def double(self, erp: Any) -> None:
        copied(erp)


def copied(erp: OdooErp) -> None:
    """Copy the first order, as somebody does in Odoo."""
    original = {name: value for name, value in erp.orders[1].items() if name != "id"}
    erp.add("sale.order", **original | {"name": f"S{len(erp.orders) + 1:05}", "state": "draft"})


@pytest.mark.usefixtures("host_names")
class TestContract(ConnectorContract):
    """By JSON-RPC, with the oldest version."""

    connector_class = OdooConnector

    @pytest.fixture(autouse=True)
    def server(self, start_https: Callable[..., HttpServer], authority: Authority) -> None:
        self.erp, self.ca = OdooErp(SECRET, version=14), authority.certificate
        self.http = start_https(self.erp)

    def config(self) -> dict[str, Any]:
        base = {"base_url": self.http.url(), "ca_bundle": self.ca, "settle_s": 0}
        return base | ACCOUNT | {"customer_number_from": "id", "reference_from": "order_id", "tax": "19%"}

    def far_end(self) -> Mapping[str, bytes]:
        documents = [as_document(self.erp, key) for key in self.erp.orders]
        return {filename(document): exact_json.dumps(document).encode() for document in documents}

    def broken_configs(self) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = [
            {"api_key": "wrong-and-secret"},
            {"database": "no-such-database"},
            {"company": "Globex"},
            {"export_id_field": "x_no_such_field"},
            {"tax": "7%"},
            {"order_type": "Standard"},
            {"language": "de_DE"},
            {"interface": "json_2"},
            {"username": "nobody"},
        ]
        return [self.config() | change for change in changes]

    def failures(self) -> Failures:
        return over_http(self, self.erp.faults, self.erp.drop, with_line(internal_sku="INT-4"))


def as_document(erp: OdooErp, key: int) -> dict[str, Any]:
    """Return a sales order as the document that it was made from: with numbers and names for Odoo's ids."""
    sent, tables = erp.sent[key], erp.tables
    unit, tax = ("product_uom_id", "tax_ids") if erp.version >= 19 else ("product_uom", "tax_id")
    header = {
        "origin": sent["origin"],
        "client_order_ref": sent["client_order_ref"],
        "partner_id": tables["res.partner"][sent["partner_id"]]["ref"],
        "currency_id": erp.read("sale.order", [erp.orders[key]], ["currency_id"])[0]["currency_id"][1],
        "date_order": sent["date_order"],
    }
    if "partner_shipping_id" in sent:
        header["partner_shipping_id"] = tables["res.partner"][sent["partner_shipping_id"]]["ref"]
    if "commitment_date" in sent:
        header["commitment_date"] = sent["commitment_date"]
    if "note" in sent:
        header["note"] = sent["note"].replace("<br>", "\n")
    lines = [
        {
            "sequence": line["sequence"],
            "product_id": tables["product.product"][line["product_id"]]["default_code"],
            "product_uom_qty": line["product_uom_qty"],
            "product_uom_id": tables["uom.uom"][line[unit]]["name"],
            "price_unit": line["price_unit"],
            **({"name": line["name"]} if "name" in line else {}),
            "tax_ids": [tables["account.tax"][taxed]["name"] for taxed in line[tax][0][2]],
        }
        for _, _, line in sent["order_line"]
    ]
    return header | {"order_line": [[0, 0, line] for line in lines]}


def filename(document: Mapping[str, Any]) -> str:
    """Return the name of a document that has the order's own number for a reference."""
    names = {"export_id": UUID(document["origin"]), "created_at": datetime(2025, 12, 26, 10, 0, tzinfo=UTC)}
    return orderflow_json_v1.filename(document["client_order_ref"], **names)


def with_line(**changes: Any) -> Order:
    """Return an order of one line that is unlike the usual one."""
    order = sample_orders.minimal().as_json()
    order["customer"]["erp_customer_number"] = "4711"
    order["lines"][0] |= changes
    return Order.parse(order)


ORDER = with_line()


class Far:
    """An Odoo, and a connection to it."""

    def __init__(self, erp: OdooErp, http: HttpServer, authority: Authority) -> None:
        self.erp, self.http = erp, http
        self.base = ACCOUNT | {"base_url": http.url(), "ca_bundle": authority.certificate, "settle_s": 0}

    def config(self, **changes: Any) -> OdooConfig:
        return OdooConfig.parse(self.base | changes)

    def export(self, order: Order = ORDER, attempt: ExportContext | None = None, **changes: Any) -> ExportResult:
        return CONNECTOR.export(order, self.config(**changes), attempt or export_context())

    def test(self, **changes: Any) -> TestResult:
        return CONNECTOR.test_connection(self.config(**changes), context())

    def fails(self, **arguments: Any) -> ConnectorError:
        with pytest.raises(ConnectorError) as failure:
            self.export(**arguments)
        assert SECRET not in f"{failure.value} {failure.value.said}"
        assert "Traceback" not in str(failure.value.said)
        return failure.value

    @property
    def order(self) -> dict[str, Any]:
        (order,) = self.erp.orders.values()
        return order

    @property
    def sent(self) -> dict[str, Any]:
        (sent,) = self.erp.sent.values()
        return sent


@pytest.fixture
def odoo(request, host_names, start_https, authority):
    erp = OdooErp(SECRET, getattr(request, "param", 19))
    return Far(erp, start_https(erp), authority)


both = pytest.mark.parametrize("odoo", VERSIONS, indirect=True, ids=["json_2", "json_rpc"])


# What is sent


def test_the_document(odoo):
    attempt = export_context(export_id=UUID(int=7))
    config = odoo.config(pricelists={"EUR": "Public"}, company="ACME Europe", order_type="Shop", tax="19%")

    document = CONNECTOR.render(sample_orders.complete(), config, attempt)

    assert document.content.decode() == (
        '{"origin":"00000000-0000-0000-0000-000000000007","client_order_ref":"PO-12345","partner_id":"4711",'
        '"currency_id":"EUR","date_order":"2025-12-01 12:00:00","company_id":"ACME Europe",'
        '"partner_shipping_id":"4012345000009","pricelist_id":"Public","commitment_date":"2025-12-10 12:00:00",'
        '"note":"Bitte vor 8 Uhr.\\n\\tTor 3 \\\\ links","type_id":"Shop","order_line":['
        '[0,0,{"sequence":1,"product_id":"INT-1","product_uom_qty":10.50,"product_uom_id":"m","price_unit":1.2300,'
        '"name":"Kabel NYM-J 3x1,5 ⚡","tax_ids":["19%"]}],'
        '[0,0,{"sequence":2,"product_id":"INT-2","product_uom_qty":0.001,"product_uom_id":"m",'
        '"price_unit":12345678901234.5678,"tax_ids":["19%"]}],'
        '[0,0,{"sequence":3,"product_id":"INT-3","product_uom_qty":123456789012345.100,"product_uom_id":"m",'
        '"price_unit":0.0000,"tax_ids":["19%"]}]]}'
    )
    assert document.filename == "sales_order_SO-2025_0042_20251226T100000Z_00000000.json"


@pytest.mark.parametrize(
    ("odoo", "unit", "tax", "terms"),
    [(14, "product_uom", "tax_id", 1), (18, "product_uom", "tax_id", None), (19, "product_uom_id", "tax_ids", None)],
    indirect=["odoo"],
)
def test_each_version_gets_its_own_fields(odoo, unit, tax, terms):
    odoo.export(sample_orders.complete(), tax="19%")

    line = odoo.sent["order_line"][0][2]
    assert (line[unit], line[tax]) == (2, [[6, 0, [1]]])
    assert (line["product_id"], line["product_uom_qty"], line["price_unit"]) == (1, Decimal("10.50"), Decimal("1.2300"))
    assert odoo.sent.get("payment_term_id") == terms
    assert odoo.sent["pricelist_id"] == odoo.sent["company_id"] == 1
    assert ("<br>" in odoo.sent["note"]) is (odoo.erp.version > 14)
    assert "name" not in odoo.sent
    assert "currency_id" not in odoo.sent


def test_a_note_is_text_and_no_markup(odoo):
    order = ORDER.model_copy(update={"header": ORDER.header.model_copy(update={"notes": "<b>5 > 4</b>\nnow"})})

    odoo.export(order)

    assert odoo.sent["note"] == "&lt;b&gt;5 &gt; 4&lt;/b&gt;<br>now"


def test_prices_and_texts_may_stay_at_home(odoo):
    odoo.export(with_line(description="Cable"), send_prices=False, send_descriptions=False)

    assert not {"price_unit", "name"} & set(odoo.sent["order_line"][0][2])


@both
def test_as_few_requests_as_possible(odoo):
    odoo.export(sample_orders.complete())

    asked = [request.path.removeprefix("/json/2/") for request in odoo.http.requests]
    assert len(asked) == {19: 13, 17: 14}[odoo.erp.version], asked


# Which interface


@pytest.mark.parametrize(
    ("odoo", "interface", "spoken"),
    [(19, "auto", "json/2"), (19, "json_2", "json/2"), (19, "json_rpc", "jsonrpc"), (16, "auto", "jsonrpc")],
    indirect=["odoo"],
)
def test_the_interface_is_chosen_or_found_out(odoo, interface, spoken):
    result = odoo.test(interface=interface)

    assert result.success, result.failed_step
    assert odoo.http.requests[-1].path.startswith(f"/{spoken}")
    expected = f"{'JSON-2' if spoken == 'json/2' else 'JSON-RPC'} of Odoo {odoo.erp.version}"
    assert result.steps[-1].detail.startswith(expected)
    assert result.identity == RemoteIdentity(company="ACME Europe", currency="EUR", server="Odoo")


def test_json_2_needs_neither_database_nor_user(odoo):
    account = {"interface": "json_2", "database": None, "username": None}

    assert CONNECTOR.export(ORDER, OdooConfig.parse(_given(odoo.base | account)), export_context()).erp_order_id
    with pytest.raises(ConfigurationError) as refused:
        OdooConfig.parse(_given(odoo.base | account | {"interface": "auto"}))
    assert [fault.path for fault in refused.value.faults] == ["database", "username"]


def _given(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if value is not None}


def test_the_last_day_of_the_key_is_known(odoo):
    (expiry,) = odoo.config(api_key_expires_on="2026-02-28").expiries()

    assert (expiry.field, expiry.expires_at) == ("api_key", datetime(2026, 2, 28, tzinfo=UTC))


# Who and what is meant


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"customer": {"id": "c-9", "erp_customer_number": "4712"}}, "customer 4712: the ERP does not know it"),
        ({"ship_to": {"name": "Muster", "gln": "4012345000016"}}, "delivery address 4012345000016: the ERP does not"),
        ({"ship_to": {"name": "Muster"}}, "ship_to.gln: it is missing"),
        ({"lines": [{"internal_sku": "INT-9"}]}, "line 1, item INT-9: the ERP does not know it"),
        ({"lines": [{"internal_sku": "INT-2X"}]}, "line 1, item INT-2X: the ERP has more than one of it"),
        ({"lines": [{"uom": "BOX"}]}, "line 1, unit BOX: the ERP does not know it"),
        ({"header": {"currency": "USD"}}, "header.currency: the customer has no price list in USD"),
    ],
)
def test_what_odoo_does_not_know_is_named(odoo, change, where):
    for _ in range(2):
        odoo.erp.add("product.product", name="Cable", default_code="INT-2X", uom_id=2)
    order = ORDER.as_json() | {name: value for name, value in change.items() if name != "lines"}
    order["lines"][0] |= change.get("lines", [{}])[0]

    error = odoo.fails(order=Order.parse(order))

    assert isinstance(error, DocumentError)
    assert where in error.message
    assert not odoo.erp.orders


def test_a_delivery_address_that_need_not_be_known(odoo):
    order = Order.parse(ORDER.as_json() | {"ship_to": {"name": "Muster", "gln": "4012345000016"}})

    result = odoo.export(order, ship_to="if_known")

    assert result.warnings == ("Odoo does not know the delivery address: the customer's own took its place.",)
    assert "partner_shipping_id" not in odoo.sent


def test_the_delivery_address_is_that_of_the_customer(odoo):
    odoo.export(sample_orders.complete())
    mine, theirs = odoo.sent["partner_shipping_id"], 4

    assert odoo.erp.tables["res.partner"][mine]["parent_id"] == odoo.sent["partner_id"]
    assert odoo.erp.tables["res.partner"][theirs]["ref"] == odoo.erp.tables["res.partner"][mine]["ref"]


def test_what_is_of_another_company_is_not_seen(odoo):
    odoo.erp.tables["product.product"][1]["company_id"] = 2

    assert "line 1, item INT-1" in odoo.fails().message
    assert odoo.export(company="ACME Overseas", pricelists={"EUR": "Public"}).erp_order_id == "S00001"


def test_each_currency_has_its_price_list(odoo):
    odoo.erp.tables["product.pricelist"][2]["name"] = "Public"  # of two companies, or by accident
    in_dollars = Order.parse(ORDER.as_json() | {"header": {"currency": "USD"}})

    with CONNECTOR.open_session(odoo.config(pricelists={"EUR": "Public", "USD": "Public"}), context()) as session:
        for order in (ORDER, in_dollars):
            session.export(order, export_context())

    assert [order["currency_id"] for order in odoo.erp.orders.values()] == [1, 2]


@pytest.mark.parametrize("number_from", ["gtin", "customer_sku_raw"])
def test_items_by_another_field(odoo, number_from):
    odoo.erp.tables["product.product"][3]["barcode"] = "4006381333931"
    order = with_line(gtin="4006381333931", customer_sku_raw="4006381333931", internal_sku="?")

    odoo.export(order, item_number_from=number_from, item_field="barcode")

    assert odoo.sent["order_line"][0][2]["product_id"] == 3


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({"export_id_field": "partner_id"}, "export_id_field"),
        ({"export_id_field": "name"}, "export_id_field"),
        ({"export_id_field": "id"}, "export_id_field"),
        ({"export_id_is_unique": True}, "export_id_is_unique"),
        ({"more_fields": {"partner_id": 1}}, "more_fields.partner_id"),
    ],
)
def test_a_field_with_another_meaning_takes_no_export_id(odoo, settings, at):
    with pytest.raises(ConfigurationError) as refused:
        odoo.config(**settings)

    assert [fault.path for fault in refused.value.faults] == [at]


# Confirmation and answers


@both
def test_a_confirmation_is_taken_up_again(odoo):
    attempt, config = export_context(), odoo.config(confirm=True)
    faults = iter([lambda _: False, says(503, "")])
    odoo.erp.faults += faults

    assert isinstance(odoo.fails(attempt=attempt, confirm=True), OutcomeUnknown)
    assert odoo.order["state"] == "draft"
    found = CONNECTOR.find_export(ORDER, config, replace(attempt, doubt=Code.OUTCOME_UNKNOWN))

    assert found
    assert (found.erp_order_id, found.acknowledged, odoo.order["state"]) == ("S00001", True, "sale")


@both
def test_a_confirmation_that_was_heard_is_not_asked_for_twice(odoo):
    attempt = export_context()
    odoo.erp.faults += [lambda _: False, odoo.erp.drop]

    assert isinstance(odoo.fails(attempt=attempt, confirm=True), OutcomeUnknown)

    assert odoo.export(attempt=attempt, confirm=True).acknowledged
    confirmations = [
        request for request in odoo.http.requests if b"action_confirm" in request.body + request.path.encode()
    ]
    assert len(confirmations) == 1


@both
def test_an_order_that_odoo_does_not_confirm_stays_a_quotation(odoo):
    odoo.erp.refusal = OdooError("odoo.exceptions.UserError", "The customer is over the credit limit.")

    result = odoo.export(confirm=True)

    assert (result.erp_order_id, result.acknowledged) == ("S00001", False)
    assert result.warnings == ("Odoo did not confirm the order: The customer is over the credit limit.",)


def test_the_state_is_asked_for_later(odoo):
    attempt = export_context()
    sent = odoo.export(attempt=attempt)
    awaited = Awaited(
        export_id=attempt.export_id,
        idempotency_key=attempt.idempotency_key,
        filename="order.json",
        order=ORDER,
        created_at=attempt.created_at,
        location=sent.receipt.location,
        erp_order_id=sent.erp_order_id,
    )
    answers = []

    def settle(answer):
        answers.append((original["state"], answer.status, answer.erp_order_id, answer.error_code))
        return Settlement.APPLIED

    original = odoo.order
    for _ in range(2):  # somebody copies it there, which copies the export's id, too
        copied(odoo.erp)
    for state in ("draft", "sent", "to_approve", "sale", "done", "cancel"):
        original["state"] = state
        CONNECTOR.poll_acknowledgements(odoo.config(), replace(context(), awaited=lambda: [awaited]), settle)

    assert answers == [
        ("sale", AckStatus.ACKED, "S00001", None),
        ("done", AckStatus.ACKED, "S00001", None),
        ("cancel", AckStatus.REJECTED, "S00001", "cancel"),
    ]


def test_an_order_that_somebody_cancelled_is_not_made_again(odoo):
    attempt = export_context()
    odoo.export(attempt=attempt)
    odoo.order["state"] = "cancel"

    assert isinstance(odoo.fails(attempt=attempt), RejectedByERP)
    assert len(odoo.erp.orders) == 1


def test_an_order_of_another_company_is_not_ours(odoo):
    attempt = export_context()
    odoo.export(attempt=attempt)

    found = CONNECTOR.find_export(ORDER, odoo.config(company="ACME Overseas"), attempt)

    assert found is None


@both
@pytest.mark.parametrize("field", ["x_export_id", "client_order_ref"])
def test_the_export_id_in_another_field(odoo, field):
    attempt = export_context()

    odoo.export(attempt=attempt, export_id_field=field, more_fields={"x_channel": "shop"})

    assert odoo.export(attempt=attempt, export_id_field=field).receipt.already_delivered
    assert odoo.sent["x_channel"] == "shop"
    assert odoo.sent[field] == str(attempt.export_id)
    assert odoo.sent["origin" if field == "client_order_ref" else "client_order_ref"] == "SO-1"


@both
@pytest.mark.parametrize("is_known", [False, True])
def test_a_unique_field_stops_the_second_order(odoo, is_known):
    """Two workers look, and neither finds anything; then the other one is faster."""
    odoo.erp.unique, attempt = "x_export_id", export_context()

    def overtaken(exchange: Exchange) -> bool:
        odoo.erp.respond(exchange)
        return False

    odoo.erp.faults.append(overtaken)
    settings = {"export_id_field": "x_export_id", "export_id_is_unique": is_known}

    result = odoo.export(attempt=attempt, **settings)

    assert (result.erp_order_id, result.receipt.already_delivered, len(odoo.erp.orders)) == ("S00001", True, 1)
    assert CONNECTOR.guarantee_of(odoo.config(**settings)) is (Guarantee.HARD if is_known else Guarantee.LOOKUP)


def test_a_price_that_odoo_rounds_is_told(odoo):
    odoo.erp.price_digits = 2

    result = odoo.export(with_line(qty="1000", unit_price="1.2345"))

    assert result.warnings == (
        "The ERP comes to a net total of 1230.00, the order to 1234.50: it may round or change prices.",
    )


def test_what_has_no_place_is_told(odoo):
    result = odoo.export(sample_orders.complete(), ship_to="never")

    assert [sentence.split(" has no place for ")[1] for sentence in result.warnings] == [
        "bill_to; it was left out.",
        "ship_to; it was left out.",
        "requested_delivery_date of the lines; it was left out.",
    ]


# What goes wrong


@pytest.mark.parametrize(
    ("name", "message", "status", "kind", "said"),
    [
        ("odoo.exceptions.AccessDenied", "Access Denied", 401, AuthenticationFailed, "Access Denied"),
        ("odoo.exceptions.AccessError", "You may not.", 403, AuthenticationFailed, "You may not."),
        ("werkzeug.exceptions.NotFound", "the model", 404, AuthenticationFailed, "the model"),
        ("werkzeug.exceptions.UnprocessableEntity", "argument", 422, RejectedByERP, "argument"),
        ("odoo.exceptions.UserError", "No.", 422, RejectedByERP, "No."),
        ("another.exceptions.ValidationError", "<b>No</b>.", 422, RejectedByERP, "No ."),
        ("odoo.exceptions.MissingError", "No record.", 404, RejectedByERP, "No record."),
        ("builtins.ValueError", "Invalid field 'x'", 500, RejectedByERP, "Invalid field 'x'"),
        ("psycopg2.errors.UniqueViolation", "Key (x)=(1)", 500, RejectedByERP, None),
        ("psycopg2.errors.SerializationFailure", "at /opt/db", 500, TemporaryError, None),
        ("psycopg2.errors.LockNotAvailable", "at /opt/db", 500, TemporaryError, None),
        ("psycopg2.OperationalError", "at db.internal", 500, OutcomeUnknown, None),
        ("builtins.ZeroDivisionError", "at /opt/x", 500, OutcomeUnknown, None),
    ],
)
@pytest.mark.parametrize("is_rpc", [False, True], ids=["json_2", "json_rpc"])
def test_what_errors_mean(name, message, status, kind, said, is_rpc):
    if is_rpc and "Unprocessable" in name:
        return  # says nothing of the kind
    body: dict[str, Any] = {"name": name, "message": message, "arguments": [], "context": {}, "debug": TRACEBACK}
    if is_rpc:
        status, body = 200, {"jsonrpc": "2.0", "id": 1, "error": {"code": 0, "message": "Server Error", "data": body}}

    error = _judged(status, body, safe=False)

    assert type(error) is kind
    assert error.said
    assert error.said.message == (said or name)  # of the database only which kind of error it is


def test_what_fails_while_it_is_only_asked_for_is_no_fault_of_an_order():
    for name in ("builtins.ValueError", "odoo.exceptions.UserError"):
        assert isinstance(_judged(500, {"name": name, "message": "No."}, safe=True), AuthenticationFailed)
    assert isinstance(_judged(404, {"name": "odoo.exceptions.MissingError"}, safe=True), TemporaryError)


def _judged(status: int, body: Any, *, safe: bool) -> ConnectorError:
    answer = Answer(
        status=status,
        headers=httpx2.Headers(),
        content=json.dumps(body).encode(),
        host="erp.test",
        received_at=datetime.now(UTC),
        safe=safe,
    )
    with pytest.raises(ConnectorError) as judged:
        judge(answer, RULES)
    return judged.value


@both
@pytest.mark.parametrize(
    "answer", ["[]", "true", '{"jsonrpc": "2.0", "id": 1}', '{"result": [true]}', '{"result": [0]}']
)
def test_an_answer_that_names_no_order_says_nothing(odoo, answer):
    odoo.erp.faults.append(says(200, answer, Content_Type="application/json"))

    assert isinstance(odoo.fails(), OutcomeUnknown)


@pytest.mark.parametrize(
    ("odoo", "change", "settings", "code"),
    [
        (19, {}, {"api_key": "wrong"}, Code.AUTHENTICATION_FAILED),
        (17, {}, {"api_key": "wrong"}, Code.AUTHENTICATION_FAILED),
        (19, {}, {"database": "nosuch"}, Code.ENDPOINT_UNUSABLE),
        (17, {}, {"database": "nosuch"}, Code.ENDPOINT_UNUSABLE),
        (19, {"installed": False}, {}, Code.ENDPOINT_UNUSABLE),
        (17, {"installed": False}, {}, Code.ENDPOINT_UNUSABLE),
        (19, {"denied": {("sale.order", "create")}}, {}, Code.PERMISSION_DENIED),
        (17, {"denied": {("product.product", "read")}}, {}, Code.PERMISSION_DENIED),
        (19, {}, {"company": "Globex"}, Code.PERMISSION_DENIED),
        (19, {}, {"tax": "7%"}, Code.PERMISSION_DENIED),
        (19, {}, {"pricelists": {"USD": "Public"}}, Code.PERMISSION_DENIED),
        (17, {}, {"customer_field": "x_nothing"}, Code.PERMISSION_DENIED),
        (19, {}, {"more_fields": {"x_nothing": 1}}, Code.PERMISSION_DENIED),
    ],
    indirect=["odoo"],
)
def test_what_a_test_finds(odoo, change, settings, code):
    for name, value in change.items():
        setattr(odoo.erp, name, value)

    step = odoo.test(**settings).failed_step

    assert step
    assert step.code is code
    assert "db.internal" not in json.dumps(step.as_json(), default=str)


def test_a_setting_that_is_wrong_holds_back_all_orders(odoo):
    assert isinstance(odoo.fails(customer_field="x_nothing"), AuthenticationFailed)
    assert isinstance(odoo.fails(tax="7%"), AuthenticationFailed)
