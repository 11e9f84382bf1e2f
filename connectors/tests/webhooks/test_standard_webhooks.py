"""Standard Webhooks on the wire: what a receiver verifies, what it may answer, and where nothing is sent."""

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from connectors import standard_webhooks
from connectors.codes import Code
from connectors.exceptions import OutcomeUnknown, TemporaryError
from connectors.network import EgressPolicy
from connectors.standard_webhooks import Message, Reply
from connectors.tests.transports.over_http import context_of, error_of

BODY = '{"type":"export.sent","data":{"order_id":"SO-1 – ünïque"}}'
ANYWHERE = EgressPolicy(allowed_networks=("127.0.0.0/8",))


def a_message(*secrets, body=BODY):
    return Message(id="0b7f8a52-4a58", body=body, secrets=secrets or (standard_webhooks.new_secret(),))


@pytest.fixture
def post(authority):
    def post(url, message=None, **about):
        return standard_webhooks.post(url, message or a_message(), context_of(**about), ca_bundle=authority.certificate)

    return post


class TestSignature:
    def test_vector_of_the_reference_implementation(self):
        """libraries/javascript/src/webhook.test.ts of standard-webhooks/standard-webhooks."""
        message = Message(
            id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            body='{"test": 2432232314}',
            secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
        )

        signature = standard_webhooks.sign(message, timestamp=1614265330)

        assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_what_arrives_is_verified_by_somebody_elses_implementation(self, start_https, post):
        server = start_https()
        secrets = standard_webhooks.new_secret(), standard_webhooks.new_secret()

        assert post(server.url(path="/hook?token=1"), a_message(*secrets)).is_accepted

        (request,) = server.requests
        assert (request.command, request.path, request.body.decode()) == ("POST", "/hook?token=1", BODY)
        assert request.headers["Content-Type"] == "application/json"
        for secret in secrets:
            assert Verifier(secret).verify(request.body, request.headers) == json.loads(BODY)
            with pytest.raises(WebhookVerificationError):
                Verifier(secret).verify(request.body + b" ", request.headers)
        with pytest.raises(WebhookVerificationError):
            Verifier(standard_webhooks.new_secret()).verify(request.body, request.headers)

    def test_the_timestamp_is_that_of_the_attempt(self, start_https, post):
        server = start_https()

        post(server.url())

        sent_at = datetime.fromtimestamp(int(server.requests[0].headers["webhook-timestamp"]), tz=UTC)
        assert abs((datetime.now(UTC) - sent_at).total_seconds()) < 5

    def test_a_secret_shows_itself_nowhere(self):
        secret = standard_webhooks.new_secret()

        assert secret not in repr(a_message(secret))
        assert len(secret) == len("whsec_") + 44


class TestReply:
    @pytest.mark.parametrize(
        ("status", "accepted", "farewell"),
        [(200, True, False), (204, True, False), (299, True, False), (404, False, False), (410, False, True)],
    )
    def test_its_status_says_all(self, start_https, post, status, accepted, farewell):
        server = start_https(lambda request: request.reply(status))

        reply = post(server.url())

        assert (reply.status, reply.is_accepted, reply.is_farewell) == (status, accepted, farewell)

    def test_a_wish_to_be_left_alone(self, start_https, post):
        server = start_https(lambda request: request.reply(503, Retry_After="120"))

        assert post(server.url()) == Reply(status=503, retry_after_s=120.0)

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nnever all of it",
            b"HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
        ],
    )
    def test_its_body_does_not_matter(self, start_https, post, answer):
        server = start_https(lambda request: request.raw(answer))

        started = time.monotonic()

        assert post(server.url()).is_accepted
        assert time.monotonic() - started < 2

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_is_followed(self, start_https, post, status):
        server = start_https(lambda request: request.reply(status, Location="/elsewhere"))

        with pytest.raises((TemporaryError, OutcomeUnknown)) as caught:
            post(server.url())

        assert caught.value.code is Code.UNUSABLE_ANSWER
        assert len(server.requests) == 1

    def test_a_receiver_that_never_answers(self, start_https, post):
        released = threading.Event()
        server = start_https(lambda request: released.wait(5))

        error = error_of(lambda: post(server.url(), seconds=0.5), OutcomeUnknown)
        released.set()

        assert error.code is Code.OUTCOME_UNKNOWN


class TestWhereTo:
    @pytest.mark.parametrize(
        "url",
        [
            "http://shop.test/hook",
            "ftp://shop.test/hook",
            "shop.test/hook",
            "https:///hook",
            "https://user:secret@shop.test/hook",
            "https://shop.test/hook#part",
            "https://shop.test:99999/hook",
            "https://shop.test/\x00",
            f"https://shop.test/{'x' * 2000}",
            "",
        ],
    )
    def test_no_such_url(self, url):
        with pytest.raises(ValueError, match=r"^must ") as refusal:
            standard_webhooks.check_url(url, EgressPolicy())

        assert "shop" not in str(refusal.value)

    @pytest.mark.parametrize("url", ["https://shop.test", "https://shop.test:8443/hook?token=1", "HTTPS://shop.test/"])
    def test_such_a_url(self, url):
        assert standard_webhooks.check_url(url, EgressPolicy()) == "shop.test"

    def test_plain_http_where_networks_are_allowed_by_name(self, start_https, post, host_names):
        server = start_https(certificate=None)
        url = server.url()
        assert standard_webhooks.check_url(url, ANYWHERE) == "erp.test"

        assert post(url).is_accepted

        host_names["erp.test"] = ["8.8.8.8"]
        assert error_of(lambda: post(url)).code is Code.EGRESS_DENIED
        assert error_of(lambda: post(url.replace("http:", "https:"), seconds=0.1)).code is not Code.EGRESS_DENIED

    def test_not_into_a_network_that_is_not_allowed(self, start_https, post):
        server = start_https()

        assert error_of(lambda: post(server.url(), allowed=())).code is Code.EGRESS_DENIED
        assert server.connections == 0

    def test_not_to_whom_nobody_vouches_for(self, start_https):
        server = start_https()

        error = error_of(lambda: standard_webhooks.post(server.url(), a_message(), context_of()))

        assert error.code is Code.TLS_FAILURE
        assert not server.requests


class TestRhythm:
    def test_the_schedule_of_the_specification(self):
        delays = [standard_webhooks.delay_s(attempt, asked_s=None, jitter=0) for attempt in range(1, 11)]

        assert delays == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]

    def test_spread_a_little(self):
        assert standard_webhooks.delay_s(1, asked_s=None, jitter=1) == pytest.approx(5.5)

    @pytest.mark.parametrize(("asked", "waited"), [(1, 5), (60, 60), (10**9, 86_400)])
    def test_retry_after_is_a_lower_bound(self, asked, waited):
        assert standard_webhooks.delay_s(1, asked_s=asked, jitter=0) == waited


def test_a_policy_for_what_is_not_encrypted():
    policy = EgressPolicy(allowed_networks=("10.0.0.0/8",), confined_to=("10.1.0.0/16", "8.8.8.0/24"))
    plain = replace(policy, only_allowed=True)

    assert (policy.admits("8.8.8.8"), plain.admits("8.8.8.8")) == (True, False)
    assert (policy.admits("10.1.2.3"), plain.admits("10.1.2.3")) == (True, True)
    assert not plain.admits("10.2.0.1")
