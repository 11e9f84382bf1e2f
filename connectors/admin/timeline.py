"""An export's timeline, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from connectors.admin.acknowledgements import outcome_badge
from connectors.admin.badges import attempt_badge
from connectors.models import ERPExport
from connectors.services import timeline
from connectors.services.timeline import Event, EventKind
from tenants.actors import ActorKind
from tenants.admin import badge

_SAID: Final = {
    EventKind.ACCEPTED: ("good", "accepted", "Order accepted"),
    EventKind.HELD: ("warn", "held", "Waits for approval: it is above the limit of its connection"),
    EventKind.APPROVED: ("good", "approved", "Let go"),
    EventKind.SENT: ("good", "sent", "The far end has it"),
    EventKind.ACKED: ("good", "acknowledged", "Confirmed by the ERP"),
    EventKind.REJECTED: ("bad", "rejected", "Refused by the ERP"),
    EventKind.FAILED: ("bad", "failed", "Given up: nothing arrived"),
    EventKind.UNCONFIRMED: ("warn", "unconfirmed", "It may have arrived: a person decides"),
    EventKind.CANCELLED: ("off", "cancelled", "Withdrawn before it was sent"),
    EventKind.DISMISSED: ("off", "put aside", "Needs nobody any more"),
    EventKind.RETRIED: ("off", "retried", "A new export took its place"),
    EventKind.RESENT: ("warn", "sent again", "A new export took its place, although this one had ended"),
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One entry of an export's timeline."""

    at: datetime
    badge: SafeString
    title: str
    took_ms: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    export_id: UUID | None = None
    """The export before or after this one."""


def moments(export: ERPExport) -> Iterator[Moment]:
    """Yield what happened to an export, oldest first."""
    for event in timeline.of(export):
        match event.kind:
            case EventKind.ATTEMPT:
                yield _attempt(event)
            case EventKind.ANSWERED:
                yield _moment(event, outcome_badge(event.outcome), "The ERP said something that changed nothing")
            case _:
                kind, word, title = _SAID[event.kind]
                yield _moment(event, badge(kind, word), title)


def present(facts: dict[str, Any]) -> dict[str, Any]:
    """Return those that say something."""
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _attempt(event: Event) -> Moment:
    ended = event.until or event.at
    facts = {f"receipt: {name}": value for name, value in (event.receipt or {}).items()}
    if event.next_attempt_at:
        facts["next attempt"] = date_format(localtime(event.next_attempt_at), "Y-m-d H:i:s")
    return Moment(
        at=event.at,
        badge=attempt_badge(event.outcome),
        title=f"Attempt {event.attempt}",
        took_ms=round((ended - event.at).total_seconds() * 1000),
        facts=present(facts),
        error=event.error,
        steps=event.steps,
    )


def _moment(event: Event, shown: SafeString, title: str) -> Moment:
    who = f"{event.actor_label} ({ActorKind(event.actor_kind).label})" if event.actor_kind else ""
    facts = {
        "by": who,
        "reason": event.reason,
        "ERP order": event.erp_order_id,
        "file": event.answer,
        "lies at": (event.receipt or {}).get("location"),
        "request": event.request_id,
        "idempotency key": event.idempotency_key,
    }
    return Moment(
        at=event.at,
        badge=shown,
        title=title,
        facts=present(facts),
        # What ended an attempt stands there already.
        error=event.error if event.answer else None,
        export_id=event.export_id,
    )
