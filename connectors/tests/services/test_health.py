"""The breaker: when it opens, what stands still then, and what closes it again."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection as database
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors import exceptions
from connectors.adapters.mock import MockConfig, MockConnector
from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, OutcomeUnknown, RateLimited, TemporaryError
from connectors.models import ERPConnection, ERPExport
from connectors.port import ERPConnectorPort
from connectors.registry import registry
from connectors.results import ExportResult, Receipt, RemoteIdentity
from connectors.services import acknowledgements, claims, connections, delivery, exports, health
from connectors.testing import sample_orders
from tenants import scope

CUT_OFF = {"fail_with": "TemporaryError", "fail_code": "CONNECTION_TIMEOUT", "fail_times": 1000}


@pytest.fixture
def submit(acme, actor):
    def submit(order_id="SO-1"):
        return exports.submit(acme, actor, sample_orders.minimal(order_id), idempotency_key=order_id)[0]

    return submit


@pytest.fixture
def plug_in(monkeypatch):
    """Install a connector made for one test, whose export does what the test says."""

    def plug_in(**members):
        connector_class = type("Made", (Plain,), members)
        monkeypatch.setitem(registry._connectors, connector_class.connector_type, connector_class())

    return plug_in


@pytest.fixture
def no_haste(monkeypatch):
    """Let no order be due again at once by chance."""
    monkeypatch.setattr("random.random", lambda: 1.0)


class Plain(ERPConnectorPort[MockConfig]):
    """An ERP that takes everything."""

    connector_type = "PLAIN"
    title = "Plain"
    Config = MockConfig

    def export(self, order, config, context):
        return ExportResult(receipt=Receipt(transport="x", location="x://1", size=1, sha256="0"))

    def test_connection(self, config, context):
        return context.steps.result()


def now_at(connection):
    return ERPConnection.objects.get(pk=connection.pk)


def state(connection):
    row = now_at(connection)
    return row.health, row.failures_in_a_row, row.retry_at is not None


def break_off(connection, *, times=health.BREAKER_FAILURES):
    """Let the connection have so many passing troubles."""
    for _ in range(times):
        health.note_failure(now_at(connection), TemporaryError(Code.CONNECTION_REFUSED))


def report(connection, *, code="", by_person=False, revision=None):
    """Tell the connection what a test has shown, a scheduled check unless a person asked for it."""
    row = now_at(connection)
    health.note_test(
        row,
        revision=revision or row.revision,
        started_at=timezone.now(),
        success=not code,
        code=code,
        by_person=by_person,
    )


def send_at_once(connection):
    """Make everything due that waits, and send it."""
    ERPExport.objects.filter(status="PENDING").update(next_attempt_at=None)
    return delivery.drain(connection.pk)


def cool_off(connection):
    return (now_at(connection).retry_at - timezone.now()).total_seconds()


def jobs_for(connection):
    return ProcrastinateJob.objects.filter(args={"connection_id": str(connection.pk)}, status="todo")


@contextmanager
def in_threads(*calls):
    """Run the calls at once, each with a database connection of its own; they have ended when the body has."""
    raised = []

    def run(call):
        try:
            call()
        except Exception as error:
            raised.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=scope.everything()(run), args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    assert raised == []


@pytest.mark.usefixtures("no_haste")
class TestPassingTroubles:
    def test_the_fifth_in_a_row_stops_pushes(self, connect, submit, caplog):
        connection, export = connect(**CUT_OFF), submit()

        attempts = [send_at_once(connection) for _ in range(7)]

        export.refresh_from_db()
        assert attempts == [1, 1, 1, 1, 1, 0, 0]
        assert (export.status, export.attempts) == ("PENDING", 5)
        assert state(connection) == ("FAILING", 5, True)
        assert caplog.text.count("connection.breaker_opened") == 1

    def test_the_fifth_in_a_row_stops_polls(self, connect, monkeypatch):
        connection, calls = connect(acknowledgement="ack"), []

        def refuse(*args):
            calls.append(args)
            raise TemporaryError(Code.CONNECTION_REFUSED)

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", refuse)
        for _ in range(7):
            acknowledgements.poll(connection.pk)

        assert len(calls) == 5
        assert not acknowledgements.pollable().exists()

    def test_while_it_is_open_no_job_is_started(self, connect, submit):
        connection = connect()
        submit()
        break_off(connection)
        jobs_for(connection).delete()

        delivery.sweep()

        assert not jobs_for(connection).exists()

    def test_different_orders_that_fail_are_troubles_of_the_connection(self, connect, submit, settings):
        settings.EXPORT_MAX_ATTEMPTS = 1
        connection = connect(fail_with="TemporaryError")
        for number in range(8):
            submit(f"SO-{number}")

        assert delivery.drain(connection.pk) == 5

        assert state(connection) == ("FAILING", 5, True)
        assert sorted(ERPExport.objects.values_list("attempts", flat=True)) == [0] * 3 + [1] * 5

    def test_one_order_that_fails_again_and_again_is_none(self, connect, submit, settings):
        settings.EXPORT_MAX_ATTEMPTS = 8
        connection, export = connect(fail_with="TemporaryError", fail_times=100), submit()

        for _ in range(8):
            send_at_once(connection)

        export.refresh_from_db()
        assert (export.status, export.attempts) == ("FAILED", 8)
        assert now_at(connection).retry_at is None

    def test_an_order_that_leaves_ends_the_row(self, connect, submit):
        connection = connect()
        submit()
        break_off(connection, times=4)

        send_at_once(connection)
        break_off(connection, times=4)

        assert state(connection) == ("HEALTHY", 4, False)

    def test_a_far_end_that_answers_a_poll_ends_the_row(self, connect, monkeypatch):
        connection = connect(acknowledgement="ack")
        break_off(connection, times=4)

        def look(self, config, context, settle):
            with context.steps.step("list"):
                return 0

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", look)
        acknowledgements.poll(connection.pk)

        assert state(connection) == ("UNTESTED", 0, False)

    def test_a_poll_that_asks_nobody_proves_nothing(self, connect):
        connection = connect(acknowledgement="none")
        break_off(connection, times=4)

        acknowledgements.poll(connection.pk)

        assert state(connection) == ("UNTESTED", 4, False)

    @pytest.mark.parametrize(
        ("error", "is_first", "counts"),
        [
            (TemporaryError(Code.DNS_FAILURE), False, True),
            (TemporaryError(Code.EGRESS_DENIED), False, True),
            (TemporaryError(Code.TLS_FAILURE), False, True),
            (OutcomeUnknown(Code.CONNECTION_LOST), False, True),
            (TemporaryError(Code.REMOTE_ERROR), True, True),
            (TemporaryError(Code.REMOTE_ERROR), False, False),
            (OutcomeUnknown(), True, True),
            (OutcomeUnknown(), False, False),
            (RateLimited(), True, False),
            (RateLimited(Code.CONNECTION_REFUSED), True, False),
            (TemporaryError(Code.INTERNAL_ERROR), True, False),
            (exceptions.RejectedByERP(), True, False),
            (exceptions.DocumentError(), True, False),
            (exceptions.UnsupportedFeature(), True, False),
        ],
        ids=lambda value: f"{type(value).__name__}-{value.code}" if hasattr(value, "code") else str(value),
    )
    def test_what_counts(self, connect, error, is_first, counts):
        connection = connect()

        health.note_failure(connection, error, is_first=is_first)

        assert now_at(connection).failures_in_a_row == counts

    @pytest.mark.parametrize("code", ["CONNECTION_REFUSED", "PERMISSION_DENIED", "REMOTE_ERROR"])
    @pytest.mark.parametrize("by_person", [True, False])
    def test_tests_that_fail_count(self, connect, code, by_person):
        connection = connect()

        for _ in range(5):
            report(connection, code=code, by_person=by_person)

        assert state(connection) == ("FAILING", 5, True)

    @pytest.mark.parametrize("code", ["RATE_LIMITED", "INTERNAL_ERROR", "CONFIGURATION_INVALID", "UNKNOWN_CONNECTOR"])
    def test_tests_that_fail_without_trouble_at_the_far_end_do_not(self, connect, code):
        connection = connect()

        report(connection, code=code, by_person=True)

        assert state(connection) == ("FAILING", 0, False)

    def test_a_test_that_was_cancelled_says_nothing(self, connect):
        connection = connect()

        report(connection, code="TEST_CANCELLED", by_person=True)

        assert (*state(connection), now_at(connection).last_test_at) == ("UNTESTED", 0, False, None)

    def test_a_test_that_did_not_come_to_its_end_says_nothing(self, connect):
        connection = connect()

        report(connection, code="TEST_INTERRUPTED")

        assert state(connection) == ("UNTESTED", 0, False)

    def test_polls_that_trip_over_one_answer_do_not_stop_the_orders(self, connect, submit, monkeypatch):
        connection = connect(acknowledgement="ack")

        def trip(*args):
            raise TemporaryError(Code.PERMISSION_DENIED)

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", trip)
        for _ in range(9):
            acknowledgements.poll(connection.pk)

        assert now_at(connection).retry_at is None

    @pytest.mark.django_db(transaction=True)
    def test_troubles_at_the_same_time_are_all_counted(self, connect):
        connection = connect()

        with in_threads(*[lambda: break_off(connection, times=1)] * 4):
            pass

        assert now_at(connection).failures_in_a_row == 4


class TestCoolOff:
    def test_is_a_minute_at_first(self, connect):
        connection = connect()

        break_off(connection)

        assert 47 < cool_off(connection) <= 60

    def test_doubles_with_every_check_that_fails_up_to_a_quarter_of_an_hour(self, connect, monkeypatch):
        monkeypatch.setattr("random.random", lambda: 0.0)
        connection = connect()
        break_off(connection)

        waits = []
        for _ in range(6):
            report(connection, code="CONNECTION_REFUSED")
            waits.append(round(cool_off(connection)))

        assert waits == [120, 240, 480, 900, 900, 900]

    @pytest.mark.parametrize("code", ["TEST_INTERRUPTED", "INTERNAL_ERROR", "RATE_LIMITED"])
    def test_goes_on_after_a_check_that_tells_nothing(self, connect, code):
        connection = connect()
        break_off(connection)
        ERPConnection.objects.update(retry_at=timezone.now() - timedelta(seconds=1))

        report(connection, code=code)

        assert cool_off(connection) > 60

    def test_is_not_prolonged_by_what_was_under_way(self, connect):
        connection = connect()
        break_off(connection)
        before = now_at(connection).retry_at

        break_off(connection, times=3)

        assert (now_at(connection).retry_at, now_at(connection).failures_in_a_row) == (before, 5)

    def test_differs_between_connections_that_failed_together(self, connect):
        connection, seen = connect(), set()

        for _ in range(5):
            break_off(connection)
            seen.add(round(cool_off(connection), 1))
            ERPConnection.objects.update(retry_at=None, failures_in_a_row=0)

        assert len(seen) > 1


class TestHalfOpen:
    @pytest.fixture
    def broken(self, connect, submit):
        """A connection with an open breaker, and three orders that wait."""
        connection = connect()
        for number in range(3):
            submit(f"SO-{number}")
        ERPExport.objects.update(next_attempt_at=timezone.now() + timedelta(hours=1))
        break_off(connection)
        jobs_for(connection).delete()
        return connection

    def test_a_check_that_succeeds_lets_everything_go_on(self, broken, caplog):
        report(broken)

        assert state(broken) == ("HEALTHY", 4, False)
        assert jobs_for(broken).count() == 1
        assert delivery.drain(broken.pk) == 3
        assert state(broken) == ("HEALTHY", 0, False)
        assert "connection.breaker_closed" in caplog.text

    def test_the_very_next_trouble_opens_it_again(self, broken):
        report(broken)

        break_off(broken, times=1)

        assert state(broken) == ("FAILING", 5, True)
        assert 47 < cool_off(broken) <= 60

    def test_a_check_that_fails_keeps_the_orders_waiting(self, broken):
        report(broken, code="CONNECTION_TIMEOUT")

        assert state(broken) == ("FAILING", 6, True)
        assert not jobs_for(broken).exists()
        assert delivery.drain(broken.pk) == 0

    def test_its_time_alone_closes_nothing(self, broken):
        ERPConnection.objects.update(retry_at=timezone.now() - timedelta(hours=1))

        assert send_at_once(broken) == 0

    def test_a_person_who_tests_it_closes_it_for_good(self, broken):
        report(broken, by_person=True)

        assert state(broken) == ("HEALTHY", 0, False)
        assert delivery.drain(broken.pk) == 3

    def test_a_changed_configuration_closes_it_for_good(self, broken, actor):
        connections.change(broken, actor, config={"api_key": "another"})

        assert state(broken) == ("UNTESTED", 0, False)
        assert delivery.drain(broken.pk) == 3

    def test_an_order_that_was_under_way_and_left_closes_it(self, broken):
        health.note_success(now_at(broken))

        assert state(broken) == ("HEALTHY", 0, False)

    def test_what_the_far_end_asked_to_wait_waits_on(self, broken):
        patient = ERPExport.objects.order_by("created_at").first()
        until = timezone.now() + timedelta(minutes=10)
        ERPExport.objects.filter(pk=patient.pk).update(error={"code": "RATE_LIMITED"})
        ERPExport.objects.exclude(order_id="SO-2").update(next_attempt_at=until)

        report(broken)

        assert list(ERPExport.objects.order_by("order_id").values_list("next_attempt_at", flat=True)) == [
            until,
            until,
            None,
        ]

    def test_a_host_that_stays_away_costs_one_order_its_attempts_and_not_all(self, connect, submit):
        connection = connect(**CUT_OFF)
        for number in range(10):
            submit(f"SO-{number}")

        for _ in range(6):
            send_at_once(connection)
        for _ in range(3):
            report(connection)
            delivery.drain(connection.pk)

        assert sorted(ERPExport.objects.values_list("attempts", flat=True)) == [0] * 9 + [8]

    def test_a_check_at_a_closed_breaker_ends_the_row_and_releases_nothing(self, connect, submit):
        connection = connect()
        submit()
        later = timezone.now() + timedelta(hours=1)
        ERPExport.objects.update(next_attempt_at=later)
        break_off(connection, times=3)

        report(connection)

        assert state(connection) == ("HEALTHY", 0, False)
        assert ERPExport.objects.get().next_attempt_at == later

    def test_a_check_proves_no_revision(self, connect):
        connection = connect()

        report(connection)
        assert now_at(connection).tested_revision is None

        report(connection, by_person=True)
        assert now_at(connection).tested_revision == 1


class TestRefused:
    """What a far end that refuses us, or is another one, leads to: the breaker is open until a person acts."""

    @pytest.fixture
    def refused(self, connect, submit):
        connection = connect(acknowledgement="ack")
        submit("SO-1"), submit("SO-2")
        health.note_failure(connection, AuthenticationFailed())
        jobs_for(connection).delete()
        return connection

    @pytest.mark.parametrize(
        "code", ["AUTHENTICATION_FAILED", "HOST_KEY_UNKNOWN", "HOST_KEY_MISMATCH", "IDENTITY_CHANGED"]
    )
    def test_a_push_stops_everything_at_once_and_costs_no_attempt(self, connect, submit, code, caplog):
        connection = connect(fail_with="AuthenticationFailed", fail_code=code, acknowledgement="ack")
        submit("SO-1"), submit("SO-2")

        attempts = [send_at_once(connection) for _ in range(3)]

        assert attempts == [1, 0, 0]
        assert state(connection) == ("AUTH_FAILED", 0, False)
        assert set(ERPExport.objects.values_list("status", "attempts")) == {("PENDING", 0)}
        assert not acknowledgements.pollable().exists()
        assert caplog.text.count("connection.paused") == 1

    @pytest.mark.parametrize(
        "code", ["AUTHENTICATION_FAILED", "HOST_KEY_UNKNOWN", "HOST_KEY_MISMATCH", "IDENTITY_CHANGED"]
    )
    @pytest.mark.parametrize("by_person", [True, False])
    def test_so_does_a_test(self, connect, submit, code, by_person):
        connection = connect()
        submit()

        report(connection, code=code, by_person=by_person)

        assert state(connection) == ("AUTH_FAILED", 0, False)
        assert send_at_once(connection) == 0

    def test_it_takes_the_place_of_a_breaker_that_closes_by_itself(self, connect):
        connection = connect()
        break_off(connection)

        report(connection, code="AUTHENTICATION_FAILED")

        assert state(connection) == ("AUTH_FAILED", 0, False)

    @pytest.mark.parametrize(
        "what_happens",
        [
            lambda connection: report(connection),
            lambda connection: report(connection, code="CONNECTION_REFUSED", by_person=True),
            lambda connection: report(connection, code="UNREADABLE_CONFIG", by_person=True),
            lambda connection: break_off(connection, times=9),
            lambda connection: health.note_success(now_at(connection)),
            lambda connection: health.note_contact(now_at(connection)),
            lambda connection: health.note_unreadable(now_at(connection)),
        ],
        ids=["check", "failed test", "unreadable test", "troubles", "late success", "late contact", "unreadable"],
    )
    def test_it_does_not_end_by_itself(self, refused, what_happens):
        what_happens(refused)

        assert state(refused) == ("AUTH_FAILED", 0, False)
        assert send_at_once(refused) == 0
        assert not jobs_for(refused).exists()

    def test_it_ends_when_a_person_tests_it(self, refused):
        report(refused, by_person=True)

        assert state(refused) == ("HEALTHY", 0, False)
        assert jobs_for(refused).count() == 1
        assert delivery.drain(refused.pk) == 2

    def test_it_ends_with_a_new_configuration(self, refused, actor):
        connections.change(refused, actor, config={"api_key": "another"})

        assert state(refused) == ("UNTESTED", 0, False)
        assert delivery.drain(refused.pk) == 2


class TestIdentity:
    def recognising(self, plug_in):
        """Install an ERP that says who it is before it takes anything; return what was sent to it."""
        taken = []

        class Session:
            def export(self, order, context):
                taken.append(order.order_id)
                return Plain.export(None, order, None, context)

        @contextmanager
        def open_session(self, config, context):
            context.recognise(RemoteIdentity(company=config.account))
            yield Session()

        plug_in(supports_session=True, open_session=open_session)
        return taken

    def test_another_far_end_gets_no_order(self, connect, submit, plug_in):
        taken, connection, export = self.recognising(plug_in), connect("PLAIN", account="acme test"), submit()
        ERPConnection.objects.update(pinned_identity={"company": "acme", "environment": "production"})

        send_at_once(connection)

        export.refresh_from_db()
        assert taken == []
        assert state(connection) == ("AUTH_FAILED", 0, False)
        assert (export.status, export.attempts, export.error["code"]) == ("PENDING", 0, "IDENTITY_CHANGED")

    def test_the_same_one_gets_it(self, connect, submit, plug_in):
        taken, connection = self.recognising(plug_in), connect("PLAIN", account="acme")
        submit()
        ERPConnection.objects.update(pinned_identity={"company": "acme", "environment": None})

        send_at_once(connection)

        assert taken == ["SO-1"]

    def test_the_first_one_gets_it(self, connect, submit, plug_in):
        taken, connection = self.recognising(plug_in), connect("PLAIN", account="acme")
        submit()

        send_at_once(connection)

        assert taken == ["SO-1"]

    def test_another_far_end_is_asked_for_no_answer(self, connect, submit, monkeypatch):
        connection = connect(acknowledgement="ack")
        submit()
        send_at_once(connection)
        ERPConnection.objects.update(pinned_identity={"company": "another"})

        def poll(self, config, context, settle):
            context.recognise(self.identify(config, context))
            raise AssertionError("it was not recognised")

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", poll)
        acknowledgements.poll(connection.pk)

        assert state(connection) == ("AUTH_FAILED", 0, False)


class TestEarlierRevisions:
    """What was found out with a configuration that has been replaced says nothing about the new one."""

    @pytest.mark.parametrize(
        "error", [AuthenticationFailed(), TemporaryError(Code.CONNECTION_TIMEOUT), TemporaryError()], ids=repr
    )
    def test_a_push_that_fails_after_the_change(self, connect, submit, actor, plug_in, error):
        def change_and_fail(self, order, config, context):
            if config.api_key is None:
                connections.change(connection, actor, config={"api_key": "another"})
                raise error
            return Plain.export(self, order, config, context)

        plug_in(export=change_and_fail)
        connection = connect("PLAIN")
        break_off(connection, times=4)
        submit()

        delivery.drain(connection.pk)

        row = now_at(connection)
        assert (row.revision, row.failures_in_a_row, row.retry_at) == (2, 0, None)
        assert row.health in ("UNTESTED", "HEALTHY")

    def test_a_push_that_succeeds_after_the_change(self, connect):
        connection = connect()
        ERPConnection.objects.update(revision=2, health="FAILING", failures_in_a_row=3)

        health.note_success(connection)
        health.note_contact(connection)

        assert state(connection) == ("FAILING", 3, False)

    @pytest.mark.parametrize("code", ["", "CONNECTION_REFUSED", "AUTHENTICATION_FAILED"])
    def test_a_test(self, connect, actor, code):
        connection = connect()
        connections.change(connection, actor, config={"api_key": "another"})

        report(connection, code=code, by_person=True, revision=1)

        row = now_at(connection)
        assert state(connection) == ("UNTESTED", 0, False)
        assert (row.tested_revision, row.last_test_at) == (None, None)

    def test_an_order_is_not_sent_to_where_the_connection_no_longer_leads(self, connect, submit, actor, monkeypatch):
        connection, claim = connect(account="old"), claims.claim
        submit()

        def change_and_claim(row, **how):
            if row.revision == 1:
                connections.change(connection, actor, config={"account": "new"})
            return claim(row, **how)

        monkeypatch.setattr(claims, "claim", change_and_claim)

        assert (delivery.drain(connection.pk), delivery.drain(connection.pk)) == (0, 1)
        assert [item.account for item in MockConnector.received()] == ["new"]


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    """A push fails in one worker while a person's test succeeds."""

    def during_a_push(self, connect, submit, plug_in, error, what_happens):
        """Let something happen while an order is on its way that then fails."""
        on_its_way, may_fail = threading.Event(), threading.Event()

        def hang_and_fail(self, order, config, context):
            if config.api_key:
                return Plain.export(self, order, config, context)
            on_its_way.set()
            may_fail.wait(20)
            raise error

        plug_in(export=hang_and_fail)
        connection = connect("PLAIN")
        submit("SO-1")
        with in_threads(lambda: delivery.drain(connection.pk)):
            assert on_its_way.wait(20)
            what_happens(connection)
            may_fail.set()
        return connection

    def test_a_passing_trouble_is_the_first_of_a_new_row(self, connect, submit, plug_in):
        def test_works(connection):
            break_off(connection)
            report(connection, by_person=True)

        error = TemporaryError(Code.CONNECTION_LOST)
        connection = self.during_a_push(connect, submit, plug_in, error, test_works)

        assert state(connection) == ("HEALTHY", 1, False)

    def test_a_refusal_pauses_all_the_same(self, connect, submit, plug_in):
        def test_works(connection):
            report(connection, by_person=True)

        connection = self.during_a_push(connect, submit, plug_in, AuthenticationFailed(), test_works)

        assert state(connection) == ("AUTH_FAILED", 0, False)
        assert ERPExport.objects.get().status == "PENDING"

    @pytest.mark.parametrize("error", [AuthenticationFailed(), TemporaryError(Code.CONNECTION_LOST)], ids=repr)
    def test_a_configuration_that_is_changed_starts_anew(self, connect, submit, plug_in, actor, error):
        def change(connection):
            break_off(connection, times=4)
            connections.change(connection, actor, config={"api_key": "another"})

        connection = self.during_a_push(connect, submit, plug_in, error, change)

        row = now_at(connection)
        assert (row.revision, row.failures_in_a_row, row.retry_at) == (2, 0, None)
        assert row.health in ("UNTESTED", "HEALTHY")

    def test_two_workers_and_a_storm_of_troubles_open_it_once(self, connect, submit, plug_in, caplog):
        connection = connect(**CUT_OFF)
        for number in range(20):
            submit(f"SO-{number}")

        def work():
            for _ in range(10):
                send_at_once(connection)

        with in_threads(work, work):
            pass

        assert state(connection) == ("FAILING", 5, True)
        assert caplog.text.count("connection.breaker_opened") == 1
        assert sum(ERPExport.objects.values_list("attempts", flat=True)) in (5, 6)  # one may have been under way
