"""A worker that is killed with SIGKILL in the middle of a delivery: the order arrives all the same, exactly once."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from django.db import connection as database
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.models import ERPExport
from connectors.services import connections, exports
from connectors.testing import sample_orders
from erpconfig.paths import BASE_DIR

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

LEASE_SECONDS = 5


@pytest.fixture
def out(tmp_path, settings):
    settings.DROPZONE_ROOT = str(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def export(acme, actor, out):
    config = {"mode": "filesystem", "export_path": str(out)}
    connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)
    return exports.submit(acme, actor, sample_orders.complete("SO-1"), idempotency_key="key")[0]


@contextmanager
def worker(out, *command):
    """Run a worker on the database of this test; it is killed at the end, whatever happened."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database.settings_dict['NAME']}").geturl()
    environment = os.environ | {
        "DATABASE_URL": url,
        "DROPZONE_ROOT": str(out.parent),
        "EXPORT_LEASE_SECONDS": str(LEASE_SECONDS),
        "SWEEP_SECONDS": "1",
    }
    process = subprocess.Popen([sys.executable, *command], cwd=BASE_DIR, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("moment", "left_behind", "outcomes"),
    [("before", ".tmp", ["WORKER_LOST", "SENT"]), ("after", ".json", ["WORKER_LOST", "FOUND"])],
)
def test_the_order_is_there_exactly_once(export, out, moment, left_behind, outcomes):
    with worker(out, "-m", "connectors.tests.workers.hanging_worker", moment) as hanging:
        wait_for(lambda: any(file.name.endswith(left_behind) for file in out.iterdir()))
        hanging.kill()
        hanging.wait()
    export.refresh_from_db()
    assert (export.status, export.attempts) == ("SENDING", 1)

    with worker(out, "manage.py", "procrastinate", "worker"):
        wait_for(lambda: ERPExport.objects.get().status == "SENT")

    export.refresh_from_db()
    (file,) = out.iterdir()
    assert (file.name, file.stat().st_size) == (export.filename, export.document_size)
    assert [attempt.outcome for attempt in export.attempt_log.all()] == outcomes
    assert ProcrastinateJob.objects.filter(status="doing", args={"connection_id": str(export.connection_id)}).exists()
