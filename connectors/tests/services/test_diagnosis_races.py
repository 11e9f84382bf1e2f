"""Tests of connections while something else happens to them."""

import threading
import time
from contextlib import contextmanager, suppress

import pytest
from django.db import connection as database
from django.db import transaction

from connectors.models import ConnectionTest, ERPConnection
from connectors.services import connections, diagnosis, revisions
from connectors.services.errors import TooManyTests, UntestedRevision
from tenants import scope
from tenants.actors import Actor, ActorKind

SECRET = "c4n4ry-s3cret"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def person():
    return Actor(kind=ActorKind.USER, id="7", label="anna")


@pytest.fixture
def connect(acme, actor):
    def create(**config):
        return connections.create(
            acme, actor, connector_type="MOCK", config={"api_key": SECRET} | config, status="DISABLED"
        )

    return create


@contextmanager
def at_the_same_time(*calls):
    """Run each call in a thread with a database connection of its own; raise what one of them raised."""
    failures = []

    def run(call):
        try:
            call()
        except Exception as error:
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=scope.everything()(run), args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    yield failures
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_what_passed_is_what_is_promoted(connect, person):
    connection = connect()
    revisions.stage(connection, person, {"api_key": "good"})
    test = diagnosis.start_staged(connection, person)
    revisions.stage(connection, person, {"api_key": "never-tested"})

    assert diagnosis.finish(test).success

    with pytest.raises(UntestedRevision):
        revisions.promote(connection, person)


def test_one_that_is_just_being_cancelled_is_not_claimed(connect, person):
    test = diagnosis.start(connect(), person)
    claimed = []

    with transaction.atomic():
        diagnosis.cancel(test, person)
        with at_the_same_time(lambda: claimed.append(diagnosis._claim())) as failures:
            pass

    assert (failures, claimed) == ([], [None])
    assert not diagnosis.run_next()


def test_the_ration_holds_when_many_ask_at_once(settings, connect, person):
    settings.TESTS_PER_MINUTE_AND_KEY = 3
    connection, start = connect(), threading.Barrier(12)

    def ask():
        start.wait()
        diagnosis.start(connection, person)

    with at_the_same_time(*[ask] * 12) as failures:
        pass

    assert {type(each) for each in failures} == {TooManyTests}
    assert ConnectionTest.objects.count() == 3


def test_deleting_a_connection_gives_nobody_a_new_ration(settings, connect, person):
    settings.TESTS_PER_MINUTE_AND_KEY = 2
    for _ in range(2):
        connection = connect()
        diagnosis.test(connection, person)
        connections.delete(connection, person)

    with pytest.raises(TooManyTests):
        diagnosis.test(connect(), person)


def test_who_waits_for_a_test_of_a_connection_that_is_deleted_gets_a_report(connect, person, monkeypatch):
    monkeypatch.setattr(diagnosis.jobs, "has_worker", lambda: True)
    connection = connect()
    test = diagnosis.start(connection, person, patch={"latency_ms": 1})
    ended = []
    with at_the_same_time(lambda: ended.append(diagnosis.finish(test))) as failures:
        time.sleep(0.3)
        connections.delete(connection, person)

    assert not failures
    assert (ended[0].state, ended[0].code, ended[0].config_encrypted) == ("CANCELLED", "TEST_CANCELLED", None)


def test_lost_tests_do_not_block_a_web_process_without_a_worker(settings, connect, person):
    settings.TESTS_AT_ONCE = 1
    connection = connect()
    lost = diagnosis.start(connection, person)
    diagnosis._claim()
    ConnectionTest.objects.filter(pk=lost.pk).update(leased_until="2000-01-01T00:00:00Z")

    assert diagnosis.test(connection, person).success
    lost.refresh_from_db()
    assert lost.code == "TEST_INTERRUPTED"


def _cut_others():
    with scope.as_owner(), database.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_database_connection_that_is_cut_spoils_no_test(connect, person):
    """The tester and the watcher are cut again and again."""
    connection = connect(latency_ms=300)
    test = diagnosis.start(connection, person)
    reports = []
    database.close()

    def cut():
        for _ in range(3):
            time.sleep(0.25)
            _cut_others()

    with at_the_same_time(diagnosis.run_next, lambda: reports.append(diagnosis.finish(test)), cut) as failures:
        pass

    assert not failures
    assert reports[0].success


def test_many_tests_leave_nothing_behind(settings, connect, person):
    settings.TESTS_PER_MINUTE_AND_KEY = settings.TESTS_PER_MINUTE_AND_ORGANISATION = 10_000
    connection = connect()
    diagnosis.test(connection, person)
    threads, lent = threading.active_count(), _lent()

    for _ in range(50):
        assert diagnosis.test(connection, person).success

    time.sleep(0.5)  # the watcher looks once more
    assert threading.active_count() <= threads
    assert _lent() <= lent


def _lent():
    """Return how many database connections are not in the pool."""
    stats = database.pool.get_stats()
    return stats["pool_size"] - stats["pool_available"]


@pytest.mark.parametrize("events_read", [0, 1, 2, 3])
def test_who_goes_away_in_the_middle_is_not_followed_any_more(connect, person, events_read):
    events = diagnosis.events(diagnosis.start(connect(), person))
    for _ in range(events_read):
        next(events)

    events.close()

    assert not diagnosis.board._followers


def test_tests_that_no_worker_came_for_make_room(settings, connect, person):
    settings.TESTS_WAITING = 1
    connection = connect()
    forgotten = diagnosis.start(connection, person, patch={"latency_ms": 1})
    ConnectionTest.objects.update(started_at="2000-01-01T00:00:00Z")

    assert diagnosis.test(connection, person).success
    forgotten.refresh_from_db()
    assert (forgotten.code, forgotten.config_encrypted) == ("TEST_INTERRUPTED", None)


def test_a_switch_over_and_a_change_of_the_same_connection_at_once(acme, actor, connect):
    one, other = connect(), connections.create(acme, actor, connector_type="MOCK", config={})
    ERPConnection.objects.update(tested_revision=1)

    def switch_over():
        for _ in range(20):
            connections.activate(one, actor, replace=True)
            connections.activate(other, actor, replace=True)

    def change():
        for _ in range(40):
            with suppress(connections.ActiveConnectorExists):
                connections.change(one, actor, status="ACTIVE")

    with at_the_same_time(switch_over, change, switch_over, change) as failures:
        pass

    assert not failures


def test_a_stream_that_breaks_says_so_without_saying_why(connect, person, monkeypatch):
    def explode():
        raise ValueError(SECRET)

    monkeypatch.setattr(diagnosis.jobs, "has_worker", explode)

    last = list(diagnosis.events(diagnosis.start(connect(), person)))[-1]

    assert last.startswith("event: problem\n")
    assert "INTERNAL_ERROR" in last
    assert SECRET not in last
    assert not diagnosis.board._followers
