"""What needs a person now, each matter in one sentence and with the page on which it is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, auto
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse

from connectors.models import AckOutcome, DisabledBecause, ExportStatus, Health
from connectors.services import overview
from connectors.services.overview import (
    OVERDUE,
    ActiveConnection,
    Answers,
    FailingWebhook,
    Held,
    Unresolved,
    Waiting,
)
from tenants.models import Organization


class Urgency(IntEnum):
    """What comes first: where everything of an organisation stands still, then single orders."""

    PAUSED = auto()
    UNREADABLE = auto()
    UNCONNECTED = auto()
    UNCONFIRMED = auto()
    SUPERSEDED = auto()
    FAILING = auto()
    FAILED = auto()
    REJECTED = auto()
    CONTRADICTED = auto()
    HELD = auto()
    HALTED = auto()
    EXPIRING = auto()
    OVERDUE = auto()
    UNANSWERED = auto()
    MALFORMED = auto()
    UNMATCHED = auto()
    UNTOLD = auto()


_BROKEN: Final = {
    Health.AUTH_FAILED: (Urgency.PAUSED, "{} is paused because the far end refused its sign-in"),
    Health.UNREADABLE: (Urgency.UNREADABLE, "the configuration of {} cannot be decrypted"),
    Health.FAILING: (Urgency.FAILING, "{} failed its last test"),
}
_UNREACHABLE: Final = "{} could not be reached several times in a row and is tried again by itself"
_UNRESOLVED: Final = {
    ExportStatus.UNCONFIRMED: (Urgency.UNCONFIRMED, "{} may have arrived; look in the ERP before sending again"),
    ExportStatus.FAILED: (Urgency.FAILED, "{} could not be delivered"),
    ExportStatus.REJECTED: (Urgency.REJECTED, "{} came back rejected"),
}
_ANSWERS: Final = {
    AckOutcome.SUPERSEDED: (Urgency.SUPERSEDED, "{} came for what was sent once more: the ERP may have it twice"),
    AckOutcome.CONTRADICTS: (Urgency.CONTRADICTED, "{} said otherwise than the order ended"),
    AckOutcome.MALFORMED: (Urgency.MALFORMED, "{} could not be read"),
    AckOutcome.UNMATCHED: (Urgency.UNMATCHED, "{} came for nothing that was sent"),
}
_WEBHOOKS: Final = {
    DisabledBecause.GONE: "the webhook {} is disabled because its receiver is gone",
    DisabledBecause.FAILING: "the webhook {} is disabled because nothing arrived there for days",
    "": "the webhook {} takes no messages",
}
_MILD: Final = (ExportStatus.UNCONFIRMED, AckOutcome.SUPERSEDED, AckOutcome.UNMATCHED)
"""What may turn out to be nothing."""


@dataclass(frozen=True, kw_only=True)
class Matter:
    """One thing that waits for a person."""

    urgency: Urgency
    label: str
    """In a word."""
    tone: str
    """Bad, or a warning: `bad` or `warn`."""
    org_name: str
    sentence: str
    url: str
    detail: str = ""
    since: datetime | None = None


def matters(
    orgs: QuerySet[Organization],
    *,
    connections: dict[UUID, ActiveConnection],
    waiting: dict[UUID, Waiting],
    may_configure: Callable[[UUID], bool],
    now: datetime,
) -> list[Matter]:
    """Return what waits for a person, most urgent first; a cause and the orders that wait for it are one matter.

    Args:
        orgs: of which organisations.
        connections: their active ones, by organisation.
        waiting: their orders that are not sent yet, by organisation.
        may_configure: tells whether the person may see the connections of an organisation.
        now: what ages are counted to.
    """
    broken = [link for link in connections.values() if link.health in _BROKEN and may_configure(link.org_id)]
    halted = [link for link in connections.values() if link.paused_at and may_configure(link.org_id)]
    explained = {link.org_id for link in (*broken, *halted)}
    unexplained = [left for left in waiting.values() if left.org_id not in explained]
    found = [
        *(_broken(link, waiting.get(link.org_id)) for link in broken),
        *(_halted(link, waiting.get(link.org_id)) for link in halted),
        *(
            _expiring(link, link.expires)
            for link in connections.values()
            if link.expires and may_configure(link.org_id)
        ),
        *_waiting(unexplained, connections, may_configure),
        *map(_unresolved, overview.unresolved(orgs)),
        *map(_unsettled, overview.answers(orgs)),
        *map(_held, overview.held(orgs)),
        *(_untold(webhook) for webhook in overview.failing_webhooks(orgs) if may_configure(webhook.org_id)),
    ]
    return sorted(found, key=lambda matter: (matter.urgency, matter.since or now))


def exports_url(**lookups: Any) -> str:
    """Return the list of exports, narrowed down."""
    return f"{reverse('admin:connectors_erpexport_changelist')}?{urlencode(lookups)}"


def connections_url(**lookups: Any) -> str:
    """Return the list of connections, narrowed down."""
    return f"{reverse('admin:connectors_erpconnection_changelist')}?{urlencode(lookups)}"


def _broken(link: ActiveConnection, left: Waiting | None) -> Matter:
    urgency, sentence = _BROKEN[Health(link.health)]
    return Matter(
        urgency=urgency,
        label=Health(link.health).label,
        tone="bad",
        org_name=link.org_name,
        sentence=(_UNREACHABLE if link.retry_at else sentence).format(link.name) + _impact(left) + ".",
        url=reverse("admin:connectors_erpconnection_change", args=[link.id]),
        since=left.oldest if left else None,
    )


def _halted(link: ActiveConnection, left: Waiting | None) -> Matter:
    return Matter(
        urgency=Urgency.HALTED,
        label="paused",
        tone="warn",
        org_name=link.org_name,
        sentence=f"a person has paused {link.name}{_impact(left)}.",
        detail=link.pause_reason,
        url=reverse("admin:connectors_erpconnection_change", args=[link.id]),
        since=link.paused_at,
    )


def _impact(left: Waiting | None) -> str:
    return f"; {_orders(left.count)} {'waits' if left.count == 1 else 'wait'}" if left else ""


def _expiring(link: ActiveConnection, expires: dict[str, Any]) -> Matter:
    days = expires["days_left"]
    left = "today" if days == 0 else "tomorrow" if days == 1 else f"in {days} days"
    return Matter(
        urgency=Urgency.EXPIRING,
        label="expired" if days < 0 else "expires soon",
        tone="bad" if days <= 3 else "warn",
        org_name=link.org_name,
        sentence=f"the credentials of {link.name} {'have expired' if days < 0 else f'expire {left}'}.",
        detail=expires["kind"] if expires["field"] else "",
        url=reverse("admin:connectors_erpconnection_change", args=[link.id]),
    )


def _waiting(
    lines: list[Waiting], connections: dict[UUID, ActiveConnection], may_configure: Callable[[UUID], bool]
) -> Iterator[Matter]:
    for left in lines:
        verb = "waits" if left.count == 1 else "wait"
        pending = exports_url(status__exact=ExportStatus.PENDING, org__id__exact=left.org_id)
        if left.org_id not in connections:
            yield Matter(
                urgency=Urgency.UNCONNECTED,
                label="not connected",
                tone="bad",
                org_name=left.org_name,
                sentence=f"{_orders(left.count)} {verb}, but no connection is active.",
                url=connections_url(org__id__exact=left.org_id) if may_configure(left.org_id) else pending,
                since=left.oldest,
            )
        elif left.overdue:
            has = "has" if left.overdue == 1 else "have"
            yield Matter(
                urgency=Urgency.OVERDUE,
                label="overdue",
                tone="warn",
                org_name=left.org_name,
                sentence=f"{_orders(left.overdue)} {has} been waiting for more than an hour.",
                url=pending,
                since=left.oldest,
            )


def _unresolved(group: Unresolved) -> Matter:
    urgency, sentence = _UNRESOLVED[ExportStatus(group.status)]
    all_of_them = f"{reverse('admin:connectors_erpexport_dead-letters')}?{urlencode({'org': group.org_id})}"
    return Matter(
        urgency=urgency,
        label=ExportStatus(group.status).label,
        tone=_tone(group.status),
        org_name=group.org_name,
        sentence=sentence.format(f"order {group.order_id}" if group.orders == 1 else _orders(group.orders)) + ".",
        detail=group.message,
        url=reverse("admin:connectors_erpexport_change", args=[group.export_id]) if group.export_id else all_of_them,
        since=group.oldest,
    )


def _unsettled(group: Answers) -> Matter:
    in_org = {"org__id__exact": group.org_id}
    if group.outcome == OVERDUE:
        urgency, sentence = Urgency.UNANSWERED, "the ERP should have acknowledged {} by now"
        what, model, label, tone = _orders(group.count), "erpexport", "no answer", "warn"
        lookups: dict[str, Any] = {"overdue": "yes"} | in_org
    else:
        urgency, sentence = _ANSWERS[AckOutcome(group.outcome)]
        what = "1 acknowledgement" if group.count == 1 else f"{group.count:,} acknowledgements"
        model, label, tone = "acknowledgementrecord", AckOutcome(group.outcome).label, _tone(group.outcome)
        lookups = {"open": "yes", "outcome__exact": group.outcome} | in_org
    address = f"admin:connectors_{model}"
    return Matter(
        urgency=urgency,
        label=label,
        tone=tone,
        org_name=group.org_name,
        sentence=sentence.format(what) + ".",
        url=reverse(f"{address}_change", args=[group.only_id])
        if group.only_id
        else f"{reverse(f'{address}_changelist')}?{urlencode(lookups)}",
        since=group.oldest,
    )


def _held(group: Held) -> Matter:
    return Matter(
        urgency=Urgency.HELD,
        label="held",
        tone="warn",
        org_name=group.org_name,
        sentence=f"{_orders(group.count)} {'waits' if group.count == 1 else 'wait'} for approval.",
        url=reverse("admin:connectors_erpexport_change", args=[group.only_id])
        if group.only_id
        else exports_url(held__exact=1, status__exact=ExportStatus.PENDING, org__id__exact=group.org_id),
        since=group.oldest,
    )


def _untold(webhook: FailingWebhook) -> Matter:
    return Matter(
        urgency=Urgency.UNTOLD,
        label="disabled" if webhook.reason else "failing",
        tone="bad" if webhook.reason else "warn",
        org_name=webhook.org_name,
        sentence=_WEBHOOKS[webhook.reason].format(webhook.name) + ".",
        url=reverse("admin:connectors_webhook_change", args=[webhook.id]),
        since=webhook.since,
    )


def _tone(state: str) -> str:
    return "warn" if state in _MILD else "bad"


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count:,} orders"
