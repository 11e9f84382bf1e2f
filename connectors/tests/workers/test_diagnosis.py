"""Tests of connections by a real worker: in its process, step by step, and beside the orders it sends."""

import json
import time

import pytest
from django.test import Client

from connectors.models import ConnectionTest, ERPExport
from connectors.services import connections, diagnosis, exports
from connectors.testing import sample_orders
from connectors.tests.peers.proxy import blackhole
from connectors.tests.workers.processes import wait_for, worker
from tenants.models import ApiKey, Role

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def working(tmp_path):
    with worker(tmp_path, EGRESS_ALLOWED_NETWORKS="127.0.0.0/8", TESTS_AT_ONCE="20"):
        wait_for(diagnosis.jobs.has_worker)
        yield


@pytest.fixture
def api(acme):
    _, token = ApiKey.objects.issue(org=acme, role=Role.ADMIN, name="test")

    def post(path, body=None, **headers):
        return Client().post(
            f"/api/v1/{path}",
            json.dumps(body or {}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}", **headers},
        )

    return post


def swallowed(org, actor, port, timeout_s=3):
    config = {
        "mode": "sftp",
        "host": "127.0.0.1",
        "port": port,
        "username": "u",
        "password": "p",
        "export_path": "/in",
        "timeout_s": timeout_s,
    }
    return connections.create(org, actor, connector_type="DROPZONE_JSON_V1", config=config, status="DISABLED")


def test_the_worker_runs_it_and_the_caller_gets_the_report(working, acme, actor, api):
    connection = connections.create(acme, actor, connector_type="MOCK", config={"latency_ms": 50})

    answer = api(f"connectors/{connection.pk}/test")

    assert (answer.status_code, answer.json()["success"]) == (200, True)
    # No thread of this process has run it: whoever runs a test here takes one of these.
    assert diagnosis._free_here._value == diagnosis._free_here._initial_value


def test_steps_arrive_as_they_end(working, acme, actor, api):
    arrived = []
    with blackhole() as port:
        connection = swallowed(acme, actor, port)
        answer = api(f"connectors/{connection.pk}/test", Accept="text/event-stream")
        for chunk in answer.streaming_content:
            lines = chunk.decode().split("\n")
            arrived += [
                (line.removeprefix("event: "), time.monotonic()) for line in lines if line.startswith("event: ")
            ]

    assert answer["Content-Type"] == "text/event-stream"
    names = [name for name, _ in arrived]
    assert (names[0], names[-1]) == ("test", "result")
    resolved = next(when for name, when in arrived if name == "step")
    assert arrived[-1][1] - resolved > 2


def test_later_is_an_answer_and_cancelling_frees_the_caller(working, acme, actor, api):
    with blackhole() as port:
        connection = swallowed(acme, actor, port, timeout_s=30)
        answer = api(f"connectors/{connection.pk}/test", Prefer="respond-async")
        assert answer.status_code == 202
        test = ConnectionTest.objects.get()
        assert answer["Location"] == f"/api/v1/connectors/tests/{test.pk}"
        wait_for(lambda: ConnectionTest.objects.get().state == "RUNNING")

        cancelled = api(f"connectors/tests/{test.pk}/cancel")

    assert (cancelled.status_code, cancelled.json()["state"], cancelled.json()["code"]) == (
        200,
        "CANCELLED",
        "TEST_CANCELLED",
    )


def test_far_ends_that_never_answer_keep_no_order_waiting(working, acme, globex, actor):
    connections.create(globex, actor, connector_type="MOCK", config={})
    with blackhole() as port:
        slow = [diagnosis.start(swallowed(acme, actor, port), actor) for _ in range(12)]
        wait_for(lambda: ConnectionTest.objects.running().count() == len(slow))

        exports.submit(globex, actor, sample_orders.minimal(), idempotency_key="k")
        wait_for(lambda: ERPExport.objects.get().status == "SENT", seconds=2)

        assert ConnectionTest.objects.running().exists()
        assert {diagnosis.finish(test).code for test in slow} == {"CONNECTION_TIMEOUT"}


def test_a_killed_workers_test_ends_all_the_same(tmp_path, acme, actor):
    with blackhole() as port:
        test = diagnosis.start(swallowed(acme, actor, port, timeout_s=60), actor)
        with worker(tmp_path, EGRESS_ALLOWED_NETWORKS="127.0.0.0/8"):
            wait_for(lambda: ConnectionTest.objects.get().state == "RUNNING")
    ConnectionTest.objects.update(leased_until="2000-01-01T00:00:00Z")

    with worker(tmp_path):
        wait_for(lambda: ConnectionTest.objects.get().state == "FINISHED")

    test.refresh_from_db()
    assert test.code == "TEST_INTERRUPTED"
