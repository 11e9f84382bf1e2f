"""Who may act on an export: it is claimed with a lease, its document is frozen, and it is settled or given back.

Exports of one connection are claimed in the sequence of their submission, by one turn at a time. The head of the line
holds all behind it back for as long as it has to wait for anything but a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from connectors.models import ERPConnection, ERPExport, ExportStatus
from connectors.registry import registry
from connectors.results import Document, TestStep
from connectors.services import gates
from connectors.services.verdicts import Verdict, worker_lost

log = structlog.get_logger(__name__)


class Claimed(NamedTuple):
    """What a turn got."""

    exports: list[ERPExport]
    opens_at: datetime | None = None
    """When to come back, where the connection lets nothing through right now."""


def claim(connection: ERPConnection, *, turn: UUID, most: int, may_look_up: bool = True) -> Claimed:
    """Take the next due exports, unless another turn is busy with this connection: that one goes on until all is sent.

    Args:
        connection: with the revision that is used; a newer one takes effect at once, by claiming nothing.
        turn: who claims.
        most: how many to take.
        may_look_up: False leaves exports alone that have to be looked up first, and those behind them.

    Returns:
        Either exports to look up or exports to send, never both, in the sequence of their submission; each with its
        connection as it is now.
    """
    now = timezone.now()
    with transaction.atomic():
        row = _locked(connection)
        if row is None:
            return Claimed([])
        gate = gates.gate_of(row, now=now, most=most)
        exports = _take(row, gate, turn=turn, now=now, may_look_up=may_look_up) if gate.room else []
        if exports:
            gates.note_taken(row, len(exports), now=now)
    row.org = connection.org
    for export in exports:
        export.connection, export.org = row, row.org
    return Claimed(exports, gate.opens_at)


def is_busy(connection_id: UUID | str, *, turn: UUID) -> bool:
    """Return whether another turn is sending, or has left something behind that nobody has looked after yet."""
    return _is_there("status = 'SENDING' AND claim IS DISTINCT FROM %s", connection_id, turn)


def has_waiting(connection_id: UUID | str) -> bool:
    """Return whether anything may be in line; cheaper than a claim, which has to lock the connection."""
    return _is_there("status = 'PENDING' AND NOT held", connection_id)


def has_due(connection_id: UUID | str) -> bool:
    """Return whether a worker has something to do with a connection right now."""
    row = ERPConnection.objects.usable().filter(pk=connection_id).first()
    if row is None:
        return False
    now = timezone.now()
    gate = gates.gate_of(row, now=now, most=1)
    return bool(gate.room and _is_due(row.exports.in_line(only_look_ups=gate.only_look_ups).first(), now))


def freeze(exports: Iterable[tuple[ERPExport, Document, str]]) -> set[UUID]:
    """Write down which bytes each export sends from now on, under which name.

    Args:
        exports: each with its document, and the name under which that is stored.

    Returns:
        The ids of those that are still ours.
    """
    rows = list(exports)
    for export, document, name in rows:
        export.filename, export.document_name = document.filename, name
        export.document_sha256, export.document_size = document.sha256, document.size
        export.document_media_type = document.media_type
    columns = zip(*(_frozen(export) for export, _, _ in rows), strict=True)
    with database.cursor() as cursor:
        cursor.execute(_FREEZE, [list(column) for column in columns])
        return {pk for (pk,) in cursor.fetchall()}


def settle(
    export: ERPExport, verdict: Verdict, *, started_at: datetime, steps: Iterable[TestStep], again: bool = False
) -> bool:
    """Record an attempt, and where it leaves the export if that is still ours.

    Args:
        export: as it was claimed.
        verdict: what the attempt came to.
        started_at: when it began.
        steps: what was done.
        again: whether this was tried before, and the database may have kept it although its answer was lost.

    Returns:
        False when the lease was lost. The attempt is recorded all the same: that is how a person finds out about a
        late success.
    """
    columns = verdict.columns()
    if not verdict.counts:
        columns["attempts"] = export.attempts - 1
    if again and export.attempt_log.filter(started_at=started_at).exists():
        return True
    return _record(export, verdict, columns, started_at=started_at, steps=steps)


def give_back(ids: Iterable[UUID], *, turn: UUID, absent: Iterable[UUID] = ()) -> None:
    """Put exports back in line of which nothing was sent; they have used up no attempt.

    Args:
        ids: which.
        turn: who claimed them.
        absent: those of them of which nobody has to find out any more whether they arrived before.
    """
    ours = ERPExport.objects.filter(status=ExportStatus.SENDING, claim=turn)
    ours.filter(pk__in=list(absent), outcome_unknown=True).update(outcome_unknown=False)
    ours.filter(pk__in=list(ids)).update(
        status=ExportStatus.PENDING,
        attempts=F("attempts") - 1,
        claim=None,
        leased_until=None,
        updated_at=timezone.now(),
    )


def recover_one() -> bool:
    """Settle one export whose worker did not come back in time; return False when there is none."""
    with transaction.atomic():
        expired = ERPExport.objects.expired().select_related("connection")
        export = expired.select_for_update(skip_locked=True, of=("self",)).first()
        if export is None:
            return False
        connector = registry.connectors.get(export.connection.connector_type)
        verdict = worker_lost(
            attempt=export.attempts,
            may_have_arrived=bool(export.document_name)
            or export.outcome_unknown
            or connector is None
            or not connector.supports_render,
            # A connector that is not installed right now is asked when it is back.
            can_look_up=connector is None or connector.supports_find_export,
        )
        started_at = export.leased_until - timedelta(seconds=settings.EXPORT_LEASE_SECONDS)
        _record(export, verdict, verdict.columns(), started_at=started_at, steps=())
    log.warning(
        "export.worker_lost",
        export_id=str(export.pk),
        connection_id=str(export.connection_id),
        attempt=export.attempts,
        status=str(verdict.status),
    )
    return True


def _is_there(condition: str, connection_id: UUID | str, *values: Any) -> bool:
    statement = f"SELECT EXISTS (SELECT FROM erp_export WHERE connection_id = %s AND {condition})"  # noqa: S608  # nosec B608  # ours
    with database.cursor() as cursor:
        cursor.execute(statement, [connection_id, *values])
        (there,) = cursor.fetchone()
    return bool(there)


_FREEZE = """
    UPDATE erp_export AS export
       SET filename = frozen.filename, document_name = frozen.name, document_sha256 = frozen.sha256,
           document_size = frozen.size, document_media_type = frozen.media_type, updated_at = now()
      FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[])
           AS frozen (id, claim, filename, name, sha256, size, media_type)
     WHERE export.id = frozen.id AND export.status = 'SENDING' AND export.claim = frozen.claim
 RETURNING export.id
"""


_CLAIM = """
    WITH line AS (
        SELECT id, created_at, outcome_unknown, next_attempt_at IS NULL OR next_attempt_at <= %(now)s AS is_due
          FROM erp_export
         WHERE connection_id = %(connection)s AND status = 'PENDING' AND NOT held
           AND (outcome_unknown OR NOT %(only_look_ups)s)
           AND NOT EXISTS (
               SELECT FROM erp_export
                WHERE connection_id = %(connection)s AND status = 'SENDING' AND claim IS DISTINCT FROM %(turn)s)
         ORDER BY created_at, id LIMIT %(most)s FOR UPDATE),
    head AS (
        SELECT outcome_unknown FROM line ORDER BY created_at, id LIMIT 1),
    next AS (
        SELECT line.id, bool_and(is_due AND line.outcome_unknown = head.outcome_unknown)
                        OVER (ORDER BY created_at, line.id) AS is_next
          FROM line, head
         WHERE %(may_look_up)s OR NOT head.outcome_unknown)
    UPDATE erp_export AS export
       SET status = 'SENDING', attempts = attempts + 1, claim = %(turn)s, leased_until = %(leased_until)s,
           updated_at = %(now)s
      FROM next
     WHERE export.id = next.id AND next.is_next
 RETURNING export.*
"""
"""Those at the head of the line that are due and alike: either all are to be looked up, or none.

Whether another turn is busy is asked here: a statement that has to wait for the lock of the connection does not see
what that turn took.
"""


def _locked(connection: ERPConnection) -> ERPConnection | None:
    """Return the row if it may be used with this revision; nobody else claims until the transaction ends."""
    rows = ERPConnection.objects.usable().select_for_update(no_key=True, of=("self",)).defer("config_encrypted")
    row: ERPConnection | None = rows.filter(pk=connection.pk, revision=connection.revision).first()
    return row


def _take(
    connection: ERPConnection, gate: gates.Gate, *, turn: UUID, now: datetime, may_look_up: bool
) -> list[ERPExport]:
    values = {
        "connection": connection.pk,
        "only_look_ups": gate.only_look_ups,
        "may_look_up": may_look_up,
        "most": gate.room,
        "turn": turn,
        "now": now,
        "leased_until": now + timedelta(seconds=settings.EXPORT_LEASE_SECONDS),
    }
    return sorted(ERPExport.objects.raw(_CLAIM, values), key=lambda export: (export.created_at, export.pk))


def _is_due(export: ERPExport | None, now: datetime) -> bool:
    return export is not None and (export.next_attempt_at is None or export.next_attempt_at <= now)


def _frozen(export: ERPExport) -> tuple[Any, ...]:
    return (
        export.pk,
        export.claim,
        export.filename,
        export.document_name,
        export.document_sha256,
        export.document_size,
        export.document_media_type,
    )


def _record(
    export: ERPExport, verdict: Verdict, columns: dict[str, Any], *, started_at: datetime, steps: Iterable[TestStep]
) -> bool:
    """Write both rows with one statement, which commits them by itself; return whether the lease still ran."""
    attempt = {
        "org_id": export.org_id,
        "export_id": export.pk,
        "number": export.attempts,
        "started_at": started_at,
        "finished_at": timezone.now(),
        "outcome": verdict.outcome,
        "error": verdict.error,
        "receipt": verdict.receipt,
        "steps": [step.as_json() for step in steps],
        "next_attempt_at": verdict.next_attempt_at,
    }
    statement = f"""
        WITH held AS (
            UPDATE erp_export SET {", ".join(f"{name} = %s" for name in columns)}
             WHERE id = %s AND status = 'SENDING' AND claim = %s
            RETURNING id)
        INSERT INTO erp_export_attempt ({", ".join(attempt)})
        VALUES ({", ".join("%s" for _ in attempt)})
        RETURNING EXISTS (SELECT FROM held)
    """  # noqa: S608  # nosec B608  # the names are those of our columns
    with database.cursor() as cursor:
        cursor.execute(statement, [*_values(columns), export.pk, export.claim, *_values(attempt)])
        (held,) = cursor.fetchone()
    return bool(held)


def _values(columns: dict[str, Any]) -> Iterator[Any]:
    """Yield values as the driver takes them; to ask each field of the model how would cost more than the statement."""
    for value in columns.values():
        yield json.dumps(value) if isinstance(value, dict | list) else value
