"""The verbs of a connection, on a real database with real adapters."""

import threading
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.exceptions import ConfigurationError, SecretsRequired, UnknownConnector
from connectors.models import ConnectionTest, ERPConnection, ERPExport
from connectors.services import configurations, connections, diagnosis, jobs
from connectors.services.errors import ActiveConnectorExists, ConnectorInUse, RevisionChanged, UntestedRevision
from tenants import scope
from tenants.models import AuditEvent

SECRET = "c4n4ry-s3cret"
MOCK = {"account": "demo", "api_key": SECRET}


@pytest.fixture
def mock(acme, actor):
    return connections.create(acme, actor, connector_type="MOCK", config=MOCK)


def mock_with(acme, actor, **config):
    return connections.create(acme, actor, connector_type="MOCK", config=MOCK | config)


def last_event(org):
    return AuditEvent.objects.of(org).first()


class TestCreate:
    def test_seals_the_config_and_tells_the_trail(self, acme, mock):
        stored = ERPConnection.objects.get()

        assert SECRET.encode() not in bytes(stored.config_encrypted)
        assert stored.read_config()["api_key"] == SECRET
        assert (stored.status, stored.health, stored.revision, stored.tested_revision) == (
            "ACTIVE",
            "UNTESTED",
            1,
            None,
        )
        event = last_event(acme)
        assert (event.action, event.target_id) == ("connection.created", str(mock.pk))
        assert event.details["config"]["account"] == "demo"
        assert SECRET not in str(event.details)

    def test_an_unknown_type_is_refused(self, acme, actor):
        with pytest.raises(UnknownConnector, match="MOCK"):
            connections.create(acme, actor, connector_type="SAP_R2", config={})

    def test_a_faulty_config_is_refused_and_leaves_nothing(self, acme, actor):
        with pytest.raises(ConfigurationError):
            connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config={"mode": "sftp"})

        assert not ERPConnection.objects.exists()
        assert not AuditEvent.objects.exists()

    def test_one_connection_is_active(self, acme, globex, actor, mock):
        with pytest.raises(ActiveConnectorExists) as refused:
            mock_with(acme, actor)

        assert refused.value.details == {"connection_id": str(mock.pk)}
        assert connections.create(acme, actor, connector_type="MOCK", config={}, status="DISABLED").status == "DISABLED"
        assert mock_with(globex, actor).status == "ACTIVE"


class TestChange:
    def test_a_patch_keeps_the_secret_and_counts_the_revision(self, acme, actor, mock):
        changed = connections.change(mock, actor, config={"latency_ms": 5})

        assert changed.revision == 2
        assert changed.read_config() == mock.read_config() | {"latency_ms": 5}
        assert changed.secrets_updated_at == mock.secrets_updated_at
        assert last_event(acme).details == {"changes": {"config.latency_ms": [0, 5]}}

    def test_a_new_secret_is_told_by_name_only(self, acme, actor, mock):
        changed = connections.change(mock, actor, config={"api_key": "an0ther-s3cret"})

        assert changed.secrets_updated_at["api_key"] > mock.secrets_updated_at["api_key"]
        assert last_event(acme).details == {"secrets": ["api_key"]}

    def test_a_cleared_secret_is_no_longer_listed(self, actor, mock):
        assert connections.change(mock, actor, config={"api_key": None}).secrets_updated_at == {}

    def test_a_new_destination_asks_for_the_secret(self, actor, mock):
        with pytest.raises(SecretsRequired):
            connections.change(mock, actor, config={"account": "elsewhere"})

        mock.refresh_from_db()
        assert (mock.revision, mock.read_config()["account"]) == (1, "demo")

    def test_the_same_config_is_no_change(self, acme, actor, mock):
        before = last_event(acme).pk

        assert connections.change(mock, actor, config={"account": "demo"}, name=mock.name).revision == 1
        assert last_event(acme).pk == before

    def test_somebody_elses_change_is_not_lost(self, actor, mock):
        connections.change(mock, actor, config={"latency_ms": 5}, expected_revision=1)

        with pytest.raises(RevisionChanged):
            connections.change(mock, actor, config={"latency_ms": 9}, expected_revision=1)

    def test_a_changed_config_is_untested_again(self, actor, mock):
        diagnosis.test(mock, actor)

        changed = connections.change(mock, actor, config={"latency_ms": 1})

        assert (changed.health, changed.tested_revision, changed.revision) == ("UNTESTED", 1, 2)


class TestTest:
    def test_success_is_a_row_and_a_health(self, acme, actor, mock):
        report = diagnosis.test(mock, actor)

        assert report.success
        assert ConnectionTest.objects.get().result["success"] is True
        assert (mock.health, mock.tested_revision, mock.last_test_at) == ("HEALTHY", 1, report.started_at)
        assert last_event(acme).action == "connection.tested"

    @pytest.mark.parametrize(
        ("error", "health"), [("AuthenticationFailed", "AUTH_FAILED"), ("TemporaryError", "FAILING")]
    )
    def test_failure_is_a_report(self, acme, actor, error, health):
        connection = mock_with(acme, actor, fail_with=error)

        report = diagnosis.test(connection, actor)

        assert not report.success
        assert report.code
        assert (connection.health, connection.tested_revision) == (health, None)

    def test_a_refused_sign_in_stays_the_reason_until_a_test_succeeds(self, acme, actor):
        connection = mock_with(acme, actor, fail_with="TemporaryError")
        ERPConnection.objects.update(health="AUTH_FAILED")

        diagnosis.test(connection, actor)
        assert connection.health == "AUTH_FAILED"

        diagnosis.test(connections.change(connection, actor, config={"fail_with": None}), actor)
        connection.refresh_from_db()
        assert connection.health == "HEALTHY"

    def test_an_edit_is_tested_without_being_saved(self, actor, mock):
        report = diagnosis.test(mock, actor, patch={"fail_with": "TemporaryError"})

        assert (report.success, report.subject, report.config_encrypted) == (False, "EDIT", None)
        assert not ConnectionTest.objects.of_what_is_in_use().exists()
        assert (mock.health, mock.read_config()["fail_with"]) == ("UNTESTED", None)

    def test_an_edited_destination_does_not_get_the_stored_secret(self, actor, mock):
        with pytest.raises(SecretsRequired):
            diagnosis.test(mock, actor, patch={"account": "elsewhere"})

    def test_a_change_during_the_test_is_not_called_tested(self, actor, mock):
        def change(step):
            connections.change(mock, actor, config={"latency_ms": mock.revision})

        diagnosis.test(mock, actor, on_step=change)

        assert (mock.health, mock.tested_revision) == ("UNTESTED", None)

    def test_an_unsaved_config_leaves_no_connection_and_no_secret(self, acme, actor):
        test = diagnosis.start_new(acme, actor, connector_type="MOCK", config=MOCK)
        assert SECRET.encode() not in bytes(test.config_encrypted)

        report = diagnosis.finish(test)

        assert (report.success, report.config_encrypted) == (True, None)
        assert not ERPConnection.objects.exists()


class TestUnreadable:
    @pytest.fixture
    def unreadable(self, mock):
        with database.cursor() as cursor:
            cursor.execute("UPDATE erp_connection SET config_encrypted = 'not an envelope'")
        return ERPConnection.objects.get()

    def test_is_a_state(self, unreadable):
        assert configurations.describe(unreadable) == {"health": "UNREADABLE", "config": {}, "secrets": {}}

    def test_a_test_says_so(self, actor, unreadable):
        report = diagnosis.test(unreadable, actor)

        assert (report.success, report.code, unreadable.health) == (False, "UNREADABLE_CONFIG", "UNREADABLE")

    def test_the_name_can_be_changed_and_the_config_replaced(self, actor, unreadable):
        connections.change(unreadable, actor, name="Old ERP")
        connections.disable(unreadable, actor)

        replaced = connections.change(unreadable, actor, config=MOCK, status="ACTIVE", reason="it was lost")

        assert replaced.read_config()["api_key"] == SECRET
        assert configurations.describe(replaced)["health"] == "UNTESTED"

    def test_a_row_of_another_organisation_does_not_open(self, mock, globex, actor):
        other = mock_with(globex, actor)
        ERPConnection.objects.filter(pk=other.pk).update(config_encrypted=mock.config_encrypted)

        assert configurations.describe(ERPConnection.objects.get(pk=other.pk))["health"] == "UNREADABLE"


class TestWaitingExports:
    """What waits for another attempt goes as soon as a person has mended the connection."""

    @pytest.fixture
    def waiting(self, acme, mock):
        later = timezone.now() + timedelta(hours=1)
        for minute, order_id, code in ((1, "1", "DNS_FAILURE"), (2, "2", "RATE_LIMITED")):
            ERPExport.objects.create(
                org=acme,
                connection=mock,
                order_id=order_id,
                order={},
                next_attempt_at=later + timedelta(minutes=minute),
                error={"code": code},
            )

    @pytest.mark.parametrize(
        "mend",
        [
            lambda connection, actor: diagnosis.test(connection, actor),
            lambda connection, actor: connections.change(connection, actor, config={"latency_ms": 1}),
        ],
        ids=["test", "change"],
    )
    def test_a_mended_connection_does_not_keep_them_waiting(self, actor, mock, waiting, mend):
        jobs_before = ProcrastinateJob.objects.filter(task_name=jobs.DRAIN).count()

        mend(mock, actor)

        assert [export.order_id for export in ERPExport.objects.filter(next_attempt_at=None)] == ["1"]
        assert ProcrastinateJob.objects.filter(task_name=jobs.DRAIN).count() == jobs_before + 1

    def test_a_failed_test_does(self, actor, mock, waiting):
        connections.change(mock, actor, name="renamed")
        diagnosis.test(mock, actor, patch={"fail_with": "TemporaryError"})

        assert not ERPExport.objects.filter(next_attempt_at=None).exists()


class TestActivate:
    @pytest.fixture
    def spare(self, acme, actor):
        spare = connections.create(acme, actor, connector_type="MOCK", config={}, name="spare", status="DISABLED")
        diagnosis.test(spare, actor)
        return spare

    def test_refuses_beside_another(self, actor, mock, spare):
        with pytest.raises(ActiveConnectorExists):
            connections.activate(spare, actor, replace=False)

    def test_replaces_in_one_step(self, actor, mock, spare):
        assert connections.activate(spare, actor, replace=True).status == "ACTIVE"

        mock.refresh_from_db()
        assert mock.status == "DISABLED"

    def test_is_idempotent(self, actor, mock):
        assert connections.activate(mock, actor, replace=False).status == "ACTIVE"

    def test_what_was_never_tested_needs_a_reason(self, acme, actor, mock, spare):
        connections.change(spare, actor, config={"latency_ms": 1})

        with pytest.raises(UntestedRevision):
            connections.activate(spare, actor, replace=True)
        connections.activate(spare, actor, replace=True, reason=" go-live tonight ")

        changed = AuditEvent.objects.of(acme).filter(action="connection.changed", target_id=str(spare.pk)).first()
        assert changed.details == {
            "changes": {"status": ["DISABLED", "ACTIVE"]},
            "untested": True,
            "reason": "go-live tonight",
        }
        mock.refresh_from_db()
        assert mock.status == "DISABLED"

    def test_what_was_never_tested_is_tested_when_nobody_gives_a_reason(self, actor, mock, spare):
        connections.change(spare, actor, config={"latency_ms": 1})

        activated = diagnosis.proving(spare, actor, lambda: connections.activate(spare, actor, replace=True))

        assert (activated.status, activated.tested_revision) == ("ACTIVE", 2)

    def test_what_fails_its_test_is_not_activated(self, actor, mock, spare):
        connections.change(spare, actor, config={"fail_with": "TemporaryError"})

        with pytest.raises(UntestedRevision) as refused:
            diagnosis.proving(spare, actor, lambda: connections.activate(spare, actor, replace=True))

        assert refused.value.details["test"]["success"] is False
        mock.refresh_from_db()
        assert mock.status == "ACTIVE"

    @pytest.mark.django_db(transaction=True)
    def test_two_at_once_end_with_one_active(self, acme, actor, mock, spare):
        third = connections.create(acme, actor, connector_type="MOCK", config={}, status="DISABLED")
        diagnosis.test(third, actor)
        start = threading.Barrier(2)

        def switch(target):
            start.wait()
            try:
                connections.activate(target, actor, replace=True)
            finally:
                database.close()

        threads = [threading.Thread(target=scope.everything()(switch), args=(target,)) for target in (spare, third)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert ERPConnection.objects.active().count() == 1


class TestDelete:
    def test_an_unused_connection_goes(self, acme, actor, mock):
        connections.delete(mock, actor)

        assert not ERPConnection.objects.exists()
        assert last_event(acme).action == "connection.deleted"

    def test_one_with_exports_stays(self, acme, actor, mock):
        ERPExport.objects.create(
            org=acme, connection=mock, order_id="1", order={}, order_fingerprint="", actor_label="x"
        )

        with pytest.raises(ConnectorInUse), transaction.atomic():
            connections.delete(mock, actor)

        assert ERPConnection.objects.filter(pk=mock.pk).exists()
        assert last_event(acme).action == "connection.created"


def test_describe_names_secrets_without_showing_them(mock):
    described = configurations.describe(mock)

    assert described["config"]["account"] == "demo"
    assert described["secrets"] == {"api_key": {"set": True, "updated_at": mock.secrets_updated_at["api_key"]}}
    assert SECRET not in str(described)
