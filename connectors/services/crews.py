"""Threads in which a worker does what may last, apart from those that send orders.

Fifty far ends that never answer cost fifty time-outs here, and not a second there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from django.db import DatabaseError

from connectors.services.pooling import give_back
from tenants import scope

log = structlog.get_logger(__name__)


class Crew:
    """A bounded number of threads, each of which does one piece of work after the other until none is left."""

    def __init__(self, name: str, count: int, run_next: Callable[[], bool]) -> None:
        """Begin with nobody at work.

        Args:
            name: of each thread.
            count: how many there are at most.
            run_next: does one piece of work; returns whether there was one.
        """
        self._name = name
        self._run_next = run_next
        self._free = threading.BoundedSemaphore(count)

    def call_one(self) -> None:
        """Set one more to work; when all are busy, the next one that is done finds the work that waits."""
        if self._free.acquire(blocking=False):
            # A daemon: a worker that is told to stop does not wait for a far end; what is left lying is picked up.
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    @scope.everything()  # who looks for the next piece of work looks at all organisations
    def _work(self) -> None:
        try:
            while self._run_next():
                pass
        except DatabaseError:  # the next call finds the work again
            log.warning("crew.database_away", crew=self._name)
        except Exception as error:  # Python would print its text, which may hold a secret
            log.error("crew.fault", crew=self._name, exc_info=error)
        finally:
            give_back()
            self._free.release()
