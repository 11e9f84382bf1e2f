"""TLS for a host name over a socket of the dialer, believing the system's authorities or the target's own.

Nothing comes from the environment: no SSL_CERT_FILE, no SSLKEYLOGFILE. Why a handshake failed is said in words of ours.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Self

import httpx2

from connectors.codes import Code
from connectors.exceptions import TemporaryError


class Reason(StrEnum):
    """Why there is no trusted connection, as the end of a sentence."""

    EXPIRED = "the server's certificate has expired"
    NOT_YET_VALID = "the server's certificate is not yet valid"
    SELF_SIGNED = "the server's certificate is self-signed"
    UNKNOWN_ISSUER = "the issuer of the server's certificate is not known here"
    WRONG_HOST = "the server's certificate is for another host name"
    UNTRUSTED = "the server's certificate cannot be trusted"
    TOO_WEAK = "the server's keys or signatures are too weak"
    OLD_PROTOCOL = "the server offers nothing newer than TLS 1.1"
    NOT_TLS = "the server does not speak TLS on this port"
    NO_COMMON_CIPHER = "the server shares no encryption with us"
    CERTIFICATE_REQUIRED = "the server asks for a client certificate"
    CERTIFICATE_REFUSED = "the server refuses our client certificate"
    OUR_CERTIFICATES = "our own certificates or private key cannot be read"
    UNKNOWN = "the server and we could not agree"


class UnusableCertificate(ValueError):
    """The certificates or the private key cannot be used; the message says which, without quoting them."""


@dataclass(frozen=True, kw_only=True)
class ClientCertificate:
    """Who we are to a server that asks, in PEM."""

    chain: str
    """Our certificate first, then those between it and the authority."""
    private_key: str = field(repr=False)
    passphrase: str | None = field(default=None, repr=False)


def client_context(ca_bundle: str | None = None, client_certificate: ClientCertificate | None = None) -> ssl.SSLContext:
    """Return what a handshake needs: whom to believe, who we are, and TLS 1.2 at least.

    Args:
        ca_bundle: PEM certificates that are believed instead of the system's.
        client_certificate: shown to a server that asks for one.

    Raises:
        UnusableCertificate: either of them cannot be read.
    """
    if ca_bundle is None:
        context = httpx2.create_ssl_context(trust_env=False)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Whoever names an intermediate authority means to trust it, whoever signed it (the default of Python 3.13).
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=ca_bundle)
        except (ssl.SSLError, ValueError, TypeError):
            raise UnusableCertificate("The CA bundle holds no PEM certificates.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if client_certificate:
        _load(context, client_certificate)
    return context


def handshake(
    connection: socket.socket,
    context: ssl.SSLContext,
    *,
    host: str,
    port: int,
    timeout_s: float,
    shows_certificate: bool = False,
) -> ssl.SSLSocket:
    """Return the encrypted connection to a server whose certificate is for `host`; a failure closes the socket.

    Args:
        connection: a connected socket.
        context: from `client_context`.
        host: the name that is asked for and verified, whatever address the socket leads to.
        port: for messages.
        timeout_s: seconds for the whole handshake.
        shows_certificate: whether the context has a client certificate.

    Raises:
        TemporaryError: TLS_FAILURE with a `Reason`, CONNECTION_TIMEOUT or CONNECTION_LOST.
    """
    secured: ssl.SSLSocket | None = None
    failure: dict[str, Any]
    try:
        if timeout_s <= 0:
            raise TimeoutError
        connection.settimeout(timeout_s)
        # A connection cut without the closing alert must not look like the end of an answer.
        secured = context.wrap_socket(
            connection, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        secured.do_handshake()
        return secured
    except TimeoutError:
        failure = {"code": Code.CONNECTION_TIMEOUT, "timeout_s": f"{max(timeout_s, 0):g}"}
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        failure = {"code": Code.CONNECTION_LOST}
    except ssl.SSLError as error:
        agreed = secured is not None and secured.cipher() is not None
        reason = _reason(error, agreed=agreed, shows_certificate=shows_certificate)
        failure = {"code": Code.TLS_FAILURE, "reason": reason}
    except OSError:
        failure = {"code": Code.CONNECTION_LOST}
    # Raised out here, so that no foreign text hangs on __context__.
    (secured or connection).close()
    raise TemporaryError(host=host, port=port, **failure)


def refusal(error: Exception, *, shows_certificate: bool) -> Reason | None:
    """Return what a server has against our client certificate, or None when it is something else.

    In TLS 1.3 a client's handshake ends before the server has looked at its certificate: the refusal is what the
    first read brings instead of an answer, and nothing that was sent before is acted upon (RFC 8446, section 4.4).
    """
    if isinstance(error, ssl.SSLError) and error.reason in _ALERTS_ABOUT_US:
        return Reason.CERTIFICATE_REFUSED if shows_certificate else Reason.CERTIFICATE_REQUIRED
    return None


@dataclass(frozen=True, kw_only=True)
class ServerCertificate:
    """What is worth knowing about a verified connection."""

    protocol: str
    issuer: str
    expires_at: datetime

    @classmethod
    def of(cls, connection: ssl.SSLSocket) -> Self:
        """Read it from a connection after its handshake."""
        certificate: Any = connection.getpeercert() or {}
        issuer = dict(pair for names in certificate["issuer"] for pair in names)
        name = issuer.get("commonName") or issuer.get("organizationName") or "an authority without a name"
        return cls(
            protocol=(connection.version() or "").replace("TLSv", "TLS "),
            issuer="".join(character for character in name if character.isprintable())[:100],
            expires_at=datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC),
        )


def _load(context: ssl.SSLContext, ours: ClientCertificate) -> None:
    # TLS 1.3's way to ask for the certificate only once the path of a request is known (RFC 8446, section 4.6.2).
    context.post_handshake_auth = True
    fault = ""
    with _in_memory(f"{ours.private_key.strip()}\n{ours.chain.strip()}\n") as path:
        try:
            # Without a passphrase OpenSSL would ask for it on the terminal.
            context.load_cert_chain(path, password=ours.passphrase or "")
        except ssl.SSLError as error:
            fault = error.reason or "unreadable"
        except ValueError:  # a passphrase that is too long
            fault = "unreadable"
    if fault == "KEY_VALUES_MISMATCH":
        raise UnusableCertificate("The private key does not belong to the client certificate.")
    if fault:
        raise UnusableCertificate("The client certificate or its private key cannot be read with this passphrase.")


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Lend a text under a path, because OpenSSL reads keys from files only; it never is on a disk."""
    with open(os.memfd_create("client-certificate"), "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


# X509_V_ERR_… of OpenSSL's x509_vfy.h
_VERIFY_CODES: Final = {
    2: Reason.UNKNOWN_ISSUER,
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    18: Reason.SELF_SIGNED,
    19: Reason.UNKNOWN_ISSUER,
    20: Reason.UNKNOWN_ISSUER,
    21: Reason.UNKNOWN_ISSUER,
    62: Reason.WRONG_HOST,
    64: Reason.WRONG_HOST,
    66: Reason.TOO_WEAK,
    67: Reason.TOO_WEAK,
    68: Reason.TOO_WEAK,
}

# SSL_R_… of OpenSSL's sslerr.h
_SSL_REASONS: Final = {
    "DH_KEY_TOO_SMALL": Reason.TOO_WEAK,
    "EE_KEY_TOO_SMALL": Reason.TOO_WEAK,
    "NO_PROTOCOLS_AVAILABLE": Reason.OLD_PROTOCOL,
    "TLSV1_ALERT_PROTOCOL_VERSION": Reason.OLD_PROTOCOL,
    "UNSUPPORTED_PROTOCOL": Reason.OLD_PROTOCOL,
    "VERSION_TOO_LOW": Reason.OLD_PROTOCOL,
    "BAD_RECORD_TYPE": Reason.NOT_TLS,
    "HTTP_REQUEST": Reason.NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": Reason.NOT_TLS,
    "RECORD_LAYER_FAILURE": Reason.NOT_TLS,
    "WRONG_VERSION_NUMBER": Reason.NOT_TLS,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": Reason.NO_COMMON_CIPHER,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": Reason.NO_COMMON_CIPHER,
    "TLSV1_UNRECOGNIZED_NAME": Reason.WRONG_HOST,
}

_ALERTS_ABOUT_US: Final = (
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_ACCESS_DENIED",
    "TLSV1_ALERT_DECRYPT_ERROR",
    "TLSV1_ALERT_UNKNOWN_CA",
)


def _reason(error: ssl.SSLError, *, agreed: bool, shows_certificate: bool) -> Reason:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, Reason.UNTRUSTED)
    if error.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" and agreed:
        # Once a cipher is agreed on, this is how TLS 1.2 refuses a client without a certificate (RFC 5246, 7.4.6).
        return Reason.CERTIFICATE_REFUSED if shows_certificate else Reason.CERTIFICATE_REQUIRED
    about_us = refusal(error, shows_certificate=shows_certificate)
    return about_us or _SSL_REASONS.get(error.reason or "", Reason.UNKNOWN)
