"""EDIFACT_ORDERS and X12_850 through the front door: OpenSSH, and behind its folders a trading partner (mock-edi)."""

import shutil

import pytest
from mockedi import edifact as partners_edifact
from mockedi import x12 as partners_x12
from mockedi.testing import Mock

from connectors.models import DocumentNumber, ERPExport, NumberRangeRecord
from connectors.services import acknowledgements, delivery
from connectors.testing import sample_orders
from connectors.tests.peers.openssh import PASSWORD

pytestmark = pytest.mark.sftp

EDIFACT = {
    "sender_id": "EURODIS",
    "recipient_id": "MOCKEDI",
    "recipient_qualifier": "ZZ",
    "customer_number_from": "id",
    "reference_from": "order_id",
    "eancom": False,
}
X12 = {
    "sender_id": "ACME",
    "recipient_id": "MOCKEDI",
    "customer_number_from": "id",
    "reference_from": "order_id",
    "version": "004010",
    "acknowledgement_request": True,
}
TYPES = {"EDIFACT_ORDERS": EDIFACT, "X12_850": X12}
SYNTAX = {"EDIFACT_ORDERS": "CONTRL", "X12_850": "997"}
RESPONSE = {"EDIFACT_ORDERS": "ORDRSP", "X12_850": "855"}


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def partner(openssh, inbox):
    """A partner who reads the folder of orders and writes into that of answers when it is told to."""
    folders = {"drop_dir": str(inbox), "pickup_dir": str(openssh.home / "ack")}
    late = dict.fromkeys(("despatch_delay_ms", "invoice_delay_ms"), 10**9)
    with Mock.start(**folders, **late, drop_interval_ms=10**7, drop_settle_ms=0) as mock:
        yield mock


@pytest.fixture(params=TYPES)
def kind(request):
    return request.param


def connect(api, kind, folders, **changes):
    config = {**TYPES[kind], **folders, **changes}
    answer = api.post("connectors", {"connector_type": kind, "config": config})
    assert answer.status_code == 201, answer.content
    return answer.json()


def order(order_id):
    """Return an order of something that the partner sells."""
    order = sample_orders.minimal(order_id).as_json() | {"customer": {"id": "C-1", "name": "Köhler + Co's ?"}}
    order["lines"][0] |= {"internal_sku": "WIDGET-001", "uom": "EA"}
    return order


def deliver(api, connection, order_id="PO-1"):
    """Submit an order, let a worker deliver it, and return its export."""
    name = order(order_id)
    if connection["connector_type"] == "X12_850":
        name["customer"]["name"] = "Kohler + Co's ?"
    answer = api.submit(name, key=ascii(order_id))
    assert answer.status_code == 202, answer.content
    delivery.drain(connection["id"])
    return read(api, answer.json())


def read(api, export):
    return api.get(f"exports/{export['id']}").json()


def answers(partner, openssh):
    """Let the partner read and answer; return the names of what it wrote."""
    (scanned,) = partner.expect("POST", "/_mock/drop/scan")["files"]
    partner.advance(seconds=1)
    return scanned, sorted(path.name for path in (openssh.home / "ack").iterdir() if path.is_file())


def control_number(kind, content):
    parse = partners_edifact.parse if kind == "EDIFACT_ORDERS" else partners_x12.parse
    return int(parse(content.decode("latin-1")).control)


class TestAnOrder:
    def test_goes_out_and_comes_back_with_the_number_of_the_erp(self, api, openssh, partner, kind):
        connection = connect(api, kind, openssh.config())
        assert api.post(f"connectors/{connection['id']}/test").status_code == 200

        export = deliver(api, connection)
        content = api.get(f"exports/{export['id']}/document").content
        assert (export["status"], control_number(kind, content)) == ("SENT", 1)
        scanned, names = answers(partner, openssh)

        assert scanned["ok"], scanned
        assert scanned["orders"] == ["PO-1"]
        assert [code for code in (SYNTAX[kind], RESPONSE[kind]) if not any(code in name for name in names)] == []
        assert acknowledgements.poll(connection["id"]) >= 2
        settled = read(api, export)
        assert settled["status"] == "ACKED"
        assert settled["erp_order_id"]
        assert not [path for path in (openssh.home / "ack").iterdir() if path.is_file()]
        assert len(list((openssh.home / "ack" / "processed").iterdir())) == len(names)

    def test_that_the_partner_had_already_is_delivered(self, api, openssh, inbox, partner, kind):
        connection = connect(api, kind, openssh.config())
        export = deliver(api, connection)
        answers(partner, openssh)
        for path in (openssh.home / "ack").iterdir():
            path.unlink()  # nobody has read what it said at first
        shutil.copy(inbox / "processed" / export["filename"], inbox / "again.edi")
        _, names = answers(partner, openssh)

        assert acknowledgements.poll(connection["id"]) == len(names) > 0

        settled = read(api, export)
        assert settled["status"] == "SENT"
        assert any("already" in warning for warning in settled["warnings"])

    def test_that_the_partner_cannot_accept_is_rejected(self, api, openssh, partner, kind):
        partner.behaviour(TYPES[kind]["sender_id"], "reject-all")
        connection = connect(api, kind, openssh.config())
        export = deliver(api, connection)
        answers(partner, openssh)
        acknowledgements.poll(connection["id"])

        settled = read(api, export)
        assert (settled["status"], settled["error"]["code"]) == ("REJECTED", "REJECTED_BY_ERP")

    def test_that_was_changed_says_so(self, api, openssh, partner, kind):
        partner.behaviour(TYPES[kind]["sender_id"], "short-ship")
        connection = connect(api, kind, openssh.config())
        export = deliver(api, connection)
        answers(partner, openssh)
        acknowledgements.poll(connection["id"])

        settled = read(api, export)
        assert settled["status"] == "ACKED"
        assert any(warning.startswith("Line 1: ") for warning in settled["warnings"]), settled["warnings"]

    def test_that_is_accepted_by_its_syntax_gets_the_number_later(self, api, openssh, partner, kind):
        connection = connect(api, kind, openssh.config(), accepted_by="syntax", answer_names=f"*-{SYNTAX[kind]}-*")
        export = deliver(api, connection)
        answers(partner, openssh)
        ERPExport.objects.update(status="UNCONFIRMED", sent_at=None)  # nobody knew whether it had arrived

        assert acknowledgements.poll(connection["id"]) == 1
        first = read(api, export)
        api.patch(f"connectors/{connection['id']}", {"config": {"answer_names": f"*-{RESPONSE[kind]}-*"}})
        assert acknowledgements.poll(connection["id"]) == 1

        assert (first["status"], first["erp_order_id"]) == ("ACKED", None)
        assert read(api, export)["erp_order_id"]

    def test_that_was_only_received_is_sent_whatever_was_known_of_it(self, api, openssh, partner, kind):
        connection = connect(api, kind, openssh.config(), answer_names=f"*-{SYNTAX[kind]}-*")
        export = deliver(api, connection)
        answers(partner, openssh)
        ERPExport.objects.update(status="UNCONFIRMED", sent_at=None)

        assert acknowledgements.poll(connection["id"]) == 1

        assert read(api, export)["status"] == "SENT"
        assert ERPExport.objects.get().sent_at is not None

    def test_waits_while_the_password_is_wrong_and_keeps_its_number(self, api, openssh, inbox, kind):
        connection = connect(api, kind, openssh.config(password="wr0ng-passw0rd"))
        export = deliver(api, connection)
        assert (export["status"], export["attempts"]) == ("PENDING", 0)
        assert api.get(f"connectors/{connection['id']}").json()["health"] == "AUTH_FAILED"

        api.patch(f"connectors/{connection['id']}", {"config": {"password": PASSWORD}})
        delivery.drain(connection["id"])

        assert read(api, export)["status"] == "SENT"
        assert list(DocumentNumber.objects.values_list("number", flat=True)) == [1]

    def test_whose_last_reply_is_lost_is_looked_up_and_keeps_its_number(self, api, faulty_sftp, kind):
        server = faulty_sftp(cut_after="rename", times=1)
        connection = connect(api, kind, server.config())
        export = deliver(api, connection)
        before = api.get(f"exports/{export['id']}/document").content
        assert (export["status"], export["outcome_unknown"]) == ("PENDING", True)

        ERPExport.objects.update(next_attempt_at=None)
        delivery.drain(connection["id"])

        assert read(api, export)["status"] == "SENT"
        assert api.get(f"exports/{export['id']}/document").content == before
        assert DocumentNumber.objects.count() == 1
        assert server.steps["rename"] == 1


class TestNumbers:
    def test_a_preview_and_what_cannot_be_written_use_up_none(self, api, openssh, inbox, kind):
        connection = connect(api, kind, openssh.config())
        deliver(api, connection, "PO-1")
        preview = api.post("exports/preview", {"order": sample_orders.minimal("PO-0").as_json()})
        wrong = deliver(api, connection, "PO-\N{SNOWMAN}")
        last = deliver(api, connection, "PO-2")

        assert control_number(kind, preview.content) == 0
        assert (wrong["status"], wrong["error"]["code"]) == ("FAILED", "DOCUMENT_INVALID")
        assert "order_id" in wrong["error"]["message"]
        assert control_number(kind, api.get(f"exports/{last['id']}/document").content) == 2

    def test_each_pair_of_partners_has_its_own(self, api, openssh, inbox, kind):
        connection = connect(api, kind, openssh.config(), first_control_number=7)
        first = deliver(api, connection, "PO-1")
        api.patch(f"connectors/{connection['id']}", {"config": {"recipient_id": "OTHER"}})
        other = deliver(api, connection, "PO-2")
        api.patch(f"connectors/{connection['id']}", {"config": {"recipient_id": "MOCKEDI"}})
        third = deliver(api, connection, "PO-3")

        numbers = [
            control_number(kind, api.get(f"exports/{each['id']}/document").content) for each in (first, other, third)
        ]
        assert numbers == [7, 7, 8]
        assert NumberRangeRecord.objects.count() == 2

    def test_an_answer_to_another_pair_is_none_of_ours(self, api, openssh, partner, kind):
        connection = connect(api, kind, openssh.config())
        export = deliver(api, connection)
        answers(partner, openssh)
        api.patch(f"connectors/{connection['id']}", {"config": {"sender_id": "SOMEBODY"}})

        assert acknowledgements.poll(connection["id"]) == 0
        assert read(api, export)["status"] == "SENT"
        assert [path for path in (openssh.home / "ack").iterdir() if path.is_file()]
