"""What comes between a turn and its database, its far end or another turn at the worst moment."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError, transaction
from django.db import connection as database
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.adapters.mock import MockConnector
from connectors.exceptions import TemporaryError
from connectors.models import ERPConnection, ERPExport
from connectors.port import Delivery, ExportSession
from connectors.services import claims, connections, delivery, exports, jobs
from connectors.testing import sample_orders
from connectors.tests.workers.processes import wait_for
from tenants import scope


@pytest.fixture
def submit(acme, actor):
    def submit(order_id):
        return exports.submit(acme, actor, sample_orders.minimal(order_id), idempotency_key=order_id)[0]

    return submit


def states():
    return list(ERPExport.objects.order_by("created_at").values_list("status", "attempts", "outcome_unknown"))


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_waited_for_another_one_to_claim_takes_nothing(connect, submit):
    connection = connect()
    submit("SO-1"), submit("SO-2")
    claimed = []

    def claim():
        try:
            claimed.append(claims.claim(connection, turn=uuid4(), most=1).exports)
        finally:
            database.close()

    second = threading.Thread(target=scope.everything()(claim))
    with transaction.atomic():
        claims.claim(connection, turn=uuid4(), most=1)
        second.start()
        wait_for(_somebody_waits_for_a_lock)
    second.join()

    assert claimed == [[]]


def _somebody_waits_for_a_lock():
    with database.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


class Withdrawing(ExportSession):
    """The first order fails, and all behind it are cleared away."""

    def export(self, order, context):
        raise NotImplementedError

    def export_many(self, exports, *, window):
        contexts = [context for _, context in exports]
        yield Delivery(context=contexts[0], error=TemporaryError())
        yield from (Delivery(context=context) for context in contexts[1:])

    def find(self, order, context):
        return None


def test_what_was_looked_up_and_then_cleared_away_is_in_doubt_no_more(connect, submit, monkeypatch):
    """Its temporary file is gone by now: to find nothing of it would look as if it had been taken."""
    connection = connect()
    submit("SO-1"), submit("SO-2")
    ERPExport.objects.update(outcome_unknown=True, attempts=1)
    monkeypatch.setattr(MockConnector, "supports_session", True)
    line = delivery.lines.take(connection)
    line._session = Withdrawing()
    delivery.lines.give_back(line)

    delivery.drain(connection.pk)

    assert states() == [("PENDING", 2, False), ("PENDING", 1, False)]


def test_after_a_claim_whose_answer_was_lost_nothing_is_sent(connect, submit, monkeypatch):
    """What it took is under way for all that anybody knows; the lease ends that."""
    connection = connect()
    submit("SO-1"), submit("SO-2"), submit("SO-3")
    real, answers = claims.claim, []

    def claim(*args, **kwargs):
        claimed = real(*args, **kwargs)
        answers.append(claimed)
        if len(answers) == 2:
            raise OperationalError
        return claimed

    monkeypatch.setattr(claims, "claim", claim)

    delivery.drain(connection.pk)

    assert [status for status, *_ in states()] == ["SENT", "SENDING", "PENDING"]


def test_a_plan_that_turns_out_to_be_too_late_keeps_nobody_waiting(connect, submit):
    connection, now = connect(), timezone.now()
    window = {"from": now.isoformat(), "until": (now + timedelta(days=3)).isoformat()}
    ERPConnection.objects.update(maintenance_windows=[window])
    submit("SO-1")
    delivery.drain(connection.pk)
    assert (ProcrastinateJob.objects.filter(scheduled_at__isnull=False).count(), jobs.wake_due()) == (1, 0)

    ERPConnection.objects.update(maintenance_windows=[])

    assert jobs.wake_due() == 1


@pytest.mark.parametrize(("changes", "is_sent_again"), [({}, False), ({"temp_suffix": ".part"}, True)])
def test_what_is_left_is_no_evidence_under_another_configuration(
    connect, submit, actor, settings, tmp_path, changes, is_sent_again
):
    settings.DROPZONE_ROOT = str(tmp_path)
    connection = connect("DROPZONE_JSON_V1", mode="filesystem", export_path=str(tmp_path))
    export = submit("SO-1")
    error = {"code": "OUTCOME_UNKNOWN"}
    export.attempt_log.create(org=export.org, number=1, started_at=timezone.now(), outcome="UNKNOWN", error=error)
    ERPExport.objects.update(outcome_unknown=True, attempts=1)
    connections.change(connection, actor, config=changes)

    delivery.drain(connection.pk)

    assert ([path.name for path in tmp_path.iterdir()] != []) == is_sent_again
    assert export.attempt_log.last().outcome == ("SENT" if is_sent_again else "FOUND")


def test_a_claim_that_had_to_wait_leaves_the_far_end_less_time(connect, submit, monkeypatch, settings):
    connection, left, real = connect(), [], claims.claim
    settings.EXPORT_LEASE_SECONDS = 100
    submit("SO-1")

    def claim(*args, **kwargs):
        claimed = real(*args, **kwargs)
        for export in claimed.exports:
            export.leased_until -= timedelta(seconds=30)
        return claimed

    def export(self, order, config, context):
        left.append(context.remaining_s)
        raise TemporaryError

    monkeypatch.setattr(claims, "claim", claim)
    monkeypatch.setattr(MockConnector, "export", export)
    delivery.drain(connection.pk)

    assert 40 < left[0] <= 50


def test_what_could_not_be_prepared_is_not_overtaken(connect, submit, monkeypatch):
    connection, real, asked = connect(), delivery.attempts.prepare, []
    submit("SO-1"), submit("SO-2"), submit("SO-3")

    def prepare(line, claimed):
        asked.append(claimed)
        if len(asked) == 2:
            raise LookupError
        real(line, claimed)

    monkeypatch.setattr(delivery.attempts, "prepare", prepare)

    delivery.drain(connection.pk)

    assert [item.order_id for item in MockConnector.received()] == ["SO-1", "SO-2", "SO-3"]
    assert {status for status, *_ in states()} == {"SENT"}
