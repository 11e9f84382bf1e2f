"""SAP_S4_ODATA against mock-sap: the shared scenarios, the contract, and what is particular to SAP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest

from connectors.adapters.sap_s4_odata import SapS4ODataConfig, SapS4ODataConnector
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
)
from connectors.formats import orderflow_json_v1, sap_sales_order
from connectors.order import Order
from connectors.port import Awaited, Guarantee
from connectors.results import AckStatus, ExportResult, RemoteIdentity, TestResult
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract
from connectors.testing.fakes import context, export_context
from connectors.tests.adapters.over_http import SECRET, FrontDoor
from connectors.tests.adapters.provocations import Failures, over_http
from connectors.tests.peers.https import Authority, HttpServer
from connectors.tests.peers.imitation import Fault, says
from connectors.tests.peers.sap_erp import TOKEN_PATH, V2_PATH, V4_PATH, SapErp

AREA = {"sales_organization": "1710", "distribution_channel": "10", "division": "00"}
BASIC = {"auth_kind": "basic", "username": "shop", "password": SECRET}
V4 = {"odata_version": "V4", "partner_numbers": {"4012345000009": "1000042"}}


@pytest.fixture
def erp() -> Iterator[SapErp]:
    erp = SapErp(password=SECRET)
    yield erp
    erp.close()


class TestFrontDoor(FrontDoor):
    connector_type: ClassVar[str] = "SAP_S4_ODATA"
    path: ClassVar[str] = V2_PATH
    number: ClassVar[str] = "0000004711"

    @pytest.fixture
    def erp(self, erp: SapErp) -> SapErp:
        return erp

    def config(self) -> dict[str, Any]:
        return AREA | BASIC | {"sap_client": "100"}

    def orders_of(self, erp: Any) -> list[Any]:
        return erp.orders

    def refuse(self, erp: Any) -> None:
        erp.password = "another"

    def double(self, erp: Any) -> None:
        erp.double()


@pytest.mark.usefixtures("host_names")
class SapContract(ConnectorContract):
    """The contract for one version of the interface."""

    connector_class = SapS4ODataConnector
    path: ClassVar[str]
    settings: ClassVar[dict[str, Any]]

    @pytest.fixture(autouse=True)
    def server(self, erp: SapErp, start_https: Callable[..., HttpServer], authority: Authority) -> None:
        self.erp, self.ca, self.http = erp, authority.certificate, start_https(erp)

    def config(self) -> dict[str, Any]:
        base = {"base_url": self.http.url(path=self.path), "ca_bundle": self.ca, "settle_s": 0}
        return base | AREA | {"customer_number_from": "id"} | self.settings

    def far_end(self) -> Mapping[str, bytes]:
        return {self.filename(number, json.loads(body)): body for number, body in self.erp.bodies.items()}

    def filename(self, number: str, body: dict[str, Any]) -> str:
        mark = body.get("PurchaseOrderByShipToParty") or self.erp.request_ids[number]
        names = {"export_id": UUID(mark), "created_at": datetime(2025, 12, 26, 10, 0, tzinfo=UTC)}
        return orderflow_json_v1.filename(body["PurchaseOrderByCustomer"], **names)

    def broken_configs(self) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = [
            {"base_url": self.http.url(path="/sap/opu/odata/sap/API_NOTHING_SRV")},
            {"sap_client": "200"},
            {"mark_field": "YY1_NOT_THERE"},
            {"odata_version": "V2" if self.settings.get("odata_version") else "V4"},
            {"ca_bundle": None},
        ]
        return [self.config() | change for change in changes]

    def failures(self) -> Failures:
        return over_http(self, self.erp.faults, self.erp.drop, sample_orders.minimal("X" * 36))


class TestContractOfV2(SapContract):
    path = V2_PATH
    settings: ClassVar[dict[str, Any]] = BASIC | {
        "reference_from": "order_id",
        "mark_field": "PurchaseOrderByShipToParty",
        "sap_client": "100",
    }


class TestContractOfV4(SapContract):
    path = V4_PATH
    settings: ClassVar[dict[str, Any]] = V4 | {"reference_from": "order_id", "request_ids": True}

    def config(self) -> dict[str, Any]:
        tokens = {"token_url": self.http.url(path=TOKEN_PATH), "client_id": "shop", "client_secret": SECRET}
        return super().config() | {"auth_kind": "oauth2"} | tokens


# What is particular to SAP


class Sap:
    """One connection to one system, and the ways to use it."""

    def __init__(self, erp: SapErp, http: HttpServer, authority: Authority) -> None:
        self.erp, self.http, self.ca = erp, http, authority.certificate

    def config(self, **changes: Any) -> SapS4ODataConfig:
        path = V4_PATH if changes.get("odata_version") == "V4" else V2_PATH
        base = {"base_url": self.http.url(path=path), "ca_bundle": self.ca, "timeout_s": 2, "settle_s": 0}
        return SapS4ODataConfig.parse(base | AREA | BASIC | {"customer_number_from": "id"} | changes)

    def export(self, order: Order | None = None, **changes: Any) -> ExportResult:
        order, config = order or sample_orders.minimal(), self.config(**changes)
        return SapS4ODataConnector().export(order, config, export_context())

    def fails(self, *faults: Fault, **changes: Any) -> ConnectorError:
        self.erp.faults[:] = faults
        with pytest.raises(ConnectorError) as caught:
            self.export(**changes)
        return caught.value

    def test(self, **changes: Any) -> TestResult:
        return SapS4ODataConnector().test_connection(self.config(**changes), context())

    def asked(self, method: str) -> list[str]:
        return [request.path for request in self.http.requests if request.command == method]


@pytest.fixture
def sap(erp: SapErp, start_https: Callable[..., HttpServer], authority: Authority, host_names: object) -> Sap:
    return Sap(erp, start_https(erp), authority)


def order_with(**header: Any) -> Order:
    plain = sample_orders.minimal().as_json()
    return Order.parse(plain | {"header": plain["header"] | header})


def error(status: int, code: str, text: str = "No.", **more: Any) -> Fault:
    return says(status, json.dumps({"error": {"code": code, "message": {"lang": "en", "value": text}, **more}}))


def document(order: Order, **changes: Any) -> Any:
    config = SapS4ODataConfig.parse({"base_url": "https://erp.test/", **AREA, **BASIC, **changes})
    return json.loads(sap_sales_order.render(order, config, export_id=UUID(int=7)), parse_float=str)


class TestDocument:
    def test_v2_writes_days_as_milliseconds_and_amounts_as_strings(self):
        prices = {"send_prices": True, "line_number_to": "UnderlyingPurchaseOrderItem", "delivery_block": "01"}
        body = document(sample_orders.complete(), **prices)

        assert [body.pop(name) for name in ("to_Partner", "to_Text")]
        assert [item["RequestedQuantity"] for item in body["to_Item"]] == ["10.50", "0.001", "123456789012345.100"]
        body["to_Item"] = body["to_Item"][1]
        assert body == {
            "SalesOrderType": "OR",
            "SalesOrganization": "1710",
            "DistributionChannel": "10",
            "OrganizationDivision": "00",
            "PurchaseOrderByCustomer": "PO-12345",
            "SoldToParty": "4711",
            "SalesOrderDate": "/Date(1764547200000)/",
            "TransactionCurrency": "EUR",
            "CustomerPurchaseOrderDate": "/Date(1764547200000)/",
            "RequestedDeliveryDate": "/Date(1765324800000)/",
            "DeliveryBlockReason": "01",
            "to_Item": {
                "Material": "INT-2",
                "RequestedQuantity": "0.001",
                "RequestedQuantityUnit": "M",
                "UnderlyingPurchaseOrderItem": "2",
                "to_PricingElement": [
                    {
                        "ConditionType": "PPR0",
                        "ConditionRateValue": "1234567890123456.78",  # SAP rounds to what its currency has
                        "ConditionCurrency": "EUR",
                        "ConditionQuantity": "100",
                        "ConditionQuantityUnit": "M",
                    }
                ],
            },
        }

    def test_v4_writes_iso_days_and_numbers(self):
        body = document(sample_orders.complete(), **V4, send_prices=True, line_number_to="SalesOrderItem")

        assert (body["SalesOrderDate"], body["RequestedDeliveryDate"]) == ("2025-12-01", "2025-12-10")
        assert body["_Partner"] == [
            {"PartnerFunction": "SH", "Customer": "1000042"},
            {"PartnerFunction": "BP", "Customer": "1000042"},
        ]
        assert body["_Text"][0]["LongText"] == "Bitte vor 8 Uhr.\n\tTor 3 \\ links"
        first, second, _ = body["_Item"]
        assert first["RequestedDeliveryDate"] == "2025-12-11"
        assert second == {
            "Product": "INT-2",
            "RequestedQuantity": "0.001",  # read as text here, so that no digit is lost
            "RequestedQuantitySAPUnit": "M",
            "SalesOrderItem": "2",
            "_ItemPricingElement": [
                {
                    "ConditionType": "PPR0",
                    "ConditionRateAmount": "1234567890123456.78",
                    "ConditionCurrency": "EUR",
                    "ConditionQuantity": 100,
                    "ConditionQuantitySAPUnit": "M",
                }
            ],
        }

    def test_an_address_without_a_number_goes_along_with_the_sold_to_party(self):
        (ship_to, bill_to) = document(sample_orders.complete(), ship_to_function="WE")["to_Partner"]

        assert (ship_to["PartnerFunction"], bill_to["PartnerFunction"], ship_to["Customer"]) == ("WE", "BP", "4711")
        assert ship_to["to_Address"] == [
            {
                "OrganizationName1": "Muster GmbH",
                "OrganizationName2": "Wareneingang",
                "StreetName": "Große Straße 1",
                "PostalCode": "80331",
                "CityName": "München",
                "Region": "BY",
                "Country": "DE",
            }
        ]
        assert "to_Partner" not in document(sample_orders.complete(), send_addresses=False)

    def test_days_before_1970_and_the_earliest_of_the_lines(self):
        lines = [
            {**sample_orders.minimal().as_json()["lines"][0], "line_no": number, "requested_delivery_date": day}
            for number, day in enumerate(("2026-01-02", "1969-12-31", None), 1)
        ]
        order = Order.parse(sample_orders.minimal().as_json() | {"lines": lines})

        assert document(order, customer_number_from="id")["RequestedDeliveryDate"] == "/Date(-86400000)/"
        fields = SapS4ODataConfig.parse({"base_url": "https://erp.test/", **AREA, **BASIC})
        assert sap_sales_order.left_out(order, fields) == (
            "V2 takes one delivery date for the whole order; those of these lines were left out: 1.",
        )

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"customer_number_from": "erp_customer_number"}, "customer.erp_customer_number: it is missing"),
            ({"customer_number_from": "id", "units": {"M": "METRE"}}, "line 1, unit M: has more than 3 characters"),
            ({"customer_number_from": "id", "units": {"X": "Y"}, "only_known_units": True}, "line 1, unit M"),
            (
                {"customer_number_from": "id", "partner_numbers": {"c-1": "1234567890"}, "item_number_from": "gtin"},
                "gtin",
            ),
        ],
    )
    def test_what_does_not_fit_is_named(self, changes, where):
        with pytest.raises(DocumentError) as caught:
            document(sample_orders.minimal(), **changes)

        assert where in caught.value.message

    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"name": "x " * 100}, "ship_to.name: has more than 4 times 40 characters"),
            ({"region": "Bavaria"}, "ship_to.region: has more than 3 characters"),
            ({"name": None}, "ship_to: its GLN is not in partner_numbers"),
        ],
    )
    def test_an_address_that_does_not_fit_is_not_cut(self, changes, where):
        plain = sample_orders.complete().as_json()
        order = Order.parse(plain | {"ship_to": plain["ship_to"] | changes})

        with pytest.raises(DocumentError) as caught:
            document(order)

        assert where in caught.value.message

    def test_marks_are_as_long_as_their_field(self):
        order = sample_orders.complete()
        marks = {
            name: document(order, mark_field=name)[name]
            for name in ("PurchaseOrderByShipToParty", "AssignmentReference", "AccountingDocExternalReference", "YY1_X")
        }

        assert {name: len(mark) for name, mark in marks.items()} == {
            "PurchaseOrderByShipToParty": 32,
            "AssignmentReference": 18,
            "AccountingDocExternalReference": 16,
            "YY1_X": 32,
        }
        replaced = document(
            sample_orders.minimal("X" * 64), mark_field="PurchaseOrderByCustomer", customer_number_from="id"
        )
        assert replaced["PurchaseOrderByCustomer"] == UUID(int=7).hex.upper()

    @pytest.mark.parametrize(
        "changes",
        [
            {"mark_field": "SoldToParty"},
            {"mark_field": "ExternalDocumentID"},
            {"odata_version": "V4", "line_number_to": "UnderlyingPurchaseOrderItem"},
            {"sap_client": "1000"},
            {"password": None},
        ],
    )
    def test_a_configuration_that_cannot_work_is_refused(self, changes):
        with pytest.raises(ConfigurationError):
            SapS4ODataConfig.parse({"base_url": "https://erp.test/", **AREA, **BASIC, **changes})


class TestToken:
    def test_one_token_serves_a_session_and_is_renewed_once_it_has_expired(self, sap, erp):
        with SapS4ODataConnector().open_session(sap.config(), context()) as session:
            session.export(sample_orders.minimal("SO-1"), export_context())
            session.export(sample_orders.minimal("SO-2"), export_context())
            assert sum(path.startswith(f"{V2_PATH}/?") for path in sap.asked("GET")) == 1

            erp.forget_sessions()
            session.export(sample_orders.minimal("SO-3"), export_context())

        assert sum(path.startswith(f"{V2_PATH}/?") for path in sap.asked("GET")) == 2
        assert len(sap.asked("POST")) == 4
        assert len(erp.orders) == 3

    def test_a_balancer_that_sends_us_from_one_server_to_the_next_is_tried_again_later(self, sap, erp):
        refused = says(403, "CSRF token validation failed", x_csrf_token="Required")

        failed = sap.fails(refused, refused)

        assert type(failed) is TemporaryError
        assert len(sap.asked("POST")) == 2

    def test_a_system_that_gives_none_is_written_to_without(self, sap, erp):
        erp.gives_tokens = False

        assert sap.export().erp_order_id == "0000004711"
        assert "asks for no token" in sap.test().steps[-1].detail

    def test_another_system_behind_the_address_gets_nothing(self, sap, erp):
        def told(**pinned: Any) -> Any:
            return replace(context(), pinned_identity=RemoteIdentity(**pinned))

        connector, config = SapS4ODataConnector(), sap.config()
        assert connector.identify(config, context()) == RemoteIdentity(environment="S4H/100")
        assert connector.test_connection(config, told(environment="S4T/100")).failed_step.code is Code.IDENTITY_CHANGED

        erp.gives_tokens = False  # and with them no cookies: nothing tells
        assert connector.identify(config, context()) == RemoteIdentity()
        assert connector.test_connection(config, told(environment="S4T/100")).success

    def test_client_and_language_go_with_each_request(self, sap):
        sap.export(sap_client="100", sap_language="DE")

        for request in sap.http.requests:
            assert "sap-client=100" in request.path
            assert "sap-language=DE" in request.path


class TestLookUp:
    def test_an_order_of_this_customer_with_this_number_is_ours(self, sap, erp):
        first = sap.export(order_with(external_order_number="O'Brien's 100% + 1 & co"))
        again = sap.export(order_with(external_order_number="O'Brien's 100% + 1 & co"))
        other = sap.export(order_with(external_order_number="O'Brien's"))

        assert (again.erp_order_id, again.receipt.already_delivered) == (first.erp_order_id, True)
        assert not other.receipt.already_delivered
        assert len(erp.orders) == 2

    def test_with_a_field_of_its_own_each_export_is_an_order(self, sap, erp):
        results = [sap.export(mark_field="AssignmentReference") for _ in range(2)]

        assert len({result.erp_order_id for result in results}) == len(erp.orders) == 2

    def test_what_was_sent_is_looked_for_whatever_is_configured_meanwhile(self, sap, erp):
        order, before = order_with(external_order_number="PO-1"), sap.config()
        connector, attempt = SapS4ODataConnector(), export_context()
        attempt = replace(attempt, document=connector.render(order, before, attempt), doubt=Code.OUTCOME_UNKNOWN)
        connector.export(order, before, attempt)

        now = sap.config(mark_field="AssignmentReference", partner_numbers={"c-1": "77"}, reference_from="order_id")

        assert connector.find_export(order, now, attempt)
        assert not connector.find_export(order, now, export_context())

    def test_a_server_that_does_not_heed_the_filter_has_nothing_of_ours(self, sap, erp):
        sap.export(order_with(external_order_number="PO-1"))
        erp.change("PurchaseOrderByCustomer", "PO-2")
        real, erp.respond = erp.respond, lambda exchange: erp._forward("GET", V2_PATH + "/A_SalesOrder", "", {})

        with pytest.raises(TemporaryError) as caught:
            sap.export(order_with(external_order_number="PO-1"))

        assert caught.value.code is Code.UNUSABLE_ANSWER
        erp.respond = real
        assert len(erp.orders) == 1

    def test_an_order_whose_items_were_all_rejected_is_none(self, sap, erp):
        order = order_with(external_order_number="PO-1")
        sap.export(order)
        awaited = Awaited(
            export_id=UUID(int=1),
            idempotency_key="1",
            filename="a.json",
            order=order,
            created_at=datetime.now(UTC),
            location=None,
            erp_order_id=None,
        )

        answers = []
        for state in ("A", "B", "C"):
            erp.change("OverallSDDocumentRejectionSts", state)
            with SapS4ODataConnector().open_session(sap.config(), context()) as session:
                answers.append(session.ask(awaited))
        with pytest.raises(RejectedByERP):
            sap.export(order)

        assert [answer.status for answer in answers] == [AckStatus.ACKED, AckStatus.ACKED, AckStatus.REJECTED]
        assert answers[1].warnings == ("Some of its items were rejected.",)


class TestRepeatableRequests:
    def test_the_request_of_an_export_keeps_its_id(self, sap, erp):
        config, attempt = sap.config(request_ids=True), export_context()
        assert SapS4ODataConnector().guarantee_of(config) is Guarantee.HARD
        erp.faults.append(erp.drop)
        for _ in range(2):
            with suppress(OutcomeUnknown):
                SapS4ODataConnector().export(sample_orders.minimal(), config, attempt)
        erp.change("PurchaseOrderByCustomer", "somebody changed it")  # so that only the id tells

        repeated = SapS4ODataConnector().export(sample_orders.minimal(), config, attempt)

        assert repeated.erp_order_id == "0000004711"
        assert len(erp.orders) == 1
        assert set(erp.request_ids.values()) == {attempt.export_id.hex.upper()}

    def test_where_it_is_not_set_up_the_order_goes_without_and_somebody_is_told(self, sap, erp):
        erp.is_idempotent = False

        result = sap.export(request_ids=True)

        assert (result.erp_order_id, len(erp.orders)) == ("0000004711", 1)
        assert "/IWBEP/CM_COS/001" in result.warnings[0]

    def test_an_id_that_is_outdated_was_processed(self, sap, erp):
        outdated = error(400, "/IWBEP/CM_COS/005", "RequestID is outdated")

        assert type(sap.fails(outdated, request_ids=True)) is OutcomeUnknown
        assert not erp.orders


class TestAnswers:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (error(400, "V1/201"), RejectedByERP),
            (error(404, "/IWBEP/CM_MGW_RT/020"), RejectedByERP),
            (error(500, "SLS_LORD/013"), RejectedByERP),
            (error(500, "SY/530"), RejectedByERP),
            (error(500, "/IWBEP/CX_MGW_TECH_EXCEPTION"), OutcomeUnknown),
            (error(500, "V1/042", "Sales order 4711 is currently being processed by MILLER"), TemporaryError),
            (error(400, "M3/024", "Material TG11 is locked by user MILLER"), TemporaryError),
            (error(423, "/IWBEP/CX_MGW_BUSI_EXCEPTION"), TemporaryError),
            (error(403, "/IWFND/CM_BEC", "The account is locked by the administrator"), AuthenticationFailed),
            (error(400, "/IWFND/CM_CONSUMER/101"), AuthenticationFailed),
            (error(403, "/IWFND/MED/170"), AuthenticationFailed),
            (error(412, "/IWBEP/CM_MGW_RT/070"), OutcomeUnknown),
            (says(503, "", Retry_After="30"), RateLimited),
            (says(503, ""), OutcomeUnknown),
            (says(504, "<html>"), OutcomeUnknown),
            (says(201, json.dumps({"d": {"SalesOrder": None}})), OutcomeUnknown),
            (says(201, json.dumps([])), OutcomeUnknown),
            (says(201, "<entry/>", Content_Type="application/atom+xml"), OutcomeUnknown),
        ],
    )
    def test_errors(self, sap, erp, fault, kind):
        assert type(sap.fails(fault)) is kind
        assert not erp.orders

    def test_a_reason_has_its_details_and_where_to_find_it_in_the_log(self, sap):
        details = [
            {"code": "V1/201", "message": "Sold-to party 9 not maintained", "severity": "error"},
            {"code": "M3/305", "message": "Material X does not exist", "severity": "error"},
            {"code": "V1/302", "message": "The date was moved", "severity": "warning"},
        ]
        inner = {"transactionid": "5F3A00", "timestamp": "20251126101500", "errordetails": details}

        said = sap.fails(error(400, "V1/201", "Sold-to party 9 not maintained", innererror=inner)).said

        assert said.code == "V1/201"
        assert said.message == (
            "Sold-to party 9 not maintained; Material X does not exist (transaction 5F3A00, 20251126101500)"
        )

    def test_an_order_may_come_with_warnings(self, sap):
        message = {"code": "SLS_LORD/009", "message": "Document is incomplete", "severity": "warning"}
        said = {**message, "details": [{"code": "V1/1", "message": "Saved", "severity": "success"}, {"message": 7}]}
        taken = json.dumps({"d": {"SalesOrder": "4712"}})

        sap.erp.faults.append(says(201, taken, sap_message=json.dumps(said)))
        assert sap.export().warnings == ("SLS_LORD/009: Document is incomplete",)
        sap.erp.faults.append(says(201, taken, sap_message="not JSON"))
        assert sap.export().warnings == ()
        late = order_with(requested_delivery_date="2020-01-01")
        assert "is in the past" in sap.export(late, **V4).warnings[0]

    def test_an_unknown_customer_is_a_no(self, sap):
        failed = sap.fails(partner_numbers={"c-1": "9999"})

        assert type(failed) is RejectedByERP
        assert "9999 not maintained" in failed.said.message
