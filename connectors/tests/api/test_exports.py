"""Orders through the front door."""

import json
import threading

import pytest
from django.db import connection as database

from connectors.models import ERPExport
from connectors.services import delivery
from connectors.testing import sample_orders
from connectors.tests.api.conftest import paths, problem
from tenants import scope

ORDER = sample_orders.minimal("SO-1").as_json()
KEYS = {
    "id", "status", "connector", "order_id", "filename", "document", "receipt", "erp_order_id", "error", "warnings",
    "attempts", "next_attempt_at", "outcome_unknown", "retry_of", "superseded", "created_at", "updated_at", "sent_at",
    "finished_at", "held", "reason", "dismissed",
}  # fmt: skip


class TestSubmit:
    def test_202_with_location_then_200_with_the_same(self, api, mock):
        first, again = api.submit(ORDER), api.submit(ORDER)

        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json() == again.json() == api.get(first["Location"]).json()
        assert set(first.json()) == KEYS | {"order"}
        assert first.json()["connector"] == {name: mock[name] for name in ("id", "connector_type", "name")}

    def test_the_refusals_of_the_contract(self, api, mock):
        export = api.submit(ORDER).json()

        problem(api.submit(ORDER | {"order_id": "SO-2"}), 422, "IDEMPOTENCY_KEY_REUSED")
        assert problem(api.submit(ORDER, key="key-2"), 409, "EXPORT_EXISTS")["export_id"] == export["id"]

    def test_without_an_active_connection(self, api):
        problem(api.submit(ORDER), 409, "NO_ACTIVE_CONNECTOR")

    @pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256])
    def test_the_key_is_visible_ascii(self, api, mock, key):
        assert paths(api.submit(ORDER, key=key)) == ["Idempotency-Key"]

    def test_the_key_is_required(self, api, mock):
        assert paths(api.post("exports", {"order": ORDER})) == ["Idempotency-Key"]

    def test_each_fault_has_its_path(self, api, mock):
        line = ORDER["lines"][0]
        order = ORDER | {"lines": [line | {"qty": "x"}, line], "extra": 1}

        assert set(paths(api.submit(order))) == {"order.lines.0.qty", "order.extra"}
        assert paths(api.submit(ORDER | {"lines": [line, line]})) == ["order.lines.1.line_no"]
        assert paths(api.submit(ORDER | {"lines": []})) == ["order.lines"]

    @pytest.mark.parametrize("price", ['"12345678901234.5678"', "12345678901234.5678"])
    def test_every_digit_survives(self, api, mock, price):
        raw = json.dumps({"order": ORDER}).replace('"1.2300"', price).encode()

        export = api.post("exports", raw=raw, Idempotency_Key="k").json()
        document = api.post("exports/preview", raw=raw)

        assert export["order"]["lines"][0]["unit_price"] == "12345678901234.5678"
        assert b'"unit_price":12345678901234.5678,' in document.content

    @pytest.mark.slow
    def test_10000_lines_and_no_more(self, api, mock):
        assert api.submit(sample_orders.large_input(10_000)).status_code == 202
        assert paths(api.submit(sample_orders.large_input(10_001), key="k2")) == ["order.lines"]

    @pytest.mark.django_db(transaction=True)
    def test_20_at_once_are_one_export(self, api, mock, acme, caller):
        callers, answers = [caller(acme) for _ in range(20)], []
        start = threading.Barrier(20)

        def submit(each):
            start.wait()
            answers.append(each.submit(ORDER))
            database.close()

        threads = [threading.Thread(target=scope.everything()(submit), args=[each]) for each in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert ERPExport.objects.count() == 1


class TestFollow:
    def test_document_attempts_and_receipt_of_a_delivered_order(self, api, mock):
        export = api.submit(ORDER).json()
        problem(api.get(f"exports/{export['id']}/document"), 404, "NOT_FOUND")

        delivery.drain(ERPExport.objects.get().connection_id)

        sent = api.get(f"exports/{export['id']}").json()
        document = api.get(f"exports/{export['id']}/document", Accept="text/plain")
        [attempt] = api.get(f"exports/{export['id']}/attempts").json()["results"]
        assert (sent["status"], sent["attempts"]) == ("SENT", 1)
        assert document["Content-Type"] == sent["document"]["media_type"] == "application/json"
        assert document["ETag"] == f'"{sent["document"]["sha256"]}"'
        assert sent["filename"] in document["Content-Disposition"]
        assert len(document.content) == sent["document"]["size"] == sent["receipt"]["size"]
        assert (attempt["number"], attempt["outcome"], attempt["receipt"]) == (1, "SENT", sent["receipt"])
        assert set(attempt) == {
            "number", "started_at", "finished_at", "latency_ms", "outcome", "error", "receipt", "steps",
            "next_attempt_at",
        }  # fmt: skip

    def test_preview_sends_and_stores_nothing(self, api, mock):
        document = api.post("exports/preview", {"order": ORDER})

        assert json.loads(document.content)["draft_order_id"] == "SO-1"
        assert "attachment" in document["Content-Disposition"]
        assert not ERPExport.objects.exists()

    def test_cancel_then_submit_anew(self, api, mock):
        export = api.submit(ORDER).json()

        assert api.post(f"exports/{export['id']}/cancel").json()["status"] == "CANCELLED"
        assert problem(api.post(f"exports/{export['id']}/cancel"), 409, "CONFLICT")["present_status"] == "CANCELLED"
        assert api.submit(ORDER, key="key-2").status_code == 202

    def test_retry_is_a_new_export(self, api, mock):
        export = api.submit(ORDER).json()
        problem(api.post(f"exports/{export['id']}/retry"), 409, "CONFLICT")
        ERPExport.objects.update(status="FAILED")

        answer = api.post(f"exports/{export['id']}/retry")

        assert (answer.status_code, answer.json()["retry_of"]) == (202, export["id"])
        assert answer["Location"].endswith(answer.json()["id"])
        assert api.get(f"exports/{export['id']}").json()["superseded"] is True


class TestLists:
    def test_pages_go_forth_and_back(self, api, mock):
        for number in range(5):
            api.submit(ORDER | {"order_id": f"SO-{number}"}, key=f"k{number}")
        seen, pages, url = [], [], "exports?limit=2&status=PENDING"
        while url:
            pages.append(api.get(url).json())
            seen += [each["order_id"] for each in pages[-1]["results"]]
            url = pages[-1]["next"]

        assert seen == ["SO-4", "SO-3", "SO-2", "SO-1", "SO-0"]
        assert [bool(page["previous"]) for page in pages] == [False, True, True]
        assert api.get(pages[2]["previous"]).json()["results"] == pages[1]["results"]
        assert api.get(pages[1]["previous"]).json() == pages[0]

    def test_filters(self, api, mock):
        api.submit(ORDER)

        def count(query):
            return len(api.get(f"exports?{query}").json()["results"])

        assert count("status=PENDING&status=SENT") == count("order_id=SO-1") == count(f"connector={mock['id']}") == 1
        assert count("created_after=2020-01-01T00:00:00Z") == 1
        assert count("held=false") == count("dismissed=false") == 1
        assert count("held=true") == count("dismissed=true") == 0
        assert count("status=SENT") == count("order_id=SO-2") == count("created_before=2020-01-01T00:00:00Z") == 0

    @pytest.mark.parametrize(
        ("query", "path"),
        [
            ("status=sent", "status"), ("status=", "status"), ("connector=x", "connector"), ("limit=0", "limit"),
            ("limit=201", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"),
            ("created_after=today", "created_after"), ("held=yes", "held"), ("dismissed=1", "dismissed"),
            ("order_id=a&order_id=b", "order_id"), ("order_id=%00", "order_id"), ("state=SENT", "state"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_understood_is_refused(self, api, query, path):
        assert paths(api.get(f"exports?{query}")) == [path]
