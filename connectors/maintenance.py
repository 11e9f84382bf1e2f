"""When the far end is not to be disturbed: weekly and single windows, and until when one of them lasts.

Weekly: `{"days": ["fri", "sat"], "start": "22:00", "end": "02:00", "timezone": "Europe/Berlin"}`. An end that is not
after the start is on the following day; the days are those on which a window begins; "24:00" ends a whole day.
Single: `{"from": "2026-12-24T12:00:00+01:00", "until": "2026-12-27T06:00:00+01:00"}`.

A weekly window follows the clock on the wall of its time zone. An hour that this clock skips has no moments; of an
hour that it shows twice the first one counts for a start and the second one for an end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from typing import Annotated, Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from connectors.exceptions import Fault, InvalidInput
from connectors.order import Timestamp
from connectors.validation import StrictModel, prefixed

MAX_WINDOWS: Final = 50

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_MIDNIGHT: Final = "24:00"
_DAY: Final = timedelta(days=1)
_FORESIGHT: Final = timedelta(days=8)
"""How far windows that follow upon each other are joined: a week that is closed throughout has no end."""
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Later than any plan, and early enough to be shifted by any offset."""

Span = tuple[datetime, datetime]
"""From the first moment to the one that is no longer part of it."""


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
"""A day of the week, in the order of `date.weekday`."""

_WEEK: Final[tuple[Day, ...]] = get_args(Day)


def _some_days(days: tuple[Day, ...]) -> tuple[Day, ...]:
    if not days or len(set(days)) != len(days):
        raise PydanticCustomError("days", "must name at least one day, and each once")
    return days


def _clock_time(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise PydanticCustomError("clock_time", "must be a time of day written HH:MM")
    return text


def _end_of_day_or_clock_time(text: str) -> str:
    return text if text == _MIDNIGHT else _clock_time(text)


def _plannable(moment: datetime) -> datetime:
    if moment >= _LAST:
        raise PydanticCustomError("too_late", "must be before the year {year}", {"year": _LAST.year})
    return moment


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, such as "Europe"
        raise PydanticCustomError(
            "timezone", "must be a time zone of the IANA database, such as Europe/Berlin"
        ) from None
    return name


Plannable = Annotated[Timestamp, AfterValidator(_plannable)]


class Weekly(StrictModel):
    """The same hours on some days of every week."""

    days: Annotated[
        tuple[Day, ...], AfterValidator(_some_days), Field(json_schema_extra={"minItems": 1, "uniqueItems": True})
    ]
    start: Annotated[str, AfterValidator(_clock_time), Field(json_schema_extra={"pattern": f"^{_CLOCK.pattern}$"})]
    end: Annotated[
        str,
        AfterValidator(_end_of_day_or_clock_time),
        Field(json_schema_extra={"pattern": f"^({_CLOCK.pattern}|{_MIDNIGHT})$"}),
    ]
    timezone: Annotated[str, AfterValidator(_known_zone)]

    def cross_field_faults(self) -> Iterator[Fault]:
        """Refuse a window of which nobody can tell whether it is empty or a whole day."""
        if self.start == self.end:
            yield Fault(path="end", message="must differ from start; a whole day is 00:00 to 24:00", code="no_duration")

    def spans_near(self, moment: datetime) -> Iterator[Span]:
        """Yield the windows that can contain `moment`, and maybe a neighbour."""
        zone = ZoneInfo(self.timezone)
        today = moment.astimezone(zone).date()
        for day in (today - _DAY, today, today + _DAY):  # tomorrow's, too: at midnight a clock may go back to today
            if _WEEK[day.weekday()] in self.days:
                ends_on = day + _DAY if self.end <= self.start or self.end == _MIDNIGHT else day
                end = _moment(ends_on, self.end.replace(_MIDNIGHT, "00:00"), zone, last=True)
                yield _moment(day, self.start, zone, last=False), end


class Single(StrictModel):
    """One stretch of time."""

    from_: Annotated[Plannable, Field(alias="from")]
    until: Plannable

    def cross_field_faults(self) -> Iterator[Fault]:
        """Refuse a window that ends before it begins."""
        if self.until <= self.from_:
            yield Fault(path="until", message="must be after from", code="no_duration")

    def spans_near(self, _moment: datetime) -> Iterator[Span]:
        """Yield this window, whatever the moment."""
        yield self.from_, self.until


Window = Weekly | Single


def parse(value: object) -> tuple[Window, ...]:
    """Return the windows that `ERPConnection.maintenance_windows` says.

    Args:
        value: a list as it comes out of a JSON parser.

    Raises:
        InvalidInput: with one fault per field, its path beginning with the place in the list.
    """
    if not isinstance(value, list | tuple):
        raise InvalidInput([Fault(path="", message="must be a list of windows", code="list_type")])
    if len(value) > MAX_WINDOWS:
        raise InvalidInput([Fault(path="", message=f"must have at most {MAX_WINDOWS} windows", code="too_long")])
    windows: list[Window] = []
    found: list[Fault] = []
    for place, each in enumerate(value):
        kind = Single if isinstance(each, dict) and each.keys() & {"from", "until"} else Weekly
        try:
            windows.append(kind.parse(each))
        except InvalidInput as error:
            found.extend(prefixed(error.faults, str(place)))
    if found:
        raise InvalidInput(found)
    return tuple(windows)


def closed_until(windows: Iterable[Window], now: datetime) -> datetime | None:
    """Return when sending may begin again, in UTC; None when it may now.

    Windows that overlap or follow upon each other are one. When they go on for more than a week, the answer is a
    moment at which it is worth asking again.

    Args:
        windows: as `parse` returned them.
        now: the present moment, with an offset.
    """
    windows = tuple(windows)
    end, horizon = now, now + _FORESIGHT
    while end < horizon:
        spans = chain.from_iterable(window.spans_near(end) for window in windows)
        later = max((until for start, until in spans if start <= end < until), default=None)
        if later is None:
            break
        end = later
    return None if end == now else end.astimezone(UTC)


def _moment(day: date, clock: str, zone: ZoneInfo, *, last: bool) -> datetime:
    """Return the moment at which a clock on the wall shows this, or jumps over it.

    Args:
        day: what the calendar beside the clock shows.
        clock: HH:MM.
        zone: where it hangs.
        last: whether the second moment counts when the clock shows the same twice.
    """
    shown = datetime.combine(day, time.fromisoformat(clock))
    early, late = sorted(shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early.astimezone(zone).replace(tzinfo=None) == shown:
        return late if last else early
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):  # skipped: the jump is somewhere in between
        middle = early + (late - early) / 2
        early, late = (middle, late) if middle.astimezone(zone).utcoffset() == before else (early, middle)
    return late.replace(microsecond=0)
