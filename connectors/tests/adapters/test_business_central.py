"""BUSINESS_CENTRAL against an imitation: from the front door to the number, and what only it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from connectors import exact_json
from connectors.adapters.business_central import BusinessCentralConnector
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
)
from connectors.order import Order
from connectors.port import Awaited, Guarantee
from connectors.results import Acknowledgement, AckStatus, RemoteIdentity, Settlement
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract
from connectors.testing.fakes import context, export_context
from connectors.tests.adapters.over_http import SECRET, FrontDoor
from connectors.tests.adapters.provocations import over_http
from connectors.tests.peers.business_central_erp import ENVIRONMENT, NOTHING, TENANT, BusinessCentral
from connectors.tests.peers.https import Authority, HttpServer
from connectors.tests.peers.imitation import says

CONNECTOR = BusinessCentralConnector()
RELEASE = "api/contoso/sales/v1.0/companies({company})/orders({order})/Microsoft.NAV.release"


def configured(http: HttpServer, secret: str = SECRET) -> dict[str, Any]:
    """Return what it takes to log in online."""
    return {
        "tenant": TENANT,
        "environment": ENVIRONMENT,
        "company": "cronus ag",
        "client_id": "shop",
        "client_secret": secret,
        "token_url": http.url(path=f"/{TENANT}/oauth2/v2.0/token"),
    }


class TestFrontDoor(FrontDoor):
    connector_type = "BUSINESS_CENTRAL"
    path = "/v2.0"
    number = "S-ORD101001"

    @pytest.fixture
    def erp(self) -> BusinessCentral:
        return BusinessCentral(secret=SECRET)

    @pytest.fixture(autouse=True)
    def _server(self, http: HttpServer) -> None:
        self.http = http

    def config(self) -> dict[str, Any]:
        return configured(self.http)

    def orders_of(self, erp: BusinessCentral) -> list[Any]:
        return erp.orders

    def refuse(self, erp: BusinessCentral) -> None:
        erp.tokens, erp.secret = [], "another"

    def double(self, erp: BusinessCentral) -> None:
        erp.double()


@pytest.mark.usefixtures("host_names")
class OneCompany:
    """A server and a configuration for it."""

    @pytest.fixture(autouse=True)
    def server(self, start_https: Callable[..., HttpServer], authority: Authority) -> None:
        self.erp = BusinessCentral(secret=SECRET)
        self.http = start_https(self.erp)
        self.ca = authority.certificate

    def config(self) -> dict[str, Any]:
        base = {"base_url": self.http.url(path="/v2.0"), "ca_bundle": self.ca, "settle_s": 0, "timeout_s": 5}
        return base | configured(self.http) | {"customer_number_from": "id"}


class TestContract(OneCompany, ConnectorContract):
    connector_class = BusinessCentralConnector

    def _connector(self) -> BusinessCentralConnector:
        names = self.names = getattr(self, "names", {})

        class Named(BusinessCentralConnector):
            def render(self, *args: Any) -> Any:
                document = super().render(*args)
                names[document.content] = document.filename
                return document

        return Named()

    def far_end(self) -> Mapping[str, bytes]:
        return {self.names[body]: body for body in self.erp.bodies.values()}

    def broken_configs(self) -> list[dict[str, Any]]:
        changes = [{"company": "Nobody AG"}, {"environment": "Sandbox"}, {"client_secret": "wr0ng-secret"}]
        return [self.config() | change for change in changes]

    def failures(self) -> Any:
        return over_http(self, self.erp.faults, self.erp.drop, _order(customer={"id": "C-9"}))


class TestParticulars(OneCompany):
    def parsed(self, **changes: Any) -> Any:
        return CONNECTOR.Config.parse(self.config() | changes)

    def export(self, order: Order | None = None, *, attempt: Any = None, **changes: Any) -> Any:
        return CONNECTOR.export(order or _order(), self.parsed(**changes), attempt or export_context())

    def find(self, order: Order, **changes: Any) -> Any:
        return CONNECTOR.find_export(order, self.parsed(**changes), export_context())

    def after_a_lost_reply(self, order: Order, **changes: Any) -> Any:
        attempt = replace(export_context(), doubt=Code.OUTCOME_UNKNOWN)
        return CONNECTOR.find_export(order, self.parsed(**changes), attempt)

    def test_the_document_as_it_stands(self):
        self.export(_order(**REFERENCE, **DELIVERY, lines=[LINE, LINE | {"line_no": 2, "description": "ä" * 150}]))

        assert exact_json.dumps(json.loads(self.erp.bodies["S-ORD101001"], parse_float=Decimal)) == DOCUMENT

    def test_amounts_pass_through_no_float(self):
        line = LINE | {"qty": "123456789012345.100", "unit_price": "12345678901234.5678"}
        self.export(_order(lines=[line]))

        assert b'"quantity":123456789012345.100,"unitPrice":12345678901234.5678' in self.erp.bodies["S-ORD101001"]

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"header": {"currency": "EUR", "external_order_number": "P" * 36}}, "header.external_order_number"),
            ({"order_id": "S" * 36}, "order_id"),
            ({"customer": {"id": "c" * 21}}, "the number of the customer"),
            ({"lines": [{"internal_sku": "i" * 21}]}, "line 1, internal_sku"),
            ({"lines": [{"uom": "u" * 11}]}, "line 1, uom"),
            ({"lines": [{"currency": "USD"}]}, "line 1, currency"),
            ({"ship_to": {"name": "x", "city": "c" * 31}}, "ship_to.city"),
            ({"ship_to": {"name": "😀" * 51}}, "ship_to.name"),
        ],
    )
    def test_what_does_not_fit_is_neither_cut_nor_changed(self, changes, where):
        changes = changes | ({"lines": [LINE | line for line in changes["lines"]]} if "lines" in changes else {})
        with pytest.raises(DocumentError) as raised:
            CONNECTOR.render(_order(**changes), self.parsed(), export_context())

        assert where in raised.value.message

    @pytest.mark.parametrize("reference", ["O'Brien & Co.", "100% +1 #7/?=", "Größe 5", "a eq 'b' or number ne '"])
    def test_any_reference_is_found_again(self, reference):
        order = _order(header={"currency": "EUR", "external_order_number": reference})
        self.export(order)
        other = _order(header={"currency": "EUR", "external_order_number": "another"})

        assert self.find(order).erp_order_id == "S-ORD101001"
        assert self.find(other) is None

    def test_a_customer_who_uses_a_reference_twice_gets_two_orders(self):
        first, second = _order("so-1", **REFERENCE), _order("SO-1", **REFERENCE)
        self.export(first)

        assert self.find(second) is None
        assert not self.export(second).receipt.already_delivered
        assert (self.find(first).erp_order_id, self.find(second).erp_order_id) == ("S-ORD101001", "S-ORD101002")

    def test_what_was_sent_is_looked_for_and_not_what_it_would_be_today(self):
        order, attempt = _order(**REFERENCE), export_context()
        document = CONNECTOR.render(order, self.parsed(), attempt)
        self.export(order)

        found = CONNECTOR.find_export(
            order, self.parsed(reference_from="order_id", order_id_line=False), replace(attempt, document=document)
        )

        assert found.erp_order_id == "S-ORD101001"

    def test_an_invoiced_order_is_found(self):
        order = _order(**REFERENCE)
        self.export(order)
        self.erp.invoice(self.erp.orders[0])

        found = self.find(order)

        assert (found.erp_order_id, found.acknowledged, self.erp.orders) == ("S-ORD101001", True, [])
        assert "/salesInvoices(" in found.receipt.location
        self.erp.sets["salesInvoices"][0]["orderNumber"] = ""  # entered by hand
        assert self.find(order) is None

    def test_many_orders_with_one_reference_come_in_pages(self):
        self.erp.page = 2
        for number in range(1, 6):
            self.export(_order(f"SO-{number}", **REFERENCE))

        assert self.find(_order("SO-5", **REFERENCE)).erp_order_id == "S-ORD101005"
        self.erp.page = 1
        for _ in range(16):
            self.erp.double()
        assert _code(lambda: self.find(_order("SO-5", **REFERENCE))) is Code.UNUSABLE_ANSWER

    def test_pages_elsewhere_are_not_fetched(self):
        self.export(_order("SO-1", **REFERENCE))
        self.export(_order("SO-2", **REFERENCE))
        self.erp.page, self.erp.next_page_host = 1, self.http.url("other.test")
        before = len(self.http.requests)

        assert _code(lambda: self.find(_order("SO-2", **REFERENCE))) is Code.UNUSABLE_ANSWER
        assert "other.test" not in {
            request.headers["Host"].partition(":")[0] for request in self.http.requests[before:]
        }

    def test_an_order_without_all_its_lines_is_for_a_person(self):
        order = _order(**REFERENCE, lines=[LINE, LINE | {"line_no": 2}])
        self.export(order)
        del self.erp.orders[0]["salesOrderLines"][1:]

        with pytest.raises(OutcomeUnknown) as raised:
            self.after_a_lost_reply(order)

        assert raised.value.code is Code.TARGET_EXISTS

    def test_released_as_a_step_of_its_own(self):
        order, changes = _order(), {"release_action": RELEASE, "accepted_when": "released"}
        self.erp.faults = [lambda _: False, self.erp.drop]
        assert _code(lambda: self.export(order, **changes)) is Code.OUTCOME_UNKNOWN
        self.erp.orders[0]["status"] = "Draft"  # as if it had got lost

        result = self.after_a_lost_reply(order, **changes)

        assert (result.acknowledged, result.erp_order_id) == (True, "S-ORD101001")
        assert [order["status"] for order in self.erp.orders] == ["Open"]
        assert len([request for request in self.http.requests if request.path.endswith(".release")]) == 2

    @pytest.mark.parametrize(
        ("status", "accepted_when", "expected"),
        [
            ("Draft", "created", AckStatus.ACKED),
            ("In_x0020_Review", "created", AckStatus.RECEIVED),
            ("Draft", "released", AckStatus.RECEIVED),
            ("Open", "released", AckStatus.ACKED),
        ],
    )
    def test_what_counts_as_accepted(self, status, accepted_when, expected):
        order, settled = _order(), []
        self.export(order)
        self.erp.orders[0]["status"] = status
        awaited = Awaited(
            export_id=export_context().export_id,
            idempotency_key="k",
            filename="f.json",
            order=order,
            created_at=export_context().created_at,
            location=None,
            erp_order_id=None,
        )

        def settle(answer: Acknowledgement) -> Settlement:
            settled.append((answer.status, answer.erp_order_id))
            return Settlement.APPLIED

        config = self.parsed(accepted_when=accepted_when)
        CONNECTOR.poll_acknowledgements(config, replace(context(), awaited=lambda: [awaited]), settle)

        assert settled == [(expected, "S-ORD101001")]

    def test_our_own_numbers(self):
        self.erp.allows_numbers = True
        changes = {"own_numbers": True, "number_prefix": "WEB-"}
        first = self.export(_order("SO-1", **REFERENCE), **changes)
        again = self.export(_order("SO-1", **REFERENCE), **changes)

        assert CONNECTOR.guarantee_of(self.parsed(**changes)) is Guarantee.HARD
        assert "our numbers" in CONNECTOR.not_proven(self.parsed(**changes))[-1]
        assert (first.erp_order_id, again.erp_order_id, again.receipt.already_delivered) == (
            "WEB-SO-1",
            "WEB-SO-1",
            True,
        )
        self.erp.orders[0] |= {"customerNumber": "4711", "externalDocumentNumber": "OF SOMEBODY ELSE"}
        assert _code(lambda: self.export(_order("SO-1", **REFERENCE), **changes)) is Code.TARGET_EXISTS
        with pytest.raises(DocumentError):  # would be the number of another order
            self.export(_order("so-1"), **changes)
        assert len(self.erp.orders) == 1

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"customer": {"id": "C-9"}}, "C-9 of customers"),
            ({"lines": [{"internal_sku": "INT-9"}]}, "INT-9 of items"),
            ({"lines": [{"uom": "KG"}]}, "KG of unitsOfMeasure"),
        ],
    )
    def test_what_it_does_not_know_is_named_before_anything_is_sent(self, changes, where):
        changes = changes | ({"lines": [LINE | line for line in changes["lines"]]} if "lines" in changes else {})
        with pytest.raises(DocumentError) as raised:
            self.export(_order(**changes))

        assert where in raised.value.message
        assert not [request for request in self.http.requests if request.path.endswith("/salesOrders")]

    def test_items_by_their_gtin(self):
        line = LINE | {"gtin": "4006381333931"}
        self.export(_order(lines=[line]), item_number_from="gtin")
        assert self.erp.orders[0]["salesOrderLines"][0]["lineObjectNumber"] == "INT-1"

        self.erp.sets["items"][1]["gtin"] = "4006381333931"
        with pytest.raises(DocumentError) as raised:
            self.export(_order("SO-2", lines=[line]), item_number_from="gtin")
        assert "more than one" in raised.value.message

    def test_what_was_found_once_is_not_asked_for_again(self):
        with CONNECTOR.open_session(self.parsed(), context()) as session:
            for number in range(3):
                session.export(_order(f"SO-{number}"), export_context())

        asked = [request.path.partition("?")[0].rpartition("/")[2] for request in self.http.requests]
        assert {name: asked.count(name) for name in ("companies", "customers", "items", "token")} == {
            "companies": 1, "customers": 1, "items": 1, "token": 1
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("status", "code", "headers", "error"),
        [
            (400, "Application_DialogException", {}, RejectedByERP),
            (500, "Application_StringExceededLength", {}, RejectedByERP),
            (404, "Internal_RecordNotFound", {}, RejectedByERP),
            (400, "BadRequest", {}, RejectedByERP),
            (403, "Authorization_RequestDenied", {}, AuthenticationFailed),
            (404, "Internal_CompanyNotFound", {}, AuthenticationFailed),
            (404, "BadRequest_ResourceNotFound", {}, AuthenticationFailed),
            (405, "BadRequest_MethodNotAllowed", {}, AuthenticationFailed),
            (400, "Internal_EntityWithSameKeyExists", {}, OutcomeUnknown),
            (409, "Request_EntityChanged", {}, OutcomeUnknown),
            (400, "Internal_ServerError", {}, OutcomeUnknown),
            (500, "Unknown", {}, OutcomeUnknown),
            (503, "Internal_TenantUnavailable", {"Retry_After": "9"}, OutcomeUnknown),
            (504, "Unknown", {}, OutcomeUnknown),
            (429, "Application_TooManyRequests", {}, RateLimited),
            (400, "Application_TooManyRequests", {}, RateLimited),
        ],
    )
    def test_what_its_errors_mean(self, status, code, headers, error):
        body = {"error": {"code": code, "message": "It is so. CorrelationId: e5c26ced."}}
        self.erp.faults.append(says(status, body, **headers))

        with pytest.raises(ConnectorError) as raised:
            self.export()

        assert type(raised.value) is error
        if error is RejectedByERP:
            assert (raised.value.said.code, raised.value.said.message) == (code, body["error"]["message"])

    def test_rights_that_are_missing_pause_the_connection(self):
        self.erp.rights = False

        result = CONNECTOR.test_connection(self.parsed(), context())

        assert (result.failed_step.name, result.failed_step.code) == ("read", Code.AUTHENTICATION_FAILED)

    @pytest.mark.parametrize(
        ("changes", "step", "code"),
        [
            ({"client_secret": "wr0ng"}, "authenticate", Code.TOKEN_REFUSED),
            ({"scope": "https://graph.microsoft.com/.default"}, "authenticate", Code.TOKEN_REFUSED),
            ({"environment": "Sandbox"}, "read", Code.ENDPOINT_UNUSABLE),
            ({"company": "Nobody AG"}, "read", Code.PATH_NOT_FOUND),
        ],
    )
    def test_where_a_test_fails(self, changes, step, code):
        result = CONNECTOR.test_connection(self.parsed(**changes), context())

        assert (result.failed_step.name, result.failed_step.code) == (step, code)

    def test_on_premises_with_a_key(self):
        here = {"base_url": self.http.url(path="/BC"), "auth_kind": "basic", "username": "shop", "password": SECRET}
        shared = {name: self.config()[name] for name in ("ca_bundle", "customer_number_from", "settle_s")}
        config = CONNECTOR.Config.parse(here | shared | {"company": self.erp.company["id"].upper()})

        assert CONNECTOR.export(_order(), config, export_context()).erp_order_id == "S-ORD101001"
        assert CONNECTOR.identify(config, context()) == RemoteIdentity(
            company=f"CRONUS AG ({self.erp.company['id']})", currency="EUR"
        )

    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"base_url": "https://api.businesscentral.dynamics.com/v2.0", "environment": None}, "environment"),
            ({"tenant": None}, "tenant"),
            ({"tenant": "../elsewhere"}, "tenant"),
            ({"environment": "Production/.."}, "environment"),
            ({"release_action": "../admin/{order}"}, "release_action"),
            ({"release_action": "api/release"}, "release_action"),
            ({"release_action": RELEASE, "order_id_line": False}, "order_id_line"),
            ({"number_prefix": "WEB-"}, "number_prefix"),
            ({"order_type": "ZOR"}, "order_type"),
        ],
    )
    def test_configurations_that_cannot_work(self, changes, path):
        given = {name: value for name, value in (self.config() | changes).items() if value is not None}
        with pytest.raises(ConfigurationError) as raised:
            CONNECTOR.Config.parse(given)

        assert [fault.path for fault in raised.value.faults] == [path]

    def test_where_tokens_come_from(self):
        given = {name: value for name, value in self.config().items() if name != "token_url"}

        token_address = CONNECTOR.Config.parse(given).token_address()

        assert token_address == f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"

    def test_what_is_left_out_is_said(self):
        order = _order(**DELIVERY, lines=[LINE | {"requested_delivery_date": "2025-12-11"}], bill_to={"name": "X"})

        assert len(self.export(order).warnings) == 2
        assert len(self.export(order, send_line_dates=True).warnings) == 1

    def test_a_discount_that_it_gives_of_itself_is_said(self):
        self.erp.discount = 10

        assert "11.62" in self.export().warnings[0]
        assert self.export(_order("SO-2"), send_prices=False).warnings == ()

    def test_a_row_without_an_id_is_no_answer(self):
        self.export()
        self.erp.orders[0]["id"] = "../../companies"

        assert _code(lambda: self.find(_order())) is Code.UNUSABLE_ANSWER
        assert self.erp.orders[0]["paymentTermsId"] == NOTHING


LINE = {
    "line_no": 1,
    "internal_sku": "INT-1",
    "qty": "10.50",
    "uom": "M",
    "unit_price": "1.2300",
    "currency": "EUR",
}
REFERENCE = {"header": {"currency": "EUR", "external_order_number": "by phone", "notes": "Ring twice.\nGate 3"}}
DELIVERY = {"ship_to": {"name": "Muster GmbH", "name2": "Lager", "street": "Weg 1", "city": "München", "country": "DE"}}
DOCUMENT = (
    '{"customerNumber":"c-1","externalDocumentNumber":"by phone","orderDate":"2025-12-26","currencyCode":"EUR",'
    '"shipToName":"Muster GmbH","shipToContact":"Lager","shipToAddressLine1":"Weg 1","shipToPostCode":"",'
    '"shipToCity":"München","shipToState":"","shipToCountry":"DE","shipToAddressLine2":"","salesOrderLines":['
    '{"lineType":"Comment","description":"Ring twice."},{"lineType":"Comment","description":"Gate 3"},'
    '{"lineType":"Item","lineObjectNumber":"INT-1","unitOfMeasureCode":"M","quantity":10.50,"unitPrice":1.2300},'
    f'{{"lineType":"Item","lineObjectNumber":"INT-1","description":"{"ä" * 100}","unitOfMeasureCode":"M",'
    f'"quantity":10.50,"unitPrice":1.2300}},{{"lineType":"Comment","description":"{"ä" * 50}"}},'
    '{"lineType":"Comment","description":"SO-1"}]}'
)


def _order(order_id: str = "SO-1", **changes: Any) -> Order:
    return Order.parse(sample_orders.minimal(order_id).as_json() | {"lines": [LINE]} | {"order_id": order_id} | changes)


def _code(act: Callable[[], object]) -> Code | None:
    with pytest.raises(ConnectorError) as raised:
        act()
    return raised.value.code
