"""The answers of the ERPs: applied once, to the right export, whatever comes in between."""

import json
import os
import shutil
import threading
from collections import Counter
from datetime import timedelta

import hypothesis
import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors import exceptions, tasks
from connectors.adapters.mock import MockConnector
from connectors.models import AcknowledgementRecord, ERPConnection, ERPExport
from connectors.results import Acknowledgement, AckStatus, Settlement
from connectors.services import acknowledgements, connections, delivery, exports, jobs
from connectors.testing import sample_orders
from connectors.tests.rows import a_connection, an_export
from tenants.models import Organization


@pytest.fixture(autouse=True)
def empty_mock():
    MockConnector.reset()


@pytest.fixture
def dropzone(acme, actor, settings, tmp_path):
    settings.DROPZONE_ROOT = str(tmp_path)
    for name in ("out", "ack"):
        (tmp_path / name).mkdir()
    config = {"mode": "filesystem", "export_path": str(tmp_path / "out"), "ack_path": str(tmp_path / "ack")}
    return connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)


@pytest.fixture
def export(acme, actor, dropzone):
    return sent(acme, actor)


@pytest.fixture
def acks(dropzone, tmp_path):
    return tmp_path / "ack"


def sent(org, actor, order_id="SO-1"):
    export, _ = exports.submit(org, actor, sample_orders.minimal(order_id), idempotency_key=order_id)
    delivery.drain(export.connection_id)
    export.refresh_from_db()
    assert export.status == "SENT"
    return export


def accept(folder, export, erp_order_id="SO-4711"):
    name = f"ack_{export.filename}"
    answer = {"status": "ACKED", "erp_order_id": erp_order_id, "processed_at": "2025-12-26T10:00:00Z"}
    (folder / name).write_text(json.dumps(answer))
    return name


def refuse(folder, export):
    name = f"error_{export.filename}"
    answer = {
        "status": "FAILED",
        "error_code": "E42",
        "message": "Unknown customer",
        "processed_at": "2025-12-26T10:00:00Z",
    }
    (folder / name).write_text(json.dumps(answer))
    return name


def outcomes():
    return list(AcknowledgementRecord.objects.order_by("received_at").values_list("outcome", flat=True))


def polled(export):
    applied = acknowledgements.poll(export.connection_id)
    return ERPExport.objects.get(pk=export.pk), applied


class TestAnswer:
    def test_of_acceptance_is_recorded_and_put_away(self, export, acks):
        name = accept(acks, export)

        export, applied = polled(export)

        assert (export.status, export.erp_order_id, applied) == ("ACKED", "SO-4711", 1)
        assert export.finished_at
        assert (acks / "processed" / name).exists()
        assert ERPConnection.objects.get().acks_polled_at

    def test_is_written_down_once_however_often_it_comes(self, export, acks):
        accept(acks, export)
        polled(export)
        name = accept(acks, export)
        polled(export)
        refuse(acks, export)
        polled(export)
        rows = AcknowledgementRecord.objects.order_by("received_at")

        assert [(row.name, row.outcome, row.status, row.export) for row in rows] == [
            (name, "APPLIED", "ACKED", export),
            (f"error_{export.filename}", "CONTRADICTS", "REJECTED", export),
        ]
        assert len(list((acks / "processed").iterdir())) == 3
        assert [row.is_open for row in rows] == [False, True]
        assert rows[1].error["erp"] == {"code": "E42", "message": "Unknown customer"}

    def test_of_refusal_is_recorded_in_our_words_and_theirs(self, export, acks):
        name = refuse(acks, export)

        export, applied = polled(export)

        assert (export.status, applied) == ("REJECTED", 1)
        text = exceptions.RejectedByERP()
        assert export.error == {
            "code": "REJECTED_BY_ERP",
            "message": text.message,
            "hint": text.hint,
            "erp": {"code": "E42", "message": "Unknown customer"},
        }
        assert (acks / "processed" / name).exists()

    def test_that_comes_twice_changes_nothing_the_second_time(self, export, acks):
        accept(acks, export)
        first, _ = polled(export)
        accept(acks, export, erp_order_id="SO-OTHER")

        second, applied = polled(export)

        assert applied == 1
        assert (second.erp_order_id, second.finished_at) == ("SO-4711", first.finished_at)
        assert not list(acks.glob("*.json"))
        assert outcomes() == ["APPLIED", "CONTRADICTS"]  # another number there is another order there

    def test_that_contradicts_an_earlier_one_is_put_away_and_told(self, export, acks, caplog):
        accept(acks, export)
        polled(export)
        refuse(acks, export)

        export, _ = polled(export)

        assert export.status == "ACKED"
        assert not list(acks.glob("*.json"))
        assert "acknowledgement.contradicts" in caplog.text

    def test_that_is_malformed_goes_to_error_and_leaves_the_export(self, export, acks):
        name = accept(acks, export)
        (acks / name).write_text('{"status": "ACK')

        export, applied = polled(export)

        assert (export.status, applied) == ("SENT", 0)
        assert (acks / "error" / name).exists()
        assert (acks / "error" / f"{name}.reason.txt").read_text().startswith("ACKNOWLEDGEMENT_MALFORMED\n")
        row = AcknowledgementRecord.objects.get()
        assert (row.outcome, row.export, row.status, row.is_open) == ("MALFORMED", export, "", True)
        assert row.error["message"] == "The acknowledgement cannot be read: it is not valid JSON."

    def test_that_comes_while_the_export_is_being_sent_waits(self, export, acks):
        ERPExport.objects.update(status="SENDING")
        name = accept(acks, export)

        assert polled(export)[0].status == "SENDING"
        assert (acks / name).exists()
        ERPExport.objects.update(status="SENT")
        assert polled(export)[0].status == "ACKED"

    @pytest.mark.parametrize("state", [{"status": "UNCONFIRMED"}, {"status": "PENDING", "outcome_unknown": True}])
    def test_settles_an_export_that_was_in_doubt(self, export, acks, state):
        ERPExport.objects.update(**state)
        accept(acks, export)

        export, _ = polled(export)

        assert (export.status, export.outcome_unknown, export.error) == ("ACKED", False, None)
        assert delivery.drain(export.connection_id) == 0

    @pytest.mark.parametrize("status", ["PENDING", "FAILED", "CANCELLED"])
    def test_to_what_never_arrived_is_left_alone(self, export, acks, status):
        ERPExport.objects.update(status=status)
        name = accept(acks, export)

        export, applied = polled(export)

        assert (export.status, applied) == (status, 0)
        assert (acks / name).exists()
        polled(export)
        assert outcomes() == ["UNMATCHED" if status == "PENDING" else "CONTRADICTS"]

    def test_that_came_too_early_is_applied_when_its_time_has_come(self, export, acks, actor):
        ERPExport.objects.update(status="PENDING")
        name = accept(acks, export)
        polled(export)
        acknowledgements.resolve(AcknowledgementRecord.objects.get(), actor)
        ERPExport.objects.update(status="SENT")

        export, applied = polled(export)

        assert (export.status, applied, outcomes()) == ("ACKED", 1, ["APPLIED"])
        assert acknowledgements.problem_of(AcknowledgementRecord.objects.get()) is None
        assert (acks / "processed" / name).exists()

    def test_to_a_file_of_somebody_else_is_left_alone(self, export, acks):
        (acks / "ack_sales_order_other.json").write_text('{"status": "ACKED"}')

        assert polled(export)[1] == 0
        polled(export)
        assert (acks / "ack_sales_order_other.json").exists()
        assert [(row.outcome, row.export) for row in AcknowledgementRecord.objects.open()] == [("UNMATCHED", None)]

    def test_to_another_organisations_export_is_left_alone(self, export, acks, globex, actor):
        theirs = connections.create(
            globex, actor, connector_type="DROPZONE_JSON_V1", config=ERPConnection.objects.get().read_config()
        )
        name = accept(acks, export)

        assert acknowledgements.poll(theirs.pk) == 0
        assert (acks / name).exists()
        assert polled(export)[0].status == "ACKED"


class TestSuperseded:
    """A person has sent the order once more, and then the first one is answered after all."""

    @pytest.mark.parametrize(
        ("before", "answer", "after", "is_open"),
        [
            ("UNCONFIRMED", accept, "ACKED", True),
            ("UNCONFIRMED", refuse, "REJECTED", False),
            ("FAILED", accept, "FAILED", True),
            ("REJECTED", accept, "REJECTED", True),
        ],
    )
    def test_the_first_is_written_down_and_the_new_one_stays_as_it_is(
        self, export, acks, actor, before, answer, after, is_open
    ):
        ERPExport.objects.update(status=before)
        new = exports.retry(ERPExport.objects.get(), actor)
        untouched = ERPExport.objects.filter(pk=new.pk).values().get()
        name = answer(acks, export)

        first, _ = polled(export)
        answer(acks, export)  # the same once more
        polled(export)

        row = AcknowledgementRecord.objects.get()
        assert first.status == after
        assert (row.outcome, row.export, row.is_open) == ("SUPERSEDED", export, is_open)
        assert (acks / "processed" / name).exists()
        assert ERPExport.objects.filter(pk=new.pk).values().get() == untouched

    def test_one_that_is_sent_once_more_on_purpose_is_nothing_special(self, export, acks, actor):
        exports.resend(export, actor, reason="the ERP lost it")
        accept(acks, export)

        assert polled(export)[0].status == "ACKED"
        assert outcomes() == ["APPLIED"]


class TestPoll:
    @pytest.fixture
    def mock(self, acme, actor):
        return connections.create(acme, actor, connector_type="MOCK", config={"acknowledgement": "ack"})

    def test_asks_every_erp(self, acme, globex, actor, mock):
        connections.create(globex, actor, connector_type="MOCK", config={"acknowledgement": "reject", "account": "x"})
        sent(acme, actor), sent(globex, actor)

        assert acknowledgements.poll_all() == 2
        assert set(ERPExport.objects.values_list("org__slug", "status")) == {("acme", "ACKED"), ("globex", "REJECTED")}

    def test_asks_a_disabled_connection_as_long_as_an_answer_is_missing(self, acme, actor, mock):
        sent(acme, actor)
        connections.disable(mock, actor)

        assert acknowledgements.poll_all() == 1
        assert not acknowledgements.pollable().exists()

    def test_asks_a_disabled_connection_for_a_while_about_what_is_in_doubt(self, acme, actor, mock):
        sent(acme, actor)
        connections.disable(mock, actor)
        ERPExport.objects.update(status="UNCONFIRMED", finished_at=timezone.now() - timedelta(days=29))

        assert acknowledgements.pollable().exists()
        ERPExport.objects.update(finished_at=timezone.now() - timedelta(days=31))
        assert not acknowledgements.pollable().exists()

    def test_an_adapter_that_names_no_source_is_written_down_once(self, mock, monkeypatch):
        def answer(self, config, context, settle):
            said = {"filename": "strange\0\ud800.json", "status": AckStatus.REJECTED, "message": "\0"}
            return int(settle(Acknowledgement(**said, processed_at=timezone.now())) is Settlement.APPLIED)

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", answer)

        reports = [acknowledgements.fetch(mock) for _ in range(2)]

        assert [(report.code, report.outcomes) for report in reports] == [(None, {"UNMATCHED": 1})] * 2
        assert AcknowledgementRecord.objects.get().name == "strange??.json"

    def test_does_not_log_in_where_it_was_refused(self, acme, actor, mock):
        sent(acme, actor)
        ERPConnection.objects.update(health="AUTH_FAILED")

        assert acknowledgements.poll(mock.pk) == 0

    def test_pauses_the_connection_when_it_is_refused(self, mock, monkeypatch):
        def refuse_login(*args):
            raise exceptions.AuthenticationFailed

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", refuse_login)

        assert acknowledgements.poll(mock.pk) == 0
        assert ERPConnection.objects.get().health == "AUTH_FAILED"

    @pytest.mark.parametrize("error", [exceptions.TemporaryError(), ZeroDivisionError("c4n4ry")])
    def test_trouble_is_logged_and_raises_nothing(self, mock, monkeypatch, caplog, error):
        def fail(*args):
            raise error

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", fail)

        assert acknowledgements.poll_all() == 0
        assert "acknowledgements.poll_failed" in caplog.text
        assert ERPConnection.objects.get().health == "UNTESTED"

    def test_an_unreadable_connection_is_a_state(self, mock):
        ERPConnection.objects.update(config_encrypted=b"ERPC\x01" + bytes(80))

        assert acknowledgements.poll(mock.pk) == 0
        assert ERPConnection.objects.get().health == "UNREADABLE"


class TestRounds:
    @pytest.fixture
    def three(self, acme, globex):
        away = Organization.objects.create(slug="away", name="Away")
        return [a_connection(org, health="HEALTHY") for org in (acme, globex, away)]

    def test_each_is_asked_once_and_the_longest_unasked_first(self, three, monkeypatch):
        asked = []
        monkeypatch.setattr(
            acknowledgements, "fetch", lambda connection: asked.append((connection.pk, acknowledgements.poll_next()))
        )
        long_ago = timezone.now() - timedelta(hours=1)
        ERPConnection.objects.filter(pk=three[2].pk).update(acks_polled_at=long_ago)
        ERPConnection.objects.filter(pk=three[1].pk).update(acks_leased_until=timezone.now() + timedelta(minutes=1))

        assert acknowledgements.poll_next()

        # While the first is asked another thread finds the second, and after that there is none.
        assert asked == [(three[2].pk, False), (three[0].pk, True)]
        ERPConnection.objects.update(acks_leased_until=timezone.now() - timedelta(seconds=1))
        assert acknowledgements.due().get().pk == three[1].pk

    def test_the_tick_calls_no_more_than_may_work_at_once(self, three, settings):
        settings.ACK_POLLS_AT_ONCE = 2

        tasks.poll_acknowledgements(timestamp=0)

        assert ProcrastinateJob.objects.filter(task_name=jobs.POLL, status="todo").count() == 2

    @pytest.mark.django_db(transaction=True)
    def test_several_are_asked_at_once_but_not_too_many(self, three, settings, monkeypatch):
        settings.ACK_POLLS_AT_ONCE = 2
        two, under_way, most = threading.Barrier(2, timeout=20), [], []

        def poll(self, config, context, settle):
            under_way.append(context)
            most.append(len(under_way))
            if len(most) <= 2:
                two.wait()
            under_way.remove(context)
            return 0

        monkeypatch.setattr(MockConnector, "poll_acknowledgements", poll)

        assert [report.code for report in acknowledgements.fetch_all(three)] == [None] * 3
        assert max(most) == 2


class TestOverdue:
    @pytest.fixture
    def link(self, acme):
        return a_connection(acme, ack_expected_within=60)

    def test_each_is_told_of_once(self, link, caplog):
        def told():
            caplog.clear()
            count = acknowledgements.announce_overdue()
            lines = [line.message for line in caplog.records if "export.acknowledgement_overdue" in line.message]
            assert len(lines) == count
            return {export.pk for export in ERPExport.objects.all() if str(export.pk) in "".join(lines)}

        def sent_before(minutes, status="SENT", **columns):
            return an_export(link, status, sent_at=timezone.now() - timedelta(minutes=minutes), **columns)

        late = [sent_before(90), sent_before(61)]
        sent_before(59), sent_before(90, "ACKED"), sent_before(90, superseded_at=timezone.now())
        assert acknowledgements.overdue_counts() == {link.pk: 2}
        assert told() == {export.pk for export in late}
        assert told() == set()

        ERPConnection.objects.update(ack_expected_within=58)
        assert len(told()) == 1
        assert acknowledgements.overdue_counts() == {link.pk: 3}
        ERPConnection.objects.update(ack_expected_within=None)
        assert (told(), acknowledgements.overdue_counts()) == (set(), {})


NAMES = st.builds(
    lambda kind, body, end: os.fsdecode(kind + body.replace(b"/", b"_").replace(b"\0", b"_")[: 240 - len(end)] + end),
    st.sampled_from([b"ack_", b"error_", b"ack_.", b"", b"error_ack_"]),
    st.binary(max_size=240) | st.sampled_from([b"ours", b"a", b"x" * 240]),
    st.sampled_from([b".json", b".json.json", b".tmp", b""]),
).filter(lambda name: name not in ("", ".", ".."))
CONTENTS = st.binary(max_size=60) | st.builds(
    lambda **answer: json.dumps(answer).encode(),
    status=st.sampled_from(["ACKED", "FAILED", "", None]),
    erp_order_id=st.none() | st.text(max_size=140),
    message=st.none() | st.text(max_size=20),
    processed_at=st.sampled_from(
        [None, "2025-12-26T10:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
    ),
)


@hypothesis.settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, CONTENTS, max_size=6))
def test_whatever_lies_there_nothing_is_lost(export, acks, files):
    """Every file ends as it was and in one place; what is put aside has its reason beside it."""
    shutil.rmtree(acks)
    acks.mkdir()
    ERPExport.objects.update(status="SENT")
    for name, content in files.items():
        name = name.replace("ours", export.filename)
        (acks / name).write_bytes(content)
    before = Counter(path.read_bytes() for path in acks.iterdir())

    for _ in range(2):
        report = acknowledgements.fetch(export.connection)
        assert report.code is None

    left = [
        path for folder in (acks, acks / "processed", acks / "error") if folder.exists() for path in folder.iterdir()
    ]
    reasons = [path for path in left if path.name.endswith(".reason.txt") and path.parent.name == "error"]
    assert Counter(path.read_bytes() for path in left if path.is_file() and path not in reasons) == before
    assert len(reasons) == sum(path.parent.name == "error" for path in left) - len(reasons)
    assert AcknowledgementRecord.objects.filter(outcome="MALFORMED").count() >= bool(reasons)
