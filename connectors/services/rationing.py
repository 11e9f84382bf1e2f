"""How many tests may be asked for: per key or person, per organisation, and per destination.

A test logs in somewhere on demand, so without a ration it would be a tool for guessing passwords or knocking at other
people's doors. What was asked for stands in the table of tests, so the ration is one for all web processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from connectors.models import ConnectionTest
from connectors.services import locking
from connectors.services.errors import TooManyTests
from tenants import scope
from tenants.actors import ActorKind

_WINDOW: Final = timedelta(minutes=1)


def check(test: ConnectionTest) -> None:
    """Refuse a test that is one too many; the system's own commands and checks are not rationed.

    To be called in the transaction that stores the test: until then nobody else may ask.

    Raises:
        TooManyTests: it names the limit and when to come back.
    """
    if test.actor_kind == ActorKind.SYSTEM:
        return
    locking.take(locking.Turn.ASK_FOR_TEST)
    now = timezone.now()
    recent = ConnectionTest.objects.filter(started_at__gt=now - _WINDOW).exclude(actor_kind=ActorKind.SYSTEM)
    for name, rows, most in _limits(test, recent):
        with scope.everything():  # a destination is spared by all organisations together
            times = list(rows.order_by("-started_at").values_list("started_at", flat=True)[:most])
        if len(times) >= most:
            free_in = times[-1] + _WINDOW - now
            raise TooManyTests(retry_after=max(1, round(free_in.total_seconds())), limit=name)
    unfinished = ConnectionTest.objects.of(test.org).unfinished()
    if unfinished.count() - unfinished.lost().count() >= settings.TESTS_WAITING:
        raise TooManyTests(retry_after=10, limit="waiting")


def _limits(test: ConnectionTest, recent: QuerySet[Any]) -> Iterator[tuple[str, QuerySet[Any], int]]:
    of_org = recent.filter(org=test.org)
    yield "key", of_org.filter(actor_kind=test.actor_kind, actor_id=test.actor_id), settings.TESTS_PER_MINUTE_AND_KEY
    yield "organisation", of_org, settings.TESTS_PER_MINUTE_AND_ORGANISATION
    if test.endpoint:
        yield "destination", recent.filter(endpoint=test.endpoint), settings.TESTS_PER_MINUTE_AND_DESTINATION
