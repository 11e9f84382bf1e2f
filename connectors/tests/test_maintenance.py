"""Maintenance windows: closed exactly when the clock on the wall says so, on the days when it jumps, too."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.exceptions import InvalidInput
from connectors.maintenance import MAX_WINDOWS, Day, closed_until, parse

BERLIN = "Europe/Berlin"
WEEK = list(get_args(Day))
NIGHT = {"days": ["fri"], "start": "22:00", "end": "02:00", "timezone": BERLIN}
ZONES = ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "America/Havana"]

minutes = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
moments = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
near_a_jump = st.sampled_from([datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]).flatmap(
    lambda day: st.timedeltas(timedelta(hours=-12), timedelta(hours=12)).map(lambda shift: day + shift)
)
weekly = st.fixed_dictionaries(
    {
        "days": st.lists(st.sampled_from(WEEK), min_size=1, unique=True),
        "start": minutes,
        "end": minutes | st.just("24:00"),
        "timezone": st.sampled_from(ZONES),
    }
).filter(lambda window: window["start"] != window["end"])
singles = st.tuples(moments, st.timedeltas(timedelta(seconds=1), timedelta(days=20))).map(
    lambda span: {"from": span[0].isoformat(), "until": (span[0] + span[1]).isoformat()}
)


def closed(windows, moment):
    return closed_until(parse(windows), datetime.fromisoformat(moment))


def clock_says_closed(window, moment):
    """Whether a clock on the wall, and the calendar beside it, show a time inside the window."""
    shown = moment.astimezone(ZoneInfo(window["timezone"]))
    clock, end = shown.strftime("%H:%M"), window["end"]
    today, yesterday = WEEK[shown.weekday()], WEEK[shown.weekday() - 1]
    if window["start"] < end:
        return today in window["days"] and window["start"] <= clock < end
    return (today in window["days"] and window["start"] <= clock) or (yesterday in window["days"] and clock < end)


def is_shown_twice(window, moment):
    """Whether the clocks there are or were set back within a day, so that a window may be longer than it looks."""
    zone = ZoneInfo(window["timezone"])
    offsets = [(moment + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-26, 27)]
    return any(later < earlier for earlier, later in pairwise(offsets))


@given(window=weekly, moment=moments | near_a_jump)
def test_a_weekly_window_is_closed_when_the_clock_on_the_wall_is_inside_it(window, moment):
    expected = clock_says_closed(window, moment)
    found = closed_until(parse([window]), moment) is not None

    assert found or not expected
    assert found == expected or is_shown_twice(window, moment)


@given(windows=st.lists(weekly | singles, max_size=4), moment=moments | near_a_jump)
def test_it_opens_at_the_named_moment_and_not_before(windows, moment):
    parsed = parse(windows)
    opens = closed_until(parsed, moment)

    if opens is None:
        return
    assert opens > moment
    assert opens.tzinfo is UTC
    assert closed_until(parsed, opens - timedelta(microseconds=1)) is not None
    if opens < moment + timedelta(days=8):
        assert closed_until(parsed, opens) is None


@given(windows=st.lists(weekly | singles, max_size=4), moment=moments)
def test_more_windows_never_open_earlier(windows, moment):
    each_alone = [closed_until(parse([window]), moment) for window in windows]

    together = closed_until(parse(windows), moment)

    assert (together is None) == all(alone is None for alone in each_alone)
    assert all(alone <= together for alone in each_alone if alone)


@pytest.mark.parametrize(
    ("window", "moment", "opens"),
    [
        (NIGHT, "2026-11-27T21:59:59+01:00", None),
        (NIGHT, "2026-11-27T22:00:00+01:00", "2026-11-28T02:00:00+01:00"),
        (NIGHT, "2026-11-28T01:59:59+01:00", "2026-11-28T02:00:00+01:00"),
        (NIGHT, "2026-11-28T02:00:00+01:00", None),
        # The night of 29 March has no hour from 2 to 3 …
        (NIGHT | {"days": ["sat"]}, "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"),
        (NIGHT | {"days": ["sun"], "start": "02:30", "end": "04:00"}, "2026-03-29T01:59:00+01:00", None),
        (
            NIGHT | {"days": ["sun"], "start": "02:30", "end": "04:00"},
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T04:00:00+02:00",
        ),
        (NIGHT | {"days": ["sun"], "start": "02:15", "end": "02:45"}, "2026-03-29T03:00:00+02:00", None),
        # … and the one of 25 October has it twice.
        (
            NIGHT | {"days": ["sun"], "start": "01:00", "end": "02:30"},
            "2026-10-25T02:45:00+02:00",
            "2026-10-25T02:30:00+01:00",
        ),
    ],
)
def test_over_midnight_and_on_the_nights_when_the_clock_jumps(window, moment, opens):
    assert closed([window], moment) == (opens and datetime.fromisoformat(opens))


def test_windows_that_touch_are_one_and_a_gap_of_a_minute_is_open():
    friday = NIGHT | {"start": "20:00", "end": "24:00"}
    saturday = NIGHT | {"days": ["sat"], "start": "00:00", "end": "06:00"}
    hole = NIGHT | {"days": ["sat"], "start": "00:01", "end": "06:00"}
    single = {"from": "2026-11-28T04:59:00Z", "until": "2026-11-28T09:00:00Z"}

    assert closed([saturday, single, friday], "2026-11-27T21:00:00+01:00") == datetime(2026, 11, 28, 9, tzinfo=UTC)
    assert closed([friday, hole], "2026-11-27T21:00:00+01:00") == datetime(2026, 11, 27, 23, tzinfo=UTC)


def test_a_week_that_is_closed_throughout_is_asked_about_again():
    always = {"days": WEEK, "start": "00:00", "end": "24:00", "timezone": BERLIN}
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    assert timedelta(days=7) < closed_until(parse([always]), now) - now < timedelta(days=10)
    assert closed_until(parse([]), now) is None


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({}, [""]),
        ("mon", [""]),
        ([NIGHT] * (MAX_WINDOWS + 1), [""]),
        ([NIGHT, 3, None], ["1", "2"]),
        ([{}], ["0.days", "0.start", "0.end", "0.timezone"]),
        ([NIGHT | {"days": []}], ["0.days"]),
        ([NIGHT | {"days": ["fri", "fri"]}], ["0.days"]),
        ([NIGHT | {"days": ["Friday"]}], ["0.days.0"]),
        ([NIGHT | {"start": "24:00"}], ["0.start"]),
        ([NIGHT | {"start": "٢٢:00", "end": "2:00"}], ["0.start", "0.end"]),
        ([NIGHT | {"end": "22:00"}], ["0.end"]),
        ([NIGHT, NIGHT | {"timezone": "Europe"}], ["1.timezone"]),
        ([NIGHT | {"timezone": "../../etc/passwd"}], ["0.timezone"]),
        ([NIGHT | {"timezone": "Europe/Berlin\0"}], ["0.timezone"]),
        ([NIGHT | {"comment": "x"}], ["0.comment"]),
        ([{"from": "2026-12-24T12:00:00+01:00"}], ["0.until"]),
        ([{"from": "2026-12-24T12:00:00", "until": 1_800_000_000}], ["0.from", "0.until"]),
        ([{"from": "2026-12-24T12:00:00Z", "until": "2026-12-24T13:00:00+01:00"}], ["0.until"]),
        ([{"from": "2026-12-24T12:00:00Z", "until": "9999-12-31T23:59:59-14:00"}], ["0.until"]),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_stands(value, paths):
    with pytest.raises(InvalidInput) as refused:
        parse(value)

    assert [fault.path for fault in refused.value.faults] == paths
    assert all(fault.message for fault in refused.value.faults)
