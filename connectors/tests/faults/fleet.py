"""Worker processes that are killed, sent home and cut off from their database, each replaced as a supervisor would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

from django.db import connection as database

from connectors.tests.workers.processes import WORKER, settings_of
from erpconfig.paths import BASE_DIR

GRACE_S = 20
"""A worker that is asked to go has to be gone by then."""


@dataclass(eq=False)
class Worker:
    """One process, which has written its log into a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    is_dismissed: bool = False
    """Whether it was to end."""

    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        self.is_dismissed = True
        self.process.kill()
        self.process.wait()

    def send_home(self) -> float:
        """Ask it to go, as a deploy does; return how many seconds it took."""
        self.is_dismissed, started = True, time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(GRACE_S + 10)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - started

    def lose_database(self) -> int:
        """Cut its database connections; return how many there were."""
        with database.cursor() as cursor:
            query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"
            cursor.execute(query, [self.name])
            return int(cursor.fetchone()[0])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what its log says of one kind of event."""
        return [entry for entry in _entries(self.log) if entry.get("event") == name]


@dataclass
class Fleet:
    """Some workers; a context manager that kills those that are left.

    Args:
        folder: for their logs.
        root: their DROPZONE_ROOT.
        settings: more of their environment.
    """

    folder: Path
    root: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.workers: list[Worker] = []
        self._numbers = count(1)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()

    def start(self) -> Worker:
        """Start one more."""
        name = f"worker-{next(self._numbers)}"
        log = self.folder / f"{name}.log"
        environment = settings_of(
            self.root,
            **{
                "PGAPPNAME": name,  # how its database connections are told from others
                "EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
                "ACK_POLL_SECONDS": "86400",
                "LOG_FORMAT": "json",
                "LOG_LEVEL": "INFO",
            }
            | self.settings,
        )
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, *WORKER], cwd=BASE_DIR, env=environment, stderr=out, stdout=out)
        worker = Worker(name, process, log)
        self.workers.append(worker)
        return worker

    def replace_ended(self) -> list[Worker]:
        """Start another for each that ended unasked, as a supervisor does; return those that ended."""
        ended = [worker for worker in self.workers if not worker.is_alive() and not worker.is_dismissed]
        for worker in ended:
            worker.is_dismissed = True
            self.start()
        return ended

    def living(self) -> list[Worker]:
        """Return those that have not ended."""
        return [worker for worker in self.workers if worker.is_alive()]


def _entries(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)
