"""What organisations keep no longer goes, in batches; whatever is still needed stays."""

import os
import resource
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from connectors.adapters.mock import MockConnector
from connectors.codes import Code
from connectors.exceptions import DocumentError
from connectors.models import AcknowledgementRecord, ERPExport, ExportAttempt
from connectors.results import Document
from connectors.services import delivery, documents, exports, retention, shelves
from connectors.tests.rows import a_connection, an_export
from connectors.tests.workers.processes import settings_of, wait_for
from erpconfig import parsers
from erpconfig.paths import BASE_DIR
from tenants import scope
from tenants.models import AuditEvent

LONG_AGO = timedelta(days=31)


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {shelves.STORAGE: parsers.document_storage(str(tmp_path / "documents"))}
    return storages[shelves.STORAGE]


@pytest.fixture
def line(acme):
    return a_connection(acme)


def keep(org, *, documents=None, exports=None):
    org.document_retention_days, org.export_retention_days = documents, exports
    org.save()


def finished(line, status="ACKED", *, ago=LONG_AGO, content=b"{}", **columns):
    """Return an export that was finished so long ago, with a document and one attempt."""
    document = Document(filename="order.json", content=content, media_type="application/json")
    moment = timezone.now() - ago
    export = an_export(
        line, status, ago=ago,
        finished_at=None if status in ("PENDING", "SENDING", "SENT") else moment, sent_at=moment,
        filename="order.json", document_name=documents.store(line.org_id, document),
        document_sha256=document.sha256, document_size=document.size, document_media_type=document.media_type,
        **columns,
    )  # fmt: skip
    ExportAttempt.objects.create(org_id=line.org_id, export=export, number=1, started_at=moment, outcome="SENT")
    return export


def purge(actor, **options):
    return {each.organization: each for each in retention.purge(actor, **options)}


class TestDocuments:
    def test_the_bytes_go_and_the_row_says_so(self, line, acme, actor, storage):
        export, young = finished(line), finished(line, ago=timedelta(days=29), content=b"{ }")
        keep(acme, documents=30)

        purged = purge(actor)["acme"]

        export.refresh_from_db()
        assert (purged.documents, purged.bytes, purged.exports) == (1, 2, 0)
        assert not storage.exists(export.document_name)
        assert export.document_purged_at is not None
        assert (export.filename, export.document_size, len(export.document_sha256)) == ("order.json", 2, 64)
        with pytest.raises(DocumentError) as error:
            documents.load(export)
        assert error.value.code is Code.DOCUMENT_PURGED
        assert documents.load(young) is not None
        assert AuditEvent.objects.get(action="retention.purged").details["documents"] == 1
        assert not purge(actor)["acme"]

    def test_bytes_that_another_export_needs_stay(self, line, acme, globex, actor, storage):
        first, second = finished(line), finished(line, ago=timedelta(days=1))
        foreign = finished(a_connection(globex))
        keep(acme, documents=30)

        purge(actor)

        first.refresh_from_db()
        assert first.document_purged_at is not None
        assert documents.load(second) is not None
        assert documents.load(foreign) is not None

    def test_bytes_that_are_being_stored_anew_stay(self, line, acme, actor, storage):
        export = finished(line, "FAILED")
        an_export(line, "SENDING", order_id=export.order_id)
        keep(acme, documents=30)

        purge(actor)

        assert storage.exists(export.document_name)

    def test_a_retry_renders_anew(self, acme, actor):
        line = a_connection(acme)
        export = finished(line, "FAILED")
        keep(acme, documents=30)
        purge(actor)

        retry = exports.retry(export, actor)
        delivery.drain(line.pk)

        retry.refresh_from_db()
        assert retry.status in ("SENT", "ACKED")
        assert documents.load(retry) is not None
        MockConnector.reset()

    def test_what_no_row_names_goes_after_a_day(self, line, acme, actor, storage):
        named = finished(line)
        old, young = (
            documents.store(acme.pk, Document(filename="x", content=content, media_type="x"))
            for content in (b"old", b"young")
        )
        torso = f"{named.document_name}.0.tmp"
        storage.save(torso, ContentFile(b"{"))
        for name in (named.document_name, old, torso):
            os.utime(storage.path(name), (0, 0))

        assert purge(actor, dry_run=True)["acme"].orphans == 2
        assert purge(actor, orphans=False)["acme"].orphans == 0
        assert purge(actor)["acme"].orphans == 2

        assert [storage.exists(name) for name in (named.document_name, old, torso, young)] == [True, False, False, True]


class TestExports:
    def test_only_what_is_finished_goes(self, line, acme, actor, storage):
        stay = [finished(line, status) for status in ("PENDING", "SENDING", "UNCONFIRMED")]
        stay.append(finished(line, ago=timedelta(days=29)))
        for status in ("ACKED", "REJECTED", "FAILED", "CANCELLED", "SENT"):
            export = finished(line, status)
            AcknowledgementRecord.objects.create(
                org=acme, connection=line, export=export, name=f"ack_{status}", fingerprint="0" * 64, outcome="APPLIED"
            )
        finished(line, "UNCONFIRMED", superseded_at=timezone.now())
        keep(acme, exports=30)

        assert purge(actor, dry_run=True)["acme"].exports == 6
        assert purge(actor)["acme"].exports == 6

        assert set(ERPExport.objects.all()) == set(stay)
        assert ExportAttempt.objects.count() == len(stay)
        assert not AcknowledgementRecord.objects.exists()

    def test_a_sent_order_whose_answer_is_expected_stays(self, line, acme, actor):
        line.ack_expected_within = 60
        line.save()
        finished(line, "SENT")
        keep(acme, exports=30)

        assert purge(actor)["acme"].exports == 0

    def test_an_export_stays_as_long_as_a_later_try_for_its_order(self, line, acme, actor):
        first = finished(line, "FAILED", superseded_at=timezone.now())
        second = finished(line, "FAILED", superseded_at=timezone.now(), retry_of=first)
        last = finished(line, "PENDING", retry_of=second)
        keep(acme, exports=30)

        assert purge(actor)["acme"].exports == 0

        ERPExport.objects.filter(pk=last.pk).update(status="ACKED", finished_at=timezone.now() - LONG_AGO)
        assert purge(actor)["acme"].exports == 3

    def test_the_database_lets_no_other_way_to_an_attempt(self, line, acme, actor):
        old, young = finished(line), finished(line, ago=timedelta(days=1))
        refused = [
            (young, "DELETE FROM erp_export_attempt WHERE export_id = %s", "on"),
            (old, "UPDATE erp_export_attempt SET outcome = 'FAILED' WHERE export_id = %s", "on"),
            (old, "DELETE FROM erp_export_attempt WHERE export_id = %s", "off"),
        ]
        keep(acme, exports=30)
        for export, sql, purging in refused:
            with scope.as_owner(), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('erp.purge', %s, true)", [purging])
                with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                    cursor.execute(sql, [export.pk])

    def test_a_copy_of_the_database_removes_nothing(self, line, acme, actor, settings):
        finished(line)
        keep(acme, exports=0)
        settings.INSTALLATION_ID = "a copy"

        with pytest.raises(retention.NotArmed):
            purge(actor)


@pytest.mark.django_db(transaction=True)
def test_ten_thousand_go_in_batches_also_after_a_kill(acme, actor, storage, tmp_path):
    line = a_connection(acme)
    first, stays = finished(line, "FAILED"), finished(line, "PENDING")
    with connection.cursor() as cursor:
        columns = {field.column: f'"{field.column}"' for field in ERPExport._meta.concrete_fields}
        copied = columns | {"id": "gen_random_uuid()", "document_name": "org_id || '/00/' || number"}
        cursor.execute(
            f"INSERT INTO erp_export ({', '.join(columns.values())}) SELECT {', '.join(copied.values())}"  # noqa: S608
            " FROM erp_export, generate_series(1, 9999) AS number WHERE id = %s",
            [first.pk],
        )
        cursor.execute(
            "INSERT INTO erp_export_attempt (org_id, export_id, number, started_at, finished_at, outcome, steps)"
            " SELECT org_id, id, 1, now(), now(), 'SENT', '[]' FROM erp_export WHERE id <> ALL(%s)",
            [[first.pk, stays.pk]],
        )
        cursor.execute("ANALYZE erp_export, erp_export_attempt")  # as autovacuum does it, which is off here
    keep(acme, exports=30)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "purge", "--batch", "50"],
        cwd=BASE_DIR,
        env=settings_of(tmp_path, DOCUMENT_STORAGE=str(tmp_path / "documents")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: ERPExport.objects.filter(document_purged_at=None).count() <= 9_000)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ERPExport.objects.count() > 1

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    purge(actor)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert grown < 20_000, "kilobytes"
    assert list(ERPExport.objects.all()) == [stays]
    assert ExportAttempt.objects.count() == 1
    assert documents.load(stays) is not None
