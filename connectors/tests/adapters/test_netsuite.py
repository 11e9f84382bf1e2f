"""NETSUITE against an imitation: from the front door to the number, both ways to log in, and what only it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.adapters.netsuite import NetSuiteConfig, NetSuiteConnector
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
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Awaited, ExportContext
from connectors.results import Acknowledgement, AckStatus, RemoteIdentity, Settlement
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract
from connectors.testing.fakes import context, export_context
from connectors.tests.adapters.over_http import SECRET, FrontDoor
from connectors.tests.adapters.provocations import Failures, over_http
from connectors.tests.peers.https import Authority, Exchange, HttpServer
from connectors.tests.peers.imitation import Fault, Reply, says
from connectors.tests.peers.netsuite_erp import ACCOUNT, CLIENT, KEY_ID, NetSuiteErp
from connectors.tests.security.sample import rsa_key
from connectors.transports.http_tokens import assertion

CONNECTOR = NetSuiteConnector()


def pem(key: Any) -> tuple[str, str]:
    """Return a key's private and its public half."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(*form).decode(), public.decode()


PRIVATE_KEY, PUBLIC_KEY = pem(ec.generate_private_key(ec.SECP256R1()))
BY_ASSERTION = {
    "client_id": CLIENT,
    "key_id": KEY_ID,
    "private_key": PRIVATE_KEY,
    "assertion_algorithm": "ES256",
}
BY_SIGNATURE = {
    "auth_kind": "oauth1",
    "consumer_key": CLIENT,
    "consumer_secret": f"{SECRET}&%",
    "token_id": "t" * 64,
    "token_secret": SECRET,
}


def new_erp() -> NetSuiteErp:
    return NetSuiteErp(public_key=PUBLIC_KEY, secrets=(BY_SIGNATURE["consumer_secret"], SECRET))


class TestFrontDoor(FrontDoor):
    connector_type = "NETSUITE"

    @pytest.fixture
    def erp(self) -> NetSuiteErp:
        return new_erp()

    def config(self) -> dict[str, Any]:
        return {"account": ACCOUNT, **BY_ASSERTION}

    def orders_of(self, erp: NetSuiteErp) -> dict[str, Any]:
        return erp.orders

    def refuse(self, erp: NetSuiteErp) -> None:
        erp.tokens, erp.refuses_client = ["another"], True

    def double(self, erp: NetSuiteErp) -> None:
        raise NotImplementedError

    test_found_twice_is_for_a_person = None  # an external id belongs to one order


@pytest.mark.usefixtures("host_names")
class OneAccount:
    """An account and a configuration for it."""

    settings: ClassVar[dict[str, Any]] = BY_SIGNATURE

    @pytest.fixture(autouse=True)
    def server(self, start_https: Callable[..., HttpServer], authority: Authority) -> None:
        self.erp = new_erp()
        self.http = start_https(self.erp)
        self.ca = authority.certificate

    def config(self) -> dict[str, Any]:
        base = {"base_url": self.http.url(), "ca_bundle": self.ca, "settle_s": 0, "timeout_s": 5, "account": ACCOUNT}
        return base | self.settings


class TestContract(OneAccount, ConnectorContract):
    """With references that NetSuite follows by itself, the document is what is sent."""

    connector_class = NetSuiteConnector
    settings: ClassVar[dict[str, Any]] = BY_SIGNATURE | {
        "customer_number_from": "id",
        "customer_by": "externalId",
        "item_by": "externalId",
        "reference_from": "order_id",
        "send_currency": False,
    }

    def far_end(self) -> Mapping[str, bytes]:
        created_at = datetime(2025, 12, 26, 10, 0, tzinfo=UTC)
        return {
            orderflow_json_v1.filename(order["otherRefNum"], export_id=UUID(key), created_at=created_at): (
                self.erp.bodies[key]
            )
            for key, order in self.erp.orders.items()
        }

    def broken_configs(self) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = [{"token_secret": "wr0ng-secret"}, {"account": "1234567"}, {"ca_bundle": None}]
        return [self.config() | change for change in changes]

    def failures(self) -> Failures:
        order = sample_orders.minimal().as_json()
        order["lines"][0]["currency"] = "USD"
        return over_http(self, self.erp.faults, self.erp.drop, Order.parse(order))


class TestParticulars(OneAccount):
    def export(self, order: Order | None = None, attempt: ExportContext | None = None, **changes: Any) -> Any:
        config = NetSuiteConfig.parse(self.config() | changes)
        return CONNECTOR.export(order or sample_orders.complete(), config, attempt or export_context())

    def sent(self) -> dict[str, Any]:
        (body,) = self.erp.bodies.values()
        return json.loads(body, parse_float=Decimal)

    def test_the_whole_order(self) -> None:
        attempt = export_context()
        result = self.export(
            attempt=attempt,
            units={"M": "12"},
            order_status="B",
            order_type="99",
            order_fields={"location": {"id": "2"}, "custbody_channel": "shop"},
            line_fields={"taxCode": {"id": "5"}},
        )

        address = {
            "addressee": "Muster GmbH", "attention": "Wareneingang", "addr1": "Große Straße 1", "city": "München",
            "state": "BY", "zip": "80331", "country": {"id": "DE"},
        }  # fmt: skip
        priced = {"price": {"id": "-1"}, "units": "12", "taxCode": {"id": "5"}}
        assert self.sent() == {
            "externalId": str(attempt.export_id),
            "entity": {"id": "107"},
            "tranDate": "2025-12-01",
            "otherRefNum": "PO-12345",
            "memo": "Bitte vor 8 Uhr. Tor 3 \\ links",
            "shipDate": "2025-12-10",
            "currency": {"id": "4"},
            "orderStatus": {"id": "B"},
            "customForm": {"id": "99"},
            "shippingAddress": address,
            "billingAddress": address,
            "location": {"id": "2"},
            "custbody_channel": "shop",
            "item": {
                "items": [
                    {
                        "item": {"id": "45"},
                        "quantity": Decimal("10.50"),
                        "rate": Decimal("1.2300"),
                        "description": "Kabel NYM-J 3x1,5 ⚡",
                        "expectedShipDate": "2025-12-11",
                        **priced,
                    },
                    {"item": {"id": "46"}, "quantity": Decimal("0.001"), "rate": Decimal("12345678901234.5678")}
                    | priced,
                    {"item": {"id": "47"}, "quantity": Decimal("123456789012345.100"), "rate": Decimal("0.0000")}
                    | priced,
                ]
            },
        }
        assert b'"quantity":10.50,' in next(iter(self.erp.bodies.values()))
        assert (result.erp_order_id, result.warnings) == ("SO-1000", ())
        assert result.receipt.location == (
            "https://1234567-sb1.app.netsuite.com/app/accounting/transactions/salesord.nl?id=5000"
        )
        asked = [question for question in self.erp.questions if "item" in question]
        assert asked == ["SELECT id, itemid FROM item WHERE isinactive = 'F' AND itemid IN ('INT-1', 'INT-2', 'INT-3')"]

    def test_numbers_are_looked_up_once(self) -> None:
        config = NetSuiteConfig.parse(self.config())
        with CONNECTOR.open_session(config, context()) as session:
            for _ in range(2):
                session.export(sample_orders.complete(), export_context())

        assert (len(self.erp.orders), len(self.erp.questions)) == (2, 3)

    def test_a_field_that_the_account_does_not_have(self) -> None:
        unknown = {"order_fields": {"custbody_nowhere": True}}

        with pytest.raises(RejectedByERP) as caught:
            self.export(**unknown)

        assert "custbody_nowhere: " in caught.value.said.message
        assert self.export(**unknown, strict_fields=False).erp_order_id == "SO-1000"

    def test_what_is_left_out(self) -> None:
        order = Order.parse(sample_orders.complete().as_json() | {"bill_to": {"gln": "4012345000009"}})

        result = self.export(order, units={"PCE": "1"}, send_prices=False, send_notes=False)

        assert not {"memo", "billingAddress"} & self.sent().keys()
        assert not {"price", "rate", "units"} & self.sent()["item"]["items"][0].keys()
        assert result.warnings == (
            "NetSuite takes the customer's own address; bill_to was left out.",
            "NetSuite takes the sales unit of the item; M was left out.",
        )

    @pytest.mark.parametrize(
        ("number", "says"),
        [("nobody", "does not know it"), ("old", "does not know it"), ("twin", "has more than one of it")],
    )
    def test_a_customer_that_cannot_be_told(self, number: str, says: str) -> None:
        with pytest.raises(DocumentError) as caught:
            self.export(_order(number))

        assert f"customer.erp_customer_number: the ERP {says}" in caught.value.message
        assert not self.erp.orders

    @pytest.mark.parametrize(
        ("detail", "kind"),
        [
            ("Invalid search query. Search error occurred: Record 'item' was not found.", AuthenticationFailed),
            ("Unknown identifier 'upccode'. Available identifiers are: {item=item}", AuthenticationFailed),
            ("Invalid or unsupported search", DocumentError),
        ],
    )
    def test_numbers_that_cannot_be_looked_up(self, detail: str, kind: type[ConnectorError]) -> None:
        self.erp.answers_nothing = detail

        with pytest.raises(kind) as caught:
            self.export()

        assert caught.value.said.message == detail
        assert not self.erp.orders

    def test_quotes_in_a_number(self) -> None:
        self.export(_order("O'Neill"))
        with pytest.raises(DocumentError):
            self.export(_order("x') OR ('a'='a"))

        assert self.sent()["entity"] == {"id": "108"}

    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, "USER_ERROR", RejectedByERP),
            (400, "INVALID_CONTENT", RejectedByERP),
            (404, "NONEXISTENT_ID", RejectedByERP),
            (401, "INVALID_LOGIN", AuthenticationFailed),
            (403, "INSUFFICIENT_PERMISSION", AuthenticationFailed),
            (400, "INSUFFICIENT_PERMISSION", AuthenticationFailed),
            (400, "FEATURE_DISABLED", AuthenticationFailed),
            (429, "CONCURRENCY_LIMIT_EXCEEDED", RateLimited),
            (400, "CONCURRENCY_LIMIT_EXCEEDED", RateLimited),
            (400, "SSS_REQUEST_LIMIT_EXCEEDED", RateLimited),
            (400, "SSS_TIME_LIMIT_EXCEEDED", OutcomeUnknown),
            (400, "DUP_RCRD", RejectedByERP),
            (409, "CONFLICT", OutcomeUnknown),
            (500, "UNEXPECTED_ERROR", OutcomeUnknown),
        ],
    )
    def test_errors(self, status: int, code: str, kind: type[ConnectorError]) -> None:
        self.erp.faults.append(_says(status, code, "No such thing.", "item.items[0].item"))

        with pytest.raises(kind) as caught:
            self.export()

        assert type(caught.value) is kind
        if status != 409:
            assert caught.value.said.code == code
            assert caught.value.said.message == "item.items[0].item: No such thing."

    def test_rights_that_are_told_by_a_sentence(self) -> None:
        self.erp.faults.append(_says(400, "USER_ERROR", "Your current role does not have permission to do this."))

        with pytest.raises(AuthenticationFailed):
            self.export()

    def test_a_page_of_maintenance(self) -> None:
        self.erp.faults.append(says(503, "<html>NetSuite is being upgraded</html>", Content_Type="text/html"))

        with pytest.raises(OutcomeUnknown):
            self.export()

    def test_a_second_order_is_refused_and_the_first_one_taken(self) -> None:
        def another_was_faster(exchange: Exchange) -> bool:
            self.erp._respond(exchange)
            self.erp.signatures.used.clear()
            return False

        self.erp.faults.append(another_was_faster)
        result = self.export()

        assert (result.erp_order_id, result.receipt.already_delivered) == ("SO-1000", True)
        assert len(self.sent()["item"]["items"]) == 3

    def test_a_script_that_fails_once_the_order_is_saved(self) -> None:
        def saved_but_refused(exchange: Exchange) -> bool:
            self.erp._respond(exchange)
            return _says(400, "USER_ERROR", "TypeError: Cannot read property of null")(exchange)

        self.erp.faults.append(saved_but_refused)

        assert self.export().erp_order_id == "SO-1000"

    def test_a_refusal_that_cannot_be_looked_into(self) -> None:
        def saved_but_refused(exchange: Exchange) -> bool:
            self.erp._respond(exchange)
            self.erp.instead_of_reading.append(Reply(429))
            return _says(400, "USER_ERROR", "No.")(exchange)

        self.erp.faults.append(saved_but_refused)

        with pytest.raises(OutcomeUnknown):
            self.export()

    def test_a_number_that_comes_late(self) -> None:
        self.erp.instead_of_reading.append(Reply(429))
        attempt = export_context()
        result = self.export(attempt=attempt)
        assert (result.erp_order_id, result.acknowledged) == (None, False)

        self.erp.state = "A"
        assert self.answer(attempt, erp_order_id=None).status is AckStatus.RECEIVED
        assert self.answer(attempt, erp_order_id="SO-1000") is None
        self.erp.state = "B"
        assert self.answer(attempt, erp_order_id="SO-1000").status is AckStatus.ACKED

    @pytest.mark.parametrize(("state", "refusal"), [("C", "Cancelled"), ("H", "Closed")])
    def test_an_order_that_goes_no_further(self, state: str, refusal: str) -> None:
        self.erp.state = state
        attempt = export_context()

        with pytest.raises(RejectedByERP) as caught:
            self.export(attempt=attempt)
        answer = self.answer(attempt, erp_order_id="SO-1000")

        assert (caught.value.said.code, caught.value.said.message) == (state, refusal)
        assert (answer.status, answer.message) == (AckStatus.REJECTED, refusal)

    def test_a_price_that_was_not_taken(self) -> None:
        self.erp._amount = lambda line: Decimal("9.99")

        (warning,) = self.export().warnings

        assert "net total of 29.97" in warning

    def test_the_test_of_a_connection(self) -> None:
        config = NetSuiteConfig.parse(self.config())
        result = CONNECTOR.test_connection(config, context())

        assert result.success, result.failed_step
        assert result.steps[-1].detail == "Readable: salesOrder, customer, item, currency."
        assert result.identity == RemoteIdentity(company=ACCOUNT, environment="sandbox", server="NetSuite")

        self.erp.answers_nothing = "Search error occurred: Record 'customer' was not found."
        failed = CONNECTOR.test_connection(config, context()).failed_step

        assert failed
        assert (failed.name, failed.code) == ("read", Code.AUTHENTICATION_FAILED)

    def test_another_account_gets_nothing(self) -> None:
        self.erp.link_host = "1234567.suitetalk.api.netsuite.com"
        pinned = RemoteIdentity(company=ACCOUNT, environment="sandbox", server="NetSuite")

        with pytest.raises(AuthenticationFailed) as caught:
            self.export(attempt=replace(export_context(), pinned_identity=pinned))

        assert (caught.value.code, self.erp.orders) == (Code.IDENTITY_CHANGED, {})

    def answer(self, attempt: ExportContext, *, erp_order_id: str | None) -> Any:
        """Return what a poll brings; None for nothing."""
        awaited = Awaited(
            export_id=attempt.export_id,
            idempotency_key=attempt.idempotency_key,
            filename="sales_order.json",
            order=sample_orders.complete(),
            created_at=attempt.created_at,
            location="somewhere",
            erp_order_id=erp_order_id,
        )
        found: list[Acknowledgement] = []

        def settle(answer: Acknowledgement) -> Settlement:
            found.append(answer)
            return Settlement.APPLIED

        CONNECTOR.poll_acknowledgements(
            NetSuiteConfig.parse(self.config()), replace(context(), awaited=lambda: [awaited]), settle
        )
        return found[0] if found else None


class TestLogin:
    @pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"])
    def test_an_assertion(self, algorithm: str) -> None:
        curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
        curve = curves.get(algorithm)
        private, public = pem(ec.generate_private_key(curve()) if curve else rsa_key())
        config = _config(private_key=private, assertion_algorithm=algorithm)
        erp = NetSuiteErp(public_key=public)

        assert erp._accepts(assertion(config, context()), config.token_address())
        assert erp.assertions[0].header["alg"] == algorithm
        assert not NetSuiteErp(public_key=PUBLIC_KEY)._accepts(assertion(config, context()), config.token_address())

    def test_a_key_of_another_curve(self) -> None:
        with pytest.raises(ConfigurationError, match="must be a P-384 key for this signature"):
            _config(assertion_algorithm="ES384")

    @pytest.mark.parametrize(
        ("account", "host", "realm"),
        [
            ("1234567", "1234567", "1234567"),
            ("1234567_SB1", "1234567-sb1", "1234567_SB1"),
            ("1234567-sb1", "1234567-sb1", "1234567_SB1"),
            ("tstdrv99", "tstdrv99", "TSTDRV99"),
        ],
    )
    def test_an_account_in_each_of_its_forms(self, account: str, host: str, realm: str) -> None:
        config = _config(account=account)
        address = f"https://{host}.suitetalk.api.netsuite.com"

        assert (config.address(), config.realm) == (address, realm)
        assert config.endpoint() == f"{host}.suitetalk.api.netsuite.com:443"
        assert config.token_address() == f"{address}/services/rest/auth/oauth2/v1/token"
        assert config.target().base_url == address

    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"account": "evil.example/"}, "account"),
            ({"key_id": None}, "key_id"),
            ({"auth_kind": "oauth1", "client_id": None, "key_id": None, "private_key": None}, "consumer_key"),
            ({"order_fields": {"externalId": "mine"}}, "order_fields.externalId"),
            ({"order_fields": {"location": {"refName": "Berlin"}}}, "order_fields.location"),
            ({"line_fields": {"rate": 1}}, "line_fields.rate"),
        ],
    )
    def test_what_cannot_be_configured(self, changes: dict[str, Any], path: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            _config(**changes)

        assert caught.value.faults[0].path == path


def _config(**changes: Any) -> NetSuiteConfig:
    given = {"account": ACCOUNT, **BY_ASSERTION, **changes}
    return NetSuiteConfig.parse({name: value for name, value in given.items() if value is not None})


def _order(number: str) -> Order:
    order = sample_orders.minimal().as_json()
    return Order.parse(order | {"customer": {"id": "c-1", "erp_customer_number": number}})


def _says(status: int, code: str, detail: str, path: str = "") -> Fault:
    fault = {"detail": detail, "o:errorCode": code, "o:errorPath": path}
    return says(status, {"title": "Bad Request", "status": status, "o:errorDetails": [fault]})
