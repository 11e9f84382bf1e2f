"""The overview, with which the admin begins: what needs a person now, then how everything is doing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from connectors.admin.badges import health_badge, status_badge
from connectors.admin.chart import Chart, Column, draw
from connectors.models import ConnectionStatus, ExportStatus, Health
from connectors.services import installation, overview
from connectors.services.attention import Matter, connections_url, exports_url, matters
from connectors.services.overview import ActiveConnection, Waiting
from tenants.admin import has_role, organizations_of
from tenants.models import Organization
from tenants.roles import ALL, CONFIGURE

PAGE_SIZE: Final = 20

SHOWN_MATTERS: Final = 6
LISTED_MATTERS: Final = 100
"""How many matters are in sight, and how many can be unfolded."""

_HEALTHS: Final = sorted(Health, key=lambda health: health != Health.HEALTHY)
"""The good one first, the others as they are declared."""

_STATES: Final = {
    "Acknowledged": (ExportStatus.ACKED,),
    "Sent": (ExportStatus.SENT,),
    "Under way": (ExportStatus.PENDING, ExportStatus.SENDING),
    "Unconfirmed": (ExportStatus.UNCONFIRMED,),
    "Rejected": (ExportStatus.REJECTED,),
    "Failed": (ExportStatus.FAILED,),
    "Cancelled": (ExportStatus.CANCELLED,),
}
"""The columns of the table of organisations."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """A number, what it counts, and the list of it."""

    label: SafeString | str
    number: int
    url: str
    status: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One organisation in the table."""

    name: str
    url: str
    may_configure: bool
    connection: ActiveConnection | None
    health: SafeString | str
    counts: list[Count]
    waiting: Waiting | None


class Dashboard:
    """What the signed-in person may see; each part is asked for when the page comes to it."""

    def __init__(self, request: HttpRequest) -> None:
        self.now = timezone.now()
        self.search = request.GET.get("q", "").strip()
        self.has_exports = has_role(request, ALL)
        self.has_connections = has_role(request, CONFIGURE)
        self._request = request
        self._mine = organizations_of(request, ALL)
        self._configured = organizations_of(request, CONFIGURE)

    @property
    def is_quarantined(self) -> bool:
        """Whether nothing is sent because this database belongs to another installation."""
        return not installation.is_armed()

    # -- What needs a person -----------------------------------------------------------------------------------------

    @cached_property
    def matters(self) -> list[Matter]:
        """Return what waits for a person, most urgent first."""
        return matters(
            self._mine,
            connections=self._active,
            waiting=self._waiting,
            may_configure=self._may_configure,
            now=self.now,
        )

    @property
    def first_matters(self) -> list[Matter]:
        """Return what is in sight."""
        return self.matters[:SHOWN_MATTERS]

    @property
    def more_matters(self) -> list[Matter]:
        """Return what can be unfolded."""
        return self.matters[SHOWN_MATTERS:LISTED_MATTERS]

    @property
    def unlisted_matters(self) -> int:
        """Return how many more there are."""
        return max(0, len(self.matters) - LISTED_MATTERS)

    # -- Connections -------------------------------------------------------------------------------------------------

    @cached_property
    def connections(self) -> list[Count]:
        """Return how many active connections are in which health, then how many are disabled."""
        healths = Counter(link.health for link in self._active.values() if self._may_configure(link.org_id))
        disabled = ConnectionStatus.DISABLED
        return [
            *(
                Count(
                    label=health_badge(health),
                    number=healths[health],
                    url=connections_url(status__exact=ConnectionStatus.ACTIVE, health__exact=health),
                )
                for health in _HEALTHS
            ),
            Count(
                label=status_badge(disabled),
                number=overview.disabled_connections(self._configured),
                url=connections_url(status__exact=disabled),
            ),
        ]

    # -- Exports -----------------------------------------------------------------------------------------------------

    @cached_property
    def chart(self) -> Chart:
        """Return the exports of the last day."""
        return draw(overview.by_hour(self._mine, now=self.now))

    @property
    def legend(self) -> list[Count]:
        """Return the states that occur in the chart, with their totals."""
        return [
            Count(
                label=ExportStatus(status).label,
                number=self.chart.totals[status],
                url=exports_url(status__exact=status, created_at__gte=self.chart.columns[0].hour.start),
                status=status,
            )
            for status in self.chart.states
        ]

    @property
    def hours(self) -> list[tuple[Column, str, list[int]]]:
        """Return the chart as a table, latest first: each hour, the list of its exports, and a number per state."""
        return [
            (
                column,
                exports_url(created_at__gte=column.hour.start, created_at__lt=column.hour.end),
                [column.hour.counts[status] for status in self.chart.states],
            )
            for column in reversed(self.chart.columns)
        ]

    # -- Organisations -----------------------------------------------------------------------------------------------

    @property
    def states(self) -> list[str]:
        """Return the names of the columns that count exports."""
        return list(_STATES)

    @cached_property
    def page(self) -> Page[Organization]:
        """Return the organisations that were searched for, one page of them."""
        found = self._mine.filter(Q(name__icontains=self.search) | Q(slug__icontains=self.search))
        return Paginator(found.order_by("name", "slug"), PAGE_SIZE).get_page(self._request.GET.get("page"))

    @property
    def pages(self) -> list[Any]:
        """Return the page numbers to choose from, with gaps."""
        return list(self.page.paginator.get_elided_page_range(self.page.number, on_each_side=2, on_ends=1))

    @property
    def rows(self) -> list[Row]:
        """Return the organisations of the page with all that is told about them."""
        orgs = list(self.page.object_list)
        counts = overview.by_organization([org.pk for org in orgs], now=self.now)
        return [self._row(org, counts[org.pk]) for org in orgs]

    def _row(self, org: Organization, counts: Counter[str]) -> Row:
        may_configure = self._may_configure(org.pk)
        link = self._active.get(org.pk) if may_configure else None
        return Row(
            name=org.name,
            url=reverse("admin:tenants_organization_change", args=[org.pk]),
            may_configure=may_configure,
            connection=link,
            health=health_badge(link.health) if link else "",
            counts=[self._count(org, label, states, counts) for label, states in _STATES.items()],
            waiting=self._waiting.get(org.pk),
        )

    def _count(self, org: Organization, label: str, states: tuple[str, ...], counts: Counter[str]) -> Count:
        since = overview.day_before(self.now)
        return Count(
            label=label,
            number=sum(counts[status] for status in states),
            url=exports_url(org__id__exact=org.pk, status__in=",".join(states), created_at__gte=since),
            status=states[0],
        )

    # -- What several parts need -------------------------------------------------------------------------------------

    @cached_property
    def _active(self) -> dict[UUID, ActiveConnection]:
        return overview.active_connections(self._mine)

    @cached_property
    def _waiting(self) -> dict[UUID, Waiting]:
        return overview.waiting(self._mine, now=self.now)

    def _may_configure(self, org_id: UUID) -> bool:
        return has_role(self._request, CONFIGURE, org_id)
