"""What monitoring asks of the database: what waits, what went wrong, and what is about to.

Every number comes from the rows, so all processes tell the same. No question takes longer the more orders there were:
what waits is counted by the partial indices that the work itself uses, what was done is looked at in the last minutes
only, and of what has come to rest the planner knows how much there is. Labels are states and kinds, never an order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Count
from django.utils import timezone
from prometheus_client.metrics_core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connectors import maintenance
from connectors.fields import key_ring
from connectors.models import (
    AcknowledgementRecord,
    AckOutcome,
    ConnectionTest,
    ERPConnection,
    ExportStatus,
    Health,
    Outcome,
)
from connectors.models.export import RETRYABLE
from connectors.services import acknowledgements, checks, installation, keys
from connectors.services.backlog import backlog

log = structlog.get_logger(__name__)

RECENTLY: Final = timedelta(minutes=15)
"""What "lately" is where a metric looks back."""

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""The upper bounds of the buckets of the delivery latency."""

_DELIVERIES: Final = 1000
"""So many deliveries at most, the latest ones, stand for the latency: enough for its 99th percentile."""

_MANY: Final = 100_000
"""Nobody needs to know it more exactly beyond that."""

_SMALL_TABLE: Final = 32 * 1024 * 1024
"""Up to so many bytes counting every row costs less than 20 ms."""

_PATIENCE_MS: Final = 2000
"""No question may burden the database for longer, whatever became of its statistics."""


class DatabaseCollector(Collector):
    """Gauges without anything that is secret: labels are ids, states and kinds."""

    def collect(self) -> Iterable[Metric]:
        """Yield the gauges as they are now; without a database only that there is none."""
        complete = True
        for measure in _MEASURES:
            try:
                with transaction.atomic(), _hurried():
                    found = list(measure())
            except (DatabaseError, InterfaceError) as error:
                log.error("metrics.database_failed", measure=measure.__name__, error=type(error).__name__)
                complete = False
            else:
                yield from found
        yield _gauge("erp_database_up", "1 if the database answered all questions of this scrape.", complete)


# Orders


def _exports() -> Iterator[Metric]:
    counts = dict.fromkeys(ExportStatus.values, 0.0) | _counts()
    yield _by("state", "erp_exports", "Exports by state; in a large table those at rest are estimated.", counts)
    held = _scalar("SELECT count(*) FROM erp_export WHERE status = 'PENDING' AND held")
    yield _gauge("erp_exports_held", "Exports that wait for a person's approval.", held)
    dead = dict.fromkeys(map(str, RETRYABLE), 0) | dict(_rows(_DEAD_LETTERS))
    yield _by("state", "erp_dead_letters", "Exports that came to nothing and that nobody has seen to.", dead)


def _counts() -> dict[str, float]:
    estimated = dict(_rows(_ESTIMATED)) if _scalar("SELECT pg_relation_size('erp_export')") > _SMALL_TABLE else {}
    if not estimated:
        return dict(_rows("SELECT status, count(*) FROM erp_export GROUP BY status"))
    for state, count in _rows(_MOVING, _MANY, _MANY):
        estimated[state] = count if count < _MANY else max(count, estimated.get(state, 0))
    return estimated


# What the planner believes, scaled to the present size of the table as it does itself.
_ESTIMATED: Final = """
    SELECT value, round(share * reltuples / greatest(relpages, 1)
        * (pg_relation_size(pg_class.oid) / current_setting('block_size')::int))
    FROM pg_class JOIN pg_stats ON pg_stats.schemaname = current_schema() AND pg_stats.tablename = relname
    CROSS JOIN LATERAL unnest(most_common_vals::text::text[], most_common_freqs) AS common(value, share)
    WHERE pg_class.oid = 'erp_export'::regclass AND attname = 'status' AND reltuples > 0
"""
_MOVING: Final = """
    SELECT 'PENDING', count(*) FROM (SELECT FROM erp_export WHERE status = 'PENDING' AND NOT held LIMIT %s) counted
    UNION ALL
    SELECT 'SENDING', count(*) FROM (SELECT FROM erp_export WHERE status = 'SENDING' LIMIT %s) counted
"""
_DEAD_LETTERS: Final = """
    SELECT status, count(*) FROM erp_export
    WHERE superseded_at IS NULL AND dismissed_at IS NULL AND status IN ('FAILED', 'REJECTED', 'UNCONFIRMED')
    GROUP BY status
"""


def _waiting() -> Iterator[Metric]:
    """Yield how long the first of each line has waited: what stands behind it cannot go before it."""
    now = timezone.now()
    oldest, due = now, now
    for created_at, next_attempt_at, only_look_ups, *gate in _rows(_FIRST_IN_LINE):
        oldest = min(oldest, created_at)
        since = max(created_at, next_attempt_at or created_at)
        if since < due and _is_open(*gate, only_look_ups=only_look_ups, now=now):
            due = since
    age = "Age of the oldest pending export, in seconds; 0 when none waits."
    yield _gauge("erp_export_oldest_pending_age_seconds", age, (now - oldest).total_seconds())
    age = "For how long an export could have been sent and was not, in seconds."
    yield _gauge("erp_export_oldest_due_age_seconds", age, (now - due).total_seconds())


# From one connection to the next in the index, however many exports each has.
_FIRST_IN_LINE: Final = """
    WITH RECURSIVE line(id) AS (
        (SELECT connection_id FROM erp_export WHERE status = 'PENDING' AND NOT held ORDER BY connection_id LIMIT 1)
        UNION ALL
        SELECT (SELECT connection_id FROM erp_export WHERE status = 'PENDING' AND NOT held AND connection_id > line.id
                ORDER BY connection_id LIMIT 1) FROM line WHERE line.id IS NOT NULL
    )
    SELECT first.created_at, first.next_attempt_at, first.outcome_unknown, erp_connection.status, health, retry_at,
        paused_at, maintenance_windows::text
    FROM line JOIN erp_connection USING (id) CROSS JOIN LATERAL (
        SELECT created_at, next_attempt_at, outcome_unknown FROM erp_export
        WHERE connection_id = line.id AND status = 'PENDING' AND NOT held ORDER BY created_at, id LIMIT 1
    ) first
"""


def _is_open(
    status: str,
    health: str,
    retry_at: datetime | None,
    paused_at: datetime | None,
    windows: str,
    *,
    only_look_ups: bool,
    now: datetime,
) -> bool:
    """Return whether nothing but a worker is missing."""
    if health == Health.AUTH_FAILED or retry_at is not None:
        return False
    if not only_look_ups and (status != "ACTIVE" or paused_at is not None):
        return False
    return windows == "[]" or maintenance.closed_until(maintenance.parse(json.loads(windows)), now) is None


def _deliveries() -> Iterator[Metric]:
    since = timezone.now() - RECENTLY
    attempts = dict.fromkeys(Outcome.values, 0) | dict(_rows(_LATELY, since, _MANY))
    yield _by("outcome", "erp_export_attempts", "Attempts that ended in the last 15 minutes, by outcome.", attempts)
    buckets, total = [0] * (len(_SECONDS) + 1), 0.0
    for bucket, count, seconds in _rows(_LATENCIES, list(_SECONDS), since, _DELIVERIES):
        buckets[bucket] += count
        total += seconds
    bounds = [*map(str, _SECONDS), "+Inf"]
    yield GaugeHistogramMetricFamily(
        "erp_export_delivery_seconds",
        "From acceptance to delivery, of the latest deliveries of the last 15 minutes (1,000 at most).",
        buckets=[(bound, sum(buckets[: place + 1])) for place, bound in enumerate(bounds)],
        gsum_value=total,
    )


_LATELY: Final = """
    SELECT outcome, count(*)
    FROM (SELECT outcome FROM erp_export_attempt WHERE finished_at > %s ORDER BY finished_at DESC LIMIT %s) recent
    GROUP BY outcome
"""
_LATENCIES: Final = """
    SELECT width_bucket(seconds, %s::float8[]), count(*), sum(seconds) FROM (
        SELECT extract(epoch FROM recent.finished_at - erp_export.created_at)::float8 AS seconds FROM (
            SELECT export_id, finished_at FROM erp_export_attempt
            WHERE finished_at > %s AND outcome IN ('SENT', 'FOUND') ORDER BY finished_at DESC LIMIT %s
        ) recent JOIN erp_export ON erp_export.id = recent.export_id
    ) measured GROUP BY 1
"""


# The far ends and their answers


def _connections() -> Iterator[Metric]:
    counts = dict.fromkeys(Health.values, 0)
    active = ERPConnection.objects.active()
    counts |= dict(active.values("health").annotate(count=Count("pk")).order_by().values_list("health", "count"))
    yield _by("health", "erp_connections", "Active connections by health.", counts)
    still = active.exclude(retry_at=None).count()
    yield _gauge("erp_connections_breaker_open", "Active connections with an open breaker.", still)
    paused = active.exclude(paused_at=None).count()
    yield _gauge("erp_connections_paused", "Active connections that a person has paused.", paused)


def _answers() -> Iterator[Metric]:
    overdue = sum(acknowledgements.overdue_counts().values())
    yield _gauge("erp_acknowledgements_overdue", "Sent orders whose answer should have come by now.", overdue)
    still_open = AcknowledgementRecord.objects.open()
    counts = {str(outcome): 0 for outcome in (AckOutcome.UNMATCHED, AckOutcome.MALFORMED, AckOutcome.CONTRADICTS)}
    counts |= dict(still_open.values("outcome").annotate(count=Count("pk")).order_by().values_list("outcome", "count"))
    yield _by("outcome", "erp_acknowledgements_open", "Answers that a person has to look at, by outcome.", counts)


def _webhooks() -> Iterator[Metric]:
    states = {"enabled": 0, "disabled": 0, "stopped": 0} | dict(_rows(_WEBHOOKS))
    yield _by("state", "erp_webhooks", "Webhooks; the stopped ones were given up by us.", states)
    waiting = _scalar("SELECT count(*) FROM erp_webhook_delivery WHERE state = 'PENDING'")
    deliveries = {"PENDING": waiting, "FAILED": _rows(_GIVEN_UP, timezone.now() - RECENTLY)[0][0]}
    text = "Messages to webhooks that wait, and those of the last 15 minutes that were given up."
    yield _by("state", "erp_webhook_deliveries", text, deliveries)


_WEBHOOKS: Final = """
    SELECT CASE WHEN enabled THEN 'enabled' WHEN disabled_because = '' THEN 'disabled' ELSE 'stopped' END, count(*)
    FROM erp_webhook GROUP BY 1
"""
_GIVEN_UP: Final = """
    SELECT count(*) FROM erp_webhook_delivery WHERE state = 'FAILED' AND finished_at > %s
"""


def _tests() -> Iterator[Metric]:
    counts = {"QUEUED": 0, "RUNNING": 0}
    unfinished = ConnectionTest.objects.unfinished()
    counts |= dict(unfinished.values("state").annotate(count=Count("pk")).order_by().values_list("state", "count"))
    yield _by("state", "erp_connection_tests", "Tests that wait or run.", counts)


def _expiries() -> Iterator[Metric]:
    gauge = GaugeMetricFamily(
        "erp_credential_expires_timestamp_seconds",
        "When a credential of an active connection expires, in seconds since 1970.",
        labels=["connection_id", "field", "kind"],
    )
    for row in ERPConnection.objects.active().exclude(expiries=[], credentials_expire_on=None):
        for entry in checks.expiries(row):
            moment = datetime.fromisoformat(entry["expires_at"]).timestamp()
            gauge.add_metric([str(row.pk), entry["field"], entry["kind"]], moment)
    yield gauge


# What keeps it all going


def _queue() -> Iterator[Metric]:
    now = backlog()
    yield _gauge("erp_jobs_waiting", "Jobs that a worker could begin with now.", now.jobs)
    yield _gauge("erp_jobs_oldest_age_seconds", "For how long the oldest of them has waited, in seconds.", now.oldest_s)
    yield _gauge("erp_workers", "Workers that gave a sign of life in the last 30 seconds.", now.workers)


def _keys() -> Iterator[Metric]:
    gauge = GaugeMetricFamily(
        "erp_encryption_key_rows",
        "Rows sealed with each master key, by the first 16 digits of its id.",
        labels=["key", "configured"],
    )
    configured = set(key_ring().key_ids)
    for key_id, count in keys.rows_by_key().items():
        gauge.add_metric([key_id.hex()[:16], str(key_id in configured).lower()], count)
    yield gauge


def _installation() -> Iterator[Metric]:
    yield _gauge("erp_installation_armed", "1 if orders may leave from here.", float(installation.is_armed()))


_MEASURES: Final[tuple[Callable[[], Iterator[Metric]], ...]] = (
    _installation,
    _exports,
    _waiting,
    _deliveries,
    _connections,
    _answers,
    _webhooks,
    _tests,
    _expiries,
    _queue,
    _keys,
)


@contextmanager
def _hurried() -> Iterator[None]:
    """Let no question of this transaction go on for long."""
    _rows(f"SELECT set_config('statement_timeout', '{_PATIENCE_MS}', true)")
    yield
    _rows("SELECT set_config('statement_timeout', reset_val, true) FROM pg_settings WHERE name = 'statement_timeout'")


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _by(label: str, name: str, text: str, counts: dict[str, Any]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        gauge.add_metric([value], count)
    return gauge


def _rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()


def _scalar(sql: str) -> Any:
    return _rows(sql)[0][0]
