"""`manage.py run` with its real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import psycopg
import pytest

from erpconfig.paths import BASE_DIR

pytestmark = pytest.mark.slow

DATABASE = f"erp_run_{os.getpid()}"


class Application:
    """One `manage.py run` on a database of its own."""

    def __init__(self, database_url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "run", "--port", str(self.port)],
            cwd=BASE_DIR,
            env={**os.environ, "DATABASE_URL": database_url, "WEB_CONCURRENCY": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except URLError:
                assert self.process.poll() is None
                time.sleep(0.2)
        pytest.fail("the application did not become ready")

    def children(self) -> dict[int, str]:
        """Return the command lines of its direct children by process id."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in pids}


@pytest.fixture
def application() -> Iterator[Application]:
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {DATABASE}")
    application = Application(urlsplit(url)._replace(path=f"/{DATABASE}").geturl())
    try:
        application.wait_until_ready()
        yield application
    finally:
        application.process.terminate()
        application.process.wait(30)
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_time(application: Application, number: signal.Signals) -> None:
    children = application.children()

    application.process.send_signal(number)

    assert application.process.wait(20) == 0
    assert not [pid for pid in children if Path("/proc", str(pid)).exists()]


def test_when_one_process_dies_the_other_is_ended(application: Application) -> None:
    children = application.children()
    (pid,) = (pid for pid, command in children.items() if "procrastinate" in command)

    os.kill(pid, signal.SIGKILL)

    assert application.process.wait(20) == 1
    assert not [pid for pid in children if Path("/proc", str(pid)).exists()]
