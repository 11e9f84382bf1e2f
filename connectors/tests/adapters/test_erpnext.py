"""ERPNEXT against an imitation of ERPNext 15."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from connectors.adapters.erpnext import ErpNextConnector
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    Said,
    TemporaryError,
)
from connectors.formats import orderflow_json_v1
from connectors.port import Awaited
from connectors.results import RemoteIdentity, Settlement
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract
from connectors.testing.fakes import context, export_context
from connectors.tests.adapters.over_http import SECRET, FrontDoor
from connectors.tests.adapters.provocations import Failures, over_http
from connectors.tests.peers.erpnext_erp import ErpNextErp
from connectors.tests.peers.https import Authority, HttpServer
from connectors.tests.peers.imitation import says
from connectors.transports.frappe import messages

BY_ID = {"export_id_field": "custom_export_id", "export_id_is_unique": True}
LOOKED_UP = {"export_id_field": "custom_export_id"}
NUMBER = "SAL-ORD-2026-00001"


def settings(erp: ErpNextErp) -> dict[str, Any]:
    """Return the configuration without the address."""
    return {"api_key": erp.key, "api_secret": erp.secret, "company": "ACME Europe", "settle_s": 0}


class TestErpNextContract(ConnectorContract):
    """A field that is unique."""

    connector_class = ErpNextConnector

    @pytest.fixture(autouse=True)
    def server(self, host_names: None, start_https: Callable[..., HttpServer], authority: Authority) -> None:
        self.erp = ErpNextErp(secret=SECRET)
        self.ca = authority.certificate
        self.http = start_https(self.erp)

    def config(self) -> dict[str, Any]:
        base = {"base_url": self.http.url(), "ca_bundle": self.ca, "delivery_days": 14, "reference_from": "order_id"}
        return settings(self.erp) | base | BY_ID | {"customer_number_from": "id"}

    def far_end(self) -> Mapping[str, bytes]:
        created_at = datetime(2025, 12, 26, 10, 0, tzinfo=UTC)
        return {
            orderflow_json_v1.filename(
                order["po_no"], export_id=UUID(order["custom_export_id"]), created_at=created_at
            ): self.erp.bodies[number]
            for number, order in self.erp.orders.items()
        }

    def broken_configs(self) -> list[dict[str, Any]]:
        changes = ({"api_secret": "another-secret"}, {"company": "ACME Asia"}, {"export_id_field": "custom_other"})
        return [self.config() | change for change in changes]

    def failures(self) -> Failures:
        return over_http(self, self.erp.faults, self.erp.drop, sample_orders.minimal("SO <1>"))


class TestErpNext(FrontDoor):
    """Found by the customer's order number, and submitted."""

    connector_type = "ERPNEXT"
    number = NUMBER

    @pytest.fixture
    def erp(self):
        return ErpNextErp(secret=SECRET)

    def config(self):
        return {"api_key": "key", "api_secret": SECRET, "company": "ACME Europe", "submit": True}

    def orders_of(self, erp):
        return erp.orders

    def refuse(self, erp):
        erp.secret = "another"

    def double(self, erp):
        first = erp.orders[NUMBER]
        erp.add(**first | {"name": None})


@pytest.fixture
def erp():
    return ErpNextErp(secret=SECRET)


@pytest.fixture
def configure(erp, host_names, start_https, authority):
    """Return a function that makes the configuration; arguments change it."""
    base = {"base_url": start_https(erp).url(), "ca_bundle": authority.certificate} | settings(erp)
    return lambda **changes: ErpNextConnector.Config.parse(base | {"delivery_days": 3} | changes)


@pytest.fixture
def export(configure):
    """Return a function that exports an order; arguments change the configuration."""

    def export(order=None, attempt=None, **changes):
        order = order or sample_orders.complete()
        return ErpNextConnector().export(order, configure(**changes), attempt or export_context())

    return export


def changed(**parts: Any) -> Any:
    """Return the complete order with other values: `line__gtin` of its only line, `header__notes`, …"""
    order = sample_orders.complete().as_json()
    order["lines"] = order["lines"][:1]
    for path, value in parts.items():
        part, _, name = path.partition("__")
        place = order["lines"][0] if part == "line" else order[part]
        place[name] = value
    return sample_orders.Order.parse(order)


def _on_the_last_day() -> Any:
    wanted = {"header__order_date": "9999-12-31", "header__requested_delivery_date": None}
    return changed(**wanted, line__requested_delivery_date=None)


def frappe(kind: str, text: str = "", **more: Any) -> str:
    """Return the body with which Frappe refuses: JSON in JSON in JSON, and a traceback."""
    body = {"exc_type": kind, "exc": json.dumps([f"Traceback (most recent call last):\n{SECRET}\nIn.The.Trace: 1"])}
    if text:
        body["_server_messages"] = json.dumps([json.dumps({"message": text, "indicator": "red"})])
    return json.dumps(body | more)


class TestDocument:
    def test_is_a_sales_order(self, configure):
        fields = {
            "units": {"M": "Meter"},
            "address_field": "custom_gln",
            "more_fields": {"set_warehouse": "Stores - AE"},
        }
        order = changed(line__description="Kabel <NYM>\n3x1,5", header__notes="Tor 3 & 4")
        attempt = export_context(export_id=UUID(int=7))

        document = ErpNextConnector().render(order, configure(**BY_ID, **fields), attempt)

        assert document.content.decode() == (
            '{"set_warehouse":"Stores - AE","company":"ACME Europe","customer":"4711","po_no":"PO-12345",'
            '"custom_export_id":"00000000-0000-0000-0000-000000000007","order_type":"Sales","currency":"EUR",'
            '"transaction_date":"2025-12-01","delivery_date":"2025-12-11","po_date":"2025-12-01","ignore_pricing_rule":1,'
            '"terms":"Tor 3 &amp; 4","shipping_address_name":"4012345000009","customer_address":"4012345000009",'
            '"items":[{"item_code":"INT-1","qty":10.50,"uom":"Meter","rate":1.2300,"delivery_date":"2025-12-11",'
            '"description":"Kabel &lt;NYM&gt;<br>3x1,5"}]}'
        )

    @pytest.mark.parametrize(
        ("order", "config", "where"),
        [
            (sample_orders.minimal(), {"customer_number_from": "id", "delivery_days": None}, "requested_delivery_date"),
            (_on_the_last_day(), {}, "header.order_date"),
            (changed(header__external_order_number="PO <1>"), {}, "order number"),
            (changed(line__currency="USD"), {}, "line 1, currency"),
            (changed(bill_to__gln=None), {"address_field": "custom_gln"}, "bill_to.gln"),
        ],
    )
    def test_names_what_it_cannot_say(self, configure, order, config, where):
        with pytest.raises(DocumentError) as caught:
            ErpNextConnector().render(order, configure(**config), export_context())

        assert where in caught.value.message


class TestConfiguration:
    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"export_id_is_unique": True}, "export_id_field"),
            ({"api_key": "key:secret"}, "api_key"),
            ({"more_fields": {"po_no": "1"}}, "more_fields.po_no"),
            ({"more_fields": {"docstatus": 1}}, "more_fields.docstatus"),
        ],
    )
    def test_refuses(self, configure, change, path):
        with pytest.raises(ConfigurationError) as caught:
            configure(**change)

        assert [fault.path for fault in caught.value.faults] == [path]

    def test_only_a_unique_field_is_a_hard_guarantee(self, configure):
        by_number, by_id = configure(), configure(**LOOKED_UP)

        guarantees = [ErpNextConnector().guarantee_of(each) for each in (by_number, by_id, configure(**BY_ID))]
        assert guarantees == ["lookup", "lookup", "hard"]


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "body", "kind", "said"),
        [
            (401, frappe("AuthenticationError"), AuthenticationFailed, None),
            (
                403,
                frappe("PermissionError", "No permission for <b>Sales Order</b>"),
                AuthenticationFailed,
                "No permission for Sales Order",
            ),
            (404, frappe("DoesNotExistError", "Customer 9 not found"), RejectedByERP, "Customer 9 not found"),
            (404, frappe("LinkValidationError", "Could not find X"), RejectedByERP, "Could not find X"),
            (404, '{"message": "no Route matched"}', AuthenticationFailed, "no Route matched"),
            (404, "<html>erp.test does not exist</html>", AuthenticationFailed, "erp.test does not exist"),
            (417, frappe("ValidationError", "<b>Credit</b> limit &amp; more"), RejectedByERP, "Credit limit & more"),
            (
                417,
                frappe("MandatoryError", exception="frappe.exceptions.MandatoryError: [Sales Order, x]: uom"),
                RejectedByERP,
                "[Sales Order, x]: uom",
            ),
            (
                417,
                frappe("TimestampMismatchError", "Document has been modified"),
                TemporaryError,
                "Document has been modified",
            ),
            (417, frappe("RateLimitExceededError", "You hit the rate limit"), RateLimited, "You hit the rate limit"),
            (429, "Too Many Requests", RateLimited, "Too Many Requests"),
            (500, frappe("QueryDeadlockError"), TemporaryError, None),
            (500, frappe("TypeError", exception=f"TypeError: {SECRET}"), OutcomeUnknown, None),
            (500, "<html><pre>Traceback (most recent call last):\n  File 'a.py'</pre>", OutcomeUnknown, None),
            (502, "<html>Bad Gateway</html>", OutcomeUnknown, "Bad Gateway"),
            (503, "<html>Your system is being updated. Please refresh again</html>", TemporaryError, "updated"),
            (200, "<html>Log in</html>", OutcomeUnknown, None),
            (200, '{"data": {"name": ".."}}', OutcomeUnknown, None),
            (200, '{"message": "ok"}', OutcomeUnknown, None),
        ],
    )
    def test_what_answers_mean(self, erp, export, status, body, kind, said):
        erp.faults.append(says(status, body))

        with pytest.raises(ConnectorError) as caught:
            export()

        assert type(caught.value) is kind
        text = caught.value.said.message if caught.value.said else None
        assert text is None if said is None else said in text
        assert "Trace" not in str(text)
        assert not erp.orders

    def test_a_limit_of_the_whole_site_says_when_to_come_back(self, erp, export):
        erp.faults.append(says(429, "Too Many Requests", X_RateLimit_Reset="17"))

        with pytest.raises(RateLimited) as caught:
            export()

        assert caught.value.retry_after == 17

    def test_what_it_does_not_know_is_refused_with_its_reason(self, erp, export):
        with pytest.raises(RejectedByERP) as caught:
            export(changed(line__internal_sku="NO-SUCH"))

        assert caught.value.said == Said(code="DoesNotExistError", message="Item NO-SUCH not found")


class TestDuplicates:
    def test_the_order_that_somebody_made_meanwhile_is_ours(self, erp, export):
        def meanwhile(_):
            erp.add(customer="4711", po_no="PO-12345", company="ACME Europe")
            return False

        erp.faults.append(meanwhile)

        assert export().receipt.already_delivered
        assert len(erp.orders) == 1

    @pytest.mark.parametrize("odd", [{"amended_from": ["x"]}, {"docstatus": {}}, {"status": 7, "net_total": "x"}])
    def test_an_order_that_is_described_oddly_is_found_all_the_same(self, erp, export, odd):
        erp.add(customer="4711", po_no="PO-12345", company="ACME Europe", docstatus=1)
        erp._shown = lambda order: order | {"status": "?"} | odd

        assert export().erp_order_id == NUMBER

    def test_the_draft_of_a_person_is_not_ours_to_submit(self, erp, export):
        erp.add(customer="4711", po_no="PO-12345", company="ACME Europe")

        result = export(submit=True)

        assert (result.erp_order_id, result.acknowledged, erp.orders[NUMBER]["docstatus"]) == (NUMBER, False, 0)

    def test_a_number_that_differs_in_case_is_another_order(self, erp, export):
        erp.add(customer="4711", po_no="po-12345", company="ACME Europe")

        with pytest.raises(RejectedByERP) as caught:  # by ERPNext, to which it is the same
            export()

        assert "already exists" in caught.value.said.message

    def test_a_document_from_before_the_field_was_named_gets_the_id_all_the_same(self, erp, configure):
        order, attempt = changed(header__external_order_number=" PO-1 "), export_context()
        stored = ErpNextConnector().render(order, configure(), attempt)

        result = ErpNextConnector().export(order, configure(**BY_ID), replace(attempt, document=stored))

        assert (result.receipt.sha256, result.warnings[2:]) == (stored.sha256, ())
        made = erp.orders[NUMBER]
        assert (made["custom_export_id"], made["po_no"]) == (str(attempt.export_id), "PO-1")

    @pytest.mark.parametrize("fault", [None, says(409, frappe("DuplicateEntryError"))])
    def test_the_unique_field_keeps_a_second_one_out(self, erp, export, fault):
        attempt = export_context()
        first = export(attempt=attempt, **BY_ID)
        erp.faults += [fault] if fault else []

        second = export(attempt=attempt, **BY_ID)

        assert (first.erp_order_id, second.erp_order_id) == (NUMBER, NUMBER)
        assert (second.receipt.already_delivered, len(erp.orders)) == (True, 1)

    def test_the_number_of_another_export_is_refused(self, erp, export):
        export(**BY_ID)

        with pytest.raises(RejectedByERP) as caught:
            export(**BY_ID)

        assert "already exists" in caught.value.said.message


class TestSubmitting:
    def test_a_draft_waits_for_a_person(self, erp, export):
        result = export()

        assert (result.erp_order_id, result.acknowledged, erp.orders[NUMBER]["docstatus"]) == (NUMBER, False, 0)
        assert result.receipt.location.endswith(f"/app/sales-order/{NUMBER}")

    def test_goes_on_where_it_broke_off(self, erp, configure):
        order, attempt, config = sample_orders.complete(), export_context(), configure(submit=True)
        erp.faults += [lambda _: False, erp.cut]
        with pytest.raises(OutcomeUnknown):
            ErpNextConnector().export(order, config, attempt)

        found = ErpNextConnector().find_export(order, config, attempt)

        assert found
        assert found.acknowledged
        assert [order["docstatus"] for order in erp.orders.values()] == [1]

    def test_a_refused_submission_leaves_a_draft_with_the_reason(self, erp, export):
        erp.refuses_to_submit = "Credit limit <b>crossed</b> for customer 4711"

        result = export(submit=True)
        assert (result.erp_order_id, result.acknowledged) == (NUMBER, False)
        assert result.warnings[-1] == "It was not submitted: Credit limit crossed for customer 4711"

        erp.refuses_to_submit = ""
        assert export(submit=True).acknowledged


class TestAsking:
    @pytest.fixture
    def ask(self, configure):
        """Return a function that asks what became of an order."""

        def ask(attempt, pinned=None, **changes):
            answers = []
            awaited = Awaited(
                export_id=attempt.export_id,
                idempotency_key=attempt.idempotency_key,
                filename="f.json",
                order=sample_orders.complete(),
                created_at=attempt.created_at,
                location="https://erp.test/app/sales-order/1",
                erp_order_id=NUMBER,
            )

            def settle(answer):
                answers.append(answer)
                return Settlement.APPLIED

            asking = replace(context(), awaited=lambda: [awaited], pinned_identity=pinned)
            ErpNextConnector().poll_acknowledgements(configure(**changes), asking, settle)
            return [(answer.status, answer.erp_order_id, answer.error_code) for answer in answers]

        return ask

    @pytest.mark.parametrize("how", [{}, BY_ID])
    def test_draft_submitted_cancelled_amended(self, erp, export, ask, how):
        attempt = export_context()
        export(attempt=attempt, **how)
        assert ask(attempt, **how) == []

        erp.orders[NUMBER]["docstatus"] = 1
        assert ask(attempt, **how) == [("ACKED", NUMBER, None)]

        erp.orders[NUMBER]["docstatus"] = 2
        assert ask(attempt, **how) == [("REJECTED", NUMBER, "Cancelled")]

        copied = erp.orders[NUMBER] | {"custom_export_id": None, "docstatus": 1}
        erp.add(**copied | {"name": f"{NUMBER}-1", "amended_from": NUMBER})
        assert ask(attempt, **how) == [("ACKED", f"{NUMBER}-1", None)]

    def test_one_whose_customer_is_gone_does_not_keep_others_waiting(self, erp, export, ask):
        attempt = export_context()
        export(attempt=attempt)
        erp.orders[NUMBER]["docstatus"] = 1

        assert ask(attempt, customer_field="tax_id") == []

    def test_nothing_is_believed_of_another_company(self, export, ask):
        attempt = export_context()
        export(attempt=attempt)

        with pytest.raises(AuthenticationFailed) as caught:
            ask(attempt, pinned=RemoteIdentity(company="ACME Europe", currency="USD"))

        assert caught.value.code is Code.IDENTITY_CHANGED

    def test_what_was_cancelled_is_not_made_again(self, erp, export):
        export()
        erp.orders[NUMBER]["docstatus"] = 2

        with pytest.raises(RejectedByERP):
            export()

        assert len(erp.orders) == 1


class TestWarnings:
    def test_says_what_erpnext_made_of_it(self, erp, export):
        erp.allows_many_per_po, erp.list_prices = True, {"INT-1": 9.99}
        free = changed(line__unit_price="0")
        export(free, **BY_ID)
        erp.custom_fields.clear()

        warnings = export(free, **BY_ID).warnings

        assert warnings == (
            "ship_to was left out: ERPNext takes the usual address of the customer.",
            "bill_to was left out: ERPNext takes the usual address of the customer.",
            f"Warning: Sales Order {NUMBER} already exists against Customer's Purchase Order PO-12345",
            "ERPNext has not kept custom_export_id, by which the order is found again.",
            "The ERP comes to a net total of 104.90, the order to 0.00: it may round or change prices.",
        )

    @pytest.mark.parametrize(
        "packed", ['"', "[1, null, {}]", '["{\\"message\\": 7}"]', json.dumps(["[" * 100_000]), {"message": []}]
    )
    def test_messages_that_cannot_be_read_are_none(self, packed):
        assert messages({"_server_messages": packed}) in ([], ["[" * 100_000])


class TestMasterData:
    def test_is_asked_by_its_numbers(self, erp, export):
        erp.documents["Item"][0] |= {
            "barcodes": [{"barcode": "4006381333931"}],
            "customer_items": [{"ref_code": "AB-123", "customer_name": "4711"}],
        }
        link = {"link_doctype": "Customer", "link_name": "4711"}
        erp.documents["Address"] = [{"name": "Gate 3-Shipping", "custom_gln": "4012345000009", "links": [link]}]
        by_gtin = {"item_number_from": "gtin", "item_by": "barcode"}
        by_code = {"item_number_from": "customer_sku_raw", "item_by": "customer_code"}

        order = changed(customer__erp_customer_number="DE1")
        export(order, customer_field="tax_id", address_field="custom_gln", **by_gtin)
        made = erp.orders[NUMBER]
        assert (made["customer"], made["items"][0]["item_code"]) == ("4711", "INT-1")
        assert made["shipping_address_name"] == made["customer_address"] == "Gate 3-Shipping"
        assert export(order, customer_field="tax_id", **by_code).receipt.already_delivered

    @pytest.mark.parametrize("doctype", ["Customer", "Item", "Address"])
    @pytest.mark.parametrize("times", [0, 2])
    def test_what_is_missing_or_there_twice_is_named(self, erp, export, doctype, times):
        how = {
            "Customer": ({"customer_field": "tax_id"}, {"tax_id": "4711"}, "erp_customer_number"),
            "Item": (
                {"item_by": "barcode", "item_number_from": "gtin"},
                {"barcodes": [{"barcode": "4006381333931"}]},
                "lines.0.gtin",
            ),
            "Address": (
                {"address_field": "custom_gln"},
                {"custom_gln": "4012345000009", "links": [{"link_doctype": "Customer", "link_name": "4711"}]},
                "ship_to.gln",
            ),
        }
        config, known, where = how[doctype]
        erp.documents[doctype] = [{"name": f"X-{number}", **known} for number in range(times)]

        with pytest.raises(DocumentError) as caught:
            export(changed(), **config)

        assert where in caught.value.message
        assert ("more than one" if times else "does not know") in caught.value.message
        assert not erp.orders


class TestConnectionTest:
    def test_names_user_version_and_company(self, erp, configure):
        erp.site = "acme.example.com"

        result = ErpNextConnector().test_connection(configure(site="acme.example.com", **BY_ID), context())

        assert result.success, result.failed_step
        assert result.steps[-1].detail == "connector@example.test, ERPNext 15.47.3"
        assert result.identity == RemoteIdentity(company="ACME Europe", currency="EUR")

    @pytest.mark.parametrize(
        ("arrange", "config", "code", "what"),
        [
            (lambda erp: setattr(erp, "user", "Guest"), {}, Code.AUTHENTICATION_FAILED, ""),
            (lambda erp: erp.forbidden.add("Sales Order"), {}, Code.PERMISSION_DENIED, "Sales Order"),
            (lambda erp: erp.forbidden.add("Company"), {}, Code.PERMISSION_DENIED, "Company"),
            (lambda erp: erp.forbidden.add("Item"), {"item_by": "barcode"}, Code.PERMISSION_DENIED, "Item"),
            (lambda erp: erp.forbidden.add("create"), {}, Code.PERMISSION_DENIED, "Sales Order (create)"),
            (lambda erp: erp.forbidden.add("submit"), {"submit": True}, Code.PERMISSION_DENIED, "Sales Order (submit)"),
            (lambda erp: erp.documents.pop("Company"), {}, Code.ENDPOINT_UNUSABLE, "404"),
            (lambda erp: setattr(erp, "site", "other.example.com"), {}, Code.ENDPOINT_UNUSABLE, "404"),
            (lambda erp: None, {"company": "ACME Asia"}, Code.PATH_NOT_FOUND, "The company ACME Asia"),
            (lambda erp: erp.custom_fields.update(custom_export_id=0), BY_ID, Code.PATH_NOT_FOUND, "The unique field"),
            (lambda erp: erp.custom_fields.clear(), LOOKED_UP, Code.PATH_NOT_FOUND, "The field custom_export_id"),
        ],
    )  # fmt: skip
    def test_says_what_is_missing(self, erp, configure, arrange, config, code, what):
        arrange(erp)

        result = ErpNextConnector().test_connection(configure(**config), context())

        assert result.failed_step
        assert (result.failed_step.name, result.failed_step.code) == ("read", code)
        assert what in result.failed_step.detail

    def test_does_without_what_is_only_nice_to_know(self, erp, configure):
        erp.forbidden |= {"frappe.utils.change_log.get_versions", "frappe.desk.form.load.getdoctype"}

        result = ErpNextConnector().test_connection(configure(**BY_ID), context())

        assert result.success, result.failed_step
