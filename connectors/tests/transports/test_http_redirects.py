"""Where a redirect may lead, and what goes along: nothing that tells anything, and never a write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, TemporaryError
from connectors.tests.peers.https import Authority, Exchange, HttpServer
from connectors.tests.transports.over_http import context_of, error_of, target_of
from connectors.transports.http import open_session
from connectors.transports.http_answers import Answer, Unusable
from connectors.transports.tls import ClientCertificate

SECRETS = {"Authorization": "Bearer s3cret-1", "Cookie": "session=s3cret-2", "X-Api-Key": "s3cret-3"}


@pytest.fixture
def send(authority: Authority) -> Callable[..., Answer]:
    """A function that sends one request with every kind of credential."""
    ours = authority.issue("orders")

    def send(server: HttpServer, method: str = "GET", path: str = "start", *, allowed=None, **options) -> Answer:
        target = target_of(
            server.url(),
            authority,
            headers=SECRETS,
            client_certificate=ClientCertificate(chain=ours.chain, private_key=ours.private_key),
            **options,
        )
        with open_session(target, context_of(**({"allowed": allowed} if allowed else {}))) as session:
            return session.request(method, path, headers={"X-Signature": "s3cret-4", "Accept": "application/json"})

    return send


def redirecting(*locations: str, status: int = 302) -> Callable[[Exchange], None]:
    """Redirect the paths /start, /1, /2 … to these places one after the other, and answer on every other path."""
    places = {f"/{number or 'start'}": location for number, location in enumerate(locations)}

    def answer(exchange: Exchange) -> None:
        if location := places.get(exchange.path):
            exchange.reply(status, "on the way", Location=location)
        else:
            exchange.reply(body="arrived")

    return answer


class TestReads:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_within_the_origin(self, start_https, send, method: str, status: int) -> None:
        server = start_https(redirecting("/end?x=1", status=status))

        assert send(server, method).status == 200
        assert [(seen.command, seen.path) for seen in server.requests] == [(method, "/start"), (method, "/end?x=1")]
        assert server.requests[1].headers["Authorization"] == SECRETS["Authorization"]
        assert server.connections == 1

    def test_a_whole_address_within_the_origin(self, start_https, send) -> None:
        places: list[str] = []
        server = start_https(lambda exchange: redirecting(*places)(exchange))
        places.append(server.url(path="/end"))

        assert send(server).content == b"arrived"

    def test_five_are_followed(self, start_https, send) -> None:
        server = start_https(redirecting("/1", "/2", "/3", "/4", "/5"))

        assert send(server).content == b"arrived"
        assert len(server.requests) == 6

    def test_a_sixth_is_not(self, start_https, send) -> None:
        server = start_https(redirecting("/1", "/2", "/3", "/4", "/5", "/6"))

        assert reason(lambda: send(server)) == Unusable.REDIRECTS_TOO_OFTEN
        assert len(server.requests) == 6

    def test_a_circle(self, start_https, send) -> None:
        assert reason(lambda: send(start_https(redirecting("/start")))) == Unusable.REDIRECTS_TOO_OFTEN

    @pytest.mark.parametrize(
        "location",
        [
            None, "", "https://[::1", "https://0177.0.0.1/", "https://erp.test:99999/",
            "https://a b/", "mailto:s3cret@erp.test", "javascript:alert(1)", "file:///etc/passwd", "ftp://erp.test/",
        ],
    )  # fmt: skip
    def test_nowhere(self, start_https, send, location: str | None) -> None:
        headers = {} if location is None else {"Location": location}
        server = start_https(lambda exchange: exchange.reply(302, **headers))

        assert reason(lambda: send(server)) in (Unusable.REDIRECTS_NOWHERE, Unusable.REDIRECTS_TO_PLAIN_HTTP)
        assert len(server.requests) == 1


class TestAnotherOrigin:
    """A read that leaves takes nothing along."""

    @pytest.mark.parametrize("elsewhere", ["another name", "another port"])
    def test_gets_nothing_that_tells_anything(self, start_https, send, authority: Authority, elsewhere: str) -> None:
        other = start_https(lambda exchange: exchange.reply(body=peer_of(exchange)), **asking(authority))
        server = start_https(lambda exchange: exchange.reply(302, Location=place), **asking(authority))
        place = other.url("other.test" if elsewhere == "another name" else "erp.test", "/end")

        assert send(server, keep_cookies=True).content == b"no certificate"
        assert_tells_nothing(other.requests[0])
        assert other.requests[0].headers["Accept"] == "application/json"

    def test_does_see_who_asks_for_it_at_home(self, start_https, send, authority: Authority) -> None:
        server = start_https(lambda exchange: exchange.reply(body=peer_of(exchange)), **asking(authority))

        assert send(server).content == b"a certificate"

    def test_may_send_us_home_but_not_with_our_credentials(self, start_https, send, authority: Authority) -> None:
        other = start_https(lambda exchange: exchange.reply(302, Location=server.url(path="/chosen-by-other")))
        server = start_https(
            lambda exchange: (
                exchange.reply(302, Location=other.url("other.test"))
                if exchange.path == "/start"
                else exchange.reply(body=peer_of(exchange))
            ),
            **asking(authority),
        )

        assert send(server).content == b"no certificate"
        assert_tells_nothing(server.requests[1])

    def test_sets_no_cookies(self, start_https, authority: Authority) -> None:
        other = start_https(lambda exchange: exchange.reply(Set_Cookie="planted=1; Domain=test"))
        server = start_https(
            lambda exchange: (
                exchange.reply(302, Location=other.url("other.test")) if exchange.path == "/start" else exchange.reply()
            )
        )
        target = target_of(server.url(), authority, keep_cookies=True)
        with open_session(target, context_of()) as session:
            session.request("GET", "start")
            session.request("GET", "end")

        assert server.requests[1].headers["Cookie"] is None

    def test_sees_no_cookie_although_only_the_port_differs(self, start_https, authority: Authority) -> None:
        """Cookies know no ports (RFC 6265, section 8.5), origins do."""
        other = start_https()
        server = start_https(
            lambda exchange: (
                exchange.reply(Set_Cookie="session=s3cret")
                if exchange.path == "/login"
                else exchange.reply(302, Location=other.url())
            )
        )
        with open_session(target_of(server.url(), authority, keep_cookies=True), context_of()) as session:
            session.request("GET", "login")
            session.request("GET", "start")

        assert server.requests[1].headers["Cookie"] == "session=s3cret"
        assert_tells_nothing(other.requests[0])

    def test_is_resolved_and_checked_anew(self, start_https, send, host_names) -> None:
        host_names["inside.test"] = ["127.0.0.2"]
        inside = start_https(host="127.0.0.2")
        server = start_https(redirecting(inside.url("inside.test")))

        assert error_of(lambda: send(server)).code is Code.EGRESS_DENIED
        assert host_names["asked"].count("inside.test") == 1
        assert inside.connections == 0

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.2", "localhost.inside.test", "2130706434", "0x7f000002", "[::1]", "[::ffff:127.0.0.2]",
            "[64:ff9b::7f00:2]", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]",
        ],
    )  # fmt: skip
    def test_no_spelling_leads_inside(self, start_https, send, host_names, host: str) -> None:
        host_names["localhost.inside.test"] = ["127.0.0.2"]
        server = start_https(redirecting(f"https://{host}/"))

        assert error_of(lambda: send(server)).code is Code.EGRESS_DENIED

    def test_has_to_be_trusted_like_the_first(self, start_https, send) -> None:
        other = start_https(certificate=Authority("Somebody else").issue("other.test"))

        error = error_of(lambda: send(start_https(redirecting(other.url("other.test")))))

        assert error.code is Code.TLS_FAILURE

    def test_is_never_plain_http(self, start_https, send) -> None:
        plain = start_https(certificate=None)

        assert reason(lambda: send(start_https(redirecting(plain.url())))) == Unusable.REDIRECTS_TO_PLAIN_HTTP
        assert (
            reason(lambda: send(start_https(redirecting(plain.url("other.test"))), allow_plain=True))
            == Unusable.REDIRECTS_TO_PLAIN_HTTP
        )
        assert plain.connections == 0

    def test_from_plain_http_only_to_https(self, start_https, authority: Authority) -> None:
        encrypted, plain = start_https(lambda exchange: exchange.reply(body="safe")), start_https(certificate=None)
        for place, expected in ((encrypted.url(), b"safe"), ("/end", b"arrived"), (plain.url(), None)):
            server = start_https(redirecting(place), certificate=None)
            target = target_of(server.url(), authority, allow_plain=True, headers=SECRETS)
            with open_session(target, context_of()) as session:
                if expected is None:
                    call = lambda session=session: session.request("GET", "start")  # noqa: E731
                    assert reason(call) == Unusable.REDIRECTS_TO_PLAIN_HTTP
                else:
                    assert session.request("GET", "start").content == expected
        assert_tells_nothing(encrypted.requests[0])
        assert plain.connections == 0


class TestWrites:
    """What is sent is sent to one place only."""

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_are_never_redirected(self, start_https, send, method: str, status: int) -> None:
        server = start_https(redirecting("/end", status=status))
        kind = TemporaryError if status in (307, 308) else OutcomeUnknown

        assert reason(lambda: send(server, method), kind) == Unusable.REDIRECTS_A_WRITE
        assert len(server.requests) == 1

    def test_not_even_a_search(self, start_https, authority: Authority) -> None:
        server = start_https(redirecting("/end"))
        with open_session(target_of(server.url(), authority), context_of()) as session:
            call = lambda: session.request("POST", "start", safe=True)  # noqa: E731
            assert reason(call) == Unusable.REDIRECTS_A_WRITE

        assert len(server.requests) == 1


def reason(call: Callable[[], object], kind: type[ConnectorError] = TemporaryError) -> str:
    error = error_of(call, kind)
    assert error.code is Code.UNUSABLE_ANSWER
    assert "s3cret" not in error.message + str(error.params)
    return error.params["reason"]


def asking(authority: Authority) -> dict[str, object]:
    """Options of a server that asks for a client certificate and does without."""
    return {"client_authority": authority, "client_required": False}


def peer_of(exchange: Exchange) -> str:
    return "a certificate" if exchange.connection.getpeercert() else "no certificate"


def assert_tells_nothing(seen: Exchange) -> None:
    assert "s3cret" not in str(seen.headers)
    assert {name.lower() for name in seen.headers} <= {"host", "accept", "accept-encoding", "user-agent"}
