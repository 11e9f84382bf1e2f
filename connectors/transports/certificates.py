"""When a credential stops working, read from the credential itself; nothing is verified and nobody is asked."""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from connectors import strict_json
from connectors.exceptions import InvalidInput

_NEVER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""How a certificate says that it has no last day (RFC 5280, section 4.1.2.5)."""

_JWT: Final = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]*", re.ASCII)


def x509_expiry(pem: str) -> datetime | None:
    """Return when the first certificate of a chain expires; None when none of them ever does.

    Raises:
        ValueError: these are no PEM certificates.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        certificates = []
    if not certificates:
        raise ValueError("These are no PEM certificates.")
    earliest = min(certificate.not_valid_after_utc for certificate in certificates)
    return earliest if earliest < _NEVER else None


def ssh_certificate_expiry(line: str) -> datetime | None:
    """Return when an OpenSSH certificate (`ssh-ed25519-cert-v01@openssh.com AAAA…`) expires; None for "forever".

    Raises:
        ValueError: this is no OpenSSH certificate.
    """
    identity: object = None
    with suppress(ValueError, UnsupportedAlgorithm):
        identity = load_ssh_public_identity(line.strip().encode())
    if not isinstance(identity, SSHCertificate):
        raise ValueError("This is no OpenSSH certificate.")
    return _moment(identity.valid_before)


def token_expiry(token: str) -> datetime | None:
    """Return when a JSON Web Token expires; None when it does not say so (RFC 7519, section 4.1.4).

    The signature is not checked: the token is ours, and it is the far end that decides.

    Raises:
        ValueError: this is no JSON Web Token, or its last moment is no number.
    """
    parts = _JWT.fullmatch(token.strip())
    claims = _claims(parts[1]) if parts else None
    if claims is None:
        raise ValueError("This is no JSON Web Token.")
    expires = claims.get("exp")
    if expires is None:
        return None
    if isinstance(expires, bool) or not isinstance(expires, int | Decimal) or expires < 0:
        raise ValueError("The token's last moment is no number of seconds.")
    return _moment(expires)


def _claims(payload: str) -> dict[str, object] | None:
    try:
        claims = strict_json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, InvalidInput):
        return None
    return claims if isinstance(claims, dict) else None


def _moment(seconds: int | Decimal) -> datetime | None:
    # What lies beyond the calendar is how "forever" is written (PROTOCOL.certkeys of OpenSSH).
    return datetime.fromtimestamp(float(seconds), UTC) if seconds < _NEVER.timestamp() else None
