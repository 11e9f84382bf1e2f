"""What every contact with a far end says about its connection, and the breaker that follows from it.

closed ──BREAKER_FAILURES passing troubles in a row──> open until `retry_at` ──a check fails──> open, for longer
   ^                                                        │
   ├──a check succeeds: the very next trouble opens it again┘
   └──an order leaves, a person's test succeeds, the configuration changes

A refused sign-in, a wrong host key or another identity opens it for good: health AUTH_FAILED, until a person's test
succeeds or the configuration changes. While it is open nobody logs in by himself and no export uses up an attempt.
What was found out with an earlier revision of the configuration says nothing about the present one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, ConnectorError, OutcomeUnknown, RateLimited, TemporaryError
from connectors.models import ERPConnection, ERPExport, ExportStatus, Health
from connectors.models.connection import ConnectionQuerySet
from connectors.services import jobs

log = structlog.get_logger(__name__)

BREAKER_FAILURES: Final = 5
"""So many passing troubles in a row open the breaker."""

COOL_OFF_SECONDS: Final = 60.0
"""How long the breaker stays open at first; each check that fails doubles it."""

MAX_COOL_OFF_SECONDS: Final = 900.0

OF_THE_CONNECTION: Final = frozenset(
    {
        Code.DNS_FAILURE,
        Code.CONNECTION_REFUSED,
        Code.CONNECTION_TIMEOUT,
        Code.CONNECTION_LOST,
        Code.EGRESS_DENIED,
        Code.TLS_FAILURE,
    }
)
"""Passing troubles that lie in the connection, whatever order met them."""

OF_THE_FOLDER: Final = frozenset({Code.NO_SPACE, Code.PATH_NOT_FOUND, Code.PERMISSION_DENIED})
"""Passing troubles that every order would meet, but not every answer of the ERP."""

_FOR_GOOD: Final = frozenset(
    {Code.AUTHENTICATION_FAILED, Code.HOST_KEY_UNKNOWN, Code.HOST_KEY_MISMATCH, Code.IDENTITY_CHANGED}
)
_UNCOUNTED: Final = frozenset(
    {
        Code.RATE_LIMITED,
        Code.INTERNAL_ERROR,
        Code.TEST_INTERRUPTED,
        Code.DOCUMENT_STORAGE_FAILED,
        Code.CONFIGURATION_INVALID,
        Code.UNKNOWN_CONNECTOR,
    }
)
"""Failures that show no trouble of the far end: they are not counted."""

_CLOSED: Final[dict[str, Any]] = {"failures_in_a_row": 0, "retry_at": None}


def note_success(connection: ERPConnection) -> None:
    """Record that an order left or a look-up worked: the connection is healthy and the breaker closed."""
    row = _unchanged(connection).exclude(health=Health.AUTH_FAILED)
    row.exclude(health=Health.HEALTHY, **_CLOSED).update(health=Health.HEALTHY, **_CLOSED)


def note_contact(connection: ERPConnection) -> None:
    """Record that the far end answered, though no order left: troubles after this are no longer in a row."""
    _unchanged(connection).filter(retry_at=None, failures_in_a_row__gt=0).update(failures_in_a_row=0)


def note_failure(connection: ERPConnection, error: ConnectorError, *, is_first: bool = True) -> None:
    """Record what went wrong, and open the breaker if it is time.

    Args:
        connection: with the revision that was used.
        error: what the connector raised.
        is_first: whether the export never failed before. An order that fails again and again says nothing new about
            the connection, unless the trouble lies in the connection by its nature.
    """
    refused = isinstance(error, AuthenticationFailed)
    if not refused and not _counts(error, is_first=is_first):
        return
    with _locked(connection, connection.revision) as row:
        if row is None or row.health == Health.AUTH_FAILED:
            return
        if refused:
            _pause(row, error.code)
        elif row.retry_at is None:  # what was under way when it opened is no check
            _count(row, error.code)


def note_test(
    connection: ERPConnection, *, revision: int, started_at: datetime, success: bool, code: str, by_person: bool
) -> None:
    """Record what a test of the stored configuration showed.

    Args:
        connection: what was tested.
        revision: the one that was tested.
        started_at: when the test began.
        success: whether it passed.
        code: the code of the step that failed.
        by_person: whether somebody asked for it; a scheduled check neither ends a pause nor proves a revision.
    """
    if code == Code.TEST_CANCELLED:
        return
    with _locked(connection, revision) as row:
        if row is None:
            return
        row.last_test_at = started_at
        if success:
            _note_passed(row, by_person=by_person)
        else:
            _note_failed(row, code)


def note_unreadable(connection: ERPConnection) -> None:
    """Record that the configuration cannot be decrypted here."""
    _unchanged(connection).exclude(health=Health.AUTH_FAILED).update(health=Health.UNREADABLE)


def release_waiting(connection: ERPConnection) -> None:
    """Let the exports that wait for another attempt go now: what they waited for may be over.

    Not those that the far end itself asked to wait, nor the others that wait with them.
    """
    waiting = ERPExport.objects.filter(
        connection=connection, status=ExportStatus.PENDING, next_attempt_at__gt=timezone.now()
    )
    asked_to = waiting.filter(error__code=str(Code.RATE_LIMITED)).values("next_attempt_at")
    waiting.exclude(next_attempt_at__in=asked_to).update(next_attempt_at=None)
    jobs.wake(connection.pk)


def reset(row: ERPConnection) -> list[str]:
    """Forget what is known about a configuration that is being replaced.

    Returns:
        The names of the columns that the caller has to save.
    """
    row.health = Health.UNTESTED
    for name, value in _CLOSED.items():
        setattr(row, name, value)
    return ["health", *_CLOSED]


def _unchanged(connection: ERPConnection) -> ConnectionQuerySet:
    """Return the row as long as its configuration is the one that was used."""
    rows: ConnectionQuerySet = ERPConnection.objects.filter(pk=connection.pk, revision=connection.revision)
    return rows


@contextmanager
def _locked(connection: ERPConnection, revision: int) -> Iterator[ERPConnection | None]:
    """Hold the row and save it at the end; None when it has another revision by now."""
    with transaction.atomic():
        rows = ERPConnection.objects.select_for_update(no_key=True).filter(pk=connection.pk, revision=revision)
        row = rows.first()
        yield row
        if row is not None:
            row.save(update_fields=["health", "tested_revision", "last_test_at", *_CLOSED])


def _note_passed(row: ERPConnection, *, by_person: bool) -> None:
    is_paused, is_open = row.health == Health.AUTH_FAILED, row.retry_at is not None
    if by_person:
        row.tested_revision = row.revision
    elif is_paused:
        return
    row.health = Health.HEALTHY
    row.retry_at = None
    # A check does less than an order needs, so the breaker stays ready to open.
    row.failures_in_a_row = BREAKER_FAILURES - 1 if is_open and not by_person else 0
    if is_paused or is_open:
        log.info("connection.breaker_closed", connection_id=str(row.pk))
    if by_person or is_open:
        release_waiting(row)


def _note_failed(row: ERPConnection, code: str) -> None:
    if row.health == Health.AUTH_FAILED:
        return
    if code in _FOR_GOOD:
        _pause(row, code)
        return
    if code == Code.UNREADABLE_CONFIG:
        # Nobody logs in with it, so there is nothing to hold back once it can be read again.
        row.health, row.retry_at = Health.UNREADABLE, None
        return
    if code != Code.TEST_INTERRUPTED:
        row.health = Health.FAILING
    if code not in _UNCOUNTED or row.retry_at is not None:
        _count(row, code)


def _counts(error: ConnectorError, *, is_first: bool) -> bool:
    if not isinstance(error, TemporaryError | OutcomeUnknown) or isinstance(error, RateLimited):
        return False
    return error.code in OF_THE_CONNECTION or (is_first and error.code not in _UNCOUNTED)


def _pause(row: ERPConnection, code: str) -> None:
    """Open the breaker until a person acts."""
    row.health = Health.AUTH_FAILED
    for name, value in _CLOSED.items():
        setattr(row, name, value)
    log.warning("connection.paused", connection_id=str(row.pk), code=str(code))


def _count(row: ERPConnection, code: str) -> None:
    """Count one passing trouble; open the breaker with the last one it takes, and for longer with each after that."""
    row.failures_in_a_row += 1
    if row.failures_in_a_row < BREAKER_FAILURES:
        return
    was_open, cool_off = row.retry_at is not None, _cool_off(row.failures_in_a_row)
    row.health = Health.FAILING
    row.retry_at = timezone.now() + cool_off
    log.warning(
        "connection.check_failed" if was_open else "connection.breaker_opened",
        connection_id=str(row.pk),
        code=str(code),
        failures_in_a_row=row.failures_in_a_row,
        cool_off_s=round(cool_off.total_seconds()),
    )


def _cool_off(failures: int) -> timedelta:
    """Return how long to wait, up to a fifth shorter by chance: what failed together is not checked together."""
    doublings = min(failures - BREAKER_FAILURES, 10)  # a bound, because a float overflows at 2**1024
    seconds = min(MAX_COOL_OFF_SECONDS, COOL_OFF_SECONDS * 2**doublings)
    return timedelta(seconds=seconds * (1 - random.random() / 5))  # noqa: S311  # nosec B311  # spreads load
