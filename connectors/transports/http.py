"""HTTP over a socket of the dialer: one origin, one connection that is kept, and credentials that never leave either.

No proxies, no netrc and no CA files of the environment: what is trusted and what is sent is in the target. httpx2 gives
the messages and httpcore2 the protocol; where a connection leads, and what a failure means, is decided here.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Self

import httpcore2
import httpx2

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, TemporaryError
from connectors.network import Endpoint
from connectors.port import Context, StepRecorder
from connectors.transports.http_answers import Answer, Unusable
from connectors.transports.http_wire import BROKEN, TooLarge, Wire, read_whole
from connectors.transports.tls import (
    ClientCertificate,
    Reason,
    ServerCertificate,
    UnusableCertificate,
    client_context,
    handshake,
    refusal,
)

HTTP_LOGIN_STEPS: Final = ("resolve", "connect", "tls")

MAX_REDIRECTS: Final = 5
EXPIRES_SOON: Final = timedelta(days=30)

_READS: Final = ("GET", "HEAD")
_SAFE: Final = (*_READS, "OPTIONS")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NOT_PROCESSED: Final = (307, 308)  # the same request is wanted elsewhere (RFC 9110, sections 15.4.8 and 15.4.9)

# Servers drop a connection that is idle for a few seconds, and an order sent at that moment has an unknown outcome.
_KEEP_ALIVE_S: Final = 2.0

_DEFAULT_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "erp-connector-framework"}
_TELLS_NOTHING: Final = ("Accept", "Accept-Encoding", "Accept-Language", "User-Agent")

_HOST: Final = re.compile(rb"[0-9A-Za-z._:-]+")  # after IDNA, without the brackets of IPv6
_DOTS: Final = re.compile(r"(^|/)(\.|%2e){1,2}([/?#]|$)", re.IGNORECASE)  # what leads out of a folder
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?|", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class HttpTarget:
    """Where requests go, whom to believe there, and what to show.

    Raises ValueError, without quoting anything, when the URL or a header cannot be used: a configuration makes one to
    find out while it is validated. Certificates are tried by `tls.client_context`.
    """

    base_url: str
    """Scheme, host, port and the path below which all requests lie; no user, no query."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request to this origin and to no other: here is the place for credentials."""
    ca_bundle: str | None = None
    """PEM certificates that are believed instead of the system's."""
    client_certificate: ClientCertificate | None = None
    allow_plain: bool = False
    """Whether the base URL may begin with http://; even then only networks that are allowed by name are reached so."""
    keep_cookies: bool = False
    """Whether cookies of this origin are sent back to it, as long as the session lasts."""
    timeout_s: float = 10.0
    """Seconds for each wait: for the name, for the connection, for the handshake, for each part of an answer."""
    max_answer_bytes: int = 10 * 1024 * 1024
    """Of one answer, as it arrives and after unpacking."""
    reads_answers: bool = True
    """If not, the status of an answer says all: its body is left unread, and the connection ends with it."""

    def __post_init__(self) -> None:
        """Refuse what would lead elsewhere or could not be sent."""
        url = _parsed(self.base_url)
        if url is None or url.scheme not in ("https", "http") or url.query or url.fragment:
            raise ValueError("The base URL has to be https://, a host and a path.")
        if url.userinfo:
            raise ValueError("The base URL may hold no user and no password.")
        if url.scheme == "http" and not self.allow_plain:
            raise ValueError("The base URL has to begin with https://.")
        _check_headers(self.headers)


class HttpSession:
    """A connection to one origin that is kept over several requests; made by `open_session`, closed by `with`."""

    def __init__(self, target: HttpTarget, context: Context, endpoint: Endpoint, connection: _Connection) -> None:
        self._target, self._context, self._endpoint, self._connection = target, context, endpoint, connection
        self._base = httpx2.URL(target.base_url)
        self._cookies = httpx2.Cookies()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        safe: bool | None = None,
        context: Context | None = None,
    ) -> Answer:
        """Send one request and read the whole answer, whatever its status.

        Redirects are followed for GET and HEAD only, up to five times, never to plain HTTP; another origin is resolved
        and checked like the first one and sees no header that tells anything, no cookie and no client certificate.

        Args:
            method: in upper case.
            path: below the base URL, with every part quoted; or a whole URL of the same origin, as servers give it.
            params: added to the query.
            headers: besides those of the target.
            content: the body.
            safe: whether repeating it changes nothing at the far end; None takes that of the method. A search by POST
                is safe.
            context: whose deadline counts; by default that of the session.

        Raises:
            TemporaryError: it did not arrive, or it was safe.
            OutcomeUnknown: it was not safe, and may have arrived.
        """
        context = context or self._context
        safe = method in _SAFE if safe is None else safe
        url, at_home = self.url(path, params), True
        for _ in range(MAX_REDIRECTS + 1):
            request = self._message(method, url, headers or {}, content, at_home=at_home)
            if at_home:
                answer = self._at_home(context).exchange(request, context, safe=safe)
                self._remember(request, answer)
            else:
                with closing(self._elsewhere(url, context)) as connection:
                    answer = connection.exchange(request, context, safe=safe)
            if answer.status not in _REDIRECTS:
                return answer
            url = _next_hop(method, url, answer)
            at_home = at_home and url.origin == self._base.origin
        raise answer.unusable(Unusable.REDIRECTS_TOO_OFTEN)

    def url(self, path: str, params: Mapping[str, str] | None = None) -> httpx2.URL:
        """Return the whole address of a request, as it is sent; see `request` for the arguments."""
        if path.startswith(("https://", "http://")):
            url = _parsed(path)
            if url is None or url.origin != self._base.origin:
                raise TemporaryError(Code.UNUSABLE_ANSWER, host=self._base.host, reason=Unusable.LEADS_ELSEWHERE)
        else:
            url = _parsed(f"{self._target.base_url.rstrip('/')}/{path.lstrip('/')}" if path else self._target.base_url)
            if url is None or _DOTS.search(path):
                raise ValueError("The path cannot stand below the base URL.")
        return url.copy_merge_params(params) if params else url

    def _message(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], content: bytes, *, at_home: bool
    ) -> httpx2.Request:
        _check_headers(headers)
        merged = httpx2.Headers(_DEFAULT_HEADERS)
        merged.update(self._target.headers)
        merged.update(headers)
        if not at_home:
            merged = httpx2.Headers({name: merged[name] for name in _TELLS_NOTHING if name in merged})
        # A body only where there is one: some servers refuse a GET with Content-Length.
        request = httpx2.Request(method, url, headers=merged, content=content or None)
        if at_home and self._target.keep_cookies:
            self._cookies.set_cookie_header(request)
        return request

    def _remember(self, request: httpx2.Request, answer: Answer) -> None:
        if self._target.keep_cookies:
            self._cookies.extract_cookies(httpx2.Response(answer.status, headers=answer.headers, request=request))

    def _at_home(self, context: Context) -> _Connection:
        if not self._connection.is_fresh:
            self._connection.close()
            # To the addresses that were checked in the beginning: a name is asked for once in a session.
            self._connection = _Connection.open(self._base, self._endpoint, self._target, context, StepRecorder())
        return self._connection

    def _elsewhere(self, url: httpx2.URL, context: Context) -> _Connection:
        target = replace(self._target, client_certificate=None)
        endpoint = _resolve(url, target, context, StepRecorder())
        return _Connection.open(url, endpoint, target, context, StepRecorder())


def open_session(target: HttpTarget, context: Context) -> HttpSession:
    """Return a session with an open connection; records the steps resolve, connect and tls.

    Raises:
        TemporaryError: the server cannot be reached, may not be reached (EGRESS_DENIED) or is not to be trusted
            (TLS_FAILURE).
    """
    base = httpx2.URL(target.base_url)
    endpoint = _resolve(base, target, context, context.steps)
    return HttpSession(target, context, endpoint, _Connection.open(base, endpoint, target, context, context.steps))


class _Connection:
    """One connection to one origin, and the protocol on it."""

    def __init__(self, url: httpx2.URL, stream: socket.socket, target: HttpTarget, context: Context) -> None:
        self._target = target
        self._wire = Wire(stream, target.timeout_s, context)
        self._protocol = httpcore2.HTTP11Connection(_core_url(url).origin, self._wire)
        self._last_used = time.monotonic()

    @classmethod
    def open(
        cls, url: httpx2.URL, endpoint: Endpoint, target: HttpTarget, context: Context, steps: StepRecorder
    ) -> Self:
        """Connect to a checked address; records the steps connect and tls."""
        with steps.step("connect"):
            stream = context.dialer.connect_to(endpoint, timeout_s=_wait_s(target, context))
        try:
            if url.scheme == "http":
                steps.skip("tls", "Plain HTTP: nothing is encrypted.")
            else:
                stream = _encrypt(stream, endpoint, target, context, steps)
            return cls(url, stream, target, context)
        except BaseException:
            stream.close()
            raise

    @property
    def is_fresh(self) -> bool:
        """Whether the server can be expected to listen still."""
        idle_s = time.monotonic() - self._last_used
        return idle_s < _KEEP_ALIVE_S and not self._protocol.is_closed() and not self._protocol.has_expired()

    def exchange(self, request: httpx2.Request, context: Context, *, safe: bool) -> Answer:
        """Send a request and read the whole answer; a failure closes the connection."""
        started = time.monotonic()
        self._wire.begin(context)
        try:
            answer = self._exchange(request, context, safe=safe)
        except BROKEN as error:  # httpcore2 has closed the connection
            failure = self._failure(error, request.url, safe=safe, waited_s=time.monotonic() - started)
        else:
            self._last_used = time.monotonic()
            return answer
        raise failure  # out here, so that no foreign text hangs on __context__

    def close(self) -> None:
        """Close the socket."""
        self._protocol.close()

    def _exchange(self, request: httpx2.Request, context: Context, *, safe: bool) -> Answer:
        raw = self._protocol.handle_request(
            httpcore2.Request(
                request.method, _core_url(request.url), headers=request.headers.raw, content=request.read()
            )
        )
        content = b""
        if self._target.reads_answers:
            content = read_whole(raw, limit=self._target.max_answer_bytes)
        else:
            raw.close()
        return Answer(
            status=raw.status,
            headers=httpx2.Headers(raw.headers),
            content=content,
            host=request.url.host,
            received_at=context.clock.now(),
            safe=safe,
        )

    def _failure(self, error: Exception, url: httpx2.URL, *, safe: bool, waited_s: float) -> ConnectorError:
        place: dict[str, Any] = {"host": url.host, "port": _port(url)}
        shows_certificate = self._target.client_certificate is not None
        if (reason := refusal(error, shows_certificate=shows_certificate)) is not None:
            return TemporaryError(Code.TLS_FAILURE, reason=reason, **place)
        code = Code.UNUSABLE_ANSWER
        match error:
            case TooLarge():
                place["reason"] = Unusable.TOO_LARGE
            case httpx2.DecodingError():
                place["reason"] = Unusable.GARBLED
            case httpcore2.RemoteProtocolError() if not self._wire.ended:
                place["reason"] = Unusable.NOT_HTTP
            case TimeoutError():
                code = Code.CONNECTION_TIMEOUT
                place["timeout_s"] = f"{round(waited_s, 1):g}"
            case _:
                code = Code.CONNECTION_LOST
        if safe or not self._wire.may_have_arrived:
            return TemporaryError(code, **place)
        return OutcomeUnknown(code if code is Code.UNUSABLE_ANSWER else None, **place)


def _resolve(url: httpx2.URL, target: HttpTarget, context: Context, steps: StepRecorder) -> Endpoint:
    with steps.step("resolve") as note:
        host = url.raw_host.decode("ascii")
        dialer = context.dialer if url.scheme == "https" else context.dialer.to_allowed_networks()
        endpoint = dialer.resolve(host, _port(url), timeout_s=_wait_s(target, context))
        note.detail = ", ".join(endpoint.addresses)
    return endpoint


def _encrypt(
    stream: socket.socket, endpoint: Endpoint, target: HttpTarget, context: Context, steps: StepRecorder
) -> ssl.SSLSocket:
    with steps.step("tls") as note:
        secured = handshake(
            stream,
            _trust(target, endpoint),
            host=endpoint.host,
            port=endpoint.port,
            timeout_s=_wait_s(target, context),
            shows_certificate=target.client_certificate is not None,
        )
        server = ServerCertificate.of(secured)
        note.detail = f"{server.protocol}, certificate from {server.issuer} until {server.expires_at:%Y-%m-%d}"
        if server.expires_at - context.clock.now() <= EXPIRES_SOON:
            note.warn(Code.CERTIFICATE_EXPIRES, host=endpoint.host, day=f"{server.expires_at:%Y-%m-%d}")
    return secured


def _trust(target: HttpTarget, endpoint: Endpoint) -> ssl.SSLContext:
    with suppress(UnusableCertificate):
        return client_context(target.ca_bundle, target.client_certificate)
    raise TemporaryError(Code.TLS_FAILURE, host=endpoint.host, port=endpoint.port, reason=Reason.OUR_CERTIFICATES)


def _next_hop(method: str, url: httpx2.URL, answer: Answer) -> httpx2.URL:
    """Return where a redirect leads, or raise why it is not followed."""
    if method not in _READS:
        if answer.status in _NOT_PROCESSED:
            raise TemporaryError(Code.UNUSABLE_ANSWER, host=answer.host, reason=Unusable.REDIRECTS_A_WRITE)
        raise answer.unusable(Unusable.REDIRECTS_A_WRITE)
    location = answer.headers.get("Location")
    hop = _parsed(location, url) if location else None
    if hop is None:
        raise answer.unusable(Unusable.REDIRECTS_NOWHERE)
    if hop.scheme != "https" and hop.origin != url.origin:
        raise answer.unusable(Unusable.REDIRECTS_TO_PLAIN_HTTP)
    return hop


def _parsed(text: str, base: httpx2.URL | None = None) -> httpx2.URL | None:
    """Return a URL to a host, or None when it is none."""
    try:
        url = base.join(text) if base else httpx2.URL(text)
        _ = url.origin  # raises for an address that is none
    except (httpx2.InvalidURL, ValueError):
        return None
    return url if _HOST.fullmatch(url.raw_host) and 0 < _port(url) < 65536 else None


def _port(url: httpx2.URL) -> int:
    return url.port if url.port is not None else 80 if url.scheme == "http" else 443


def _core_url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _wait_s(target: HttpTarget, context: Context) -> float:
    return min(target.timeout_s, context.remaining_s)


def _check_headers(headers: Mapping[str, str]) -> None:
    # A line break would begin another header, and other characters end in an error that quotes the value.
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError("A header may hold printable ASCII only, without spaces around it.")
