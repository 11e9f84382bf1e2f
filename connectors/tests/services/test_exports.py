"""Submitting, previewing, retrying and cancelling, on a real database."""

import threading
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.exceptions import UnsupportedFeature
from connectors.models import ERPConnection, ERPExport
from connectors.registry import registry
from connectors.services import connections, delivery, exports
from connectors.services.errors import (
    ExportExists,
    IdempotencyKeyReused,
    NoActiveConnector,
    NotCancellable,
    NotRetryable,
)
from connectors.testing import sample_orders
from tenants import scope
from tenants.models import AuditEvent

ORDER = sample_orders.complete("SO-1")


@pytest.fixture
def mock(acme, actor):
    return connections.create(acme, actor, connector_type="MOCK", config={})


def submit(org, actor, order=ORDER, key="key-1"):
    return exports.submit(org, actor, order, idempotency_key=key)[0]


def jobs_for(connection):
    """Return the names of the jobs of one connection; jobs outlive a test that commits."""
    jobs = ProcrastinateJob.objects.filter(args={"connection_id": str(connection.pk)})
    return [job.task_name.rpartition(".")[2] for job in jobs]


class TestSubmit:
    def test_commits_the_export_and_its_job(self, acme, actor, mock):
        export, created = exports.submit(acme, actor, ORDER, idempotency_key="key-1")

        assert created
        assert (export.status, export.attempts, export.connection_id) == ("PENDING", 0, mock.pk)
        assert ERPExport.objects.get().order == ORDER.as_json()
        assert jobs_for(mock) == ["drain_connection"]
        event = AuditEvent.objects.of(acme).first()
        assert (event.action, event.target_id) == ("export.submitted", str(export.pk))

    @pytest.mark.django_db(transaction=True)
    def test_the_export_and_its_job_roll_back_together(self, acme, actor, mock):
        with transaction.atomic():
            submit(acme, actor)
            transaction.set_rollback(True)

        assert not ERPExport.objects.exists()
        assert jobs_for(mock) == []

    def test_the_same_request_again_has_no_effect(self, acme, actor, mock):
        first = submit(acme, actor)

        again, created = exports.submit(acme, actor, sample_orders.complete("SO-1"), idempotency_key="key-1")

        assert (again.pk, created) == (first.pk, False)
        assert len(jobs_for(mock)) == 1

    def test_the_same_request_is_answered_without_an_active_connection(self, acme, actor, mock):
        first = submit(acme, actor)
        connections.disable(mock, actor)

        assert submit(acme, actor).pk == first.pk

    def test_the_same_key_for_another_order_is_refused(self, acme, actor, mock):
        first = submit(acme, actor)

        with pytest.raises(IdempotencyKeyReused) as refusal:
            submit(acme, actor, sample_orders.minimal("SO-1"))

        assert refusal.value.details == {"export_id": str(first.pk)}

    def test_a_second_export_of_a_live_order_is_refused(self, acme, actor, mock):
        first = submit(acme, actor)

        with pytest.raises(ExportExists) as refusal:
            submit(acme, actor, key="key-2")

        assert refusal.value.details == {"export_id": str(first.pk)}

    @pytest.mark.parametrize("dead", ["FAILED", "REJECTED", "CANCELLED"])
    def test_a_dead_export_leaves_its_order_free(self, acme, actor, mock, dead):
        first = submit(acme, actor)
        ERPExport.objects.update(status=dead)

        assert submit(acme, actor, key="key-2").pk != first.pk

    def test_nothing_is_accepted_without_an_active_connection(self, acme, actor, mock):
        connections.disable(mock, actor)

        with pytest.raises(NoActiveConnector):
            submit(acme, actor)

    def test_keys_and_orders_of_organisations_do_not_meet(self, acme, globex, actor, mock):
        connections.create(globex, actor, connector_type="MOCK", config={})

        assert submit(acme, actor).pk != submit(globex, actor).pk

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("same_key", [True, False])
    def test_of_twenty_requests_at_once_one_is_accepted(self, acme, actor, mock, same_key):
        start, answers = threading.Barrier(20), []

        def request(number):
            start.wait()
            try:
                key = "key" if same_key else f"key-{number}"
                answers.append(exports.submit(acme, actor, ORDER, idempotency_key=key))
            except ExportExists as refusal:
                answers.append((refusal.details["export_id"], False))
            finally:
                connection.close()

        threads = [threading.Thread(target=scope.everything()(request), args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        only = ERPExport.objects.get()
        assert sorted(created for _, created in answers) == [False] * 19 + [True]
        assert {str(getattr(answer, "pk", answer)) for answer, _ in answers} == {str(only.pk)}
        assert len(jobs_for(mock)) == 1

    def test_the_database_refuses_another_organisations_connection(self, acme, globex, actor, mock):
        with pytest.raises(IntegrityError, match="erp_export_same_org"), transaction.atomic():
            ERPExport.objects.create(
                org=globex, connection=mock, order_id="SO-1", order={}, order_fingerprint="", actor_kind="SYSTEM"
            )


class TestPreview:
    def test_shows_the_document_and_keeps_nothing(self, acme, actor, mock):
        document = exports.preview(acme, ORDER)

        assert document.filename.startswith("sales_order_SO-1_")
        assert b'"org_slug":"acme"' in document.content.replace(b" ", b"")
        assert not ERPExport.objects.exists()

    def test_needs_an_active_connection(self, acme):
        with pytest.raises(NoActiveConnector):
            exports.preview(acme, ORDER)

    def test_says_when_the_connector_cannot_render(self, acme, actor, mock, monkeypatch):
        connector = type(registry.get("MOCK"))
        monkeypatch.delattr(connector, "render")

        with pytest.raises(UnsupportedFeature, match="a preview"):
            exports.preview(acme, ORDER)


class TestRetry:
    @pytest.mark.parametrize("status", ["FAILED", "REJECTED", "UNCONFIRMED"])
    def test_makes_a_new_export_through_the_active_connection(self, acme, actor, mock, status):
        old = submit(acme, actor)
        ERPExport.objects.update(status=status)
        connections.disable(mock, actor)
        other = connections.create(acme, actor, connector_type="MOCK", config={"account": "other"})

        new = exports.retry(old, actor)

        old.refresh_from_db()
        assert (old.status, old.superseded_at is not None) == (status, True)
        assert (new.status, new.retry_of_id, new.connection_id) == ("PENDING", old.pk, other.pk)
        assert (new.order, new.idempotency_key) == (old.order, None)
        assert jobs_for(other) == ["drain_connection"]
        assert AuditEvent.objects.of(acme).first().action == "export.retried"

    @pytest.mark.parametrize("status", ["PENDING", "SENDING", "SENT", "ACKED", "CANCELLED"])
    def test_is_refused_in_other_states(self, acme, actor, mock, status):
        export = submit(acme, actor)
        ERPExport.objects.update(status=status)

        with pytest.raises(NotRetryable):
            exports.retry(export, actor)

    def test_is_refused_the_second_time(self, acme, actor, mock):
        export = submit(acme, actor)
        ERPExport.objects.update(status="FAILED")
        exports.retry(export, actor)

        with pytest.raises(NotRetryable):
            exports.retry(export, actor)

    def test_is_refused_when_the_order_was_submitted_anew(self, acme, actor, mock):
        old = submit(acme, actor)
        ERPExport.objects.update(status="FAILED")
        anew = submit(acme, actor, key="key-2")

        with pytest.raises(ExportExists) as refusal:
            exports.retry(old, actor)

        old.refresh_from_db()
        assert old.superseded_at is None
        assert refusal.value.details == {"export_id": str(anew.pk)}

    def test_needs_an_active_connection_and_else_changes_nothing(self, acme, actor, mock):
        export = submit(acme, actor)
        ERPExport.objects.update(status="FAILED")
        connections.disable(mock, actor)

        with pytest.raises(NoActiveConnector):
            exports.retry(export, actor)

        assert ERPExport.objects.get().superseded_at is None


class TestCancel:
    def test_withdraws_what_was_not_sent(self, acme, actor, mock):
        export = exports.cancel(submit(acme, actor), actor)

        assert (export.status, export.finished_at is not None) == ("CANCELLED", True)
        assert AuditEvent.objects.of(acme).first().action == "export.cancelled"
        assert delivery.drain(mock.pk) == 0

    @pytest.mark.parametrize(
        "state", [{"status": status} for status in ("SENDING", "SENT", "FAILED")] + [{"outcome_unknown": True}]
    )
    def test_is_refused_when_something_may_have_arrived(self, acme, actor, mock, state):
        export = submit(acme, actor)
        ERPExport.objects.update(**state)

        with pytest.raises(NotCancellable):
            exports.cancel(export, actor)

        assert AuditEvent.objects.of(acme).first().action == "export.submitted"


class TestMoveWaiting:
    @pytest.fixture
    def replaced(self, acme, actor, mock):
        """Return an order that waits at a connection which another one has replaced, and that other one."""
        export = submit(acme, actor)
        connections.disable(mock, actor)
        assert exports.move_waiting() == 0
        return export, connections.create(acme, actor, connector_type="MOCK", config={})

    @pytest.mark.parametrize("state", [{}, {"attempts": 3, "document_name": "x", "error": {"code": "DNS_FAILURE"}}])
    def test_moves_what_cannot_have_arrived(self, replaced, state):
        export, active = replaced
        ERPExport.objects.update(**state)

        assert exports.move_waiting() == 1

        export.refresh_from_db()
        assert export.connection_id == active.pk
        assert (export.attempts, export.document_name, export.error) == (0, "", None)
        delivery.drain(active.pk)
        export.refresh_from_db()
        assert export.status == "SENT"

    def test_leaves_what_may_have_arrived_to_a_look_up(self, replaced, mock):
        export, _ = replaced
        ERPExport.objects.update(outcome_unknown=True)

        assert exports.move_waiting() == 0

        export.refresh_from_db()
        assert (export.status, export.outcome_unknown, export.connection_id) == ("PENDING", True, mock.pk)

    @pytest.mark.parametrize(
        "state",
        [
            {"health": "AUTH_FAILED"},
            {"retry_at": timezone.now()},
            {"config_encrypted": b"ERPC\x01" + bytes(80)},
            {"connector_type": "GONE"},
        ],
        ids=lambda state: next(iter(state)),
    )
    def test_leaves_to_a_person_what_cannot_be_looked_up(self, replaced, mock, state):
        export, _ = replaced
        ERPExport.objects.update(outcome_unknown=True)
        ERPConnection.objects.filter(pk=mock.pk).update(**state)

        assert exports.move_waiting() == 0

        self.expect_unconfirmed(export, mock)

    def test_leaves_to_a_person_what_this_connector_cannot_look_up(self, replaced, mock, monkeypatch):
        export, _ = replaced
        ERPExport.objects.update(outcome_unknown=True)
        monkeypatch.setattr(type(registry.get("MOCK")), "supports_find_export", False)

        assert exports.move_waiting() == 0

        self.expect_unconfirmed(export, mock)

    def expect_unconfirmed(self, export, connection):
        export.refresh_from_db()
        assert (export.status, export.error["code"], export.connection_id) == (
            "UNCONFIRMED",
            "OUTCOME_UNKNOWN",
            connection.pk,
        )
        assert export.is_retryable

    def test_moves_those_of_one_organisation_if_that_is_asked(self, replaced, acme, globex):
        assert exports.move_waiting(globex) == 0
        assert exports.move_waiting(acme) == 1

    def test_lets_a_worker_begin(self, replaced):
        _, active = replaced

        exports.move_waiting()

        assert jobs_for(active) == ["drain_connection"]

    def test_leaves_what_was_sent(self, replaced):
        ERPExport.objects.update(status="SENT")

        assert exports.move_waiting() == 0

    def test_leaves_what_waits_at_a_connection_that_sends(self, acme, actor, mock):
        submit(acme, actor)

        assert exports.move_waiting() == 0
        assert ERPExport.objects.get().connection_id == mock.pk


def test_an_unexpected_breach_is_no_refusal(acme, actor, mock, monkeypatch):
    """Only the two unique indexes mean "exists already"; any other complaint of the database is a fault."""
    monkeypatch.setattr(exports, "_find_active", lambda org: type(mock)(id=uuid4(), org=org))

    with pytest.raises(IntegrityError, match="erp_export_same_org"):
        submit(acme, actor)
