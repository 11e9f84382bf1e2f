"""What happens without being asked: scheduled checks, probes, warnings of credentials that expire."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from structlog.testing import capture_logs

from connectors.config import Expiry
from connectors.models import ConnectionTest, ERPConnection, ERPExport, Installation
from connectors.services import checks, connections, diagnosis
from tenants.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def mock(acme, actor):
    return connections.create(acme, actor, connector_type="MOCK", config={})


def set_row(**columns):
    ERPConnection.objects.update(**columns)


def past(**age):
    return timezone.now() - timedelta(**age)


class TestChecks:
    def test_a_new_connection_is_checked_within_the_hour(self, mock):
        assert timedelta() <= mock.next_check_at - timezone.now() <= timedelta(hours=1)
        assert checks.start_due() == 0

    def test_a_due_one_is_checked_once_and_again_in_about_an_hour(self, mock):
        set_row(next_check_at=past(minutes=1))

        assert [checks.start_due(), checks.start_due()] == [1, 0]

        test = ConnectionTest.objects.get()
        assert (test.subject, test.actor_kind) == ("CHECK", "SYSTEM")
        mock.refresh_from_db()
        assert timedelta(minutes=53) < mock.next_check_at - timezone.now() < timedelta(minutes=67)

    def test_how_often_is_the_connections_own(self, mock, actor):
        connections.change(mock, actor, check_minutes=10)
        set_row(next_check_at=past(minutes=1))
        checks.start_due()

        mock.refresh_from_db()
        assert mock.next_check_at - timezone.now() < timedelta(minutes=12)

    @pytest.mark.parametrize(
        "columns",
        [
            {"check_minutes": 0},
            {"status": "DISABLED"},
            {"health": "AUTH_FAILED"},
            {"health": "UNREADABLE"},
            {"retry_at": datetime(2999, 1, 1, tzinfo=UTC)},
        ],
    )
    def test_nobody_logs_in_where_that_is_not_wanted(self, mock, columns):
        set_row(next_check_at=past(minutes=1), **columns)

        assert checks.start_due() == 0

    def test_a_restored_database_checks_nothing(self, mock):
        set_row(next_check_at=past(minutes=1))
        Installation.objects.update(name="elsewhere")

        assert checks.start_due() == 0

    def test_a_check_proves_no_revision_and_leaves_no_audit_event(self, mock):
        set_row(next_check_at=past(minutes=1))
        checks.start_due()
        events = AuditEvent.objects.count()

        assert diagnosis.run_next()

        mock.refresh_from_db()
        assert (mock.health, mock.tested_revision) == ("HEALTHY", None)
        assert AuditEvent.objects.count() == events

    def test_a_test_under_way_is_enough(self, mock, actor):
        diagnosis.start(mock, actor)
        set_row(next_check_at=past(minutes=1))

        assert checks.start_due() == 0

    def test_an_open_breaker_is_probed_when_its_time_has_come(self, mock):
        set_row(retry_at=past(seconds=1), failures_in_a_row=5, check_minutes=0)

        assert checks.start_due() == 1
        assert diagnosis.run_next()

        mock.refresh_from_db()
        assert (mock.retry_at, mock.failures_in_a_row, mock.health) == (None, 4, "HEALTHY")

    @pytest.mark.parametrize(("status", "started"), [("SENT", 1), ("ACKED", 0)])
    def test_a_replaced_one_is_probed_while_its_erp_owes_an_answer(self, acme, mock, status, started):
        ERPExport.objects.create(org=acme, connection=mock, order_id="1", order={}, status=status)
        set_row(status="DISABLED", retry_at=past(seconds=1))

        assert checks.start_due() == started


class TestHouseKeeping:
    def test_reports_are_kept_as_long_as_they_are_good_for_something(self, mock, acme, actor):
        for subject, days in (("CHECK", 31), ("CHECK", 29), ("STORED", 364), ("EDIT", 8)):
            ConnectionTest.objects.create(
                org=acme, connection=mock, subject=subject, state="FINISHED", started_at=past(days=days)
            )

        assert checks.forget_old_tests() == 2
        assert sorted(ConnectionTest.objects.values_list("subject", flat=True)) == ["CHECK", "STORED"]


class TestExpiries:
    def ledger(self, **left):
        expires_at = (timezone.now() + timedelta(**left)).isoformat()
        set_row(expiries=[{"field": "certificate", "kind": "SSH certificate", "expires_at": expires_at}])

    def test_the_ledger_is_filled_from_the_configuration(self, acme, actor, monkeypatch):
        last_day = timezone.now() + timedelta(days=10, hours=1)
        monkeypatch.setattr(
            "connectors.adapters.mock.MockConfig.expiries",
            lambda self: [Expiry(field="api_key", kind="token", expires_at=last_day)],
        )

        connection = connections.create(acme, actor, connector_type="MOCK", config={}, status="DISABLED")

        (entry,) = checks.expiries(connection)
        assert (entry["field"], entry["kind"], entry["days_left"]) == ("api_key", "token", 10)
        assert checks.expires_soon(connection) == entry

    def test_a_day_entered_by_hand_counts_to_its_end(self, mock, actor):
        changed = connections.change(mock, actor, credentials_expire_on=timezone.now().date())

        (entry,) = checks.expiries(changed)
        assert (entry["kind"], entry["days_left"]) == ("credentials", 0)

    def test_far_away_is_no_warning(self, mock):
        self.ledger(days=40)

        assert checks.announce_expiries() == 0

    def test_each_threshold_is_announced_once(self, acme, mock, monkeypatch):
        warnings, last_day = [], timezone.now() + timedelta(days=29, hours=1)
        set_row(expiries=[{"field": "certificate", "kind": "SSH certificate", "expires_at": last_day.isoformat()}])
        for days in (29, 20, 13, 5, 2, 1, -1, -5):
            monkeypatch.setattr(timezone, "now", lambda: last_day - timedelta(days=days, hours=1))  # noqa: B023
            with capture_logs() as logs:
                warnings.append(checks.announce_expiries())
            assert len([line for line in logs if line["event"] == "connection.credential_expires"]) == warnings[-1]

        assert warnings == [1, 0, 1, 0, 1, 0, 1, 0]
        assert AuditEvent.objects.of(acme).filter(action="connection.credential_expires").count() == 4

    def test_one_that_has_expired_silences_no_other(self, mock):
        entries = [
            {
                "field": field,
                "kind": "token",
                "expires_at": (timezone.now() + timedelta(days=days, hours=1)).isoformat(),
            }
            for field, days in (("old", -9), ("next", 13))
        ]
        set_row(expiries=entries[:1])
        assert checks.announce_expiries() == 1
        set_row(expiries=entries)

        assert [checks.announce_expiries(), checks.announce_expiries()] == [1, 0]

    def test_new_credentials_are_announced_anew(self, mock, actor):
        self.ledger(days=1)
        checks.announce_expiries()
        connections.change(mock, actor, config={"api_key": "new"})
        self.ledger(days=29)

        assert checks.announce_expiries() == 1
