"""The application as the demo runs it: web server and worker as child processes, and a client of its API."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2
from django.core.management.base import CommandError

from erpconfig.paths import BASE_DIR
from tenants.management.base import FAILED

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.1
_LOG_LINES: Final = 5


class DemoFailed(CommandError):
    """The demo cannot go on; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, returncode=FAILED)


@contextmanager
def running() -> Iterator[str]:
    """Run web server and worker on a free port of this machine; yield the address, and stop them in the end.

    Raises:
        DemoFailed: they ended, or were not ready in time.
    """
    with tempfile.TemporaryFile() as log:
        port = _free_port()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run", "--port", str(port)],
            cwd=BASE_DIR,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            if not _is_ready(url, process):
                log.seek(0)
                last = b"".join(log.readlines()[-_LOG_LINES:]).decode(errors="replace").strip()
                raise DemoFailed(f"The web server or the worker did not start. Their last words:\n{last}")
            yield url
        finally:
            _stop(process)


def submit(url: str, token: str, order: dict[str, Any]) -> tuple[str, str]:
    """Submit an order as an integrator would.

    Returns:
        The id of the export, and the answer in one line.

    Raises:
        DemoFailed: it was not accepted.
    """
    answer = httpx2.post(
        f"{url}/api/v1/exports",
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())},
        json={"order": order},
        timeout=30,
    )
    content = answer.json()
    if answer.status_code != HTTPStatus.ACCEPTED:
        raise DemoFailed(f"The API answered {answer.status_code} {content.get('code')}: {content.get('detail')}")
    return str(content["id"]), f"{answer.status_code} {answer.reason_phrase}, Location: {answer.headers['Location']}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _environment() -> dict[str, str]:
    """Return our environment, changed so that the server answers plain http on the loopback address."""
    kept = {name: value for name, value in os.environ.items() if name not in ("ALLOWED_HOSTS_FILE", "HTTPS_FILE")}
    return kept | {"ALLOWED_HOSTS": "127.0.0.1", "HTTPS": "False", "WEB_CONCURRENCY": "1"}


def _is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/readyz", timeout=5).status_code == HTTPStatus.OK:
                return True
        except httpx2.TransportError:
            pass
        time.sleep(_LOOK_SECONDS)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the children to finish; after the time of grace end them with everything they started."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def drop(folder: Path, name: str, content: bytes) -> None:
    """Leave a file in a folder as an ERP should: complete under another name first, then renamed."""
    unfinished = folder / f"{name}.tmp"
    unfinished.write_bytes(content)
    unfinished.rename(folder / name)
