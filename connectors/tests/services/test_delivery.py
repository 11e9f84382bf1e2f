"""Every way an attempt can end, on a real database with the mock ERP and a real folder."""

import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.storage import storages
from django.db import connection as database
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors import exceptions
from connectors.adapters.mock import MockConfig, MockConnector, MockSession
from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, TemporaryError
from connectors.models import ERPConnection, ERPExport
from connectors.port import ERPConnectorPort
from connectors.registry import registry
from connectors.results import ExportResult, Receipt
from connectors.services import claims, connections, delivery, exports, jobs
from connectors.testing import sample_orders
from connectors.tests.workers.processes import wait_for
from erpconfig import logging
from tenants import scope


@pytest.fixture(autouse=True)
def no_haste(monkeypatch):
    """Let nothing be due again at once by chance."""
    monkeypatch.setattr("random.random", lambda: 1.0)


@pytest.fixture
def dropzone(connect, settings, tmp_path):
    settings.DROPZONE_ROOT = str(tmp_path)
    (tmp_path / "out").mkdir()
    connect("DROPZONE_JSON_V1", mode="filesystem", export_path=str(tmp_path / "out"))
    return tmp_path / "out"


@pytest.fixture
def submit(acme, actor):
    def submit(order_id="SO-1"):
        return exports.submit(acme, actor, sample_orders.minimal(order_id), idempotency_key=order_id)[0]

    return submit


@pytest.fixture
def plug_in(monkeypatch):
    """Install a connector made for one test."""

    def plug_in(connector_class):
        monkeypatch.setitem(registry._connectors, connector_class.connector_type, connector_class())

    return plug_in


def drain(export):
    """Send what is due now, and return what became of the export."""
    delivery.drain(export.connection_id)
    return ERPExport.objects.get(pk=export.pk)


def make_due(**changes):
    ERPExport.objects.filter(status="PENDING").update(next_attempt_at=None, **changes)


def claim(connection):
    """Take the next export, as a worker does that never comes back."""
    return claims.claim(connection, turn=uuid4(), most=1).exports


def expire():
    ERPExport.objects.filter(status="SENDING").update(leased_until=timezone.now() - timedelta(seconds=1))


def outcomes(export):
    return [attempt.outcome for attempt in export.attempt_log.all()]


def jobs_for(connection_id):
    return ProcrastinateJob.objects.filter(args={"connection_id": str(connection_id)}, status="todo")


class Blind(ERPConnectorPort[MockConfig]):
    """An ERP of the oldest kind: no document to show, no look-up, no session; each test says what it does."""

    connector_type = "BLIND"
    title = "Blind"
    Config = MockConfig

    def export(self, order, config, context):
        return ExportResult(
            receipt=Receipt(transport="x", location="x://1", size=1, sha256="0"), warnings=("no notes",)
        )

    def test_connection(self, config, context):
        return context.steps.result()


def blind_that_raises(error):
    def export(self, order, config, context):
        raise error

    return type("Failing", (Blind,), {"export": export})


class TestSuccess:
    def test_leaves_a_receipt_and_an_attempt(self, dropzone, submit):
        export = drain(submit())

        (file,) = dropzone.iterdir()
        assert (export.status, export.attempts, export.filename) == ("SENT", 1, file.name)
        assert export.receipt["location"] == str(file)
        assert (export.document_size, export.document_sha256) == (file.stat().st_size, export.receipt["sha256"])
        assert export.sent_at
        assert (export.claim, export.leased_until, export.error, export.finished_at) == (None, None, None, None)
        attempt = export.attempt_log.get()
        assert (attempt.number, attempt.outcome, attempt.receipt) == (1, "SENT", export.receipt)
        assert [step["status"] for step in attempt.steps] == ["passed"]

    def test_an_answer_at_once_is_final(self, connect, submit):
        connect(acknowledgement="immediate")

        export = drain(submit())

        assert (export.status, export.erp_order_id) == ("ACKED", f"MOCK-{export.pk.hex[:8]}")
        assert export.finished_at

    def test_an_erp_order_id_of_any_length_is_kept_as_far_as_it_fits(self, connect, submit, plug_in):
        result = ExportResult(
            receipt=Receipt(transport="x", location="x", size=1, sha256="0"), erp_order_id="9" * 500, acknowledged=True
        )
        plug_in(type("Long", (Blind,), {"export": lambda *args: result}))
        connect("BLIND")

        assert drain(submit()).erp_order_id == "9" * 128

    def test_a_connector_without_render_or_session_delivers(self, connect, submit, plug_in):
        plug_in(Blind)
        connect("BLIND")

        export = drain(submit())

        assert (export.status, export.document_name, export.warnings) == ("SENT", "", ["no notes"])

    def test_exports_go_out_in_the_order_of_submission(self, connect, submit):
        connection = connect()
        for number in range(5):
            submit(f"SO-{number}")

        assert delivery.drain(connection.pk) == 5
        assert [item.order_id for item in MockConnector.received()] == [f"SO-{number}" for number in range(5)]

    def test_it_shows_that_the_connection_works(self, connect, submit):
        connection = connect()

        drain(submit())

        assert ERPConnection.objects.get(pk=connection.pk).health == "HEALTHY"


class TestTemporaryError:
    def test_waits_and_sends_the_same_document_again(self, connect, submit):
        connect(fail_with="TemporaryError")

        export = drain(submit())

        assert (export.status, export.attempts, export.outcome_unknown) == ("PENDING", 1, False)
        assert export.error == {
            "code": "REMOTE_ERROR",
            "message": exceptions.TemporaryError().message,
            "hint": exceptions.TemporaryError().hint,
        }
        assert export.attempt_log.get().next_attempt_at == export.next_attempt_at
        make_due()
        again = drain(export)
        assert (again.status, again.error, outcomes(again)) == ("SENT", None, ["TEMPORARY", "SENT"])
        (received,) = MockConnector.received()
        assert (received.attempt, received.document.sha256) == (2, export.document_sha256)

    def test_the_delay_grows_and_stays_within_its_bounds(self, connect, submit, monkeypatch):
        connect(fail_with="TemporaryError", fail_times=100)
        export = submit()

        delays = []
        for _ in range(7):
            make_due()
            before = timezone.now()
            delays.append(round((drain(export).next_attempt_at - before).total_seconds()))

        assert delays == [5, 10, 20, 40, 80, 160, 320]

    def test_is_not_tried_before_its_time(self, connect, submit):
        connect(fail_with="TemporaryError")
        export = drain(submit())
        ERPExport.objects.update(next_attempt_at=timezone.now() + timedelta(seconds=60))

        assert drain(export).attempts == 1

    def test_fails_when_the_attempts_are_spent(self, connect, submit, settings):
        settings.EXPORT_MAX_ATTEMPTS = 2
        connect(fail_with="TemporaryError", fail_times=100)
        export = drain(submit())
        make_due()

        export = drain(export)

        assert (export.status, export.attempts, export.error["code"]) == ("FAILED", 2, "REMOTE_ERROR")
        assert export.finished_at
        assert drain(export).attempts == 2

    def test_retry_after_holds_back_all_that_wait(self, connect, submit):
        connection = connect(fail_with="RateLimited", retry_after_s=500)
        first, second = submit("SO-1"), submit("SO-2")
        before = timezone.now()

        assert delivery.drain(connection.pk) == 1

        first.refresh_from_db()
        second.refresh_from_db()
        assert timedelta(seconds=500) <= first.next_attempt_at - before < timedelta(seconds=510)
        assert second.attempts == 0
        assert delivery.drain(connection.pk) == 0

    def test_a_host_that_does_not_answer_costs_the_others_no_attempt(self, connect, submit, monkeypatch):
        connection = connect(fail_with="TemporaryError", fail_code="CONNECTION_TIMEOUT")
        for number in range(3):
            submit(f"SO-{number}")

        assert delivery.drain(connection.pk) == 1
        assert sorted(ERPExport.objects.values_list("attempts", flat=True)) == [0, 0, 1]

    def test_no_order_overtakes_one_that_is_tried_again(self, connect, submit, monkeypatch):
        connection = connect(fail_with="TemporaryError", fail_code="NO_SPACE")
        first, *_ = [submit(f"SO-{number}") for number in range(3)]

        assert [delivery.drain(connection.pk), delivery.drain(connection.pk)] == [1, 0]
        ERPExport.objects.filter(pk=first.pk).update(next_attempt_at=None)
        for _ in range(3):
            delivery.drain(connection.pk)
            make_due()
        assert [item.order_id for item in MockConnector.received()] == ["SO-0", "SO-1", "SO-2"]

    def test_what_waits_for_a_person_holds_nobody_back(self, connect, submit, settings):
        settings.EXPORT_MAX_ATTEMPTS = 1
        connection = connect()
        held, failed, rejected = (submit(f"SO-{number}") for number in range(3))
        ERPExport.objects.filter(pk=held.pk).update(held=True)
        ERPExport.objects.filter(pk=failed.pk).update(status="FAILED")
        ERPExport.objects.filter(pk=rejected.pk).update(order={})
        submit("SO-3")

        delivery.drain(connection.pk)

        assert [item.order_id for item in MockConnector.received()] == ["SO-3"]


class TestFinalErrors:
    @pytest.mark.parametrize(
        ("error", "status", "outcome", "code"),
        [
            ("RejectedByERP", "REJECTED", "REJECTED", "REJECTED_BY_ERP"),
            ("DocumentError", "FAILED", "FAILED", "DOCUMENT_INVALID"),
            ("UnsupportedFeature", "FAILED", "FAILED", "UNSUPPORTED_FEATURE"),
        ],
    )
    def test_end_the_export_at_once(self, connect, submit, error, status, outcome, code):
        connect(fail_with=error)

        export = drain(submit())

        assert (export.status, export.error["code"], export.next_attempt_at) == (status, code, None)
        assert export.finished_at
        assert outcomes(export) == [outcome]

    def test_another_file_of_the_same_name_is_a_rejection(self, dropzone, submit):
        export = submit()
        name = f"sales_order_SO-1_{export.created_at:%Y%m%dT%H%M%SZ}_{export.pk.hex[:8]}.json"
        (dropzone / name).write_text("not ours")

        export = drain(export)

        assert (export.status, export.error["code"]) == ("REJECTED", "TARGET_EXISTS")
        assert (dropzone / name).read_text() == "not ours"


class TestAuthenticationFailed:
    def test_pauses_the_connection_and_burns_no_attempt(self, connect, submit):
        connection = connect(fail_with="AuthenticationFailed", fail_times=100)
        first, second = submit("SO-1"), submit("SO-2")

        first = drain(first)

        connection.refresh_from_db()
        second.refresh_from_db()
        assert connection.health == "AUTH_FAILED"
        assert [(export.status, export.attempts) for export in (first, second)] == [("PENDING", 0)] * 2
        assert first.error["code"] == "AUTHENTICATION_FAILED"
        assert outcomes(first) == ["AUTH_FAILED"]
        assert delivery.drain(connection.pk) == 0

    def test_everything_goes_on_with_new_credentials(self, connect, submit, actor):
        connection = connect(fail_with="AuthenticationFailed", fail_times=100)
        first, second = submit("SO-1"), submit("SO-2")
        drain(first)
        connections.change(connection, actor, config={"api_key": "new", "fail_with": None})

        assert [drain(export).status for export in (first, second)] == ["SENT", "SENT"]
        assert drain(first).attempts == 1

    def test_credentials_that_were_changed_meanwhile_are_tried(self, connect, submit, actor, plug_in):
        def refuse_and_change(self, order, config, context):
            if config.api_key is None:
                connections.change(connection, actor, config={"api_key": "new"})
                raise exceptions.AuthenticationFailed
            return Blind.export(self, order, config, context)

        plug_in(type("Changed", (Blind,), {"export": refuse_and_change}))
        connection = connect("BLIND")

        assert drain(submit()).status == "SENT"


class TestOutcomeUnknown:
    def test_what_arrived_is_found_and_not_sent_again(self, connect, submit):
        connect(fail_with="OutcomeUnknown", delivered=True)
        export = drain(submit())
        assert (export.status, export.outcome_unknown, export.error["code"]) == ("PENDING", True, "OUTCOME_UNKNOWN")
        make_due()

        export = drain(export)

        assert (export.status, export.outcome_unknown, outcomes(export)) == ("SENT", False, ["UNKNOWN", "FOUND"])
        assert export.receipt["already_delivered"]
        assert [item.attempt for item in MockConnector.received()] == [1]

    def test_what_did_not_arrive_is_sent(self, connect, submit):
        connect(fail_with="OutcomeUnknown")
        export = drain(submit())
        make_due()

        export = drain(export)

        assert (export.status, outcomes(export)) == ("SENT", ["UNKNOWN", "SENT"])
        assert [item.document.sha256 for item in MockConnector.received()] == [export.document_sha256]

    def test_spent_attempts_leave_it_unconfirmed_never_failed(self, connect, submit, settings):
        settings.EXPORT_MAX_ATTEMPTS = 2
        connect(fail_with="OutcomeUnknown", fail_times=100)
        export = drain(submit())
        make_due()

        export = drain(export)

        assert (export.status, export.outcome_unknown) == ("UNCONFIRMED", True)
        assert export.finished_at

    def test_without_a_look_up_it_is_unconfirmed_at_once(self, connect, submit, plug_in):
        plug_in(blind_that_raises(OutcomeUnknown()))
        connect("BLIND")

        export = drain(submit())

        assert (export.status, outcomes(export)) == ("UNCONFIRMED", ["UNKNOWN"])

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (OutcomeUnknown(), "UNCONFIRMED"),
            (TemporaryError(), "PENDING"),
            (exceptions.RejectedByERP(), "UNCONFIRMED"),
            (exceptions.UnsupportedFeature(), "UNCONFIRMED"),
            (ZeroDivisionError(), "PENDING"),
        ],
    )
    def test_a_failed_look_up_leaves_the_doubt(self, connect, submit, monkeypatch, error, status):
        connect(fail_with="OutcomeUnknown", delivered=True)
        export = drain(submit())
        make_due()

        def fail(self, order, config, context):
            raise error

        monkeypatch.setattr(MockConnector, "find_export", fail)
        export = drain(export)

        assert (export.status, export.outcome_unknown) == (status, True)
        assert len(MockConnector.received()) == 1

    def test_a_look_up_that_fails_until_the_attempts_are_spent_ends_unconfirmed(
        self, connect, submit, monkeypatch, settings
    ):
        settings.EXPORT_MAX_ATTEMPTS = 2
        connect(fail_with="OutcomeUnknown")
        export = drain(submit())
        make_due()

        def fail(self, order, config, context):
            raise TemporaryError

        monkeypatch.setattr(MockConnector, "find_export", fail)

        assert drain(export).status == "UNCONFIRMED"

    def test_a_doubt_that_the_look_up_settled_is_over(self, connect, submit, monkeypatch, settings):
        settings.EXPORT_MAX_ATTEMPTS = 2
        connection = connect(fail_with="OutcomeUnknown")
        export = drain(submit())
        row = ERPConnection.objects.get(pk=connection.pk)
        row.write_config(row.read_config() | {"fail_with": "TemporaryError", "fail_times": 100})
        row.save()
        make_due()

        assert drain(export).status == "FAILED"


class TestFaultsOfAnAdapter:
    def test_while_sending_mean_that_it_may_have_arrived(self, connect, submit, plug_in):
        plug_in(blind_that_raises(ZeroDivisionError("s3cret")))
        connect("BLIND")

        export = drain(submit())

        assert (export.status, export.error["code"]) == ("UNCONFIRMED", "INTERNAL_ERROR")

    def test_a_bare_error_of_the_port_is_one(self, connect, submit, plug_in):
        plug_in(blind_that_raises(ConnectorError(Code.NO_SPACE)))
        connect("BLIND")

        export = drain(submit())

        assert (export.status, export.error["code"]) == ("UNCONFIRMED", "NO_SPACE")

    def test_while_rendering_end_the_export(self, connect, submit, monkeypatch):
        connect()
        monkeypatch.setattr(MockConnector, "render", lambda *args: 1 / 0)

        export = drain(submit())

        assert (export.status, export.error["code"]) == ("FAILED", "INTERNAL_ERROR")
        assert MockConnector.received() == ()

    def test_while_logging_in_are_tried_again(self, connect, submit, monkeypatch):
        connect()
        monkeypatch.setattr(MockConnector, "open_session", lambda *args: 1 / 0)

        export = drain(submit())

        assert (export.status, export.outcome_unknown) == ("PENDING", False)

    def test_their_texts_appear_nowhere(self, connect, submit, plug_in, caplog):
        plug_in(blind_that_raises(ValueError("c4n4ry")))
        connect("BLIND")

        export = drain(submit())

        shown = "\n".join(map(logging.formatter("json").format, caplog.records))
        assert "ValueError" in shown
        assert "c4n4ry" not in shown + json.dumps([export.error, export.attempt_log.get().error])

    def test_while_hanging_up_change_nothing(self, connect, submit, monkeypatch):
        class Session:
            def __init__(self, connector, config, context):
                self.connector, self.config = connector, config

            def __enter__(self):
                return self

            def __exit__(self, *args):
                raise ZeroDivisionError

            def export(self, order, context):
                return self.connector.export(order, self.config, context)

        connect()
        monkeypatch.setattr(MockConnector, "open_session", lambda *args: Session(*args))

        assert drain(submit()).status == "SENT"


class TestDocument:
    def test_a_lost_document_is_not_rendered_anew(self, connect, submit):
        connect(fail_with="TemporaryError")
        export = drain(submit())
        storages["documents"].delete(export.document_name)
        make_due()

        export = drain(export)

        assert (export.status, export.error["code"]) == ("FAILED", "DOCUMENT_LOST")
        assert MockConnector.received() == ()

    def test_a_lost_document_that_may_have_arrived_is_unconfirmed(self, connect, submit):
        connect(fail_with="OutcomeUnknown")
        export = drain(submit())
        storages["documents"].delete(export.document_name)
        make_due()

        assert drain(export).status == "UNCONFIRMED"

    def test_a_storage_that_does_not_work_is_tried_again(self, connect, submit, settings, tmp_path):
        (tmp_path / "file").touch()
        settings.STORAGES = settings.STORAGES | {
            "documents": {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": str(tmp_path / "file")},
            }
        }
        connect()

        export = drain(submit())

        assert (export.status, export.document_name) == ("PENDING", "")

    def test_an_order_that_is_no_longer_valid_fails(self, connect, submit):
        connect()
        export = submit()
        ERPExport.objects.update(order={"order_id": "SO-1"})

        export = drain(export)

        assert (export.status, export.error["code"]) == ("FAILED", "DOCUMENT_INVALID")


class TestSession:
    @pytest.fixture
    def logins(self, monkeypatch):
        logins, real = [], MockConnector.open_session

        def open_session(self, config, context):
            logins.append(config.account)
            return real(self, config, context)

        monkeypatch.setattr(MockConnector, "open_session", open_session)
        return logins

    def test_one_login_takes_many_exports(self, connect, submit, logins):
        connection = connect()
        for number in range(3):
            submit(f"SO-{number}")

        delivery.drain(connection.pk)

        assert logins == ["demo"]

    def test_a_login_outlives_its_turn(self, connect, submit, logins):
        connection = connect()
        for number in range(3):
            submit(f"SO-{number}")
            delivery.drain(connection.pk)

        assert logins == ["demo"]

    def test_a_login_that_died_while_it_was_idle_costs_no_attempt(self, connect, submit, logins, monkeypatch):
        def is_gone(self):
            raise TemporaryError(Code.CONNECTION_LOST)

        monkeypatch.setattr("connectors.services.lines.FRESH_SECONDS", -1)
        connection = connect()
        drain(submit("SO-1"))
        with monkeypatch.context() as patch:
            patch.setattr(MockSession, "check", is_gone)
            export = drain(submit("SO-2"))

        assert (export.status, outcomes(export), len(logins)) == ("SENT", ["SENT"], 2)
        assert ERPConnection.objects.get(pk=connection.pk).failures_in_a_row == 0

    def test_an_idle_login_is_closed(self, connect, submit, monkeypatch):
        closed, real = [], MockConnector.open_session

        @contextmanager
        def open_session(self, config, context):
            with real(self, config, context) as session:
                yield session
            closed.append(config.account)

        monkeypatch.setattr(MockConnector, "open_session", open_session)
        monkeypatch.setattr("connectors.services.lines.IDLE_SECONDS", 0.05)
        connect()
        drain(submit())

        wait_for(lambda: closed)

    def test_an_error_makes_the_next_export_log_in_anew(self, connect, submit, logins):
        connection = connect(fail_with="TemporaryError")
        for number in range(3):
            submit(f"SO-{number}")

        for _ in range(3):
            delivery.drain(connection.pk)
            make_due()

        assert len(logins) == 3

    def test_a_changed_config_takes_effect_with_the_next_export(self, connect, submit, actor, logins, monkeypatch):
        connection, real = connect(), MockConnector.export
        submit("SO-1"), submit("SO-2")

        def export_and_change(self, order, config, context):
            connections.change(connection, actor, config={"account": "other"})
            return real(self, order, config, context)

        monkeypatch.setattr(MockConnector, "export", export_and_change)
        delivery.drain(connection.pk)

        assert logins == ["demo", "other"]


class TestConnectionThatCannotBeUsed:
    def test_unreadable_is_a_state_and_the_exports_wait(self, connect, submit):
        connection = connect()
        export = submit()
        sealed = bytes(ERPConnection.objects.get().config_encrypted)
        ERPConnection.objects.update(config_encrypted=sealed[:-1] + bytes([sealed[-1] ^ 1]))

        export = drain(export)

        connection.refresh_from_db()
        assert (export.status, export.attempts, connection.health) == ("PENDING", 0, "UNREADABLE")
        ERPConnection.objects.update(config_encrypted=sealed)
        assert drain(export).status == "SENT"
        connection.refresh_from_db()
        assert connection.health == "HEALTHY"

    def test_a_connector_that_is_gone_leaves_them_waiting(self, connect, submit, monkeypatch):
        connect()
        export = submit()
        with monkeypatch.context() as patch:
            patch.delitem(registry._connectors, "MOCK")
            assert (drain(export).status, drain(export).attempts) == ("PENDING", 0)

        assert drain(export).status == "SENT"

    def test_a_config_that_is_no_longer_valid_leaves_them_waiting(self, connect, submit):
        connection = connect()
        connection.write_config({"latency_ms": -1})
        connection.save()

        export = drain(submit())

        assert (export.status, export.attempts) == ("PENDING", 0)

    def test_disabled_leaves_them_waiting(self, connect, submit, actor):
        connection = connect()
        export = submit()
        connections.disable(connection, actor)

        assert drain(export).status == "PENDING"
        connections.activate(connection, actor, replace=False, reason="it is back")
        assert drain(export).status == "SENT"

    def test_a_connection_that_is_gone_is_no_fault(self, db):
        assert delivery.drain(uuid4()) == 0


class TestAtAReplacedConnection:
    """Nothing is sent through it any more; what may have arrived is looked up there."""

    @pytest.fixture
    def in_doubt(self, connect, submit):
        """Return how to make an order that may have arrived, or one that waits behind it, and its connection."""

        def in_doubt(**config):
            connection = connect(fail_with="OutcomeUnknown", fail_times=100, account="old", **config)
            export = drain(submit())
            assert (export.status, export.outcome_unknown) == ("PENDING", True)
            make_due()
            jobs_for(connection.pk).delete()
            return connection, export

        return in_doubt

    @pytest.fixture
    def replace(self, acme, actor):
        def replace(old):
            new = connections.create(
                acme, actor, connector_type="MOCK", config={"account": "new"}, status="DISABLED", name="new"
            )
            return connections.activate(new, actor, replace=True, reason="a new ERP")

        return replace

    def received(self):
        return [(item.account, item.order_id) for item in MockConnector.received()]

    def test_what_arrived_is_found(self, in_doubt, replace):
        old, export = in_doubt(delivered=True)
        new = replace(old)

        export = drain(export)

        assert (export.status, export.connection_id, outcomes(export)) == ("SENT", old.pk, ["UNKNOWN", "FOUND"])
        assert delivery.drain(new.pk) == 0
        assert self.received() == [("old", "SO-1")]

    def test_what_did_not_arrive_is_sent_through_the_new_one(self, in_doubt, replace):
        old, export = in_doubt()
        new = replace(old)

        export = drain(export)

        assert (export.status, export.connection_id, export.attempts) == ("PENDING", new.pk, 0)
        assert (export.outcome_unknown, export.error, export.document_name) == (False, None, "")
        assert jobs_for(new.pk).exists()
        assert drain(export).status == "SENT"
        assert outcomes(export) == ["UNKNOWN", "TEMPORARY", "SENT"]
        assert self.received() == [("new", "SO-1")]

    def test_the_sweep_begins_with_the_look_up(self, in_doubt, replace):
        old, _ = in_doubt()
        replace(old)

        delivery.sweep()
        delivery.sweep()

        assert jobs_for(old.pk).count() == 1

    def test_a_look_up_that_fails_is_repeated(self, in_doubt, replace, monkeypatch):
        old, export = in_doubt(delivered=True)
        replace(old)

        def fail(*args):
            raise TemporaryError(Code.CONNECTION_TIMEOUT)

        with monkeypatch.context() as patch:
            patch.setattr(MockConnector, "find_export", fail)
            export = drain(export)
        assert (export.status, export.connection_id, export.outcome_unknown) == ("PENDING", old.pk, True)
        make_due()

        assert drain(export).status == "SENT"

    @pytest.mark.parametrize(
        ("error", "health"),
        [(exceptions.AuthenticationFailed(), "AUTH_FAILED"), (TemporaryError(Code.DNS_FAILURE), "FAILING")],
    )
    def test_a_person_decides_once_nobody_can_look_any_more(self, in_doubt, replace, monkeypatch, error, health):
        old, export = in_doubt(delivered=True)
        replace(old)

        def fail(*args):
            raise error

        monkeypatch.setattr(MockConnector, "find_export", fail)
        for _ in range(6):
            drain(export)
            make_due()
        delivery.sweep()

        old.refresh_from_db()
        export.refresh_from_db()
        assert (old.health, export.status, export.connection_id) == (health, "UNCONFIRMED", old.pk)

    def test_a_doubt_that_ends_without_another_connection_waits(self, in_doubt, actor):
        old, export = in_doubt()
        connections.disable(old, actor)

        export = drain(export)

        assert (export.status, export.connection_id, export.outcome_unknown) == ("PENDING", old.pk, False)
        assert delivery.drain(old.pk) == 0
        assert self.received() == []
        assert not jobs_for(old.pk).exists()

    def test_what_comes_back_from_being_sent_moves_on(self, connect, submit, replace):
        old = connect(fail_with="TemporaryError", account="old")
        export = submit()
        claim(old)
        new = replace(old)
        ERPExport.objects.update(status="PENDING", next_attempt_at=timezone.now())

        delivery.sweep()

        assert drain(ERPExport.objects.get(pk=export.pk)).connection_id == new.pk

    def test_what_is_being_sent_is_settled_there(self, connect, submit, replace, monkeypatch):
        old, real, replaced = connect(account="old"), MockConnector.export, []
        submit("SO-1"), submit("SO-2")

        def replace_and_export(self, order, config, context):
            if not replaced:
                replaced.append(replace(old))
            return real(self, order, config, context)

        monkeypatch.setattr(MockConnector, "export", replace_and_export)
        assert delivery.drain(old.pk) == 1
        assert delivery.drain(replaced[0].pk) == 1

        assert self.received() == [("old", "SO-1"), ("new", "SO-2")]
        assert set(ERPExport.objects.values_list("order_id", "connection__name", "status")) == {
            ("SO-1", old.name, "SENT"),
            ("SO-2", "new", "SENT"),
        }

    def test_a_worker_that_comes_too_late_only_looks(self, in_doubt, replace, monkeypatch):
        """It saw the connection active, and the switch-over comes before its claim."""
        old, export = in_doubt()
        real, replaced = claims.claim, []

        def replace_and_claim(connection, **how):
            if not replaced:
                replaced.append(replace(old))
            return real(connection, **how)

        monkeypatch.setattr(claims, "claim", replace_and_claim)
        export = drain(export)

        assert export.connection_id == replaced[0].pk
        assert self.received() == []


class TestFairness:
    @pytest.fixture
    def somebody_waits(self, globex, actor):
        other = connections.create(globex, actor, connector_type="MOCK", config={})
        jobs.wake(other.pk)

    def test_a_long_queue_goes_back_to_the_end(self, connect, submit, monkeypatch, somebody_waits):
        monkeypatch.setattr(delivery, "DRAIN_EXPORTS", 2)
        connection = connect()
        for number in range(3):
            submit(f"SO-{number}")

        assert delivery.drain(connection.pk) == 2
        assert jobs_for(connection.pk).count() == 1
        assert delivery.drain(connection.pk) == 1
        assert jobs_for(connection.pk).count() == 0

    def test_a_slow_far_end_gives_the_others_a_turn(self, connect, submit, monkeypatch, somebody_waits):
        monkeypatch.setattr(delivery, "DRAIN_SECONDS", 0.05)
        connection = connect(latency_ms=60)
        submit("SO-1"), submit("SO-2")

        assert delivery.drain(connection.pk) == 1

    def test_a_turn_goes_on_while_nobody_else_waits(self, connect, submit, monkeypatch):
        monkeypatch.setattr(delivery, "DRAIN_EXPORTS", 2)
        connection = connect()
        for number in range(5):
            submit(f"SO-{number}")

        assert delivery.drain(connection.pk) == 5

    def test_many_jobs_of_one_connection_are_one(self, connect, submit):
        connection = connect()
        for number in range(5):
            submit(f"SO-{number}")
        assert jobs_for(connection.pk).count() == 5

        delivery.drain(connection.pk)

        assert jobs_for(connection.pk).count() == 0

    def test_a_second_worker_leaves_a_busy_connection_alone(self, connect, submit):
        connection = connect()
        submit("SO-1"), submit("SO-2")
        claim(connection)

        assert delivery.drain(connection.pk) == 0

    def test_a_stopped_turn_claims_nothing_more(self, connect, submit, monkeypatch):
        connection, real = connect(), MockConnector.export
        submit("SO-1"), submit("SO-2")
        turn = delivery.Turn(connection.pk)

        def export_and_stop(self, order, config, context):
            turn.stop()
            return real(self, order, config, context)

        monkeypatch.setattr(MockConnector, "export", export_and_stop)

        assert turn.run() == 1
        assert jobs_for(connection.pk).exists()


class TestGates:
    """What is configured for a connection says when, and how much."""

    @pytest.fixture
    def set_up(self, connect, submit):
        def set_up(**columns):
            connection = connect()
            ERPConnection.objects.filter(pk=connection.pk).update(**columns)
            for number in range(3):
                submit(f"SO-{number}")
            return connection

        return set_up

    def test_while_it_is_paused_nothing_is_sent_and_what_may_have_arrived_is_looked_up(self, set_up):
        connection = set_up(paused_at=timezone.now())
        in_doubt = ERPExport.objects.get(order_id="SO-1")
        ERPExport.objects.filter(pk=in_doubt.pk).update(outcome_unknown=True)

        assert delivery.drain(connection.pk) == 1

        assert outcomes(in_doubt) == ["TEMPORARY"]
        assert (MockConnector.received(), jobs.wake_due()) == ((), 0)

    def test_in_a_maintenance_window_nobody_is_disturbed(self, set_up):
        now = timezone.now()
        until = now + timedelta(hours=1)
        window = {"from": (now - timedelta(hours=1)).isoformat(), "until": until.isoformat()}
        connection = set_up(maintenance_windows=[window])

        assert delivery.drain(connection.pk) == 0

        assert abs(jobs_for(connection.pk).get().scheduled_at - until) < timedelta(seconds=1)
        delivery.sweep()
        assert jobs_for(connection.pk).count() == 1

    def test_no_more_leave_in_a_minute_than_may(self, set_up):
        connection = set_up(max_per_minute=2)
        begun = timezone.now()

        assert [delivery.drain(connection.pk), delivery.drain(connection.pk)] == [2, 0]

        again = jobs_for(connection.pk).get().scheduled_at
        assert timedelta(seconds=59) < again - begun < timedelta(seconds=61)
        taken = ERPConnection.objects.get(pk=connection.pk).taken_lately
        ERPConnection.objects.update(taken_lately=[[moment - 60, count] for moment, count in taken])
        assert delivery.drain(connection.pk) == 1


@pytest.mark.django_db(transaction=True)
class TestTwoWorkersAtOnce:
    def test_deliver_each_export_once(self, connect, submit):
        connection = connect(latency_ms=2)
        for number in range(20):
            submit(f"SO-{number}")
        start = threading.Barrier(4)

        def work():
            start.wait()
            try:
                while ERPExport.objects.filter(status="PENDING").exists():
                    delivery.drain(connection.pk)
            finally:
                database.close()

        workers = [threading.Thread(target=scope.everything()(work)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert set(ERPExport.objects.values_list("status", "attempts")) == {("SENT", 1)}
        assert sorted(item.order_id for item in MockConnector.received()) == sorted(f"SO-{n}" for n in range(20))


class TestLostLease:
    def test_cannot_settle_but_stays_on_record(self, connect, submit, monkeypatch):
        connect()
        export, real = submit(), MockConnector.export

        def outlive_the_lease(self, order, config, context):
            result = real(self, order, config, context)
            expire()
            delivery.sweep()
            return result

        monkeypatch.setattr(MockConnector, "export", outlive_the_lease)
        delivery.drain(export.connection_id)
        monkeypatch.undo()

        export.refresh_from_db()
        assert outcomes(export) == ["WORKER_LOST", "SENT", "FOUND"]
        assert (export.status, len(MockConnector.received())) == ("SENT", 1)

    def test_cannot_store_a_document(self, connect, submit, monkeypatch):
        connect()
        export, real = submit(), MockConnector.render

        def outlive_the_lease(self, order, config, context):
            ERPExport.objects.update(claim=uuid4())
            return real(self, order, config, context)

        monkeypatch.setattr(MockConnector, "render", outlive_the_lease)
        export = drain(export)

        assert (export.status, export.document_name, outcomes(export)) == ("SENDING", "", [])
        assert MockConnector.received() == ()

    def test_the_far_end_gets_less_time_than_the_lease(self, connect, submit, plug_in, settings):
        settings.EXPORT_LEASE_SECONDS = 10
        remaining = []

        def export(self, order, config, context):
            remaining.append(context.remaining_s)
            raise TemporaryError

        plug_in(type("Timed", (Blind,), {"export": export}))
        connect("BLIND")
        drain(submit())

        assert 7 < remaining[0] <= 8


class TestSweep:
    def claim(self, export, **changes):
        claim(export.connection)
        ERPExport.objects.filter(pk=export.pk).update(**changes)
        expire()

    def swept(self, export):
        delivery.sweep()
        return ERPExport.objects.get(pk=export.pk)

    def test_what_was_not_rendered_is_tried_again(self, connect, submit):
        connect()
        export = submit()
        self.claim(export)

        export = self.swept(export)

        assert (export.status, export.outcome_unknown, export.attempts) == ("PENDING", False, 1)
        assert (export.error["code"], outcomes(export)) == ("WORKER_LOST", ["WORKER_LOST"])
        assert (export.claim, export.leased_until, export.next_attempt_at) == (None, None, None)
        assert drain(export).status == "SENT"

    def test_what_may_have_been_sent_is_looked_up(self, connect, submit):
        connect()
        export = submit()
        self.claim(export, document_name="x")

        export = self.swept(export)

        assert (export.status, export.outcome_unknown) == ("PENDING", True)

    def test_what_cannot_be_looked_up_is_unconfirmed(self, connect, submit, plug_in):
        plug_in(Blind)
        connect("BLIND")
        export = submit()
        self.claim(export)

        export = self.swept(export)

        assert (export.status, export.error["code"]) == ("UNCONFIRMED", "WORKER_LOST")

    def test_what_cannot_be_looked_up_right_now_waits(self, connect, submit, monkeypatch):
        connect()
        export = submit()
        self.claim(export)
        monkeypatch.delitem(registry._connectors, "MOCK")

        export = self.swept(export)

        assert (export.status, export.outcome_unknown) == ("PENDING", True)

    @pytest.mark.parametrize(("document_name", "status"), [("", "FAILED"), ("x", "UNCONFIRMED")])
    def test_an_export_that_kills_its_workers_is_given_up(self, connect, submit, settings, document_name, status):
        settings.EXPORT_MAX_ATTEMPTS = 1
        connect()
        export = submit()
        self.claim(export, document_name=document_name)

        assert self.swept(export).status == status

    def test_a_lease_that_runs_is_left_alone(self, connect, submit):
        connection = connect()
        export = submit()
        claim(connection)

        assert self.swept(export).status == "SENDING"

    def test_starts_each_connection_once_that_has_something_due(self, connect, submit, globex, actor):
        connection = connect()
        submit("SO-1"), submit("SO-2")
        idle = connections.create(globex, actor, connector_type="MOCK", config={})
        jobs_for(connection.pk).delete()

        delivery.sweep()
        delivery.sweep()

        assert jobs_for(connection.pk).count() == 1
        assert jobs_for(idle.pk).count() == 0

    @pytest.mark.parametrize("state", [{"status": "DISABLED"}, {"health": "AUTH_FAILED"}])
    def test_starts_no_connection_that_may_not_send(self, connect, submit, state):
        connection = connect()
        submit()
        jobs_for(connection.pk).delete()
        ERPConnection.objects.update(**state)

        delivery.sweep()

        assert jobs_for(connection.pk).count() == 0

    def test_takes_waiting_exports_to_the_connection_that_sends_now(self, connect, submit, actor):
        old = connect()
        export = submit()
        connections.disable(old, actor)
        new = connect()

        delivery.sweep()

        assert jobs_for(new.pk).exists()
        assert drain(ERPExport.objects.get(pk=export.pk)).status == "SENT"
