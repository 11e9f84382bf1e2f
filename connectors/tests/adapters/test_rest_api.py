"""Orders through the API and the worker into an imitation of an ERP, and everything that can go wrong on the way."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from decimal import Decimal

import pytest

from connectors.models import ERPConnection, ERPExport
from connectors.services import acknowledgements, configurations, connections, delivery
from connectors.testing import sample_orders
from connectors.testing.fakes import context
from connectors.tests.api.conftest import _fresh, api, caller  # noqa: F401  # fixtures
from connectors.tests.peers.rest_erp import RestErp, says
from connectors.transports import http_tokens

pytestmark = pytest.mark.usefixtures("host_names")
ORDER = sample_orders.complete("SO-1").as_json()
BODY = [
    {"target": "reference", "source": "order_id"},
    {"target": "lines[].sku", "source": "lines[].internal_sku"},
    {"target": "lines[].price", "source": "lines[].unit_price", "transform": [{"as": "number"}]},
]
BY_KEY = {"idempotency_header": "Idempotency-Key"}
BY_LOOK_UP = {
    "lookup_path": "orders",
    "lookup_query": {"reference": "{order_id}"},
    "found_at": "$.items",
    "settle_s": 0,
}
TOKENS = {"auth_kind": "oauth2", "client_id": "shop", "client_secret": "s3cret", "scope": "orders"}


@pytest.fixture(autouse=True)
def _no_haste(settings, monkeypatch):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    monkeypatch.setattr("random.random", lambda: 1.0)


@pytest.fixture
def erp():
    return RestErp()


@pytest.fixture
def http(erp, start_https):
    return start_https(erp)


@pytest.fixture
def connect(acme, actor, http, authority):
    def connect(**config):
        base = {"base_url": http.url(path="/api"), "ca_bundle": authority.certificate, "create_path": "orders"}
        base |= {"number_at": "$.number", "timeout_s": 1, "body": BODY}
        return connections.create(acme, actor, connector_type="REST_API", config=base | config)

    return connect


@pytest.fixture
def push(api):  # noqa: F811  # the fixture
    """A function that sends an order and lets the worker try so many times."""

    def push(connection, times=1):
        created = api.submit(ORDER)
        assert created.status_code == 202, created.json()
        for _ in range(times):
            ERPExport.objects.update(next_attempt_at=None)
            ERPConnection.objects.update(retry_at=None)
            delivery.drain(connection.pk)
        return ERPExport.objects.get(pk=created.json()["id"])

    return push


def test_from_the_front_door_to_the_number(connect, push, erp, http):
    export = push(connect(**BY_KEY))

    assert (export.status, export.erp_order_id, export.attempts) == ("ACKED", "SO-1000", 1)
    sent = json.loads(erp.bodies["SO-1000"], parse_float=Decimal)
    assert sent["lines"][1] == {"sku": "INT-2", "price": Decimal("12345678901234.5678")}
    assert [request.headers["Idempotency-Key"] for request in http.requests] == [str(export.pk)]


@pytest.mark.parametrize("guard", [BY_KEY, BY_LOOK_UP, BY_KEY | BY_LOOK_UP], ids=["key", "look-up", "both"])
def test_a_lost_answer_makes_no_second_order(connect, push, erp, guard):
    erp.faults.append(erp.drop)

    export = push(connect(**guard), times=2)

    assert (export.status, export.erp_order_id, len(erp.orders)) == ("ACKED", "SO-1000", 1)


def test_without_a_guard_a_person_decides(connect, push, erp):
    erp.faults.append(erp.drop)

    export = push(connect(), times=3)

    assert (export.status, len(erp.orders)) == ("UNCONFIRMED", 1)


def test_an_order_that_arrives_after_we_stopped_waiting(connect, push, erp):
    released = threading.Event()
    erp.faults.append(erp.later(released))
    connection = connect(**BY_KEY)
    export = push(connection)
    assert (export.status, export.outcome_unknown) == ("PENDING", True)

    ERPExport.objects.update(next_attempt_at=None)
    delivery.drain(connection.pk)
    released.set()

    export.refresh_from_db()
    assert (export.status, export.erp_order_id, len(erp.orders)) == ("ACKED", "SO-1000", 1)


def test_a_500_that_is_replayed_for_ever_is_no_order(connect, push, erp):
    erp.faults += [says(500, "<html>Traceback (most recent call last): s3cret") for _ in range(20)]

    export = push(connect(**BY_KEY), times=12)

    assert (export.status, erp.orders) == ("UNCONFIRMED", {})
    assert "s3cret" not in json.dumps(export.error)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (says(429, "", Retry_After="7"), "PENDING", "RATE_LIMITED"),
        (says(503, "", Retry_After="7"), "PENDING", "RATE_LIMITED"),
        (says(401, "no"), "PENDING", "AUTHENTICATION_FAILED"),
        (says(405, "<html>nginx"), "PENDING", "ENDPOINT_UNUSABLE"),
        (says(422, '{"title": "No", "detail": "<b>Unknown</b> item"}', Content_Type="application/problem+json"),
         "REJECTED", "REJECTED_BY_ERP"),
        (says(409, ""), "PENDING", "REMOTE_ERROR"),
        (says(200, "<html>Log in", Content_Type="text/html"), "PENDING", "UNUSABLE_ANSWER"),
        (says(201, "{}"), "PENDING", "UNUSABLE_ANSWER"),
    ],
)  # fmt: skip
def test_what_answers_mean(connect, push, erp, fault, status, code):
    erp.faults.append(fault)

    export = push(connect(**BY_KEY))

    assert (export.status, export.error["code"]) == (status, code)
    if status == "REJECTED":
        assert export.error["erp"] == {"code": None, "message": "No; Unknown item"}


def test_an_error_in_a_200_by_a_rule(connect, push, erp):
    erp.faults.append(says(200, '{"success": false, "why": "closed period", "number": "X"}'))
    rules = [
        {
            "when": {"status": [200], "json_path": "success", "contains": "false"},
            "outcome": "rejected",
            "message_path": "why",
        }
    ]

    export = push(connect(error_rules=rules, **BY_KEY))

    assert (export.status, export.error["erp"]["message"]) == ("REJECTED", "closed period")


def test_taken_now_and_an_order_later(connect, push, erp):
    erp.is_asynchronous, erp.state = True, "open"
    connection = connect(state_at="$.status", **BY_KEY)
    export = push(connection)
    assert (export.status, export.receipt["location"].endswith("/api/jobs/SO-1000")) == ("SENT", True)

    assert acknowledgements.poll(connection.pk) == 0
    erp.orders["SO-1000"]["status"] = "Accepted"
    assert acknowledgements.poll(connection.pk) == 1

    export.refresh_from_db()
    assert (export.status, export.erp_order_id) == ("ACKED", "SO-1000")


def test_a_state_that_becomes_a_no(connect, push, erp):
    erp.state = "open"
    connection = connect(state_at="status", status_path="orders/{erp_order_id}", message_at="why", **BY_KEY)
    export = push(connection)
    erp.orders["SO-1000"] |= {"status": "cancelled", "why": "no credit"}

    acknowledgements.poll(connection.pk)

    export.refresh_from_db()
    assert (export.status, export.error["erp"]) == ("REJECTED", {"code": "cancelled", "message": "no credit"})


class TestTokens:
    @pytest.fixture
    def connection(self, connect, http, erp):
        erp.authorised = lambda e: e.headers.get("Authorization") == f"Bearer {erp.tokens[-1] if erp.tokens else ''}"
        http_tokens._STORE._places.clear()
        return connect(test_path="ping", token_url=http.url(path="/token"), **TOKENS, **BY_KEY)

    def test_one_is_kept_and_renewed_once(self, connection, push, erp):
        assert push(connection).status == "ACKED"
        assert erp.token_forms == [{"grant_type": "client_credentials", "scope": "orders"}]

        erp.tokens.append("another one counts now")
        connector, config = configurations.load(connection)
        result = connector.test_connection(config, context())

        assert result.success, result.failed_step
        assert len(erp.token_forms) == 2

    def test_a_refused_client_pauses_the_connection(self, connection, push, erp):
        erp.refuses_client = True

        export = push(connection)

        assert (export.status, export.error["code"]) == ("PENDING", "TOKEN_REFUSED")
        assert "s3cret" not in json.dumps(export.error)
        assert ERPConnection.objects.get().health == "AUTH_FAILED"


def test_hmac_over_what_is_sent(connect, push, http):
    push(connect(signing="hmac", signing_secret="k3y", **BY_KEY))

    (request,) = http.requests
    expected = hmac.new(b"k3y", request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Signature"] == f"sha256={expected}"
