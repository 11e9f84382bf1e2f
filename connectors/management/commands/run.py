"""`manage.py run`: the whole application on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from types import FrameType
from typing import Any, Final

from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from connectors.services import keys
from erpconfig.paths import BASE_DIR
from tenants.management.base import USAGE

_GRACE_SECONDS: Final = 20
_LOOK_SECONDS: Final = 0.1


class Command(BaseCommand):
    """Applies migrations, then runs the web server and the worker until one of them ends or a signal comes.

    Exit codes: 0 after SIGTERM or SIGINT, 1 when a process ended by itself, 2 when the master keys are not those of the
    database.
    """

    help = "Run the web server and the worker, in the foreground."

    def add_arguments(self, parser: CommandParser) -> None:
        """Say where to listen."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", default=8000, type=int, help="port to listen on (default: %(default)s)")

    def handle(self, *, host: str, port: int, **_: Any) -> None:
        """Run until the end."""
        stop_signals: list[int] = []

        def note(number: int, _: FrameType | None) -> None:
            stop_signals.append(number)

        call_command("migrate", interactive=False, verbosity=0)
        try:
            keys.admit()  # both processes would say the same, one after the other
        except keys.REFUSALS as error:
            raise CommandError(str(error), returncode=USAGE) from None
        finally:
            connection.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, note)
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        with tempfile.TemporaryDirectory(prefix="erp-connector-metrics-") as metrics:
            # Both processes count into one folder, so that /metrics shows what either of them did.
            environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": metrics}
            commands = {
                "web server": ["-m", "gunicorn", "--config", "python:erpconfig.gunicorn", "--bind", listen],
                "worker": ["manage.py", "procrastinate", "worker"],
            }
            processes = {
                # In sessions of their own: Ctrl-C reaches them once, through us.
                name: subprocess.Popen(
                    [sys.executable, *command], cwd=BASE_DIR, env=environment, start_new_session=True
                )
                for name, command in commands.items()
            }
            self.stdout.write(f"Serving http://{listen}/ (admin: /admin/, API: /api/v1/docs). Ctrl-C ends it.")
            self.stdout.flush()
            while not stop_signals and all(process.poll() is None for process in processes.values()):
                time.sleep(_LOOK_SECONDS)
            ended = [name for name, process in processes.items() if process.poll() is not None]
            _stop(list(processes.values()))
        if ended and not stop_signals:
            raise CommandError(f"The {' and the '.join(ended)} ended; everything was stopped.")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End what still runs: politely, and after the time of grace for good."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
