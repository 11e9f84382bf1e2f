"""What happened to an export, in order: put together from its row, its attempts, its answers and the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from connectors.models import AcknowledgementRecord, AckOutcome, ERPExport, ExportAttempt, ExportStatus
from tenants.models import AuditEvent


class EventKind(StrEnum):
    """What happened; at the same moment in this order."""

    ACCEPTED = "ACCEPTED"  #: somebody submitted the order, or had it sent again
    HELD = "HELD"  #: it has to wait for approval
    APPROVED = "APPROVED"  #: somebody let it go
    ATTEMPT = "ATTEMPT"  #: one try to deliver it
    SENT = "SENT"  #: the far end has it
    ACKED = "ACKED"  #: the ERP confirmed it
    REJECTED = "REJECTED"  #: the far end said no
    ANSWERED = "ANSWERED"  #: the ERP said something that changed nothing
    FAILED = "FAILED"  #: we gave up
    UNCONFIRMED = "UNCONFIRMED"  #: it may have arrived; a person decides
    CANCELLED = "CANCELLED"  #: somebody withdrew it
    DISMISSED = "DISMISSED"  #: somebody put it aside
    RETRIED = "RETRIED"  #: a new export took its place
    RESENT = "RESENT"  #: a new export took its place, although it had been delivered


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened."""

    kind: EventKind
    at: datetime
    until: datetime | None = None
    """When an attempt was over."""
    actor_kind: str = ""
    """What kind of actor did it; empty where the system did."""
    actor_label: str = ""
    request_id: str = ""
    idempotency_key: str | None = None
    reason: str = ""
    export_id: UUID | None = None
    """The export whose place was taken, or that took the place."""
    attempt: int | None = None
    outcome: str = ""
    """How the attempt ended, or what became of the answer."""
    next_attempt_at: datetime | None = None
    receipt: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    answer: str = ""
    """The name of the file or message that brought the ERP's answer."""
    erp_order_id: str = ""


_ORDER: Final = {kind: place for place, kind in enumerate(EventKind)}
_BY_PERSON: Final = {
    "export.approved": EventKind.APPROVED,
    "export.cancelled": EventKind.CANCELLED,
    "export.dismissed": EventKind.DISMISSED,
}
_ENDS: Final = {
    ExportStatus.ACKED: EventKind.ACKED,
    ExportStatus.REJECTED: EventKind.REJECTED,
    ExportStatus.FAILED: EventKind.FAILED,
    ExportStatus.UNCONFIRMED: EventKind.UNCONFIRMED,
}


def of(export: ERPExport) -> list[Event]:
    """Return what happened to an export, oldest first."""
    events = [*_beginning(export), *_by_people(export), *_attempts(export), *_answers(export), *_end(export)]
    return sorted(events, key=lambda event: (event.at, _ORDER[event.kind]))


def _beginning(export: ERPExport) -> Iterator[Event]:
    yield Event(
        kind=EventKind.ACCEPTED,
        at=export.created_at,
        actor_kind=export.actor_kind,
        actor_label=export.actor_label,
        request_id=export.request_id,
        idempotency_key=export.idempotency_key,
        reason=export.reason,
        export_id=export.retry_of_id,
    )


def _by_people(export: ERPExport) -> Iterator[Event]:
    trail = AuditEvent.objects.filter(org=export.org_id, target_type="erpexport", target_id=str(export.pk))
    for event in trail.order_by("id"):
        if event.details.get("held"):
            yield Event(kind=EventKind.HELD, at=export.created_at)
        if event.action in _BY_PERSON:
            yield Event(
                kind=_BY_PERSON[event.action],
                at=event.created_at,
                actor_kind=event.actor_kind,
                actor_label=event.actor_label,
                request_id=event.request_id,
                reason=event.details.get("reason", ""),
            )


def _attempts(export: ERPExport) -> Iterator[Event]:
    attempts = ExportAttempt.objects.filter(org=export.org_id, export=export)
    for attempt in attempts:
        yield Event(
            kind=EventKind.ATTEMPT,
            at=attempt.started_at,
            until=attempt.finished_at,
            attempt=attempt.number,
            outcome=attempt.outcome,
            next_attempt_at=attempt.next_attempt_at,
            receipt=attempt.receipt,
            error=attempt.error,
            steps=attempt.steps,
        )
    if export.sent_at is not None:
        # A number that came later stands with the answer that brought it.
        number = export.erp_order_id if export.status == ExportStatus.SENT else ""
        yield Event(kind=EventKind.SENT, at=export.sent_at, receipt=export.receipt, erp_order_id=number)


def _answers(export: ERPExport) -> Iterator[Event]:
    for answer in AcknowledgementRecord.objects.filter(org=export.org_id, export=export):
        is_applied = answer.outcome == AckOutcome.APPLIED
        yield Event(
            kind=_ENDS[ExportStatus(answer.status)] if is_applied else EventKind.ANSWERED,
            at=answer.received_at,
            outcome=answer.outcome,
            answer=answer.name,
            erp_order_id=answer.erp_order_id,
            error=answer.error,
        )


def _end(export: ERPExport) -> Iterator[Event]:
    kind = _ENDS.get(ExportStatus(export.status))
    is_told = export.acknowledgements.filter(outcome=AckOutcome.APPLIED).exists()
    if kind is not None and export.finished_at is not None and not is_told:
        yield Event(kind=kind, at=export.finished_at, error=export.error, erp_order_id=export.erp_order_id)
    if export.superseded_at is not None and (new := export.retries.defer("order").first()) is not None:
        yield Event(
            kind=EventKind.RESENT if new.reason else EventKind.RETRIED,
            at=export.superseded_at,
            actor_kind=new.actor_kind,
            actor_label=new.actor_label,
            request_id=new.request_id,
            reason=new.reason,
            export_id=new.pk,
        )
