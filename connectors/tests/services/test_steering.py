"""Steering: settings of delivery, pause, approval, resending, putting aside; all of it in the audit trail."""

import pytest
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.exceptions import InvalidInput
from connectors.models import ERPConnection, ERPExport
from connectors.services import connections, exports, steering
from connectors.services.errors import (
    ConnectionGone,
    ExportExists,
    NotDismissible,
    NotHeld,
    NotResendable,
    NotRetryable,
)
from connectors.testing import sample_orders
from connectors.tests.rows import an_export, things_done
from tenants.models import AuditEvent

ORDER = sample_orders.minimal("SO-1")  # 10.50 × 1.2300 EUR
NIGHT = {"days": ["fri"], "start": "22:00", "end": "02:00", "timezone": "Europe/Berlin"}


@pytest.fixture
def mock(connect):
    return connect()


@pytest.fixture
def limited(mock, actor):
    return steering.configure(mock, actor, {"approval_limits": {"EUR": "1"}})


@pytest.fixture
def held(limited, acme, actor):
    ProcrastinateJob.objects.all().delete()
    return exports.submit(acme, actor, ORDER, idempotency_key="k")[0]


def woken():
    return list(ProcrastinateJob.objects.values_list("args__connection_id", flat=True))


def last_event(org):
    event = AuditEvent.objects.of(org).first()
    return event.action, event.details


class TestSettings:
    def test_are_audited_with_before_and_after_and_wake_the_queue(self, mock, actor, acme):
        ProcrastinateJob.objects.all().delete()

        steering.configure(mock, actor, {"window": 1, "max_per_minute": 60, "maintenance_windows": [NIGHT]})

        stored = ERPConnection.objects.get()
        assert (stored.window, stored.max_per_minute, stored.maintenance_windows) == (1, 60, [NIGHT])
        assert (stored.revision, stored.ack_expected_within) == (1, None)
        assert last_event(acme) == (
            "connection.delivery_changed",
            {"changes": {"window": [16, 1], "max_per_minute": [None, 60], "maintenance_windows": [[], [NIGHT]]}},
        )
        assert woken() == [str(mock.pk)]

    def test_what_stays_the_same_is_not_told(self, mock, actor):
        before = things_done().count()

        steering.configure(mock, actor, {"window": 16, "maintenance_windows": [], "approval_limits": {}})

        assert things_done().count() == before

    def test_everything_that_is_wrong_is_said_at_once_and_nothing_changes(self, mock, actor):
        wrong = {"window": 5, "maintenance_windows": [NIGHT | {"end": "x"}], "approval_limits": {"EUR": 1.5}}

        with pytest.raises(InvalidInput) as refused:
            steering.configure(mock, actor, wrong)

        assert [fault.path for fault in refused.value.faults] == ["approval_limits.EUR", "maintenance_windows.0.end"]
        assert ERPConnection.objects.get().window == 16


class TestPause:
    def test_and_resume(self, mock, actor, acme):
        paused = steering.pause(mock, actor, reason="stocktaking")
        again = steering.pause(mock, actor, reason="still stocktaking")
        ProcrastinateJob.objects.all().delete()

        assert paused.paused_at == again.paused_at
        assert last_event(acme) == ("connection.paused", {"reason": "still stocktaking"})
        resumed = steering.resume(mock, actor)
        assert (resumed.paused_at, resumed.pause_reason) == (None, "")
        assert last_event(acme)[1]["was_paused"] == "still stocktaking"
        assert woken() == [str(mock.pk)]

    def test_what_is_not_paused_is_left_alone(self, mock, actor):
        before = things_done().count()

        steering.resume(mock, actor)

        assert things_done().count() == before

    def test_of_what_was_deleted_is_refused(self, mock, actor):
        connections.delete(mock, actor)

        with pytest.raises(ConnectionGone):
            steering.pause(mock, actor, reason="x")


class TestApproval:
    def test_an_order_above_the_limit_waits_until_somebody_approves(self, held, limited, acme, actor):
        assert (held.status, held.held) == ("PENDING", True)
        assert last_event(acme) == ("export.submitted", {"order_id": "SO-1", "held": True})
        ProcrastinateJob.objects.all().delete()

        exports.approve(held, actor)

        assert ERPExport.objects.get().held is False
        assert last_event(acme)[0] == "export.approved"
        assert woken() == [str(limited.pk)]
        with pytest.raises(NotHeld):
            exports.approve(held, actor)

    def test_the_same_key_brings_the_same_held_export(self, held, acme, actor):
        assert exports.submit(acme, actor, ORDER, idempotency_key="k") == (held, False)

    def test_it_can_be_cancelled_and_then_no_longer_approved(self, held, actor):
        cancelled = exports.cancel(held, actor)

        assert (cancelled.status, cancelled.held) == ("CANCELLED", False)
        with pytest.raises(NotHeld):
            exports.approve(held, actor)

    def test_it_waits_also_at_the_connection_that_replaces_this_one(self, held, acme, actor, connect, limited):
        connections.disable(limited, actor)
        other = connect()

        exports.move_waiting()

        held.refresh_from_db()
        assert (held.connection_id, held.held) == (other.pk, True)

    def test_a_retry_is_a_persons_decision_and_does_not_wait(self, limited, actor):
        failed = an_export(limited, "FAILED")

        assert exports.retry(failed, actor).held is False


class TestResend:
    @pytest.mark.parametrize("status", ["SENT", "ACKED", "FAILED", "REJECTED", "UNCONFIRMED"])
    def test_makes_a_new_export_with_the_reason(self, mock, actor, acme, status):
        old = an_export(mock, status, filename="sales_order_SO-1.json")

        new = exports.resend(old, actor, reason="the ERP lost it")

        old.refresh_from_db()
        assert (old.status, old.superseded_at is not None) == (status, True)
        assert (new.status, new.retry_of_id, new.reason) == ("PENDING", old.pk, "the ERP lost it")
        assert (new.order, new.filename, new.idempotency_key) == (old.order, "", None)
        assert last_event(acme) == (
            "export.resent",
            {"order_id": old.order_id, "retry_of": str(old.pk), "reason": "the ERP lost it"},
        )

    @pytest.mark.parametrize("status", ["PENDING", "SENDING", "CANCELLED"])
    def test_is_refused_while_it_is_under_way_or_withdrawn(self, mock, actor, status):
        with pytest.raises(NotResendable):
            exports.resend(an_export(mock, status), actor, reason="x")

    def test_only_the_latest_can_be_sent_again(self, mock, actor):
        old = an_export(mock, "SENT")
        new = exports.resend(old, actor, reason="x")

        with pytest.raises(NotResendable):
            exports.resend(old, actor, reason="x")
        with pytest.raises(NotRetryable):
            exports.retry(old, actor)
        with pytest.raises(NotResendable):
            exports.resend(new, actor, reason="x")

    def test_is_refused_when_the_order_was_submitted_anew(self, mock, acme, actor):
        failed = an_export(mock, "FAILED", order_id="SO-1")
        exports.submit(acme, actor, ORDER, idempotency_key="k")

        with pytest.raises(ExportExists):
            exports.resend(failed, actor, reason="x")


class TestPuttingAside:
    def test_it_is_no_longer_unresolved_but_all_else_stays(self, mock, acme, actor):
        export = an_export(mock, "UNCONFIRMED", order_id="SO-1")
        assert list(ERPExport.objects.unresolved()) == [export]

        exports.dismiss(export, actor, reason="settled by telephone")

        assert not ERPExport.objects.unresolved().exists()
        assert last_event(acme) == ("export.dismissed", {"order_id": "SO-1", "reason": "settled by telephone"})
        with pytest.raises(ExportExists):
            exports.submit(acme, actor, ORDER, idempotency_key="k")
        assert exports.retry(export, actor).retry_of == export

    @pytest.mark.parametrize("status", ["PENDING", "SENT", "ACKED", "CANCELLED"])
    def test_is_refused_where_nothing_waits_for_a_person(self, mock, actor, status):
        with pytest.raises(NotDismissible):
            exports.dismiss(an_export(mock, status), actor, reason="x")

    def test_is_refused_the_second_time_and_after_a_retry(self, mock, actor):
        dismissed, retried = an_export(mock, "FAILED"), an_export(mock, "FAILED")
        exports.dismiss(dismissed, actor, reason="x")
        exports.retry(retried, actor)

        for export in (dismissed, retried):
            with pytest.raises(NotDismissible):
                exports.dismiss(export, actor, reason="x")


def test_unresolved_is_what_a_person_has_to_settle(mock, acme, actor):
    ours = {an_export(mock, status).pk for status in ("FAILED", "REJECTED", "UNCONFIRMED")}
    for status in ("PENDING", "SENDING", "SENT", "ACKED", "CANCELLED"):
        an_export(mock, status)
    exports.retry(an_export(mock, "FAILED"), actor)
    an_export(mock, "REJECTED", order_id="SO-1")
    exports.submit(acme, actor, ORDER, idempotency_key="anew")

    assert {export.pk for export in ERPExport.objects.unresolved()} == ours
