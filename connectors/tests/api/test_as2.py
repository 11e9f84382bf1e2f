"""Orders to a trading partner by AS2, and what it sends to our only address without a key: receipts and answers."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

import pytest
from django.test import Client

from connectors.models import AcknowledgementRecord, ERPConnection, ERPExport
from connectors.services import delivery, inbound
from connectors.testing import sample_orders
from connectors.tests.peers.as2_partner import make_pair, rsa_key
from connectors.tests.peers.fixtures import authority, host_names, start_https  # noqa: F401  # fixtures
from connectors.tests.transports import as2

HERE = "https://erp.example.com"
CONTRL = "UNB+UNOC:3+GLOBEX+ACME+261125:1200+77'UNH+1+CONTRL:2:2:UN'UCI+1+ACME+GLOBEX+{}'UNT+3+1'UNZ+1+77'"
ORDRSP = (
    "UNB+UNOC:3+GLOBEX+ACME+261125:1200+78'UNH+1+ORDRSP:D:96A:UN'BGM+231+SO-4711+29'RFF+ON:{}'"
    "LIN+1+5'UNS+S'UNT+6+1'UNZ+1+78'"
)


@pytest.fixture(autouse=True)
def _set_up(settings, monkeypatch, host_names):  # noqa: F811  # a fixture
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.PUBLIC_URL = HERE
    monkeypatch.setattr(inbound, "PATIENCE_SECONDS", 0)


@pytest.fixture
def partner(tmp_path):
    return as2.partner(tmp_path)


@pytest.fixture
def connect(api, partner, start_https, authority):  # noqa: F811  # fixtures
    server = start_https(partner)
    there = {"as2_url": server.url("erp.test", "/receive"), "ca_bundle": authority.certificate}

    def connect(caller=api, **changes):
        config = as2.settings(**there | changes)
        answer = caller.post("connectors", {"connector_type": "EDIFACT_ORDERS", "config": config})
        assert answer.status_code == 201, answer.content
        return answer.json()

    return connect


def push(api, connection, order_id="PO-1", times=1):
    """Submit an order, let a worker try so many times, and return its export."""
    answer = api.submit(sample_orders.minimal(order_id).as_json(), key=order_id)
    assert answer.status_code == 202, answer.content
    for _ in range(times):
        ERPExport.objects.update(next_attempt_at=None)
        delivery.drain(connection["id"])
    return read(api, answer.json())


def read(api, export):
    return api.get(f"exports/{export['id']}").json()


def send(connection, message, **more):
    """Bring a message to the address of a connection, as it was signed."""
    headers, body = message
    path = f"/as2/{connection['id']}"
    kind = headers.get("Content-Type", "")
    rest = {name: value for name, value in headers.items() if name != "Content-Type"} | more
    return Client(raise_request_exception=False).post(path, body, content_type=kind, headers=rest)


def receipt_of(partner, answer):
    """Return the fields of our receipt, which the partner verifies with our certificate."""
    headers = f"MIME-Version: 1.0\r\nContent-Type: {answer['Content-Type']}\r\n\r\n".encode()
    report = partner.verify("-inform", "SMIME", stdin=headers + answer.content).decode()
    return dict(re.findall(r"^([A-Za-z-]+): (.*?)\r?$", report, re.MULTILINE))


class TestAnOrder:
    def test_goes_out_is_answered_and_gets_its_number(self, api, connect, partner):
        connection = connect()
        assert api.post(f"connectors/{connection['id']}/test").status_code == 200
        export = push(api, connection)
        (taken,) = partner.taken.values()
        assert (export["status"], export["receipt"]["transport"]) == ("SENT", "as2")
        assert taken.content == api.get(f"exports/{export['id']}/document").content

        message = partner.message(CONTRL.format("7").encode())
        answer = send(connection, message)
        assert read(api, export)["status"] == "SENT"
        said = receipt_of(partner, answer)
        assert said["Disposition"].endswith("; processed")
        assert said["Original-Message-ID"] == message[0]["Message-ID"]

        answer = send(connection, partner.message(ORDRSP.format("PO-1").encode(), message_id="<2@globex>"))
        assert answer.status_code == 200
        settled = read(api, export)
        assert (settled["status"], settled["erp_order_id"]) == ("ACKED", "SO-4711")

    def test_whose_receipt_was_lost_waits_for_a_person(self, api, connect, partner):
        partner.faults.append(partner.drop)

        export = push(api, connect(), times=2)

        assert (export["status"], len(partner.posts)) == ("UNCONFIRMED", 1)

    def test_whose_receipt_was_lost_is_sent_again_where_duplicates_are_recognised(self, api, connect, partner):
        partner.faults.append(partner.drop)

        export = push(api, connect(recognises_duplicates=True), times=2)

        assert (export["status"], export["receipt"]["already_delivered"]) == ("SENT", True)
        assert (len(partner.posts), len(partner.taken)) == (2, 1)

    def test_of_which_another_content_arrived_waits_for_a_person(self, api, connect, partner):
        partner.checksum = lambda signed: f"{as2.digest(b'other', 'sha256')}, sha256"

        export = push(api, connect(recognises_duplicates=True), times=3)

        assert (export["status"], export["error"]["code"]) == ("UNCONFIRMED", "RECEIPT_MISMATCH")
        assert len(partner.posts) == 1

    def test_that_the_partner_cannot_decrypt_waits_until_the_certificates_fit(self, api, connect, partner):
        partner.readers = [make_pair("globex", key=rsa_key(3))]
        connection = connect()
        export = push(api, connection)
        assert (export["status"], export["attempts"]) == ("PENDING", 0)
        assert api.get(f"connectors/{connection['id']}").json()["health"] == "AUTH_FAILED"

        rolled = partner.readers[0].certificate + as2.theirs().certificate
        changed = api.patch(f"connectors/{connection['id']}", {"config": {"partner_certificates": rolled}})
        assert changed.status_code == 200, changed.content  # without entering our key once more
        delivery.drain(connection["id"])

        assert read(api, export)["status"] == "SENT"

    def test_is_watched_for_certificates_that_expire(self, api, connect):
        connect(partner_certificates=make_pair("globex", key=rsa_key(2)).certificate)

        fields = [each["field"] for each in ERPConnection.objects.get().expiries]
        assert fields == ["own_certificate", "partner_certificates"]


class TestReceiptsThatComeLater:
    def test_prove_that_an_order_arrived_and_no_more(self, api, connect, partner):
        connection = connect(receipt="async")
        export = push(api, connection)
        assert export["status"] == "SENT"
        assert partner.posts[0][0]["receipt-delivery-option"] == f"{HERE}/as2/{connection['id']}"

        for _ in range(2):  # the second one changes nothing
            assert send(connection, partner.receipts[0]).status_code == 200

        assert read(api, export)["status"] == "SENT"
        (known,) = AcknowledgementRecord.objects.all()
        assert (known.outcome, known.status, str(known.export_id)) == ("APPLIED", "RECEIVED", export["id"])

    def test_settle_an_order_of_which_nobody_knew(self, api, connect, partner):
        partner.faults.append(partner.drop)
        connection = connect(receipt="async")
        export = push(api, connection, times=2)
        assert export["status"] == "UNCONFIRMED"

        assert send(connection, partner.receipts[0]).status_code == 200
        assert read(api, export)["status"] == "SENT"

    def test_that_refuse_say_why(self, api, connect, partner):
        partner.disposition = "processed/error: integrity-check-failed"
        connection = connect(receipt="async")
        export = push(api, connection)

        send(connection, partner.receipts[0])

        settled = read(api, export)
        assert (settled["status"], settled["error"]["erp"]["code"]) == ("REJECTED", partner.disposition)

    def test_for_another_content_are_for_a_person(self, api, connect, partner):
        partner.checksum = lambda signed: f"{as2.digest(b'other', 'sha256')}, sha256"
        connection = connect(receipt="async")
        export = push(api, connection)

        assert send(connection, partner.receipts[0]).status_code == 200

        assert read(api, export)["status"] == "SENT"
        (known,) = api.get("acknowledgements?open=true").json()["results"]
        assert (known["outcome"], "another content" in known["problem"]["message"]) == ("MALFORMED", True)

    def test_that_come_while_the_order_is_being_sent_are_wanted_again(self, api, connect, partner):
        connection = connect(receipt="async")
        export = push(api, connection)
        ERPExport.objects.update(status="SENDING")

        answer = send(connection, partner.receipts[0])

        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        assert not AcknowledgementRecord.objects.exists()
        assert read(api, export)["status"] == "SENDING"

    def test_change_nothing_of_another_organisation(self, api, stranger, connect, partner):
        """Not even where both trade with the same partner under the same names."""
        connection = connect(receipt="async")
        export = push(api, connection)
        other = connect(stranger, receipt="async")

        assert send(other, partner.receipts[0]).status_code == 400

        assert not AcknowledgementRecord.objects.exists()
        assert read(api, export)["status"] == "SENT"


class TestWhoSends:
    @pytest.fixture
    def connection(self, connect):
        return connect()

    def answer(self, partner, **changes):
        return partner.message(CONTRL.format("7").encode(), **changes)

    def refused(self, partner, connection, message):
        """Return for what reason a message is refused; nothing is written."""
        answer = send(connection, message)
        assert not AcknowledgementRecord.objects.exists()
        return receipt_of(partner, answer)["Disposition"].partition("; ")[2] if answer.content else answer.status_code

    def test_nobody_without_the_partners_signature_is_heard(self, connection, partner):
        entity = b"Content-Type: application/EDIFACT\r\n\r\n" + CONTRL.format("7").encode()
        headers, _ = self.answer(partner)
        ours = partner._file("recipient.pem", as2.ours().certificate)
        sealed = partner.openssl("cms", "-encrypt", "-aes256", "-binary", "-outform", "DER", ours, stdin=entity)
        mallory = make_pair("globex", key=rsa_key(3))

        assert self.refused(partner, connection, (headers, sealed)) == "processed/error: authentication-failed"
        for encrypted in (True, False):
            partner.signer = mallory
            message = self.answer(partner, encrypted=encrypted)
            assert self.refused(partner, connection, message) == "processed/error: authentication-failed"

    def test_what_is_for_another_certificate_is_not_read(self, connection, partner):
        partner.believed = [as2.ours(), make_pair("acme", key=rsa_key(3))]

        assert self.refused(partner, connection, self.answer(partner)) == "processed/error: decryption-failed"

    def test_altered_copies_are_all_answered_alike(self, connection, partner):
        headers, body = self.answer(partner)
        answers = set()
        for place in (len(body) - 1, len(body) - 17, len(body) - 40, len(body) // 2):
            copy = bytearray(body)
            copy[place] ^= 1
            answers.add(self.refused(partner, connection, (headers, bytes(copy))))
        assert answers == {"processed/error: authentication-failed"}

    def test_names_are_compared_to_the_letter(self, connection, partner):
        headers, body = self.answer(partner)
        for name, value in (("AS2-From", "Globex"), ("AS2-To", "Acme AS2"), ("AS2-To", '"ACME AS2"')):
            expected = 200 if value == "Acme AS2" else 400
            assert send(connection, (headers | {name: value}, body)).status_code == expected

    @pytest.mark.parametrize("content", [b"no interchange", b"UNB+UNOC:3+A+ACME+261125:1200+1'UNZ+0+1'"])
    def test_what_is_no_answer_is_left_to_the_partner(self, connection, partner, content):
        answer = send(connection, partner.message(content))

        said = receipt_of(partner, answer)
        assert said["Disposition"].endswith("processed/error: unexpected-processing-error")
        assert not AcknowledgementRecord.objects.exclude(outcome="MALFORMED").exists()

    def test_the_receipt_has_the_checksum_that_was_asked_for(self, api, connection, partner):
        push(api, connection)
        headers, body = self.answer(partner, encrypted=False)
        for asked, name in (("sha-256, sha1", "sha256"), ("sha512", "sha512"), ("sha1", "sha1"), ("md5", "sha256")):
            headers["Disposition-Notification-Options"] = (
                f"signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=optional, {asked}"
            )
            said = receipt_of(partner, send(connection, (headers, body)))
            digest = b64encode(hashlib.new(name, partner.last_signed).digest()).decode()
            assert said["Received-content-MIC"] == f"{digest}, {name}"

    def test_who_wants_no_signature_or_no_receipt_gets_none(self, api, connection, partner):
        push(api, connection)
        headers, body = self.answer(partner)
        del headers["Disposition-Notification-Options"]
        assert send(connection, (headers, body))["Content-Type"].startswith("multipart/report")
        del headers["Disposition-Notification-To"]
        answer = send(connection, (headers, body))
        assert (answer.status_code, answer.content) == (200, b"")


class TestTheAddress:
    def test_is_only_there_for_connections_by_as2(self, api, connect, partner, dropzone):
        connection = connect()
        message = partner.message(b"anything")
        assert send({"id": "7d0d6f6a-4b0c-4a3c-9d0e-000000000000"}, message).status_code == 404

        cleared = dict.fromkeys(name for name in as2.settings() if name.startswith(("as2_", "own_", "partner_")))
        folder = {"mode": "filesystem", "export_path": "api-tests", "ca_bundle": None, **cleared}
        assert api.patch(f"connectors/{connection['id']}", {"config": folder}).status_code == 200
        mock = api.post("connectors", {"connector_type": "MOCK", "config": {}, "status": "DISABLED"}).json()

        for place in (connection, mock):
            answer = send(place, message)
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")

    def test_takes_posts_of_bounded_size_only(self, connect):
        path = f"/as2/{connect()['id']}"
        assert Client().get(path).status_code == 405
        for kind in ("application/pkcs7-mime", "application/json"):
            assert Client().post(path, b"x" * (1024 * 1024 + 1), content_type=kind).status_code == 413

    def test_is_rationed(self, connect, settings):
        rates = {**settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"], "inbound": "2/min"}
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": rates}
        path = f"/as2/{connect()['id']}"

        codes = [Client().post(path, b"x", content_type="text/plain").status_code for _ in range(3)]

        assert codes == [400, 400, 429]

    def test_needs_no_key_and_takes_none(self, api, connect):
        connection = connect()
        assert api("POST", f"/as2/{connection['id']}", raw=b"x", content_type="text/plain").status_code == 400

    def test_of_a_connection_that_cannot_be_opened_says_only_that(self, connect, partner):
        connection = connect()
        envelope = bytearray(ERPConnection.objects.get().config_encrypted)
        envelope[-1] ^= 1
        ERPConnection.objects.update(config_encrypted=bytes(envelope))

        answer = send(connection, partner.message(b"x"))

        assert (answer.status_code, answer.json()["code"]) == (503, "NOT_TAKEN")
