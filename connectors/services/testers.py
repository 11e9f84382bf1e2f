"""The threads in which a worker runs tests of connections.

They are apart from the threads that send orders: fifty far ends that never answer cost fifty time-outs here, and not a
second there.
"""

from __future__ import annotations

import threading
from typing import Final

import structlog
from django.conf import settings
from django.db import DatabaseError

from connectors.services import diagnosis
from connectors.services.pooling import give_back

log = structlog.get_logger(__name__)


class Testers:
    """A bounded number of threads, each of which runs tests until none is left that may start."""

    __test__ = False

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    def call_one(self) -> None:
        """Start one more tester; when all are busy, the next one that is done finds the test that waits."""
        if self._free.acquire(blocking=False):
            # A daemon: a worker that is told to stop does not wait for a far end; `diagnosis.recover` ends its tests.
            threading.Thread(target=self._work, name="tester", daemon=True).start()

    def _work(self) -> None:
        try:
            while diagnosis.run_next():
                pass
        except DatabaseError:  # the sweep calls again
            log.warning("tests.database_away")
        except Exception as error:  # Python would print its text, which may hold a secret
            log.error("tests.fault", exc_info=error)
        finally:
            give_back()
            self._free.release()


testers: Final = Testers(settings.TEST_THREADS)
"""Those of this process."""
