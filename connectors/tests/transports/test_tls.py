"""Whom we believe, whom we do not, and why, against servers of the standard library's OpenSSL."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from connectors.codes import Code
from connectors.exceptions import TemporaryError
from connectors.tests.peers.https import Authority, HttpServer, Issued, self_signed
from connectors.tests.peers.proxy import CuttingProxy, mail_server, silent_server
from connectors.transports.tls import (
    ClientCertificate,
    Reason,
    ServerCertificate,
    UnusableCertificate,
    client_context,
    handshake,
    refusal,
)

NOW = datetime.now(UTC)
TLS_1_2 = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
TLS_1_3 = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority("Somebody else")


def connect(port: int, context: ssl.SSLContext, host: str = "erp.test", **options) -> ssl.SSLSocket:
    connection = socket.create_connection(("127.0.0.1", port))
    try:
        return handshake(connection, context, host=host, port=port, **{"timeout_s": 2.0, **options})
    except TemporaryError:
        assert connection.fileno() == -1, "a failed handshake leaves no socket behind"
        raise


def failure(port: int, context: ssl.SSLContext, **options) -> TemporaryError:
    with pytest.raises(TemporaryError) as caught:
        connect(port, context, **options)
    error = caught.value
    assert error.__context__ is None
    for foreign in ("SSL", "certificate verify", "_ssl.c", "alert"):
        assert foreign not in str(error) + repr(error) + str(error.params)
    return error


def reason(port: int, context: ssl.SSLContext, **options) -> str:
    error = failure(port, context, **options)
    assert error.code is Code.TLS_FAILURE
    assert error.params["reason"] in error.message
    return error.params["reason"]


class TestTrust:
    @pytest.mark.parametrize("versions", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
    def test_a_private_authority(self, authority: Authority, versions) -> None:
        until = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
        server = HttpServer(certificate=authority.issue("erp.test", until=until), tls=versions)

        with server, connect(server.port, client_context(authority.certificate)) as connection:
            assert server.server_names == ["erp.test"]
            shown = ServerCertificate.of(connection)

        assert (shown.issuer, shown.expires_at) == ("Partner CA", until)
        assert shown.protocol == ("TLS 1.2" if versions is TLS_1_2 else "TLS 1.3")

    def test_an_address_instead_of_a_name(self, authority: Authority) -> None:
        with HttpServer(certificate=authority.issue("127.0.0.1")) as server:
            connect(server.port, client_context(authority.certificate), host="127.0.0.1").close()

    def test_an_intermediate_authority_without_its_root(self, authority: Authority) -> None:
        intermediate = Authority("Intermediate", signed_by=authority)

        with HttpServer(certificate=intermediate.issue("erp.test")) as server:
            connect(server.port, client_context(intermediate.certificate)).close()

    def test_the_server_s_own_certificate_as_the_authority(self) -> None:
        certificate = self_signed("erp.test")

        with HttpServer(certificate=certificate) as server:
            connect(server.port, client_context(certificate.chain)).close()

    def test_a_private_authority_is_believed_instead_of_the_system_s(self, authority: Authority) -> None:
        names = {str(ca["subject"]) for ca in client_context(authority.certificate).get_ca_certs()}

        assert len(names) == 1
        assert "Partner CA" in names.pop()

    def test_the_system_is_believed_otherwise(self) -> None:
        assert len(client_context().get_ca_certs()) > 10

    def test_authorities_that_cannot_be_read(self) -> None:
        for text in ("", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "Zürich"):
            with pytest.raises(UnusableCertificate, match=r"^The CA bundle holds no PEM certificates\.$"):
                client_context(text)


class TestDistrust:
    @pytest.mark.parametrize(
        ("certificate", "expected"),
        [
            (lambda ca: ca.issue("erp.test", until=NOW - timedelta(minutes=1)), Reason.EXPIRED),
            (lambda ca: ca.issue("erp.test", since=NOW + timedelta(hours=1)), Reason.NOT_YET_VALID),
            (lambda ca: ca.issue("other.test"), Reason.WRONG_HOST),
            (lambda ca: ca.issue("127.0.0.1"), Reason.WRONG_HOST),
            (lambda ca: self_signed("erp.test"), Reason.SELF_SIGNED),
            (lambda ca: Authority("Somebody else").issue("erp.test"), Reason.UNKNOWN_ISSUER),
        ],
    )
    @pytest.mark.parametrize("versions", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
    def test_certificates(self, authority: Authority, certificate, expected: Reason, versions) -> None:
        with HttpServer(certificate=certificate(authority), tls=versions) as server:
            assert reason(server.port, client_context(authority.certificate)) == expected

    def test_the_wrong_address(self, authority: Authority) -> None:
        with HttpServer(certificate=authority.issue("127.0.0.2")) as server:
            context = client_context(authority.certificate)
            assert reason(server.port, context, host="127.0.0.1") == Reason.WRONG_HOST

    def test_a_private_authority_that_nobody_named(self, authority: Authority) -> None:
        with HttpServer(certificate=authority.issue("erp.test")) as server:
            assert reason(server.port, client_context()) == Reason.UNKNOWN_ISSUER

    @pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_authorities_of_the_environment(self, authority: Authority, monkeypatch, tmp_path, variable: str) -> None:
        bundle = tmp_path / "ca.pem"
        bundle.write_text(authority.certificate)
        monkeypatch.setenv(variable, str(tmp_path if variable.endswith("DIR") else bundle))

        with HttpServer(certificate=authority.issue("erp.test")) as server:
            assert reason(server.port, client_context()) == Reason.UNKNOWN_ISSUER

    def test_the_keys_of_a_session_are_written_nowhere(self, authority: Authority, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))

        with HttpServer(certificate=authority.issue("erp.test")) as server:
            connect(server.port, client_context(authority.certificate)).close()

        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    def test_old_protocols(self, authority: Authority, version: ssl.TLSVersion) -> None:
        with HttpServer(certificate=authority.issue("erp.test"), tls=(version, version)) as server:
            assert works_without_a_limit(server.port, version), "the server does speak the old version"
            assert reason(server.port, client_context(authority.certificate)) == Reason.OLD_PROTOCOL

    def test_a_plain_http_server(self, authority: Authority) -> None:
        with HttpServer() as server:
            assert reason(server.port, client_context(authority.certificate)) == Reason.NOT_TLS

    def test_another_protocol(self, authority: Authority) -> None:
        with mail_server() as port:
            assert reason(port, client_context(authority.certificate)) == Reason.NOT_TLS

    def test_no_common_cipher(self, authority: Authority) -> None:
        server = HttpServer(certificate=authority.issue("erp.test"), tls=TLS_1_2)
        server._tls.set_ciphers("AES128-SHA")  # needs an RSA key, and the server has none

        with server:
            assert reason(server.port, client_context(authority.certificate)) == Reason.NO_COMMON_CIPHER


class TestBrokenLinks:
    def test_silence(self, authority: Authority) -> None:
        started = time.monotonic()
        with silent_server() as port:
            error = failure(port, client_context(authority.certificate), timeout_s=0.3)

        assert error.code is Code.CONNECTION_TIMEOUT
        assert 0.3 <= time.monotonic() - started < 2

    @pytest.mark.parametrize("how", ["reset", "close"])
    def test_a_cut(self, authority: Authority, how) -> None:
        server = HttpServer(certificate=authority.issue("erp.test"))

        with server, CuttingProxy(server.port, after=100, how=how) as proxy:
            assert failure(proxy.port, client_context(authority.certificate)).code is Code.CONNECTION_LOST

    def test_no_time_left(self, authority: Authority) -> None:
        with HttpServer(certificate=authority.issue("erp.test")) as server:
            error = failure(server.port, client_context(authority.certificate), timeout_s=-1)

        assert error.code is Code.CONNECTION_TIMEOUT


class TestClientCertificates:
    """TLS 1.2 refuses them in the handshake, TLS 1.3 with the first answer."""

    @pytest.fixture(params=[TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
    def server(self, request, authority: Authority):
        with HttpServer(
            certificate=authority.issue("erp.test"), client_authority=authority, tls=request.param
        ) as server:
            yield server

    def speak(self, port: int, authority: Authority, ours: Issued | None, **key) -> str:
        certificate = ClientCertificate(chain=ours.chain, **{"private_key": ours.private_key, **key}) if ours else None
        context = client_context(authority.certificate, certificate)
        try:
            with connect(port, context, shows_certificate=ours is not None) as connection:
                with suppress(OSError):  # the server has hung up already; what it said waits to be read
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: erp.test\r\n\r\n")
                return connection.recv(12).decode()
        except TemporaryError as error:
            return error.params["reason"]
        except ssl.SSLError as error:
            return str(refusal(error, shows_certificate=ours is not None))

    def test_accepted(self, server: HttpServer, authority: Authority) -> None:
        assert self.speak(server.port, authority, authority.issue("orders")) == "HTTP/1.1 200"

    def test_accepted_with_an_encrypted_key(self, server: HttpServer, authority: Authority) -> None:
        ours = authority.issue("orders")
        key = {"private_key": ours.encrypted("correct horse"), "passphrase": "correct horse"}

        assert self.speak(server.port, authority, ours, **key) == "HTTP/1.1 200"

    def test_required(self, server: HttpServer, authority: Authority) -> None:
        assert self.speak(server.port, authority, None) == Reason.CERTIFICATE_REQUIRED
        assert not server.requests

    @pytest.mark.parametrize(
        "ours",
        [
            lambda ca, stranger: stranger.issue("orders"),
            lambda ca, stranger: ca.issue("orders", until=NOW - timedelta(days=1)),
            lambda ca, stranger: self_signed("orders"),
        ],
        ids=["unknown issuer", "expired", "self-signed"],
    )
    def test_refused(
        self, server: HttpServer, authority: Authority, stranger: Authority, ours: Callable[..., Issued]
    ) -> None:
        assert self.speak(server.port, authority, ours(authority, stranger)) == Reason.CERTIFICATE_REFUSED
        assert not server.requests

    def test_another_failure_is_not_about_us(self) -> None:
        with pytest.raises(ssl.SSLError) as caught:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="garbage")

        assert refusal(caught.value, shows_certificate=True) is None
        assert refusal(OSError(), shows_certificate=True) is None


class TestUnusableClientCertificates:
    @pytest.mark.parametrize(
        "change",
        [
            lambda ours: {"chain": "garbage"},
            lambda ours: {"chain": ""},
            lambda ours: {"private_key": "garbage-s3cret"},
            lambda ours: {"private_key": ours.encrypted("correct")},
            lambda ours: {"private_key": ours.encrypted("correct"), "passphrase": "wrong"},
            lambda ours: {"private_key": ours.encrypted("correct"), "passphrase": "w" * 2000},
        ],
    )
    def test_unreadable(self, authority: Authority, change, capfd: pytest.CaptureFixture[str]) -> None:
        ours = authority.issue("orders")
        certificate = ClientCertificate(**{"chain": ours.chain, "private_key": ours.private_key, **change(ours)})

        with pytest.raises(UnusableCertificate, match="cannot be read with this passphrase") as caught:
            client_context(authority.certificate, certificate)

        assert "s3cret" not in str(caught.value)
        assert capfd.readouterr() == ("", ""), "nobody is asked for a passphrase on the terminal"

    def test_a_key_of_somebody_else(self, authority: Authority) -> None:
        ours = ClientCertificate(chain=authority.issue("a").chain, private_key=authority.issue("b").private_key)

        with pytest.raises(UnusableCertificate, match="does not belong"):
            client_context(authority.certificate, ours)

    def test_secrets_are_not_shown(self, authority: Authority) -> None:
        shown = repr(ClientCertificate(chain="c", private_key="key-1", passphrase="pass-2"))

        assert "key-1" not in shown
        assert "pass-2" not in shown


def works_without_a_limit(port: int, version: ssl.TLSVersion) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port)) as connection, context.wrap_socket(connection) as secured:
        return secured.version() is not None
