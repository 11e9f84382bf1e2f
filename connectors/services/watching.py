"""How many requests watch their tests with one query: whoever waits holds no database connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings

from connectors.models import ConnectionTest
from connectors.services.pooling import DATABASE_AWAY, give_back
from tenants import scope

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 0.1
_REMIND_SECONDS: Final = 2.0
"""So often a follower is shown the row although nothing has changed: he may have something to do about that."""


class Board:
    """The tests that somebody in this process waits for, looked at together."""

    def __init__(self, seats: int) -> None:
        """Begin with nobody.

        Args:
            seats: how many may wait at once.
        """
        self._seats = seats
        self._lock = threading.Lock()
        self._followers: dict[UUID, list[SimpleQueue[ConnectionTest]]] = {}
        self._is_looking = False

    @contextmanager
    def follow(self, test_id: UUID, *, seconds: float) -> Iterator[Iterator[ConnectionTest]]:
        """Yield the row of a test: as it is now, whenever it changes, and every now and then, for so many seconds.

        The caller's database connection goes back to the pool while he waits. Where too many wait already, the row is
        yielded as it is now and that is all: a process full of people who wait would serve nobody else.
        """
        news: SimpleQueue[ConnectionTest] = SimpleQueue()
        with self._lock:
            self._followers.setdefault(test_id, []).append(news)
            is_full = sum(map(len, self._followers.values())) > self._seats
        try:
            yield self._rows(test_id, news, 0 if is_full else seconds)
        finally:
            with self._lock:
                self._followers[test_id].remove(news)
                if not self._followers[test_id]:
                    del self._followers[test_id]

    def _rows(self, test_id: UUID, news: SimpleQueue[ConnectionTest], seconds: float) -> Iterator[ConnectionTest]:
        until = time.monotonic() + seconds
        row = ConnectionTest.objects.get(pk=test_id)
        yield row
        while (left := until - time.monotonic()) > 0:
            self._begin_looking()
            give_back()
            try:
                row = news.get(timeout=min(left, _REMIND_SECONDS))
            except Empty:
                with suppress(*DATABASE_AWAY):
                    row.refresh_from_db()
            yield row

    def _begin_looking(self) -> None:
        with self._lock:
            if self._is_looking:
                return
            self._is_looking = True
        threading.Thread(target=self._look, name="watch-tests", daemon=True).start()

    @scope.everything()
    def _look(self) -> None:
        """Tell the followers what has changed, until nobody follows."""
        seen: dict[UUID, tuple[str, int]] = {}
        try:
            while ids := self._watched():
                try:
                    for row in ConnectionTest.objects.filter(pk__in=ids):
                        mark = (row.state, len(row.result.get("steps", ())))
                        if seen.get(row.pk) != mark:
                            seen[row.pk] = mark
                            self._tell(row)
                except Exception as error:  # whatever it is, the followers still look for themselves now and then
                    log.warning("tests.watch_failed", exc_info=error)
                    give_back()
                    time.sleep(_REMIND_SECONDS)
                time.sleep(_LOOK_SECONDS)
        finally:
            give_back()

    def _watched(self) -> list[UUID]:
        with self._lock:
            self._is_looking = bool(self._followers)
            return list(self._followers)

    def _tell(self, row: ConnectionTest) -> None:
        with self._lock:
            for news in self._followers.get(row.pk, ()):
                news.put(row)


board: Final = Board(seats=settings.WEB_THREADS * 3 // 4)
"""The one of this process; it leaves the other threads to those who want something else."""
