"""Looks after connections without being asked: scheduled checks, probes of an open breaker, expiring credentials."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from connectors.models import (
    ConnectionStatus,
    ConnectionTest,
    ERPConnection,
    ERPExport,
    ExportStatus,
    Health,
    TestSubject,
)
from connectors.services import diagnosis, installation
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)

EXPIRY_DAYS: Final = (30, 14, 3, 0)
"""So many days before a credential expires somebody is told; 0 is when it has expired."""

_BATCH: Final = 100
"""So many checks are started in one sweep; the others follow in the next."""

_KEPT: Final = {
    TestSubject.NEW: timedelta(days=1),
    TestSubject.EDIT: timedelta(days=7),
    TestSubject.CHECK: timedelta(days=30),
    TestSubject.STAGED: timedelta(days=365),
    TestSubject.STORED: timedelta(days=365),
}
"""How long the reports of tests are kept."""


# Checks


def first_time() -> datetime:
    """Return when a connection that is new or active again is checked first: somewhen within the next hour."""
    return timezone.now() + timedelta(minutes=60 * random.random())  # noqa: S311  # nosec B311  # spreads load


def watch(row: ERPConnection) -> list[str]:
    """Plan the first check of a connection that was activated; return the columns to save."""
    row.next_check_at = first_time()
    return ["next_check_at"]


def hasten(row: ERPConnection) -> list[str]:
    """Let no planned check be later than the new rhythm has it; return the columns to save."""
    latest = timezone.now() + timedelta(minutes=row.check_minutes)
    if row.check_minutes:
        row.next_check_at = min(row.next_check_at or latest, latest)
    return ["next_check_at"]


def start_due() -> int:
    """Ask for the checks whose time has come, among them the probes of connections whose breaker is open.

    Returns:
        How many were asked for.
    """
    if not installation.is_armed():
        return 0
    now = timezone.now()
    idle = ERPConnection.objects.exclude(health__in=(Health.AUTH_FAILED, Health.UNREADABLE))
    planned = Q(status=ConnectionStatus.ACTIVE, retry_at=None, check_minutes__gt=0, next_check_at__lte=now)
    unanswered = ERPExport.objects.filter(connection=OuterRef("pk"), status=ExportStatus.SENT)
    # A replaced connection is only needed while its ERP still owes us an answer.
    is_needed = Q(status=ConnectionStatus.ACTIVE) | Q(Exists(unanswered))
    due = idle.filter(planned | Q(is_needed, retry_at__lte=now)).select_related("org")
    due = due.order_by(F("retry_at").asc(nulls_last=True))
    return sum(_start(connection, now) for connection in due[:_BATCH])


def _start(connection: ERPConnection, now: datetime) -> bool:
    """Ask for one check, unless another process is faster, or a test is under way that tells the same."""
    minutes = (connection.check_minutes or 60) * random.uniform(0.9, 1.1)  # noqa: S311  # nosec B311  # spreads load
    with transaction.atomic():
        row = ERPConnection.objects.filter(
            pk=connection.pk, next_check_at=connection.next_check_at, retry_at=connection.retry_at
        )
        probe = {"retry_at": now + timedelta(minutes=2)} if connection.retry_at else {}
        if not row.update(next_check_at=now + timedelta(minutes=minutes), **probe):
            return False
        if ConnectionTest.objects.filter(connection=connection).unfinished().exists():
            return False
        diagnosis.start_check(connection)
    return True


def forget_old_tests() -> int:
    """Delete the reports that are older than they are kept; return how many."""
    now = timezone.now()
    return sum(
        ConnectionTest.objects.filter(subject=subject, started_at__lt=now - age).delete()[0]
        for subject, age in _KEPT.items()
    )


# Credentials that expire


def expiries(connection: ERPConnection) -> list[dict[str, Any]]:
    """Return when the credentials of a connection expire, the next first.

    Returns:
        For each `field`, `kind`, `expires_at` (ISO 8601) and `days_left`, which is negative once it has expired.
    """
    ledger = list(connection.expiries)
    if connection.credentials_expire_on:
        ledger.append(
            {"field": "", "kind": "credentials", "expires_at": _end_of(connection.credentials_expire_on).isoformat()}
        )
    now = timezone.now()
    with_days = [entry | {"days_left": _days(datetime.fromisoformat(entry["expires_at"]) - now)} for entry in ledger]
    return sorted(with_days, key=lambda entry: datetime.fromisoformat(entry["expires_at"]))


def expires_soon(connection: ERPConnection) -> dict[str, Any] | None:
    """Return the credential that expires next, if that is near enough to warn of."""
    ledger = expiries(connection)
    return ledger[0] if ledger and ledger[0]["days_left"] <= EXPIRY_DAYS[0] else None


def announce_expiries() -> int:
    """Warn once of each credential at 30, 14 and 3 days before it expires, and when it has expired.

    Returns:
        How many warnings were given.
    """
    with_ledger = ERPConnection.objects.active().exclude(expiries=[], credentials_expire_on=None)
    return sum(_announce(connection) for connection in with_ledger.select_related("org").iterator())


def _announce(connection: ERPConnection) -> int:
    """Warn of those credentials of one connection that have come nearer than they were when it was warned last."""
    before, after, due = connection.expiries_announced, {}, []
    for entry in expiries(connection):
        reached = min((days for days in EXPIRY_DAYS if entry["days_left"] <= days), default=None)
        if reached is None:
            continue
        key = f"{entry['field']} {entry['expires_at']}"
        after[key] = reached
        if reached < before.get(key, math.inf):
            due.append(entry)
    if not due:
        return 0
    with transaction.atomic():
        # Unless another process was faster.
        unannounced = ERPConnection.objects.filter(pk=connection.pk, expiries_announced=before)
        if not unannounced.update(expiries_announced=after):
            return 0
        for entry in due:
            actor = Actor.system("expiry ledger")
            record(actor, "connection.credential_expires", org=connection.org, target=connection, **entry)
    for entry in due:
        log.warning("connection.credential_expires", connection_id=str(connection.pk), **entry)
    return len(due)


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time.max, tzinfo=UTC)


def _days(left: timedelta) -> int:
    return left.days
