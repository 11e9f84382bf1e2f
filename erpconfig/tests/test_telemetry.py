"""Traces: ids and states, never content; and nothing at all where nobody asked for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from connectors.services import delivery
from connectors.testing import sample_orders
from connectors.tests.rows import a_connection
from erpconfig import telemetry
from erpconfig.paths import BASE_DIR
from tenants.models import ApiKey, Organization


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), telemetry.tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", TracerProvider.get_tracer.__get__(provider))
    yield exporter
    provider.shutdown()


@pytest.mark.django_db
def test_an_order_is_followed_by_its_ids(spans: Any, client: Client, settings: LazySettings) -> None:
    settings.MIDDLEWARE = ["erpconfig.telemetry.RequestSpans", *settings.MIDDLEWARE]
    org = Organization.objects.create(slug="acme")
    line = a_connection(org)
    _, token = ApiKey.objects.issue(org=org, role="OPS", name="shop")
    order = sample_orders.minimal("SO-canary-77")
    caller = "4bf92f3577b34da6a3ce929d0e0e4736"

    answer = client.post(
        "/api/v1/exports",
        json.dumps({"order": order.as_json()}),
        content_type="application/json",
        headers={
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": "canary-77",
            "X-Request-ID": "r-42",
            "traceparent": f"00-{caller}-00f067aa0ba902b7-01",
        },
    )
    delivery.drain(line.pk)

    assert answer.status_code == 202, answer.content
    submit, request, attempt = spans.get_finished_spans()
    assert [span.name for span in (request, submit, attempt)] == [
        "POST /api/v1/exports", "export.submit", "export.attempt",
    ]  # fmt: skip
    assert request.attributes["http.response.status_code"] == 202
    assert request.attributes["erp.request_id"] == "r-42"
    assert f"{request.context.trace_id:032x}" == f"{submit.context.trace_id:032x}" == caller
    assert submit.attributes["erp.export_id"] == attempt.attributes["erp.export_id"] == answer.json()["id"]
    assert attempt.attributes["erp.outcome"] == "SENT"
    assert attempt.end_time >= attempt.start_time
    everything = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "canary-77" not in everything
    assert token not in everything


def test_without_the_packages_nothing_changes() -> None:
    """With the endpoint the reason is one line; without it the commands do what they did."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None; sys.argv = ['manage.py', 'list_connectors'];"
        "import manage; manage.main()"
    )
    quiet, loud = (
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=BASE_DIR,
            env=os.environ | more,
            capture_output=True,
            text=True,
            check=False,
        )
        for more in ({}, {telemetry.ENDPOINT: "http://127.0.0.1:9"})
    )

    assert (quiet.returncode, "MOCK" in quiet.stdout) == (0, True)
    assert loud.returncode == 1
    assert loud.stderr.strip().endswith("Run: pip install -r requirements-otel.txt, or unset it.")
    assert "Traceback" not in loud.stderr
