"""Signatures of what is sent: over the exact bytes, with a key that both sides know."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Final

WEBHOOK_SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what every secret begins with


def hmac_signature(secret: str, body: bytes, *, algorithm: str, encoding: str, prefix: str = "") -> str:
    """Return the value of a header such as `X-Signature: sha256=…`.

    Args:
        secret: used as it is, in UTF-8.
        body: the exact bytes that are sent.
        algorithm: sha256, sha384 or sha512.
        encoding: hex or base64.
        prefix: what stands before the signature.
    """
    digest = hmac.digest(secret.encode(), body, algorithm)
    return prefix + (digest.hex() if encoding == "hex" else b64encode(digest).decode("ascii"))


def webhook_signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one `v1,…` signature of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com)."""
    key = b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{b64encode(hmac.digest(key, signed, hashlib.sha256)).decode('ascii')}"
