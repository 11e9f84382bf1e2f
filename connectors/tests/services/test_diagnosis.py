"""Tests of connections as rows: asked for, rationed, claimed, watched, cancelled, lost and settled."""

import json
import threading
from datetime import timedelta

import pytest
from django.db import connection as database
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.models import ConnectionTest, ERPConnection
from connectors.services import connections, diagnosis, jobs
from connectors.services.errors import TestHasEnded, TooManyTests
from connectors.services.watching import Board
from tenants import scope
from tenants.actors import Actor, ActorKind
from tenants.models import AuditEvent

pytestmark = pytest.mark.django_db

SECRET = "c4n4ry-s3cret"


@pytest.fixture
def person():
    return Actor(kind=ActorKind.USER, id="7", label="anna", address="192.0.2.7", request_id="r-1")


@pytest.fixture
def connect(acme, actor):
    def create(org=acme, **config):
        return connections.create(
            org, actor, connector_type="MOCK", config={"api_key": SECRET} | config, status="DISABLED"
        )

    return create


@pytest.fixture
def somewhere(acme, actor, tmp_path, settings):
    """A connection that has a destination, which a MOCK has not."""
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    config = {"mode": "sftp", "host": "127.0.0.1", "port": 1, "username": "u", "password": "p", "export_path": "/in"}
    return connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)


class TestAsking:
    def test_leaves_a_row_and_a_job(self, acme, person, connect):
        test = diagnosis.start(connect(), person)

        assert (test.state, test.subject, test.success) == ("QUEUED", "STORED", None)
        assert ProcrastinateJob.objects.filter(task_name=jobs.TEST).count() == 1

    def test_who_asked_stands_in_the_audit_trail(self, acme, person, connect):
        diagnosis.test(connect(), person)

        event = AuditEvent.objects.of(acme).first()
        assert (event.action, event.actor_label, event.address, event.request_id) == (
            "connection.tested",
            "anna",
            "192.0.2.7",
            "r-1",
        )
        assert event.details["success"] is True

    def test_a_config_that_waits_is_sealed_and_erased_in_the_end(self, acme, person):
        test = diagnosis.start_new(acme, person, connector_type="MOCK", config={"api_key": SECRET})
        assert SECRET.encode() not in bytes(test.config_encrypted)

        ended = diagnosis.finish(test)

        assert (ended.success, ended.config_encrypted, ended.connection) == (True, None, None)

    def test_steps_are_told_as_they_end(self, person, connect):
        told = []

        ended = diagnosis.test(connect(), person, on_step=lambda step: told.append(step.name))

        assert told == [step["name"] for step in ended.result["steps"]]

    def test_events_are_the_steps_and_the_report(self, person, connect):
        lines = "".join(diagnosis.events(diagnosis.start(connect(), person)))

        events = [block.split("\n")[:2] for block in lines.strip().split("\n\n") if not block.startswith(":")]
        names = [name.removeprefix("event: ") for name, _ in events]
        assert (names[0], names[-1], set(names[1:-1])) == ("test", "result", {"step"})
        assert json.loads(events[-1][1].removeprefix("data: "))["success"] is True


class TestWaiting:
    def test_who_finds_no_seat_is_told_how_it_is_now(self, person, connect, monkeypatch):
        monkeypatch.setattr(diagnosis.jobs, "has_worker", lambda: True)  # … which never comes
        monkeypatch.setattr(diagnosis, "board", Board(seats=0))

        assert diagnosis.finish(diagnosis.start(connect(), person)).state == "QUEUED"


class TestRation:
    def test_per_person_or_key(self, settings, person, connect):
        settings.TESTS_PER_MINUTE_AND_KEY = 2
        connection = connect()
        for _ in range(2):
            diagnosis.test(connection, person)

        with pytest.raises(TooManyTests) as refused:
            diagnosis.test(connection, person)

        assert refused.value.details == {"limit": "key"}
        assert 50 <= refused.value.retry_after <= 60
        diagnosis.test(connection, Actor(kind=ActorKind.USER, id="8", label="bert"))

    def test_per_organisation(self, settings, person, connect, globex):
        settings.TESTS_PER_MINUTE_AND_ORGANISATION = 1
        diagnosis.test(connect(), person)

        with pytest.raises(TooManyTests):
            diagnosis.test(connect(), Actor(kind=ActorKind.USER, id="8", label="bert"))

        diagnosis.test(connect(org=globex), person)

    def test_per_destination_whoever_asks(self, settings, person, somewhere, globex, actor):
        settings.TESTS_PER_MINUTE_AND_DESTINATION = 1
        diagnosis.test(somewhere, person)

        same = somewhere.read_config() | {"host": "127.0.0.1"}
        with pytest.raises(TooManyTests) as refused:
            diagnosis.start_new(
                globex, person, connector_type="DROPZONE_JSON_V1", config={k: v for k, v in same.items() if v}
            )

        assert refused.value.details == {"limit": "destination"}

    def test_as_many_may_wait_as_can_be_run_soon(self, settings, person, connect):
        settings.TESTS_WAITING = 1
        connection = connect()
        diagnosis.start(connection, person)

        with pytest.raises(TooManyTests):
            diagnosis.start(connection, person)

    def test_the_systems_own_are_free(self, settings, actor, connect):
        settings.TESTS_PER_MINUTE_AND_KEY = settings.TESTS_PER_MINUTE_AND_ORGANISATION = 1
        connection = connect()

        for _ in range(3):
            diagnosis.test(connection, actor)

    def test_yesterdays_do_not_count(self, settings, person, connect):
        settings.TESTS_PER_MINUTE_AND_KEY = 1
        connection = connect()
        diagnosis.test(connection, person)
        ConnectionTest.objects.update(started_at=timezone.now() - timedelta(minutes=1))

        assert diagnosis.test(connection, person).success


class TestTurns:
    def test_the_longest_waiting_first(self, person, connect):
        first, second = connect(), connect()
        older, newer = diagnosis.start(first, person), diagnosis.start(second, person)

        assert diagnosis.run_next()

        older.refresh_from_db()
        newer.refresh_from_db()
        assert (older.state, newer.state) == ("FINISHED", "QUEUED")

    def test_one_organisation_does_not_keep_another_waiting(self, settings, person, connect, globex):
        settings.TESTS_AT_ONCE = 1
        for _ in range(3):
            diagnosis.start(connect(), person)
        theirs = diagnosis.start(connect(org=globex), person)
        running = diagnosis._claim()
        assert running.state == "RUNNING"

        assert diagnosis._claim().pk == theirs.pk
        assert diagnosis._claim() is None

    @pytest.mark.django_db(transaction=True)
    def test_the_limit_holds_when_many_claim_at_once(self, settings, person, connect):
        settings.TESTS_AT_ONCE = 2
        connection = connect()
        for _ in range(8):
            diagnosis.start(connection, person)
        claimed, start = [], threading.Barrier(6)

        def claim():
            start.wait()
            try:
                claimed.append(diagnosis._claim())
            finally:
                database.close()

        threads = [threading.Thread(target=scope.everything()(claim)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len([row for row in claimed if row]) == 2


class TestEnds:
    def test_a_cancelled_one_never_runs(self, acme, person, connect):
        test = diagnosis.start(connect(), person)

        cancelled = diagnosis.cancel(test, person)

        assert (cancelled.state, cancelled.code, cancelled.success) == ("CANCELLED", "TEST_CANCELLED", False)
        assert not diagnosis.run_next()
        assert AuditEvent.objects.of(acme).first().action == "connection.test_cancelled"
        with pytest.raises(TestHasEnded):
            diagnosis.cancel(test, person)

    def test_a_running_one_stops_before_its_next_step(self, person, connect):
        connection = connect()
        test = diagnosis.start(connection, person)
        told = []

        def cancel(step):
            told.append(step.name)
            if len(told) == 1:
                diagnosis.cancel(test, person)

        ended = diagnosis.finish(test, on_step=cancel)

        assert (ended.state, ended.code) == ("CANCELLED", "TEST_CANCELLED")
        assert [step["status"] for step in ended.result["steps"]] == ["passed", "failed"]
        connection.refresh_from_db()
        assert (connection.health, connection.tested_revision, connection.last_test_at) == ("UNTESTED", None, None)

    def test_one_whose_worker_is_gone_says_so(self, acme, person):
        test = diagnosis.start_new(acme, person, connector_type="MOCK", config={"api_key": SECRET})
        diagnosis._claim()
        ConnectionTest.objects.update(leased_until=timezone.now() - timedelta(seconds=1))

        diagnosis.recover()

        test.refresh_from_db()
        assert (test.state, test.code, test.config_encrypted) == ("FINISHED", "TEST_INTERRUPTED", None)
        assert test.result["steps"][-1]["hint"]

    def test_who_lost_the_lease_does_not_settle(self, person, connect):
        connection = connect()
        test = diagnosis.start(connection, person)
        late = diagnosis._claim()
        ConnectionTest.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
        diagnosis.recover()

        diagnosis._run(late)

        test.refresh_from_db()
        connection.refresh_from_db()
        assert (test.code, connection.tested_revision) == ("TEST_INTERRUPTED", None)

    def test_a_fault_of_the_adapter_is_a_failed_step(self, person, connect, monkeypatch, caplog):
        def explode(*_):
            raise ValueError(SECRET)

        monkeypatch.setattr("connectors.adapters.mock.MockConnector.test_connection", explode)

        ended = diagnosis.test(connect(), person)

        assert ended.code == "INTERNAL_ERROR"
        assert SECRET not in json.dumps(ended.result)


class TestIdentity:
    def test_the_first_success_pins_who_the_far_end_is(self, acme, person, connect):
        connection = connect(account="main")

        diagnosis.test(connection, person)

        assert connection.pinned_identity["company"] == "main"
        assert AuditEvent.objects.filter(action="connection.identity_pinned").count() == 1

    def test_another_far_end_fails_the_test_until_it_is_accepted(self, person, connect):
        connection = connect(account="main")
        diagnosis.test(connection, person)
        ERPConnection.objects.update(pinned_identity=connection.pinned_identity | {"company": "other"})

        failed = diagnosis.test(connection, person)
        assert (failed.code, connection.health) == ("IDENTITY_CHANGED", "AUTH_FAILED")

        passed = diagnosis.test(connections.accept_identity(connection, person), person)
        connection.refresh_from_db()
        assert passed.success
        assert (connection.health, connection.pinned_identity["company"]) == ("HEALTHY", "main")

    def test_a_new_destination_has_nobody_pinned(self, person, connect):
        connection = connect(account="main")
        diagnosis.test(connection, person)

        moved = connections.change(connection, person, config={"account": "other", "api_key": SECRET})

        assert moved.pinned_identity is None
        assert diagnosis.test(moved, person).success
