"""A connection is replaced while orders are on their way: none is lost, and none arrives twice."""

import itertools
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from django.db import connection as database
from django.utils import timezone

from connectors.adapters.dropzone_json_v1 import DropzoneJsonV1Connector
from connectors.codes import Code
from connectors.exceptions import OutcomeUnknown, TemporaryError
from connectors.models import ERPConnection, ERPExport
from connectors.port import ExportSession
from connectors.registry import registry
from connectors.services import connections, delivery, exports, health
from connectors.testing import sample_orders
from connectors.tests.workers.processes import wait_for, worker
from connectors.transports.drop_connector import DropSession
from tenants import scope

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def folders(tmp_path, settings):
    settings.DROPZONE_ROOT = str(tmp_path)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def pair(acme, actor, folders):
    """The connection that sends, and the tested one that is to replace it."""

    def pair(connector_type="DROPZONE_JSON_V1"):
        return tuple(
            connections.create(
                acme,
                actor,
                connector_type=connector_type,
                config={"mode": "filesystem", "export_path": str(folders / name)},
                name=name,
                status=status,
            )
            for name, status in (("old", "ACTIVE"), ("new", "DISABLED"))
        )

    return pair


@pytest.fixture
def submit(acme, actor):
    def submit(numbers):
        for number in numbers:
            order = sample_orders.minimal(f"SO-{number}")
            exports.submit(acme, actor, order, idempotency_key=order.order_id)

    return submit


def replace(new, actor):
    ERPConnection.objects.filter(pk=new.pk).update(tested_revision=new.revision)
    connections.activate(new, actor, replace=True)


def orders_in(folder):
    """Return the ids of the orders whose files have arrived, one for each file."""
    return [file.name.split("_")[2] for file in folder.glob("*.json")]


def everything_has_arrived():
    return not ERPExport.objects.exclude(status="SENT").exists()


def expect_each_order_once(folders, count):
    """Check that each order lies where its export says, and nowhere else."""
    lies_in = {name: sorted(orders_in(folders / name)) for name in ("old", "new")}
    said_to_lie_in = {
        name: sorted(ERPExport.objects.filter(connection__name=name).values_list("order_id", flat=True))
        for name in lies_in
    }
    assert lies_in == said_to_lie_in
    assert len(lies_in["old"]) + len(lies_in["new"]) == count
    assert set(lies_in["old"] + lies_in["new"]) == {f"SO-{number}" for number in range(count)}


@pytest.mark.parametrize(("moment", "ends_in"), [("before", "new"), ("after", "old")])
def test_a_connection_is_replaced_whose_worker_has_died(pair, submit, actor, folders, moment, ends_in):
    old, new = pair()
    submit(range(1))
    with worker(folders, "-m", "connectors.tests.workers.hanging_worker", moment) as hanging:
        wait_for(lambda: any((folders / "old").iterdir()))
        submit(range(1, 8))
        hanging.kill()
        hanging.wait()
    replace(new, actor)
    in_flight = ERPExport.objects.filter(status="SENDING").order_by("created_at").first()
    assert in_flight.connection_id == old.pk
    assert set(ERPExport.objects.filter(status="PENDING").values_list("connection", flat=True)) <= {new.pk}

    with worker(folders), worker(folders):
        wait_for(everything_has_arrived)

    in_flight.refresh_from_db()
    assert in_flight.connection.name == ends_in
    expect_each_order_once(folders, 8)


def test_two_worker_processes_are_busy_while_a_connection_is_replaced_and_put_back(pair, submit, actor, folders):
    old, new = pair()
    submit(range(60))
    with worker(folders), worker(folders):
        wait_for(lambda: orders_in(folders / "old"))
        replace(new, actor)
        submit(range(60, 90))
        wait_for(lambda: orders_in(folders / "new"))
        replace(old, actor)
        submit(range(90, 100))
        wait_for(everything_has_arrived)

    expect_each_order_once(folders, 100)


@dataclass(frozen=True)
class UnreliableSession(ExportSession):
    """Of every five orders one arrives unnoticed, one seems to, and one fails, each at its first attempt."""

    session: DropSession
    folder: str
    begun: list[tuple[float, str]]

    def export(self, order, context):
        self.begun.append((time.monotonic(), self.folder))
        time.sleep(0.01)
        case = int(order.order_id.removeprefix("SO-")) % 5 if context.attempt == 1 else None
        if case == 1:
            raise TemporaryError
        if case == 2:
            raise OutcomeUnknown(Code.INTERNAL_ERROR)  # unlike a lost answer this says nothing of how far it came
        result = self.session.export(order, context)
        if case == 3:
            raise OutcomeUnknown
        return result

    def find(self, order, context):
        return self.session.find(order, context)


@pytest.fixture
def unreliable(monkeypatch):
    """Install a dropzone with a bad line; return when each delivery began, and where."""
    begun = []

    class Unreliable(DropzoneJsonV1Connector):
        connector_type = "UNRELIABLE"

        @contextmanager
        def open_session(self, config, context):
            with super().open_session(config, context) as session:
                yield UnreliableSession(session, config.export_path.rpartition("/")[2], begun)

    monkeypatch.setitem(registry._connectors, "UNRELIABLE", Unreliable())
    return begun


def work(connection_ids, is_over):
    """Do what a worker does, until it is over."""
    try:
        while not is_over.is_set():
            delivery.sweep()
            for connection_id in connection_ids:
                delivery.drain(connection_id)
    finally:
        database.close()


def test_two_workers_with_orders_in_every_state(pair, submit, actor, folders, unreliable, monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.0)  # no order waits for its next attempt
    old, new = pair("UNRELIABLE")
    submit(range(60))
    is_over = threading.Event()
    workers = [threading.Thread(target=scope.everything()(work), args=((old.pk, new.pk), is_over)) for _ in range(2)]
    for thread in workers:
        thread.start()
    try:
        wait_for(lambda: len(unreliable) > 20)
        replace(new, actor)
        replaced_at = time.monotonic()
        submit(range(60, 80))
        wait_for(everything_has_arrived)
    finally:
        is_over.set()
        for thread in workers:
            thread.join()

    expect_each_order_once(folders, 80)
    begun_too_late = [folder for moment, folder in unreliable if moment > replaced_at and folder == "old"]
    assert len(begun_too_late) <= 1  # which was claimed before
    assert {folder for _, folder in unreliable} == {"old", "new"}


def test_all_that_waits_is_moved_in_the_transaction_of_the_switch_over(pair, submit, actor):
    _, new = pair()
    submit(range(5))

    replace(new, actor)

    assert set(ERPExport.objects.values_list("connection", flat=True)) == {new.pk}


def test_nobody_waits_for_each_other_for_ever(pair, submit, actor):
    """Orders come in, workers send, people test, and the connection is replaced again and again, all at once."""
    old, new = pair()
    is_over, faults, rounds = threading.Event(), [], []

    def repeat(action):
        try:
            for number in itertools.count():
                if is_over.is_set():
                    break
                action(number)
            rounds.append(number)
        except Exception as error:
            faults.append(error)
        finally:
            database.close()

    def test(number):
        row = ERPConnection.objects.get(pk=(old, new)[number % 2].pk)
        health.note_test(row, revision=row.revision, started_at=timezone.now(), success=True, code="", by_person=True)

    actions = (
        lambda number: submit([2 * number]),
        lambda number: submit([2 * number + 1]),
        lambda number: replace((new, old)[number % 2], actor),
        lambda number: (delivery.sweep(), delivery.drain(old.pk), delivery.drain(new.pk)),
        lambda number: (delivery.sweep(), delivery.drain(old.pk), delivery.drain(new.pk)),
        test,
    )
    threads = [threading.Thread(target=scope.everything()(repeat), args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    time.sleep(4)
    is_over.set()
    for thread in threads:
        thread.join()

    assert faults == []
    assert min(rounds) > 1
