"""What a scrape says of the database, and what it costs."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from connectors.models import ExportAttempt
from connectors.services import metrics
from connectors.tests.rows import a_connection, an_export

AGO = timedelta(minutes=5)
BOUNDS = ("0.1", "1.0", "30.0", "60.0", "+Inf")


def scrape():
    """Return every sample by name and labels."""
    registry = CollectorRegistry()
    registry.register(metrics.DatabaseCollector())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def an_attempt(export, outcome="SENT", *, ago=timedelta()):
    now = timezone.now() - ago
    ExportAttempt.objects.create(
        org_id=export.org_id, export=export, number=1, started_at=now, finished_at=now, outcome=outcome
    )


def test_orders_are_counted_by_what_they_need(acme):
    line = a_connection(acme)
    for status in ("PENDING", "SENDING", "SENT", "SENT", "ACKED", "FAILED", "UNCONFIRMED"):
        an_export(line, status)
    an_export(line, "PENDING", held=True)
    an_export(line, "FAILED", superseded_at=timezone.now())

    seen = scrape()

    assert {state: seen["erp_exports", state] for state in ("PENDING", "SENDING", "SENT", "ACKED", "CANCELLED")} == {
        "PENDING": 2, "SENDING": 1, "SENT": 2, "ACKED": 1, "CANCELLED": 0,
    }  # fmt: skip
    assert (seen["erp_exports", "FAILED"], seen["erp_dead_letters", "FAILED"]) == (2, 1)
    assert seen["erp_dead_letters", "UNCONFIRMED"] == 1
    assert seen["erp_exports_held",] == 1


def test_a_large_table_is_counted_where_it_moves_and_estimated_where_it_rests(acme, monkeypatch):
    line = a_connection(acme)
    for status in ["PENDING"] * 3 + ["ACKED"] * 20:
        an_export(line, status)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE erp_export")
    an_export(line, "PENDING")
    monkeypatch.setattr(metrics, "_SMALL_TABLE", 0)

    seen = scrape()

    assert (seen["erp_exports", "PENDING"], seen["erp_exports", "REJECTED"]) == (4, 0)
    assert seen["erp_exports", "ACKED"] == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    ("columns", "is_due"),
    [
        ({}, True),
        ({"retry_at": timezone.now()}, False),
        ({"health": "AUTH_FAILED"}, False),
        ({"paused_at": timezone.now()}, False),
        ({"status": "DISABLED"}, False),
        ({"maintenance_windows": [{"from": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}]}, False),
    ],
    ids=lambda columns: " ".join(columns) if isinstance(columns, dict) else None,
)
def test_what_waits_is_due_unless_something_else_than_a_worker_is_missing(acme, columns, is_due):
    line = a_connection(acme, **columns)
    an_export(line, ago=AGO)
    an_export(line, ago=2 * AGO, held=True)

    seen = scrape()

    assert seen["erp_export_oldest_pending_age_seconds",] == pytest.approx(AGO.total_seconds(), abs=5)
    assert seen["erp_export_oldest_due_age_seconds",] == pytest.approx(AGO.total_seconds() * is_due, abs=5)


def test_the_latency_is_that_of_the_last_minutes(acme):
    line = a_connection(acme)
    for age in (0.2, 0.2, 45, 7200):
        an_attempt(an_export(line, "SENT", ago=timedelta(seconds=age)))
    an_attempt(an_export(line, "FAILED"), "FAILED")
    an_attempt(an_export(line, "SENT", ago=timedelta(days=1)), ago=timedelta(hours=1))

    seen = scrape()

    buckets = {bound: seen["erp_export_delivery_seconds_bucket", bound] for bound in BOUNDS}
    assert buckets == dict(zip(BOUNDS, (0, 2, 2, 3, 4), strict=True))
    assert seen["erp_export_delivery_seconds_gsum",] == pytest.approx(7245.4, abs=5)
    assert (seen["erp_export_attempts", "SENT"], seen["erp_export_attempts", "FAILED"]) == (4, 1)


def test_keys_and_the_queue(acme, settings):
    a_connection(acme)
    before = settings.ENCRYPTION_MASTER_KEY
    settings.ENCRYPTION_MASTER_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = bytes(range(1, 33)).hex(), (before,)
    a_connection(acme, status="DISABLED")
    settings.ENCRYPTION_PREVIOUS_KEYS = ()

    seen = scrape()

    rows = sorted((labels[0], value) for (name, *labels), value in seen.items() if name == "erp_encryption_key_rows")
    assert rows == [("false", 1), ("true", 1)]
    assert seen["erp_database_up",] == 1
    assert (seen["erp_workers",], seen["erp_jobs_waiting",]) == (0, 0)
