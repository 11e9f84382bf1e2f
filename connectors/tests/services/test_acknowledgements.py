"""The answers of the ERPs: applied once, to the right export, whatever comes in between."""

import json

import pytest

from connectors import exceptions
from connectors.adapters.mock import MockConnector
from connectors.models import ERPConnection, ERPExport
from connectors.services import acknowledgements, connections, delivery, exports
from connectors.testing import sample_orders


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

    def test_to_a_file_of_somebody_else_is_left_alone(self, export, acks):
        (acks / "ack_sales_order_other.json").write_text('{"status": "ACKED"}')

        assert polled(export)[1] == 0
        assert (acks / "ack_sales_order_other.json").exists()

    def test_to_another_organisations_export_is_left_alone(self, export, acks, globex, actor):
        theirs = connections.create(
            globex, actor, connector_type="DROPZONE_JSON_V1", config=ERPConnection.objects.get().read_config()
        )
        name = accept(acks, export)

        assert acknowledgements.poll(theirs.pk) == 0
        assert (acks / name).exists()
        assert polled(export)[0].status == "ACKED"


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
