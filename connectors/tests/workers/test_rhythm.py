"""How often the periodic tasks run."""

from datetime import datetime

import pytest
from croniter import croniter

from connectors.tasks import _every


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1, 1), (10, 10), (30, 30), (60, 60), (90, 60), (300, 300), (3600, 3600), (7200, 7200)],
)
def test_the_rhythm_is_what_was_asked_for_as_near_as_cron_can_say(seconds, expected):
    ticks = croniter(_every(seconds), datetime(2025, 1, 1))

    first, second = ticks.get_next(float), ticks.get_next(float)

    assert second - first == expected
