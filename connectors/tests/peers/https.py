"""A certificate authority and an HTTP server on loopback that answers, stalls, cuts or lies as a test tells it to."""

from __future__ import annotations

import copy
import functools
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate and its key, in PEM."""

    chain: str
    private_key: str

    def encrypted(self, passphrase: str) -> str:
        """Return the private key under a passphrase."""
        key = serialization.load_pem_private_key(self.private_key.encode(), None)
        return _pem(key, serialization.BestAvailableEncryption(passphrase.encode()))


class Authority:
    """A certificate authority of a test's own, signed by itself or by another one."""

    def __init__(self, name: str = "Test CA", *, signed_by: Authority | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        signer = signed_by or self
        certificate = (
            _builder(self._name, signer._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, *names: str, since: datetime | None = None, until: datetime | None = None) -> Issued:
        """Issue a certificate for host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(names[0]), self._name, key.public_key(), since, until)
        return _issued(builder.add_extension(_alternatives(names), critical=False), key, self._key)


def self_signed(*names: str) -> Issued:
    """Return a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_named(names[0]), _named(names[0]), key.public_key())
    return _issued(builder.add_extension(_alternatives(names), critical=False), key, key)


class Exchange(BaseHTTPRequestHandler):
    """One request as the server sees it, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the headers to be acknowledged
    body = b""

    def reply(self, status: int = 200, body: bytes | str = b"", **headers: str) -> None:
        """Answer properly; underscores in header names become hyphens."""
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def raw(self, content: bytes) -> None:
        """Send exactly these bytes."""
        self.wfile.write(content)
        self.wfile.flush()

    def hang_up(self) -> None:
        """Close the connection after this request."""
        self.close_connection = True

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Without shutdown: what is asked for here is the reset.
        socket.socket(fileno=self.connection.detach()).close()

    def _handle(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(copy.copy(self))  # type: ignore[attr-defined]
        self.server.answer(self)  # type: ignore[attr-defined]

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815  # names of http.server

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class HttpServer(ThreadingHTTPServer):
    """Answers each request by a function.

    Args:
        answer: called with each request.
        certificate: None for plain HTTP.
        client_authority: who signs the client certificates that are asked for.
        client_required: whether the handshake fails without one.
        tls: the lowest and the highest version, such as `(TLSVersion.TLSv1_2, TLSVersion.TLSv1_2)`.
        host: the address to listen on.
    """

    daemon_threads = True

    def __init__(
        self,
        answer: Callable[[Exchange], None] = Exchange.reply,
        *,
        certificate: Issued | None = None,
        client_authority: Authority | None = None,
        client_required: bool = True,
        tls: tuple[ssl.TLSVersion, ssl.TLSVersion] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.answer = answer
        self.requests: list[Exchange] = []
        self.connections = 0
        self.server_names: list[str | None] = []
        """What the clients asked for in the handshake."""
        self._open: list[socket.socket] = []
        self._tls = self._context(certificate, client_authority, client_required, tls) if certificate else None
        super().__init__((host, 0), Exchange)

    def __enter__(self) -> Self:
        threading.Thread(target=functools.partial(self.serve_forever, poll_interval=0.01), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def url(self, host: str = "erp.test", path: str = "") -> str:
        """Return the address of a path on this server under a host name."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the thread of the connection."""
        self.connections += 1
        self._open.append(request)
        with suppress(OSError):  # a client that goes away, or fails the handshake
            if self._tls:
                request = self._tls.wrap_socket(request, server_side=True)
                self._open.append(request)
            super().finish_request(request, client_address)
            request.close()

    def _context(
        self,
        certificate: Issued,
        client_authority: Authority | None,
        client_required: bool,
        tls: tuple[ssl.TLSVersion, ssl.TLSVersion] | None,
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with TemporaryDirectory() as folder:
            file = Path(folder, "server.pem")
            file.write_text(certificate.private_key + certificate.chain)
            context.load_cert_chain(file)
        context.sni_callback = lambda _, name, __: self.server_names.append(name)
        if client_authority:
            context.load_verify_locations(cadata=client_authority.certificate)
            context.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_OPTIONAL
        if tls:
            context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL offers nothing below TLS 1.2
            context.minimum_version, context.maximum_version = tls
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternatives(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    def general(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    return x509.SubjectAlternativeName([general(name) for name in names])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    since: datetime | None = None,
    until: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since or now - timedelta(days=400))
        .not_valid_after(until or now + timedelta(days=365))
    )


def _issued(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Issued:
    certificate = builder.sign(signer, hashes.SHA256())
    return Issued(
        chain=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        private_key=_pem(key, serialization.NoEncryption()),
    )


def _pem(key: Any, encryption: serialization.KeySerializationEncryption) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()
