"""The exports of a day as stacked bars: where each rectangle of the drawing lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.utils.timezone import localtime

from connectors.models import ExportStatus
from connectors.services.overview import Hour

STACK: Final = (
    ExportStatus.ACKED,
    ExportStatus.SENT,
    ExportStatus.SENDING,
    ExportStatus.PENDING,
    ExportStatus.CANCELLED,
    ExportStatus.UNCONFIRMED,
    ExportStatus.REJECTED,
    ExportStatus.FAILED,
)
"""From the bottom to the top: what went well is the ground, what went wrong stands out."""

HEIGHT: Final = 160
"""The plot in pixels; its width follows the page."""

SLOT: Final = 10
"""The share of one hour in the width, of which the bar takes `BAR`."""

BAR: Final = 7

_VISIBLE: Final = 3
_GAP: Final = 1


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One rectangle: the exports of one hour in one state."""

    status: str
    x: float
    y: int
    height: int
    width: int = BAR


@dataclass(frozen=True, kw_only=True)
class Column:
    """One hour."""

    hour: Hour
    x: int
    segments: list[Segment]

    @property
    def label(self) -> str:
        """Return the numbers of the hour in words."""
        counts = [f"{self.hour.counts[part.status]:,} {ExportStatus(part.status).label}" for part in self.segments]
        return f"{localtime(self.hour.start):%H:%M}: {', '.join(counts) or 'nothing'}"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The drawing, and the numbers it stands for."""

    columns: list[Column]
    totals: Counter[str]
    top: int
    """The number at the upper end of the scale."""

    height: int = HEIGHT
    slot: int = SLOT

    @property
    def width(self) -> int:
        """Return the width that the places of the rectangles refer to."""
        return len(self.columns) * SLOT

    @property
    def grid(self) -> str:
        """Return the lines at the top, in the middle and at the bottom."""
        return "".join(f"M0 {y}H{self.width}" for y in (0, HEIGHT // 2, HEIGHT))

    @property
    def middle(self) -> int:
        """Return the number halfway up."""
        return self.top // 2

    @property
    def total(self) -> int:
        """Return how many exports there are in all."""
        return self.totals.total()

    @property
    def states(self) -> list[str]:
        """Return the states that occur, as they are stacked."""
        return [status for status in STACK if self.totals[status]]


def draw(hours: list[Hour]) -> Chart:
    """Return the chart of these hours."""
    top = _scale(max(hour.counts.total() for hour in hours))
    return Chart(
        columns=[
            Column(hour=hour, x=number * SLOT, segments=list(_stack(hour.counts, left=number * SLOT, top=top)))
            for number, hour in enumerate(hours)
        ],
        totals=sum((hour.counts for hour in hours), Counter()),
        top=top,
    )


def _stack(counts: Counter[str], *, left: int, top: int) -> Iterator[Segment]:
    """Yield the rectangles of one bar; one failure among thousands still has a height that can be seen."""
    bottom = HEIGHT
    for status in STACK:
        if not counts[status]:
            continue
        height = max(_VISIBLE, round(counts[status] * HEIGHT / top))
        yield Segment(status=status, x=left + (SLOT - BAR) / 2, y=bottom - height, height=height - _GAP)
        bottom -= height


def _scale(largest: int) -> int:
    """Return a round, even number that is not below the largest."""
    power = 1
    while largest > 10 * power:
        power *= 10
    return next(step * power for step in (2, 4, 6, 8, 10) if step * power >= largest)
