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

from connectors.admin.badges import ATTEMPT_KIND
from connectors.models import AckOutcome, ERPExport, Outcome
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
    tone: str
    """Good, bad, warn or off."""
    word: str
    title: str
    took_ms: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    export_id: UUID | None = None
    """The export before or after this one."""

    @property
    def badge(self) -> SafeString:
        """Return how it went, in a word."""
        return badge(self.tone, self.word)


def moments(export: ERPExport) -> Iterator[Moment]:
    """Yield what happened to an export, oldest first."""
    for event in timeline.of(export):
        match event.kind:
            case EventKind.ATTEMPT:
                yield _attempt(event)
            case EventKind.ANSWERED:
                word = AckOutcome(event.outcome).label
                yield _moment(event, "off", word, "The ERP said something that changed nothing")
            case _:
                yield _moment(event, *_SAID[event.kind])


def present(facts: dict[str, Any]) -> dict[str, Any]:
    """Return those that say something."""
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _attempt(event: Event) -> Moment:
    ended = event.until or event.at
    receipt = event.receipt or {}
    facts = {
        "lies at": receipt.get("location"),
        "size": f"{receipt['size']:,} bytes" if "size" in receipt else "",
        "SHA-256": receipt.get("sha256"),
        "over": receipt.get("transport"),
        "noticed": _noticed(receipt),
        "next attempt": date_format(localtime(event.next_attempt_at), "Y-m-d H:i:s") if event.next_attempt_at else "",
    }
    outcome = Outcome(event.outcome)
    return Moment(
        at=event.at,
        tone=ATTEMPT_KIND[outcome],
        word=outcome.label,
        title=f"Attempt {event.attempt}",
        took_ms=round((ended - event.at).total_seconds() * 1000),
        facts=present(facts),
        error=event.error,
        steps=event.steps,
    )


def _noticed(receipt: dict[str, Any]) -> str:
    if receipt.get("taken"):
        return "the far end had taken it before anybody could look"
    return "it was there already" if receipt.get("already_delivered") else ""


def _moment(event: Event, tone: str, word: str, title: str) -> Moment:
    who = f"{event.actor_label} ({ActorKind(event.actor_kind).label})" if event.actor_kind else ""
    facts = {
        "by": who,
        "reason": event.reason,
        "ERP order": event.erp_order_id,
        "file": event.answer,
        "request": event.request_id,
        "idempotency key": event.idempotency_key,
    }
    return Moment(
        at=event.at,
        tone=tone,
        word=word,
        title=title,
        facts=present(facts),
        # What ended an attempt stands there already.
        error=event.error if event.answer else None,
        export_id=event.export_id,
    )
