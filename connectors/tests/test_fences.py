"""What the database itself refuses, whatever Python forgets."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from connectors.models import ConnectionTest, ERPExport, ExportAttempt
from connectors.services import connections
from tenants import scope
from tenants.models import AuditEvent, record


@pytest.fixture
def mock(acme, actor):
    return connections.create(acme, actor, connector_type="MOCK", config={})


@pytest.fixture
def export(acme, mock):
    return ERPExport.objects.create(org=acme, connection=mock, order_id="SO-1", order={})


def attempt(export, org):
    return ExportAttempt.objects.create(org=org, export=export, number=1, started_at=timezone.now(), outcome="SENT")


class TestOneOrganisation:
    """A row belongs to the organisation of its parent."""

    def test_an_export_and_its_connection(self, globex, mock):
        with pytest.raises(IntegrityError, match="erp_export_same_org"):
            ERPExport.objects.create(org=globex, connection=mock, order_id="SO-1", order={})

    def test_an_export_that_moves(self, globex, export, actor):
        other = connections.create(globex, actor, connector_type="MOCK", config={})

        with pytest.raises(IntegrityError, match="erp_export_same_org"):
            ERPExport.objects.filter(pk=export.pk).update(connection=other)

    def test_a_retry_and_what_it_retries(self, globex, export, actor):
        other = connections.create(globex, actor, connector_type="MOCK", config={})

        with pytest.raises(IntegrityError, match="erp_export_retry_same_org"):
            ERPExport.objects.create(org=globex, connection=other, order_id="SO-1", order={}, retry_of=export)

    def test_an_attempt_and_its_export(self, globex, export):
        with pytest.raises(IntegrityError, match="erp_export_attempt_same_org"):
            attempt(export, globex)

    def test_a_connection_test_and_its_connection(self, globex, mock):
        with pytest.raises(IntegrityError, match="erp_connection_test_same_org"):
            ConnectionTest.objects.create(
                org=globex, connection=mock, revision=1, success=True, latency_ms=1, result={}
            )


class TestAppendOnly:
    """What was recorded stays as it was."""

    @pytest.fixture(params=["audit_event", "erp_export_attempt"])
    def recorded(self, request, acme, actor, export):
        if request.param == "audit_event":
            record(actor, "test.done", org=acme)
        else:
            attempt(export, acme)
        return request.param

    @pytest.mark.parametrize("change", ["UPDATE {} SET org_id = org_id", "DELETE FROM {}"])
    def test_the_database_refuses_to_change_it(self, recorded, change):
        refused = pytest.raises(DatabaseError, match=f"{recorded} is append-only")
        with refused, scope.as_owner(), transaction.atomic():
            connection.cursor().execute(change.format(recorded))

    def test_an_organisation_with_a_past_cannot_be_deleted(self, acme, actor):
        event = record(actor, "test.done", org=acme)

        with pytest.raises(IntegrityError), transaction.atomic():
            acme.delete()

        assert AuditEvent.objects.filter(pk=event.pk).exists()


class TestOneLiveExport:
    @pytest.mark.parametrize("status", ["PENDING", "SENDING", "SENT", "ACKED", "UNCONFIRMED"])
    def test_beside_a_live_one_there_is_no_second(self, acme, mock, export, status):
        ERPExport.objects.update(status=status)

        with pytest.raises(IntegrityError, match="erp_export_one_live_per_order"):
            ERPExport.objects.create(org=acme, connection=mock, order_id="SO-1", order={})

    @pytest.mark.parametrize("status", ["FAILED", "REJECTED", "CANCELLED"])
    def test_a_dead_one_makes_room(self, acme, mock, export, status):
        ERPExport.objects.update(status=status)

        assert ERPExport.objects.create(org=acme, connection=mock, order_id="SO-1", order={}).pk
