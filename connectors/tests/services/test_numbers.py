"""Documents are numbered without a gap, whoever renders at the same time, and whatever goes wrong."""

import threading
from datetime import timedelta
from itertools import chain
from uuid import uuid4

import pytest
from django.db import connection as database
from django.utils import timezone

from connectors.formats import x12
from connectors.models import DocumentNumber, ERPExport, NumberRangeRecord
from connectors.results import Numbered
from connectors.services import attempts, claims, documents, numbers
from connectors.services.attempts import Attempt
from connectors.services.lines import Line
from connectors.tests.rows import an_export
from tenants import scope

RANGE = "X12 ACME>GLOBEX"


@pytest.fixture
def connection(connect, settings, tmp_path):
    settings.DROPZONE_ROOT = str(tmp_path)
    between = {
        "sender_id": "ACME",
        "recipient_id": "GLOBEX",
        "customer_number_from": "id",
        "reference_from": "order_id",
    }
    return connect("X12_850", mode="filesystem", export_path=".", **between)


def claimed(connection, order_id):
    """Return an attempt at an export that a worker of its own has claimed."""
    until = timezone.now() + timedelta(minutes=5)
    return Attempt.at(
        an_export(connection, "SENDING", order_id=order_id, attempts=1, claim=uuid4(), leased_until=until)
    )


def control_numbers():
    """Return the numbers that stand in the documents, in their sequence."""
    stored = documents.load_many(list(ERPExport.objects.exclude(document_name="")))
    return sorted(int(x12.parse(each.content)[0].header.get(13)) for each in stored)


def taken():
    return sorted(DocumentNumber.objects.values_list("number", flat=True))


@pytest.mark.django_db(transaction=True)
def test_eight_workers_share_no_number_and_leave_none_out(connection):
    # One in five cannot be written: nothing is left out for it.
    work = [
        [claimed(connection, f"SO-{worker}-{each}" + "*" * (each == 2)) for each in range(5)] for worker in range(8)
    ]
    begin = threading.Barrier(8)

    def render(mine):
        try:
            line = Line(connection)
            begin.wait()
            for some in (mine[:2], mine[2:]):
                attempts.prepare(line, some)
        finally:
            database.close()

    threads = [threading.Thread(target=scope.everything()(render), args=(mine,)) for mine in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert control_numbers() == taken() == list(range(1, 33))
    assert NumberRangeRecord.objects.get().last == 32
    for attempt in chain(*work):
        if attempt.error is None:
            of = numbers.find(connection.org_id, Numbered(range_name=RANGE, reference=attempt.order.order_id))
            assert of == attempt.export.pk


@pytest.mark.django_db
class TestAlone:
    def test_a_second_attempt_sends_the_same_bytes(self, connection):
        first = claimed(connection, "SO-1")
        attempts.prepare(Line(connection), [first])
        again = Attempt.at(ERPExport.objects.select_related("org", "connection").get())
        attempts.prepare(Line(connection), [again])

        assert again.document.content == first.document.content
        assert taken() == [1]

    def test_what_somebody_else_has_got_meanwhile_takes_none(self, connection):
        lost, ours = claimed(connection, "SO-1"), claimed(connection, "SO-2")
        ERPExport.objects.filter(pk=lost.export.pk).update(claim=uuid4())

        attempts.prepare(Line(connection), [lost, ours])

        assert (lost.is_ours, ours.is_ours) == (False, True)
        assert control_numbers() == taken() == [1]

    def test_what_could_not_be_frozen_takes_none(self, connection, monkeypatch):
        def fail(rows):
            raise RuntimeError

        first = claimed(connection, "SO-1")
        with monkeypatch.context() as broken:
            broken.setattr(claims, "freeze", fail)
            with pytest.raises(RuntimeError):
                attempts.prepare(Line(connection), [first])
        assert taken() == []

        attempts.prepare(Line(connection), [claimed(connection, "SO-2")])
        assert control_numbers() == taken() == [1]

    def test_a_range_comes_to_its_end(self, connection):
        NumberRangeRecord.objects.create(org_id=connection.org_id, name=RANGE, last=999_999_998)
        last, beyond = claimed(connection, "SO-1"), claimed(connection, "SO-2")

        attempts.prepare(Line(connection), [last, beyond])

        assert control_numbers() == [999_999_999]
        assert beyond.error is not None
        assert "used up" in beyond.error.message
