"""One origin, one connection: what is sent where, against real servers on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, TemporaryError
from connectors.port import Context, StepRecorder
from connectors.results import StepStatus
from connectors.tests.peers.https import Authority, Exchange, HttpServer, self_signed
from connectors.tests.peers.openssh import free_port
from connectors.tests.peers.proxy import blackhole
from connectors.tests.transports.over_http import context_of, error_of, target_of
from connectors.transports.http import HTTP_LOGIN_STEPS, HttpTarget, open_session
from connectors.transports.http_answers import Unusable
from connectors.transports.tls import ClientCertificate, Reason

pytestmark = pytest.mark.usefixtures("host_names")


@pytest.fixture
def context() -> Context:
    return context_of()


@pytest.fixture
def start(start_https: Callable[..., HttpServer]) -> Callable[..., HttpServer]:
    return start_https


@pytest.fixture
def target(authority: Authority) -> Callable[..., HttpTarget]:
    """A function that returns the target of a server."""

    def target(server: HttpServer | str, **options: object) -> HttpTarget:
        return target_of(server if isinstance(server, str) else server.url(), authority, **options)

    return target


class TestSteps:
    def test_each_says_what_it_saw(self, start, target, context: Context) -> None:
        until = datetime.now(UTC) + timedelta(days=365)
        with open_session(target(start()), context):
            resolve, connect, tls = context.steps.steps

        assert (resolve.name, connect.name, tls.name) == HTTP_LOGIN_STEPS
        assert resolve.detail == "127.0.0.1"
        assert tls.detail == f"TLS 1.3, certificate from Partner CA until {until:%Y-%m-%d}"
        assert all(step.status is StepStatus.PASSED for step in context.steps.steps)

    @pytest.mark.parametrize(("days", "status"), [(29, StepStatus.WARNING), (31, StepStatus.PASSED)])
    def test_a_certificate_that_expires_soon(
        self, start, target, context: Context, authority: Authority, days: int, status: StepStatus
    ) -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        with open_session(target(start(certificate=authority.issue("erp.test", until=until))), context):
            tls = context.steps.steps[-1]

        assert tls.status is status
        assert tls.code == (Code.CERTIFICATE_EXPIRES if days < 30 else None)
        assert f"{until:%Y-%m-%d}" in tls.detail

    @pytest.mark.parametrize(
        ("failing", "code"),
        [("resolve", Code.DNS_FAILURE), ("connect", Code.CONNECTION_REFUSED), ("tls", Code.TLS_FAILURE)],
    )
    def test_the_first_that_fails_is_the_last(self, start, target, context: Context, failing: str, code: Code) -> None:
        base_url = {
            "resolve": "https://no-such-host.invalid",
            "connect": f"https://erp.test:{free_port()}",
            "tls": start(certificate=self_signed("erp.test")).url(),
        }[failing]

        assert error_of(lambda: open_session(target(base_url), context)).code is code
        assert context.steps.steps[-1].name == failing
        assert context.steps.steps[-1].code is code

    def test_a_cancelled_test_opens_no_second_step(self, start, target) -> None:
        answers = iter([False, False, True])
        context = context_of(steps=StepRecorder(is_cancelled=lambda: next(answers)))

        assert error_of(lambda: open_session(target(start()), context), ConnectorError).code is Code.TEST_CANCELLED

    def test_plain_http_has_no_third(self, start, target, context: Context) -> None:
        with open_session(target(start(certificate=None), allow_plain=True), context) as session:
            assert session.request("GET", "").status == 200
        assert context.steps.steps[-1].status is StepStatus.SKIPPED


class TestTargets:
    @pytest.mark.parametrize(
        "base_url",
        [
            "", "erp.test", "/orders", "ftp://erp.test", "https://", "https:///orders", "https://erp.test:0",
            "https://erp.test:99999", "https://erp.test?key=s3cret", "https://erp.test#s3cret", "http://erp.test",
            "https://user:s3cret@erp.test", "https://s3cret@erp.test", "https://0177.0.0.1", "https://[::1",
            "https://erp test", "https://erp.test/\n", "file:///etc/passwd", "https://[fe80::1%25eth0]/",
        ],
    )  # fmt: skip
    def test_addresses_that_are_refused(self, base_url: str) -> None:
        with pytest.raises(ValueError, match=r"^The base URL") as caught:
            HttpTarget(base_url=base_url)
        assert "s3cret" not in str(caught.value)

    def test_plain_http_only_when_it_is_asked_for(self) -> None:
        assert HttpTarget(base_url="http://erp.test", allow_plain=True)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("X-Key", "s3cret\r\nX-Admin: 1"), ("X-Key", "s3cret\n"), ("X-Key", " s3cret"), ("X-Key", "s3crét"),
            ("X-Key", "s3cret\x00"), ("X Key", "s3cret"), ("", "s3cret"), ("X-Key:", "s3cret"),
        ],
    )  # fmt: skip
    def test_headers_that_are_refused(self, start, target, context: Context, name: str, value: str) -> None:
        with pytest.raises(ValueError, match="printable ASCII") as caught:
            HttpTarget(base_url="https://erp.test", headers={name: value})
        assert "s3cret" not in str(caught.value)

        server = start()
        with open_session(target(server), context) as session, pytest.raises(ValueError, match="printable ASCII"):
            session.request("GET", "", headers={name: value})
        assert not server.requests

    def test_secrets_are_not_shown(self) -> None:
        target = HttpTarget(base_url="https://erp.test", headers={"Authorization": "Bearer s3cret"})

        assert "s3cret" not in repr(target)


class TestRequests:
    def test_what_the_server_sees(self, start, target, context: Context) -> None:
        server = start(lambda exchange: exchange.reply(201, '{"id": 7}', Location="/orders/7"))
        target = target(server.url(path="/api/v2/"), headers={"Authorization": "Bearer s3cret"})

        with open_session(target, context) as session:
            answer = session.request(
                "POST", "/orders?expand=lines", params={"dry run": "nö&"}, content=b"{}",
                headers={"Content-Type": "application/json", "accept": "application/json"},
            )  # fmt: skip

        assert (answer.status, answer.json(), answer.headers["location"]) == (201, {"id": 7}, "/orders/7")
        (seen,) = server.requests
        assert (seen.command, seen.body) == ("POST", b"{}")
        assert seen.path == "/api/v2/orders?expand=lines&dry+run=n%C3%B6%26"
        assert seen.headers["Host"] == f"erp.test:{server.port}"
        assert seen.headers["Authorization"] == "Bearer s3cret"
        assert seen.headers.get_all("Accept") == ["application/json"]
        assert seen.headers["Content-Length"] == "2"

    @pytest.mark.parametrize(
        ("base", "path", "expected"),
        [
            ("", "", "/"), ("/", "", "/"), ("/api", "", "/api"), ("/api/", "", "/api/"),
            ("/api", "orders", "/api/orders"), ("/api/", "/orders", "/api/orders"),
            ("", "//evil.test/x", "/evil.test/x"), ("", "@evil.test", "/@evil.test"),
        ],
    )  # fmt: skip
    def test_paths(self, start, target, context: Context, base: str, path: str, expected: str) -> None:
        server = start()
        with open_session(target(server.url(path=base)), context) as session:
            session.request("GET", path)

        assert server.requests[0].path == expected

    def test_whole_urls_are_those_of_the_origin_only(self, start, target, context: Context) -> None:
        server = start()
        with open_session(target(server, headers={"X-Key": "s3cret"}), context) as session:
            assert session.request("GET", server.url(path="/next?page=2")).status == 200
            for url in (
                server.url("other.test"),
                "https://erp.test/",
                server.url().replace("https", "http"),
                "https://[",
            ):
                error = error_of(lambda url=url: session.request("GET", url))
                assert error.params["reason"] == Unusable.LEADS_ELSEWHERE

        assert [seen.path for seen in server.requests] == ["/next?page=2"]

    @pytest.mark.parametrize(
        "path",
        [
            "orders/1\r\nX-Admin: 1",
            "..",
            "orders/../admin",
            "orders/..?x",
            "./admin",
            "%2e%2E/admin",
            "a/.%2e/b",
            "/../a",
        ],
    )
    def test_paths_that_lead_elsewhere(self, start, target, context: Context, path: str) -> None:
        server = start()
        with open_session(target(server), context) as session, pytest.raises(ValueError, match="path"):
            session.request("GET", path)

        assert not server.requests

    def test_dots_inside_a_name_are_fine(self, start, target, context: Context) -> None:
        server = start()
        with open_session(target(server), context) as session:
            session.request("GET", "a..b/.well-known/...")

        assert server.requests[0].path == "/a..b/.well-known/..."

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
    def test_no_body_where_there_is_none(self, start, target, context: Context, method: str) -> None:
        server = start(lambda exchange: exchange.reply(200, "body"))
        with open_session(target(server), context) as session:
            answer = session.request(method, "x")

        assert answer.content == (b"" if method == "HEAD" else b"body")
        assert server.requests[0].headers["Content-Length"] is None

    def test_cookies_are_dropped(self, start, target, context: Context) -> None:
        server = start(lambda exchange: exchange.reply(Set_Cookie="session=1"))
        with open_session(target(server), context) as session:
            session.request("GET", "")
            session.request("GET", "")

        assert server.requests[1].headers["Cookie"] is None

    def test_cookies_are_kept_where_it_is_asked_for(self, start, target, context: Context) -> None:
        server = start(lambda exchange: exchange.reply(Set_Cookie="session=1; Secure; HttpOnly; Path=/"))
        with open_session(target(server, keep_cookies=True), context) as session:
            session.request("GET", "login")
            session.request("POST", "orders")

        assert [seen.headers["Cookie"] for seen in server.requests] == [None, "session=1"]


class TestOneConnection:
    def test_is_kept(self, start, target, context: Context) -> None:
        server = start(lambda exchange: exchange.reply(body="x" * 100_000))
        with open_session(target(server), context) as session:
            for method in ("GET", "POST", "HEAD", "DELETE"):
                assert session.request(method, "").status == 200

        assert server.connections == 1

    def test_has_no_delay(self, start, target, context: Context) -> None:
        with open_session(target(start()), context) as session:
            connection = session._connection._wire._connection
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def test_is_replaced_when_the_server_has_closed_it(self, start, target, context: Context, host_names) -> None:
        server = start(lambda exchange: (exchange.reply(), exchange.hang_up()))
        with open_session(target(server), context) as session:
            for _ in range(3):
                assert session.request("POST", "").status == 200
                time.sleep(0.05)

        assert server.connections == 3
        assert host_names["asked"].count("erp.test") == 1, "the checked addresses are those of the whole session"
        assert len(context.steps.steps) == 3, "a test shows one login"

    def test_is_replaced_when_it_was_idle_for_long(self, start, target, context: Context, monkeypatch) -> None:
        monkeypatch.setattr("connectors.transports.http._KEEP_ALIVE_S", 0.05)
        server = start()
        with open_session(target(server), context) as session:
            session.request("GET", "")
            time.sleep(0.1)
            session.request("GET", "")

        assert server.connections == 2

    def test_is_closed_at_the_end(self, start, target, context: Context) -> None:
        with open_session(target(start()), context) as session:
            connection = session._connection._wire._connection
            session.request("GET", "")
            assert connection.fileno() >= 0

        assert connection.fileno() == -1

    def test_is_closed_by_a_failure(self, start, target, context: Context) -> None:
        server = start(lambda exchange: exchange.reset() if exchange.path == "/cut" else exchange.reply())
        with open_session(target(server), context) as session:
            connection = session._connection._wire._connection
            error_of(lambda: session.request("GET", "cut"))
            assert connection.fileno() == -1
            assert session.request("GET", "").status == 200


class TestEnvironment:
    @pytest.mark.parametrize("scheme", ["https", "http"])
    def test_proxies_netrc_and_authorities_are_ignored(
        self, start, target, context: Context, monkeypatch, tmp_path, scheme: str
    ) -> None:
        server = start(**({} if scheme == "https" else {"certificate": None}))
        (tmp_path / ".netrc").write_text("machine erp.test login user password s3cret\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
            with open_session(target(server, allow_plain=True), context) as session:
                assert session.request("GET", "").status == 200
            proxy.setblocking(False)
            with pytest.raises(BlockingIOError):
                proxy.accept()

        assert server.requests[0].headers["Authorization"] is None


class TestEgress:
    @pytest.mark.parametrize(
        "host",
        [
            "0x7f000001", "2130706433", "0x7f.1", "127.1", "017700000001", "localhost", "127.0.0.1", "[::1]",
            "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "169.254.169.254", "[fd00:ec2::254]", "0",
        ],
    )  # fmt: skip
    def test_no_spelling_leads_inside(self, start, target, host: str) -> None:
        server = start()
        context = context_of(allowed=())

        error = error_of(lambda: open_session(target(f"https://{host}:{server.port}"), context))

        assert error.code is Code.EGRESS_DENIED
        assert server.connections == 0

    def test_an_answer_that_changes(self, start, target, host_names) -> None:
        host_names["erp.test"] = ["127.0.0.1", "127.0.0.2"]
        server = start(lambda exchange: (exchange.reply(), exchange.hang_up()))

        with open_session(target(server), context_of()) as session:
            for _ in range(2):
                assert session.request("GET", "").status == 200
                time.sleep(0.05)

        assert host_names["asked"].count("erp.test") == 1

    def test_an_answer_that_turns_inside(self, start, target, host_names) -> None:
        host_names["erp.test"] = ["127.0.0.1", "127.0.0.2"]
        target = target(start())
        open_session(target, context_of()).close()

        assert error_of(lambda: open_session(target, context_of())).code is Code.EGRESS_DENIED

    def test_one_forbidden_address_is_enough(self, start, target, host_names, monkeypatch) -> None:
        server = start()
        mixed = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, server.port)) for a in ("127.0.0.1", "10.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: mixed)

        assert error_of(lambda: open_session(target(server), context_of())).code is Code.EGRESS_DENIED
        assert server.connections == 0

    def test_the_name_is_asked_for_in_the_handshake(self, start, target, context: Context) -> None:
        server = start()
        open_session(target(server), context).close()

        assert server.server_names == ["erp.test"]


class TestReachability:
    def test_a_firewall_that_drops(self, target) -> None:
        with blackhole() as port:
            started = time.monotonic()
            error = error_of(lambda: open_session(target(f"https://erp.test:{port}", timeout_s=0.3), context_of()))

        assert error.code is Code.CONNECTION_TIMEOUT
        assert time.monotonic() - started < 2

    def test_no_time_left(self, start, target) -> None:
        error = error_of(lambda: open_session(target(start()), context_of(seconds=-1)))

        assert error.code is Code.CONNECTION_TIMEOUT

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_server_that_is_gone_by_the_second_request(self, start, target, context: Context, method: str) -> None:
        server = start(lambda exchange: (exchange.reply(), exchange.hang_up()))
        with open_session(target(server), context) as session:
            session.request(method, "")
            time.sleep(0.05)
            server.shutdown()
            server.server_close()
            assert error_of(lambda: session.request(method, "")).code is Code.CONNECTION_REFUSED

    def test_no_time_left_for_the_second_request(self, start, target) -> None:
        server = start()
        with open_session(target(server), context_of()) as session:
            session.request("POST", "")
            error = error_of(lambda: session.request("POST", "", context=context_of(seconds=-1)))

        assert error.code is Code.CONNECTION_TIMEOUT
        assert len(server.requests) == 1


class TestClientCertificates:
    @pytest.fixture
    def certificate(self, authority: Authority) -> ClientCertificate:
        ours = authority.issue("orders")
        return ClientCertificate(chain=ours.chain, private_key=ours.encrypted("correct"), passphrase="correct")

    def test_shown_to_who_asks(self, start, target, context: Context, authority: Authority, certificate) -> None:
        server = start(client_authority=authority)
        with open_session(target(server, client_certificate=certificate), context) as session:
            assert session.request("POST", "", content=b"x" * 200_000).status == 200

    def test_shown_to_who_asks_for_it_once_the_path_is_known(
        self, start, target, context: Context, authority: Authority, certificate
    ) -> None:
        def ask(exchange: Exchange) -> None:
            exchange.connection.verify_client_post_handshake()
            exchange.connection.settimeout(0.5)
            exchange.raw(b"HTTP/1.1 100 Continue\r\n\r\n")  # sends the question along
            with suppress(TimeoutError):
                exchange.connection.recv(1)  # nothing but the certificate comes
            exchange.reply(body="a certificate" if exchange.connection.getpeercert() else "none")
            exchange.hang_up()

        server = start(ask, client_authority=authority)
        server._tls.post_handshake_auth = True
        with open_session(target(server, client_certificate=certificate), context) as session:
            assert session.request("GET", "").content == b"a certificate"

    @pytest.mark.parametrize("size", [0, 200, 2_000_000])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_required(self, start, target, context: Context, authority: Authority, method: str, size: int) -> None:
        server = start(client_authority=authority)
        with open_session(target(server), context) as session:
            error = error_of(lambda: session.request(method, "", content=b"x" * size))

        assert (error.code, error.params["reason"]) == (Code.TLS_FAILURE, Reason.CERTIFICATE_REQUIRED)
        assert not server.requests

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_refused(self, start, target, context: Context, certificate, method: str) -> None:
        server = start(client_authority=Authority("Somebody else"))
        with open_session(target(server, client_certificate=certificate), context) as session:
            error = error_of(lambda: session.request(method, "", content=b"x" * 200))

        assert (error.code, error.params["reason"]) == (Code.TLS_FAILURE, Reason.CERTIFICATE_REFUSED)

    def test_unreadable(self, start, target, context: Context, certificate) -> None:
        broken = ClientCertificate(chain=certificate.chain, private_key="garbage")

        error = error_of(lambda: open_session(target(start(), client_certificate=broken), context))

        assert error.params["reason"] == Reason.OUR_CERTIFICATES


class TestDeadlines:
    def drip(self, exchange: Exchange, *, seconds: float) -> None:
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(int(seconds / 0.05)):
            exchange.raw(b"x")
            time.sleep(0.05)

    @pytest.mark.parametrize(("method", "kind"), [("GET", TemporaryError), ("POST", OutcomeUnknown)])
    def test_a_drip_ends_with_the_context(self, start, target, method: str, kind: type[ConnectorError]) -> None:
        server = start(lambda exchange: self.drip(exchange, seconds=4))
        with open_session(target(server), context_of()) as session:
            started = time.monotonic()
            error_of(lambda: session.request(method, "", context=context_of(seconds=0.5)), kind)

        assert 0.4 < time.monotonic() - started < 1.5

    def test_headers_that_drip(self, start, target) -> None:
        def drip(exchange: Exchange) -> None:
            exchange.raw(b"HTTP/1.1 200 OK\r\n")
            for number in range(100):
                exchange.raw(b"X-%d: 1\r\n" % number)
                time.sleep(0.05)

        with open_session(target(start(drip)), context_of()) as session:
            started = time.monotonic()
            error = error_of(lambda: session.request("GET", "", context=context_of(seconds=0.5)))

        assert error.code is Code.CONNECTION_TIMEOUT
        assert 0.4 < time.monotonic() - started < 1.5

    def test_interim_answers_without_end(self, start, target) -> None:
        def drip(exchange: Exchange) -> None:
            for _ in range(100):
                exchange.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.05)

        with open_session(target(start(drip)), context_of()) as session:
            started = time.monotonic()
            error_of(lambda: session.request("GET", "", context=context_of(seconds=0.5)))

        assert time.monotonic() - started < 1.5

    def test_a_slow_answer_within_the_deadline_is_fine(self, start, target) -> None:
        def drip(exchange: Exchange) -> None:
            exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            for _ in range(8):
                exchange.raw(b"x")
                time.sleep(0.1)

        with open_session(target(start(drip), timeout_s=0.4), context_of()) as session:
            assert session.request("GET", "").content == b"x" * 8

    @pytest.mark.parametrize(("method", "kind"), [("GET", TemporaryError), ("POST", OutcomeUnknown)])
    def test_silence(self, start, target, method: str, kind: type[ConnectorError]) -> None:
        waiting = threading.Event()
        server = start(lambda exchange: waiting.wait(5))
        with open_session(target(server, timeout_s=0.3), context_of()) as session:
            started = time.monotonic()
            error = error_of(lambda: session.request(method, ""), kind)
            waiting.set()

        assert error.code is (Code.CONNECTION_TIMEOUT if method == "GET" else Code.OUTCOME_UNKNOWN)
        assert 0.25 < time.monotonic() - started < 1.5
