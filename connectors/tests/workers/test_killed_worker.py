"""A worker that is killed with SIGKILL after the file has its name: the order arrives all the same, exactly once."""

import pytest
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.models import ERPExport
from connectors.services import connections, exports
from connectors.testing import sample_orders
from connectors.tests.workers.processes import wait_for, worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


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


def test_the_order_is_there_exactly_once(export, out):
    with worker(out.parent, "-m", "connectors.tests.workers.hanging_worker", "after") as hanging:
        wait_for(lambda: any(file.name.endswith(".json") for file in out.iterdir()))
        hanging.kill()
        hanging.wait()
    export.refresh_from_db()
    assert (export.status, export.attempts) == ("SENDING", 1)

    with worker(out.parent):
        wait_for(lambda: ERPExport.objects.get().status == "SENT")

    export.refresh_from_db()
    (file,) = out.iterdir()
    assert (file.name, file.stat().st_size) == (export.filename, export.document_size)
    assert [attempt.outcome for attempt in export.attempt_log.all()] == ["WORKER_LOST", "FOUND"]
    assert ProcrastinateJob.objects.filter(status="doing", args={"connection_id": str(export.connection_id)}).exists()
