"""What is going on, at a glance: the connections, what waits or came to nothing, and where the exports of a day are.

Each function is one query, whatever the number of rows, and speaks only of the organisations it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, F, Max, Min, Q, QuerySet, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, TruncHour

from connectors.models import AcknowledgementRecord, ConnectionStatus, ERPConnection, ERPExport, ExportStatus, Webhook
from connectors.services import checks
from tenants.models import Organization

HOURS: Final = 24
"""How far back exports are counted: the present hour and those before it."""

OVERDUE: Final = "OVERDUE"
"""An acknowledgement that should have come by now."""

PATIENCE: Final = timedelta(hours=1)
"""An order that waits for longer than this is overdue."""

_DEAF: Final = 5
"""A webhook with so many failures in a row needs a person, though it is tried again by itself."""

Organizations = QuerySet[Organization]


@dataclass(frozen=True, kw_only=True)
class ActiveConnection:
    """The connection that takes an organisation's orders."""

    id: UUID
    name: str
    health: str
    org_id: UUID
    org_name: str
    retry_at: datetime | None = None
    """While its breaker is open: when somebody looks whether the far end is back."""
    paused_at: datetime | None = None
    """Since when a person has kept orders from leaving."""
    pause_reason: str = ""
    expires: dict[str, Any] | None = None
    """The credential that expires next, as `checks.expires_soon` says it."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The orders of one organisation that are not sent yet."""

    org_id: UUID
    org_name: str
    count: int
    overdue: int
    oldest: datetime


@dataclass(frozen=True, kw_only=True)
class Unresolved:
    """The orders of one organisation that ended in one state which only a person can leave."""

    org_id: UUID
    org_name: str
    status: str
    orders: int
    oldest: datetime
    order_id: str
    export_id: str
    """The only export there is; empty when there are several."""
    message: str
    """What became of them; empty when it is not the same for all."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The acknowledgements of one organisation that wait for a person for one reason, or that did not come."""

    org_id: UUID
    org_name: str
    outcome: str
    """Of those that came; OVERDUE where the ERP should have answered by now."""
    count: int
    oldest: datetime
    only_id: str
    """The only acknowledgement there is, or the only export that has none; empty when there are several."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """The orders of one organisation that wait for approval."""

    org_id: UUID
    org_name: str
    count: int
    oldest: datetime
    only_id: str
    """Of the only export there is; empty when there are several."""


@dataclass(frozen=True, kw_only=True)
class FailingWebhook:
    """A webhook that is not told what it wants to know."""

    id: UUID
    org_id: UUID
    org_name: str
    name: str
    reason: str
    """Why we disabled it; empty: it is still tried."""
    since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Hour:
    """The exports that were accepted within one hour, by the state they are in now."""

    start: datetime
    counts: Counter[str]

    @property
    def end(self) -> datetime:
        """When the next hour begins."""
        return self.start + timedelta(hours=1)


def active_connections(orgs: Organizations) -> dict[UUID, ActiveConnection]:
    """Return each organisation's active connection, if it has one."""
    rows = ERPConnection.objects.active().filter(org__in=orgs).order_by("org__name", "org__slug")
    columns = rows.only(
        "name", "health", "retry_at", "paused_at", "pause_reason", "expiries", "credentials_expire_on", "org_id"
    )
    return {
        row.org_id: ActiveConnection(
            id=row.pk,
            name=row.name,
            health=row.health,
            org_id=row.org_id,
            org_name=row.org_name,
            retry_at=row.retry_at,
            paused_at=row.paused_at,
            pause_reason=row.pause_reason,
            expires=checks.expires_soon(row),
        )
        for row in columns.annotate(org_name=F("org__name"))
    }


def disabled_connections(orgs: Organizations) -> int:
    """Return how many connections are configured without taking orders."""
    return ERPConnection.objects.filter(org__in=orgs, status=ConnectionStatus.DISABLED).count()


def waiting(orgs: Organizations, *, now: datetime) -> dict[UUID, Waiting]:
    """Return what waits for its turn, by organisation; whose oldest order waits longest comes first."""
    # By way of the connection: the index of pending exports answers this alone, however long the queue is.
    pending = ERPExport.objects.filter(status=ExportStatus.PENDING, held=False, connection__org__in=orgs)
    by_org = pending.order_by().values(the_org=F("connection__org_id"), org_name=F("connection__org__name"))
    rows = by_org.annotate(
        count=Count("id"),
        overdue=Count("id", filter=Q(created_at__lt=now - PATIENCE)),
        oldest=Min("created_at"),
    )
    return {row["the_org"]: Waiting(org_id=row.pop("the_org"), **row) for row in rows.order_by("oldest")}


def unresolved(orgs: Organizations) -> list[Unresolved]:
    """Return what came to nothing or may have, oldest first; an order that was submitted anew is not among it."""
    left = ERPExport.objects.unresolved().filter(org__in=orgs)
    message = KeyTextTransform("message", "error")
    rows = (
        left.order_by()
        .values("org_id", "status", org_name=F("org__name"))
        .annotate(
            exports=Count("id"),
            orders=Count("order_id", distinct=True),
            oldest=Min(Coalesce("finished_at", "created_at")),
            first_order=Min("order_id"),
            first_export=Min(Cast("id", TextField())),
            one_message=Min(message),
            other_message=Max(message),
        )
        .order_by("oldest")
    )
    return [_unresolved(row) for row in rows]


def held(orgs: Organizations) -> list[Held]:
    """Return how many orders wait for the approval of a person, oldest first."""
    rows = (
        ERPExport.objects.filter(org__in=orgs, status=ExportStatus.PENDING, held=True)
        .order_by()
        .values("org_id", org_name=F("org__name"))
        .annotate(count=Count("id"), oldest=Min("created_at"), first=Min(Cast("id", TextField())))
    )
    return [
        Held(
            org_id=row["org_id"],
            org_name=row["org_name"],
            count=row["count"],
            oldest=row["oldest"],
            only_id=row["first"] if row["count"] == 1 else "",
        )
        for row in rows.order_by("oldest")
    ]


def failing_webhooks(orgs: Organizations) -> list[FailingWebhook]:
    """Return the webhooks that we disabled, and those that have refused several messages in a row."""
    unheard = Q(enabled=False) & ~Q(disabled_because="") | Q(enabled=True, failures_in_a_row__gte=_DEAF)
    rows = Webhook.objects.filter(unheard, org__in=orgs).annotate(org_name=F("org__name"))
    columns = rows.only("name", "disabled_because", "attempted_at", "org_id").order_by("attempted_at")
    return [
        FailingWebhook(
            id=row.pk,
            org_id=row.org_id,
            org_name=row.org_name,
            name=row.name,
            reason=row.disabled_because,
            since=row.attempted_at,
        )
        for row in columns
    ]


def answers(orgs: Organizations) -> list[Answers]:
    """Return which acknowledgements wait for a person and how many are overdue, oldest first."""
    came = AcknowledgementRecord.objects.open().filter(org__in=orgs).annotate(since=F("received_at"))
    missing = ERPExport.objects.overdue().filter(connection__org__in=orgs)
    missing = missing.annotate(outcome=Value(OVERDUE), since=F("sent_at"))
    one, other = (
        rows.order_by()
        .values("outcome", the_org=F("connection__org_id"), org_name=F("connection__org__name"))
        .annotate(count=Count("id"), oldest=Min("since"), first=Min(Cast("id", TextField())))
        for rows in (came, missing)
    )
    return [
        Answers(
            org_id=row["the_org"],
            org_name=row["org_name"],
            outcome=row["outcome"],
            count=row["count"],
            oldest=row["oldest"],
            only_id=row["first"] if row["count"] == 1 else "",
        )
        for row in one.union(other, all=True).order_by("oldest")
    ]


def by_hour(orgs: Organizations, *, now: datetime) -> list[Hour]:
    """Return the hours of the last day, oldest first, with those in which nothing was accepted."""
    rows = (
        ERPExport.objects.filter(org__in=orgs, created_at__gte=day_before(now))
        .order_by()
        .values_list(TruncHour("created_at", tzinfo=UTC), "status")
        .annotate(Count("id"))
    )
    hours = [Hour(start=day_before(now) + timedelta(hours=number), counts=Counter()) for number in range(HOURS)]
    by_start = {hour.start: hour for hour in hours}
    for start, status, count in rows:
        if start in by_start:  # a clock that runs ahead elsewhere
            by_start[start].counts[status] = count
    return hours


def by_organization(org_ids: Iterable[UUID], *, now: datetime) -> dict[UUID, Counter[str]]:
    """Return how many exports of the last day are in which state, by organisation."""
    counts: dict[UUID, Counter[str]] = {org_id: Counter() for org_id in org_ids}
    rows = (
        ERPExport.objects.filter(org__in=list(counts), created_at__gte=day_before(now))
        .order_by()
        .values_list("org_id", "status")
        .annotate(Count("id"))
    )
    for org_id, status, count in rows:
        counts[org_id][status] = count
    return counts


def day_before(now: datetime) -> datetime:
    """Return the full hour at which the last day begins."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)


def _unresolved(row: dict[str, Any]) -> Unresolved:
    return Unresolved(
        org_id=row["org_id"],
        org_name=row["org_name"],
        status=row["status"],
        orders=row["orders"],
        oldest=row["oldest"],
        order_id=row["first_order"],
        export_id=row["first_export"] if row["exports"] == 1 else "",
        message=row["one_message"] or "" if row["one_message"] == row["other_message"] else "",
    )
