"""What is known about a request that failed: whether it left, and whether it may be sent again."""

from __future__ import annotations

import gzip
import inspect
import logging
import time
import tracemalloc
import zlib
from collections.abc import Callable

import httpcore2
import httpx2
import pytest

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, TemporaryError
from connectors.tests.peers.https import Authority, Exchange
from connectors.tests.peers.proxy import CuttingProxy
from connectors.tests.transports.over_http import context_of, error_of, target_of
from connectors.transports.http import open_session
from connectors.transports.http_answers import Unusable
from connectors.transports.http_wire import BROKEN

MIB = 1024 * 1024

pytestmark = pytest.mark.usefixtures("host_names")


@pytest.fixture
def failure(start_https, authority: Authority) -> Callable[..., ConnectorError]:
    """A function that returns what comes of one request to a server that misbehaves."""

    def failure(
        answer: Callable[[Exchange], None], method: str = "GET", *, kind=TemporaryError, plain: bool = False, **options
    ) -> ConnectorError:
        server = start_https(answer, **({"certificate": None} if plain else {}))
        target = target_of(server.url(), authority, allow_plain=plain, **options)
        with open_session(target, context_of()) as session:
            return error_of(lambda: session.request(method, "", content=b"order" * (method == "POST")), kind)

    return failure


def cut(*sent: bytes) -> Callable[[Exchange], None]:
    """Read the request, send this much and reset the connection."""

    def answer(exchange: Exchange) -> None:
        for part in sent:
            exchange.raw(part)
        time.sleep(0.05)  # a reset overtakes what is on its way
        exchange.reset()

    return answer


def closed(*sent: bytes) -> Callable[[Exchange], None]:
    """Read the request, send this much and close the connection."""

    def answer(exchange: Exchange) -> None:
        for part in sent:
            exchange.raw(part)
        exchange.hang_up()

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class TestReplyLost:
    """The request was read; the answer is missing or incomplete."""

    @pytest.mark.parametrize("plain", [True, False], ids=["http", "https"])
    @pytest.mark.parametrize(
        "answer",
        [
            cut(), closed(), cut(b"HTTP/1.1 2"), closed(b"HTTP/1.1 200 OK\r\n"),
            cut(HEAD + b"Content-Length: 20\r\n\r\n{"), closed(HEAD + b"Content-Length: 20\r\n\r\n{"),
            cut(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"),
            closed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"),
        ],
    )  # fmt: skip
    def test_a_read_may_be_repeated_and_a_write_may_not(self, failure, answer, plain: bool) -> None:
        assert failure(answer, "GET", plain=plain).code is Code.CONNECTION_LOST
        assert failure(answer, "POST", kind=OutcomeUnknown, plain=plain).code is Code.OUTCOME_UNKNOWN

    def test_over_tls_the_end_has_to_be_said(self, failure) -> None:
        error = failure(closed(HEAD + b'Connection: close\r\n\r\n{"id": 1234'), "POST", kind=OutcomeUnknown)

        assert error.code is Code.OUTCOME_UNKNOWN

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_what_is_safe_by_itself(self, failure, method: str) -> None:
        failure(cut(), method, kind=TemporaryError)

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_what_is_not(self, failure, method: str) -> None:
        failure(cut(), method, kind=OutcomeUnknown)

    def test_a_search_by_post_is_safe(self, start_https, authority: Authority) -> None:
        server = start_https(cut())
        with open_session(target_of(server.url(), authority), context_of()) as session:
            assert error_of(lambda: session.request("POST", "", safe=True)).code is Code.CONNECTION_LOST


class TestRequestCut:
    """The link breaks while the request is on its way."""

    BODY = b"x" * 300_000

    @pytest.mark.parametrize("how", ["reset", "close", "stall"])
    @pytest.mark.parametrize(("method", "kind"), [("GET", TemporaryError), ("POST", OutcomeUnknown)])
    def test_some_bytes_arrived(self, start_https, authority: Authority, how: str, method: str, kind) -> None:
        server = start_https(certificate=None)
        with CuttingProxy(server.port, after=50_000, how=how) as proxy:
            target = target_of(f"http://erp.test:{proxy.port}", authority, allow_plain=True, timeout_s=0.5)
            with open_session(target, context_of()) as session:
                error = error_of(lambda: session.request(method, "", content=self.BODY), kind)

        assert error.code in (Code.CONNECTION_LOST, Code.CONNECTION_TIMEOUT, Code.OUTCOME_UNKNOWN)

    def test_an_early_answer_is_heard(self, start_https, authority: Authority) -> None:
        """A server may refuse a large body without reading it, and hang up; over TLS that may get lost."""
        server = start_https(certificate=None)
        server.RequestHandlerClass = refusing_early
        with open_session(target_of(server.url(), authority, allow_plain=True), context_of()) as session:
            assert session.request("POST", "", content=b"x" * 5_000_000).status == 413

    def test_a_far_end_that_reads_no_more(self, start_https, authority: Authority) -> None:
        server = start_https(certificate=None)
        with CuttingProxy(server.port, after=1000, how="stall", receive_buffer=4096) as proxy:
            target = target_of(f"http://erp.test:{proxy.port}", authority, allow_plain=True, timeout_s=0.3)
            with open_session(target, context_of()) as session:
                started = time.monotonic()
                error_of(lambda: session.request("POST", "", content=b"x" * 30_000_000), OutcomeUnknown)

        assert time.monotonic() - started < 3


class TestUselessAnswers:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (lambda exchange: exchange.raw(b"220 mail.example.com s3cret\r\n\r\n"), Unusable.NOT_HTTP),
            (lambda exchange: exchange.raw(b"HTTP/1.1 OK s3cret\r\n\r\n"), Unusable.NOT_HTTP),
            (lambda exchange: exchange.raw(b"\x16\x03\x01" * 500), Unusable.NOT_HTTP),
            (lambda exchange: exchange.raw(HEAD + b"Content-Length: s3cret\r\n\r\n"), Unusable.NOT_HTTP),
            (lambda exchange: exchange.raw(HEAD + b"Transfer-Encoding: s3cret\r\n\r\n"), Unusable.NOT_HTTP),
            (lambda exchange: exchange.raw(HEAD + b"X: " + b"x" * 200_000 + b"\r\n\r\n"), Unusable.NOT_HTTP),
            (lambda exchange: exchange.reply(body="s3cret", Content_Encoding="gzip"), Unusable.GARBLED),
            (lambda exchange: exchange.reply(body="s3cret", Content_Encoding="gzip, " * 9), Unusable.GARBLED),
        ],
    )
    def test_say_so_without_quoting(self, failure, answer, reason: Unusable) -> None:
        for method, kind in (("GET", TemporaryError), ("POST", OutcomeUnknown)):
            error = failure(answer, method, kind=kind)
            assert (error.code, error.params["reason"]) == (Code.UNUSABLE_ANSWER, reason)
            assert "s3cret" not in error.message + error.hint + str(error.params) + repr(error)

    @pytest.mark.parametrize(
        "body",
        [
            lambda: {"body": b"x" * (MIB + 1)},
            lambda: {"body": gzip.compress(b"x" * 50 * MIB), "Content_Encoding": "gzip"},
            lambda: {"body": zlib.compress(b"x" * 50 * MIB), "Content_Encoding": "deflate"},
            lambda: {"body": gzip.compress(gzip.compress(b"x" * 50 * MIB)), "Content_Encoding": "gzip, gzip"},
        ],
        ids=["plain", "gzip", "deflate", "twice"],
    )
    def test_too_large(self, failure, body) -> None:
        reply = body()
        tracemalloc.start()
        try:
            for method, kind in (("GET", TemporaryError), ("POST", OutcomeUnknown)):
                error = failure(lambda exchange: exchange.reply(**reply), method, kind=kind, max_answer_bytes=MIB)
                assert error.params["reason"] == Unusable.TOO_LARGE
            assert tracemalloc.get_traced_memory()[1] < 10 * MIB
        finally:
            tracemalloc.stop()

    def test_an_endless_answer(self, failure) -> None:
        def endless(exchange: Exchange) -> None:
            exchange.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            while True:
                exchange.raw(b"10000\r\n" + b"x" * 65536 + b"\r\n")

        assert failure(endless, max_answer_bytes=MIB).params["reason"] == Unusable.TOO_LARGE

    def test_an_endless_answer_that_unpacks_to_nothing(self, failure) -> None:
        nothing = b"\x00\x00\x00\xff\xff" * 10_000  # empty blocks of deflate

        def endless(exchange: Exchange) -> None:
            exchange.raw(HEAD + b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x78\x9c\r\n")
            while True:
                exchange.raw(b"%x\r\n%s\r\n" % (len(nothing), nothing))

        assert failure(endless, max_answer_bytes=MIB).params["reason"] == Unusable.TOO_LARGE

    def test_exactly_as_large_as_is_allowed(self, start_https, authority: Authority) -> None:
        packed = {"body": gzip.compress(b"x" * MIB), "Content_Encoding": "gzip"}
        for answer in ({"body": b"x" * MIB}, packed):
            server = start_https(lambda exchange, answer=answer: exchange.reply(**answer))
            target = target_of(server.url(), authority, max_answer_bytes=MIB)
            with open_session(target, context_of()) as session:
                assert session.request("GET", "").content == b"x" * MIB

    def test_the_session_goes_on(self, start_https, authority: Authority) -> None:
        server = start_https(lambda exchange: exchange.reply(body=b"x" * (10 if exchange.path == "/ok" else 5 * MIB)))
        with open_session(target_of(server.url(), authority, max_answer_bytes=MIB), context_of()) as session:
            error_of(lambda: session.request("GET", "large"))
            assert session.request("GET", "ok").status == 200


class TestForeignWords:
    def test_nothing_is_logged(self, start_https, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
        server = start_https(lambda exchange: exchange.reply(body="s3cret", Set_Cookie="session=s3cret"))
        target = target_of(server.url(), authority, headers={"Authorization": "Bearer s3cret"})
        with caplog.at_level(logging.DEBUG), open_session(target, context_of()) as session:
            session.request("POST", "", params={"key": "s3cret"}, content=b"s3cret")

        assert "s3cret" not in caplog.text

    def test_every_exception_that_can_come_is_translated(self) -> None:
        cannot_come = {
            "ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "NetworkError", "TimeoutException",
            "WriteTimeout",  # the wire raises those of the socket
            "WriteError",  # httpcore2 goes on to read
            "ConnectionNotAvailable", "PoolTimeout", "ProxyError", "UnsupportedProtocol",  # pools and proxies
            "LocalProtocolError", "ProtocolError",  # a mistake of ours
        }  # fmt: skip
        known = {
            name for name, member in inspect.getmembers(httpcore2, inspect.isclass) if issubclass(member, Exception)
        }

        assert {name for name in known if not issubclass(getattr(httpcore2, name), BROKEN)} == cannot_come
        assert issubclass(httpx2.DecodingError, BROKEN)


class refusing_early(Exchange):  # noqa: N801
    """Answers before the body is read, and hangs up."""

    def _handle(self) -> None:
        self.reply(413)
        self.hang_up()

    do_POST = _handle  # noqa: N815
