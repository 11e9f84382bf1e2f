"""pytest plugin: settings of their own and a throw-away PostgreSQL for every test run.

Both are in place before pytest-django reads the settings. The workers of pytest-xdist inherit them. A DATABASE_URL in
the environment is used instead of the throw-away server; `.env` is never read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Final

import pytest

from erpconfig.embedded_postgres import Cluster
from tenants import scope

_PREFIX: Final = "erp-connector-test-"
_LOCK: Final = "test-run.lock"

# Whatever else the application reads has its default, not the developer's value.
_UNSET: Final = (
    "ACK_POLL_SECONDS",
    "DATABASE_POOL_SIZE",
    "DEBUG",
    "EGRESS_ALLOWED_NETWORKS",
    "ENCRYPTION_PREVIOUS_KEYS",
    "EXPORT_LEASE_SECONDS",
    "EXPORT_MAX_ATTEMPTS",
    "INSTALLATION_ID",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "METRICS_ALLOWED_NETWORKS",
    "READY_JOB_SECONDS",
    "READY_NEEDS_WORKER",
    "STATIC_ROOT",
    "SWEEP_SECONDS",
    "TESTS_AT_ONCE",
    "TESTS_PER_MINUTE_AND_DESTINATION",
    "TESTS_PER_MINUTE_AND_KEY",
    "TESTS_PER_MINUTE_AND_ORGANISATION",
    "TESTS_WAITING",
    "TEST_THREADS",
    "WEB_THREADS",
)
_SET: Final = {
    "ENV_FILE": "",
    "SECRET_KEY": "only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789",
    "ENCRYPTION_MASTER_KEY": bytes(range(32)).hex(),
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "HTTPS": "false",
    "METRICS_CACHE_SECONDS": "0",
}


class TestRun:
    """The folder and the server of one test run, both gone when it ends."""

    __test__ = False

    def __init__(self) -> None:
        _remove_orphans()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.folder.chmod(0o711 if os.getuid() == 0 else 0o700)
        self._lock = _claim(self.folder)
        self._cluster: Cluster | None = None

    def prepare_environment(self) -> None:
        """Set what the settings are going to read."""
        for name in (*_UNSET, *_SET):
            os.environ.pop(name, None)
            os.environ.pop(f"{name}_FILE", None)
        os.environ |= _SET
        os.environ["DROPZONE_ROOT"] = str(self.folder / "dropzone")
        os.environ["DOCUMENT_STORAGE"] = str(self.folder / "documents")
        if not os.environ.get("DATABASE_URL"):
            self._cluster = _cluster(self.folder)
            os.environ["DATABASE_URL"] = self._cluster.ensure_running()

    def end(self) -> None:
        """Stop the server and remove the folder."""
        if self._cluster:
            self._cluster.stop()
        shutil.rmtree(self.folder)
        self._lock.close()


_RUN: Final = pytest.StashKey[TestRun]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Prepare everything; as a wrapper this runs before the same hook of pytest-django."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return (yield)
    run = TestRun()
    try:
        run.prepare_environment()
        result = yield
    except BaseException:  # pytest_unconfigure() is not called for a run that did not get this far
        run.end()
        raise
    early_config.stash[_RUN] = run
    return result


def pytest_configure() -> None:
    """Let the tests themselves see everything; what they call has a scope of its own where it has one in production."""
    scope.enter(scope.EVERYTHING)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Clean up after the last test."""
    if run := config.stash.get(_RUN, None):
        run.end()


def _cluster(folder: Path) -> Cluster:
    home = folder / "postgres"
    home.mkdir(mode=folder.stat().st_mode & 0o777, exist_ok=True)
    return Cluster(home=home, durable=False, options={"max_connections": "200", "autovacuum": "off"})


def _claim(folder: Path) -> IO[str]:
    """Hold a lock in `folder` for as long as this process lives."""
    unfinished = folder / f"{_LOCK}.new"
    lock = unfinished.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    unfinished.rename(folder / _LOCK)
    return lock


def _remove_orphans() -> None:
    """Clear away what a killed test run left behind: a folder of ours whose lock nobody holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _cluster(folder).stop()
                shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, BlockingIOError):
            continue
