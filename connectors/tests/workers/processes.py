"""Workers as processes of their own, on the database of the test."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

from django.db import connection as database

from erpconfig.paths import BASE_DIR

LEASE_SECONDS = 5
WORKER = ("manage.py", "procrastinate", "worker")


def url_of(name=None):
    """Return the URL of a database on the server of this test run, that of the test by default."""
    name = name or database.settings_dict["NAME"]
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def settings_of(root, **settings):
    """Return the environment of a process with `root` as DROPZONE_ROOT."""
    return os.environ | {
        "DATABASE_URL": url_of(),
        "DROPZONE_ROOT": str(root),
        "EXPORT_LEASE_SECONDS": str(LEASE_SECONDS),
        "SWEEP_SECONDS": "1",
        **settings,
    }


@contextmanager
def worker(root, *command, **settings):
    """Run a worker; it is killed at the end, whatever happened."""
    process = subprocess.Popen(
        [sys.executable, *(command or WORKER)],
        cwd=BASE_DIR,
        env=settings_of(root, **settings),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition, seconds=30):
    """Wait until something has happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
