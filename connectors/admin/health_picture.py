"""The latest tests and checks of a connection as a row of bars: where each part of the drawing lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.utils.timezone import localtime

from connectors.models import ConnectionTest
from connectors.results import StepStatus

BARS: Final = 48
"""So many tests and checks: two days of hourly ones."""

SLOT: Final = 8
BAR: Final = 6
HEIGHT: Final = 44
"""The tallest bar, in pixels; its mark stands below."""

_LEAST: Final = 4
_MARKS: Final = 12


class Kind(StrEnum):
    """How a test or check ended: the colour of its bar and the shape of its mark."""

    PASSED = "passed"  #: no mark
    WARNED = "warned"  #: a triangle
    FAILED = "failed"  #: a cross


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One test or check."""

    kind: Kind
    x: int
    height: int
    title: str

    width: int = BAR

    @property
    def y(self) -> int:
        """Return where the bar begins."""
        return HEIGHT - self.height

    @property
    def mark(self) -> str:
        """Return the shape below the bar, as the data of an SVG path."""
        left, middle, right, top, bottom = self.x, self.x + BAR // 2, self.x + BAR, HEIGHT + 4, HEIGHT + 4 + BAR
        match self.kind:
            case Kind.PASSED:
                return ""
            case Kind.WARNED:
                return f"M{left} {bottom}L{middle} {top}L{right} {bottom}Z"
            case Kind.FAILED:
                return f"M{left} {top}L{right} {bottom}M{right} {top}L{left} {bottom}"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The drawing, and what it says in one sentence."""

    bars: list[Bar]
    label: str

    width: int = BARS * SLOT
    height: int = HEIGHT + _MARKS
    ground: int = HEIGHT


def draw(newest_first: Iterable[ConnectionTest]) -> Picture | None:
    """Draw finished tests and checks, the newest at the right; None when there are none."""
    tests = list(newest_first)[:BARS][::-1]
    if not tests:
        return None
    slowest = max(test.latency_ms for test in tests)
    first = BARS - len(tests)
    bars = [
        Bar(
            kind=_kind(test), x=(first + place) * SLOT + 1, height=_height(test.latency_ms, slowest), title=_title(test)
        )
        for place, test in enumerate(tests)
    ]
    failed = sum(bar.kind is Kind.FAILED for bar in bars)
    label = f"Last {len(bars)} tests and checks: {len(bars) - failed} passed, {failed} failed, at most {slowest:,} ms."
    return Picture(bars=bars, label=label if len(bars) > 1 else f"The only test: {bars[0].title}.")


def _kind(test: ConnectionTest) -> Kind:
    if not test.success:
        return Kind.FAILED
    has_warning = any(step["status"] == StepStatus.WARNING for step in test.result["steps"])
    return Kind.WARNED if has_warning else Kind.PASSED


def _height(latency_ms: int, slowest: int) -> int:
    """Return the height of a bar: logarithmic, so that one time-out does not flatten all others."""
    if not slowest:
        return _LEAST
    return max(_LEAST, round(HEIGHT * math.log1p(latency_ms) / math.log1p(slowest)))


def _title(test: ConnectionTest) -> str:
    end = "passed" if test.success else f"failed with {test.code}"
    what = test.get_subject_display()
    return f"{localtime(test.started_at):%Y-%m-%d %H:%M}, {what}: {end} after {test.latency_ms:,} ms"
