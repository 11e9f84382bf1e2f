"""An order by AS2 to a partner's station: which receipt proves that it arrived, and what follows from others."""

from __future__ import annotations

import random
import socket
from datetime import timedelta

import pytest

from connectors.adapters.edifact_orders import EdifactOrdersConnector
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
)
from connectors.port import Guarantee
from connectors.results import AckStatus, Inbound, Settlement
from connectors.testing import sample_orders
from connectors.testing.fakes import context
from connectors.tests.peers.as2_partner import make_pair, rsa_key
from connectors.tests.peers.imitation import says
from connectors.tests.transports import as2

CONNECTOR = EdifactOrdersConnector()


@pytest.fixture
def partner(tmp_path):
    return as2.partner(tmp_path)


@pytest.fixture
def connect(partner, start_https, authority, host_names):
    server = start_https(partner)
    return lambda **changes: as2.over(server, authority, **changes)


def fails(kind, config, code, attempt=None):
    with pytest.raises(kind) as caught:
        as2.export(config, attempt)
    error = caught.value
    assert (type(error), error.code, error.__context__) == (kind, code, None)
    return error


class TestReceipts:
    def test_a_signed_receipt_with_the_right_checksum_proves_arrival(self, connect, partner):
        result = as2.export(connect())

        (taken,) = partner.taken.values()
        assert taken.content == as2.attempt().document.content
        assert (result.acknowledged, result.erp_order_id) == (False, None)
        assert (result.receipt.transport, result.receipt.already_delivered) == ("as2", False)
        assert result.receipt.location.endswith("<00000000-0000-0000-0000-000000000007@erp-connector-framework>")

    @pytest.mark.parametrize("written", ["sha-256", "SHA256", "sha512", "rsa-sha384", "sha1"])
    def test_however_the_algorithm_is_written(self, connect, partner, written):
        name = written.lower().removeprefix("rsa-").replace("-", "")
        partner.checksum = lambda signed: f"{as2.digest(signed, name)} , {written}"

        assert as2.export(connect(compression="before_signing"))

    def test_one_that_was_signed_by_any_of_the_partners_certificates(self, connect, partner):
        new = make_pair("globex next", key=rsa_key(3))
        partner.signer = new
        rolled = as2.theirs().certificate + new.certificate

        fails(OutcomeUnknown, connect(), Code.RECEIPT_UNUSABLE)
        assert as2.export(connect(partner_certificates=rolled), as2.attempt(export_id=as2.an_id()))
        assert as2.export(connect(next_partner_certificate=new.certificate), as2.attempt(export_id=as2.an_id()))

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ({"signs": False}, "not signed"),
            ({"digest": "sha1"}, "too weak"),
            ({"altered": lambda body: body.replace(b"; processed", b"; Processed")}, "signature is wrong"),
            ({"altered": lambda body: body.replace(b"=_report", b"=_other")}, "signature is wrong"),
            ({"altered": lambda body: body[: len(body) // 2]}, "cannot be read"),
            ({"altered": lambda body: b""}, "cannot be read"),
            ({"notification": lambda text: text.replace("-000000000007@", "-000000000008@")}, "another message"),
            ({"notification": lambda text: text.replace("Disposition", "X-Disposition")}, "cannot be read"),
            ({"checksum": lambda signed: "AAAA, md5"}, "no checksum"),
            ({"checksum": lambda signed: "?, sha256"}, "no checksum"),
            ({"notification": lambda text: text.partition("Received-Content")[0]}, "no checksum"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_proves_nothing(self, connect, partner, wrong, reason):
        vars(partner).update(wrong)

        error = fails(OutcomeUnknown, connect(), Code.RECEIPT_UNUSABLE)

        assert reason in error.message

    def test_one_that_expired_is_not_believed(self, connect, partner):
        partner.signer = make_pair("globex", key=rsa_key(2), until=timedelta(hours=-1))
        config = connect(partner_certificates=as2.theirs().certificate + partner.signer.certificate)

        assert "not valid now" in fails(OutcomeUnknown, config, Code.RECEIPT_UNUSABLE).message

    def test_another_checksum_is_another_content(self, connect, partner):
        partner.checksum = lambda signed: f"{as2.digest(signed + b' ', 'sha256')}, sha256"
        config = connect(recognises_duplicates=True)

        fails(OutcomeUnknown, config, Code.RECEIPT_MISMATCH)

        with pytest.raises(OutcomeUnknown):  # and it is not sent again in the hope of another answer
            CONNECTOR.find_export(sample_orders.minimal(), config, as2.attempt(doubt=Code.RECEIPT_MISMATCH))

    @pytest.mark.parametrize(
        ("disposition", "kind", "code"),
        [
            ("processed/error: authentication-failed", AuthenticationFailed, Code.MESSAGE_REFUSED),
            ("processed/Error:decryption-failed", AuthenticationFailed, Code.MESSAGE_REFUSED),
            ("processed/error: insufficient-message-security", AuthenticationFailed, Code.MESSAGE_REFUSED),
            ("failed/Failure: unsupported MIC-algorithms", AuthenticationFailed, Code.MESSAGE_REFUSED),
            ("processed/error: unexpected-processing-error", TemporaryError, Code.REMOTE_ERROR),
            ("processed/error: no such department", RejectedByERP, Code.REJECTED_BY_ERP),
            ("failed", RejectedByERP, Code.REJECTED_BY_ERP),
            ("denied/error: duplicate-document", RejectedByERP, Code.REJECTED_BY_ERP),
        ],
    )
    def test_a_refusal_is_what_its_reason_says(self, connect, partner, disposition, kind, code):
        partner.disposition = disposition

        error = fails(kind, connect(), code)

        assert error.said.code.replace(" ", "").lower() == disposition.replace(" ", "").lower()
        assert error.said.message == "This is what became of it."

    def test_a_warning_is_no_refusal(self, connect, partner):
        partner.disposition = "processed/warning: the file name was changed"

        assert not as2.export(connect()).receipt.already_delivered


class TestAgain:
    def test_a_lost_answer_is_followed_by_the_same_message_where_duplicates_are_recognised(self, connect, partner):
        partner.faults.append(partner.drop)
        config, attempt = connect(recognises_duplicates=True, cipher="none"), as2.attempt()
        fails(OutcomeUnknown, config, Code.OUTCOME_UNKNOWN, attempt)

        doubt = as2.attempt(doubt=Code.OUTCOME_UNKNOWN, attempt=2)
        assert CONNECTOR.find_export(sample_orders.minimal(), config, doubt) is None
        result = as2.export(config, doubt)

        assert result.receipt.already_delivered
        assert len(partner.taken) == 1
        (first, body), (second, again) = partner.posts
        assert (first["message-id"], first["date"], body) == (second["message-id"], second["date"], again)

    def test_else_a_person_decides(self, connect):
        for doubt in (Code.OUTCOME_UNKNOWN, Code.WORKER_LOST):
            with pytest.raises(OutcomeUnknown):
                CONNECTOR.find_export(sample_orders.minimal(), connect(), as2.attempt(doubt=doubt))
        assert CONNECTOR.guarantee_of(connect()) is Guarantee.AT_MOST_ONCE
        assert CONNECTOR.guarantee_of(connect(recognises_duplicates=True)) is Guarantee.HARD

    def test_what_never_left_is_sent_again(self, connect, partner, start_https, authority):
        with socket.create_server(("127.0.0.1", 0)) as free:
            nobody = connect(as2_url=f"https://erp.test:{free.getsockname()[1]}/")
        fails(TemporaryError, nobody, Code.CONNECTION_REFUSED)

        assert not as2.export(connect()).receipt.already_delivered


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, AuthenticationFailed, Code.AUTHENTICATION_FAILED),
        (403, AuthenticationFailed, Code.AUTHENTICATION_FAILED),
        (404, AuthenticationFailed, Code.ENDPOINT_UNUSABLE),
        (400, AuthenticationFailed, Code.ENDPOINT_UNUSABLE),
        (413, RejectedByERP, Code.REJECTED_BY_ERP),
        (429, RateLimited, Code.RATE_LIMITED),
        (500, OutcomeUnknown, Code.REMOTE_ERROR),
        (503, OutcomeUnknown, Code.REMOTE_ERROR),
        (302, OutcomeUnknown, Code.UNUSABLE_ANSWER),
        (200, OutcomeUnknown, Code.RECEIPT_UNUSABLE),
    ],
)
def test_a_status_without_a_receipt(connect, partner, status, kind, code):
    partner.faults.append(says(status, "<html>no</html>", Content_Type="text/html"))

    fails(kind, connect(), code)


def test_basic_credentials_are_sent_and_not_told(connect, partner):
    partner.credentials = "Basic YWNtZTpzM2NyZXQ="

    assert as2.export(connect(username="acme", password="s3cret"))
    error = fails(AuthenticationFailed, connect(username="acme", password="wr0ng"), Code.AUTHENTICATION_FAILED)
    assert "wr0ng" not in f"{error!r} {error} {error.said}"


class TestLater:
    """Receipts that the partner sends to us after the message."""

    URL = "https://us.test/as2/1"

    def take(self, config, receipt, *, sent=None, settled=Settlement.APPLIED):
        answers, malformed = [], []

        def settle(answer):
            answers.append(answer)
            return settled

        document = as2.attempt().document
        tools = as2.with_(
            context(), sent=lambda _: document if sent is None else sent, report_malformed=malformed.append
        )
        reply = CONNECTOR.receive(Inbound(headers=receipt[0], content=receipt[1]), config, tools, settle)
        return reply, answers, malformed

    def test_the_message_is_taken_and_its_receipt_comes_later(self, connect, partner):
        config = connect(receipt="async")

        assert as2.export(config, as2.attempt(inbound_url=self.URL)).receipt.transport == "as2"

        assert partner.posts[0][0]["receipt-delivery-option"] == self.URL
        reply, (answer,), malformed = self.take(config, partner.receipts[0])
        assert (reply.status, reply.refused, malformed) == (200, "", [])
        assert (answer.filename, answer.status) == ("order_1.edi", AckStatus.RECEIVED)

    def test_a_refusal_says_why(self, connect, partner):
        partner.disposition = "processed/error: decryption-failed"
        config = connect(receipt="async")
        as2.export(config, as2.attempt(inbound_url=self.URL))

        _, (answer,), _ = self.take(config, partner.receipts[0])

        assert (answer.status, answer.error_code) == (AckStatus.REJECTED, "processed/error: decryption-failed")

    def test_one_for_another_content_is_for_a_person(self, connect, partner):
        config = connect(receipt="async")
        partner.checksum = lambda signed: f"{as2.digest(b'other', 'sha256')}, sha256"
        as2.export(config, as2.attempt(inbound_url=self.URL))

        reply, answers, (malformed,) = self.take(config, partner.receipts[0])

        assert (reply.status, answers) == (200, [])
        assert (malformed.filename, "another content" in malformed.reason) == ("order_1.edi", True)

    def test_one_that_is_too_fast_is_asked_to_come_again(self, connect, partner):
        config = connect(receipt="async")
        as2.export(config, as2.attempt(inbound_url=self.URL))

        reply, _, _ = self.take(config, partner.receipts[0], settled=Settlement.LATER)

        assert (reply.status, reply.headers) == (503, {"Retry-After": "30"})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"signs": False},
            {"altered": lambda body: body.replace(b"processed", b"Processed")},
            {"notification": lambda text: text.replace("@erp-connector-framework", "@elsewhere")},
        ],
        ids=["unsigned", "altered", "for somebody else"],
    )
    def test_one_that_proves_nothing_changes_nothing(self, connect, partner, wrong):
        vars(partner).update(wrong)
        config = connect(receipt="async")
        as2.export(config, as2.attempt(inbound_url=self.URL))

        reply, answers, malformed = self.take(config, partner.receipts[0])

        assert (reply.status, answers, malformed) == (400, [], [])

    def test_a_web_page_promises_none(self, connect, partner):
        partner.faults.append(says(200, "<html>Sign in</html>", Content_Type="text/html"))

        fails(OutcomeUnknown, connect(receipt="async"), Code.UNUSABLE_ANSWER, as2.attempt(inbound_url=self.URL))

    def test_without_an_address_of_ours_orders_wait(self, connect, partner):
        error = fails(AuthenticationFailed, connect(receipt="async"), Code.UNSUPPORTED_FEATURE)

        assert "PUBLIC_URL" in error.message
        assert not partner.posts


def test_whatever_is_sent_to_us_is_answered(partner):
    """Somebody who may send anything finds nothing that we have no answer to."""
    messages = [
        partner.message(b"UNB"),
        partner.message(b"UNB", encrypted=False),
        partner.receipt("<1@x>", "failed", b"1"),
    ]
    config, chance = as2.config(), random.Random(4)
    for number in range(300):
        headers, body = messages[number % 3]
        broken = bytearray(body)
        for _ in range(chance.randrange(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        if number % 5 == 0:
            del broken[chance.randrange(len(broken)) :]
        kind = chance.choice(
            [headers["Content-Type"], headers["Content-Type"], "multipart/signed", "", "application/pkcs7-mime"]
        )
        message = Inbound(headers=headers | {"Content-Type": kind}, content=bytes(broken))

        reply = CONNECTOR.receive(message, config, context(), lambda _: Settlement.UNMATCHED)

        assert reply.status in (200, 400), number
        assert reply.refused


class TestConnectionTest:
    def run(self, config, **tools):
        return CONNECTOR.test_connection(config, as2.with_(context(), **tools))

    def test_tries_everything_and_sends_nothing(self, connect, partner):
        result = self.run(connect(recognises_duplicates=True))

        names = ["document", "certificates", "sign_and_encrypt", "resolve", "connect", "tls"]
        assert [step.name for step in result.steps] == names
        assert result.success
        assert not partner.posts
        assert any("duplicates" in sentence for sentence in result.not_proven)

    @pytest.mark.parametrize(
        ("changes", "step", "code"),
        [
            ({"own": timedelta(hours=-1)}, "certificates", Code.CERTIFICATE_UNUSABLE),
            ({"partner": timedelta(hours=-1)}, "certificates", Code.CERTIFICATE_UNUSABLE),
            ({"receipt": "async"}, "sign_and_encrypt", Code.UNSUPPORTED_FEATURE),
            ({"as2_url": "https://127.0.0.1:1/"}, "connect", Code.CONNECTION_REFUSED),
            ({"ca_bundle": as2.ours().certificate}, "tls", Code.TLS_FAILURE),
        ],
    )
    def test_says_what_is_wrong(self, connect, changes, step, code):
        if until := changes.pop("own", None):
            pair = make_pair("acme", key=rsa_key(1), until=until)
            changes |= {"own_certificate": pair.certificate, "own_key": pair.key}
        if until := changes.pop("partner", None):
            changes |= {"partner_certificates": make_pair("globex", until=until).certificate}

        failed = self.run(connect(**changes)).failed_step

        assert (failed.name, failed.code) == (step, code)

    def test_warns_before_a_certificate_expires(self, connect):
        soon = make_pair("globex", until=timedelta(days=20))

        (warning,) = (step for step in self.run(connect(partner_certificates=soon.certificate)).steps if step.code)

        assert (warning.name, warning.code) == ("certificates", Code.CERTIFICATE_EXPIRES)
        assert "GLOBEX" in warning.detail
