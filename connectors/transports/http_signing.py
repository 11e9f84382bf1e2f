"""Signatures of what is sent: over the exact bytes, with a key that both sides know."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.config import JsonDict

from connectors.config import INERT, ConnectorConfig, Secret
from connectors.exceptions import Fault
from connectors.transports.http_auth import HeaderName

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


def _for(*kinds: str) -> JsonDict:
    return {"x-when": {"signing": list(kinds)}}


class SigningFields(ConnectorConfig):
    """A signature over what is sent."""

    signing: Annotated[
        Literal["none", "hmac", "standard_webhooks"],
        Field(
            title="Signature",
            description="hmac: one header over the body. standard_webhooks: the three headers of that specification.",
        ),
    ] = "none"
    signing_secret: Annotated[
        Secret | None,
        Field(
            title="Signing secret",
            description="Shared with the ERP. For standard_webhooks it begins with whsec_.",
            json_schema_extra=_for("hmac", "standard_webhooks"),
            max_length=1024,
        ),
    ] = None
    signature_header: Annotated[
        HeaderName,
        Field(
            title="Header of the signature",
            description="Where the signature goes.",
            json_schema_extra=_for("hmac"),
        ),
    ] = "X-Signature"
    signature_prefix: Annotated[
        str,
        INERT,
        Field(
            title="Before the signature",
            description="What stands before it in the header.",
            pattern=r"^[\x21-\x7e]*$",
            max_length=50,
            json_schema_extra=_for("hmac"),
        ),
    ] = "sha256="
    signature_algorithm: Annotated[
        Literal["sha256", "sha384", "sha512"],
        INERT,
        Field(title="Hash", description="Of the HMAC.", json_schema_extra=_for("hmac")),
    ] = "sha256"
    signature_encoding: Annotated[
        Literal["hex", "base64"],
        INERT,
        Field(title="Written as", description="How the signature is written.", json_schema_extra=_for("hmac")),
    ] = "hex"

    def signature(self, body: bytes, *, message_id: str, timestamp: int) -> dict[str, str]:
        """Return the headers that sign a body.

        Args:
            body: the exact bytes that are sent.
            message_id: the same for every attempt.
            timestamp: that of this attempt, in seconds since 1970.
        """
        secret = self.signing_secret.get_secret_value() if self.signing_secret else ""
        match self.signing:
            case "hmac":
                how = {"algorithm": self.signature_algorithm, "encoding": self.signature_encoding}
                return {self.signature_header: hmac_signature(secret, body, prefix=self.signature_prefix, **how)}
            case "standard_webhooks":
                signature = webhook_signature(secret, message_id=message_id, timestamp=timestamp, body=body)
                return {
                    "webhook-id": message_id,
                    "webhook-timestamp": str(timestamp),
                    "webhook-signature": signature,
                }
        return {}

    def signing_faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the fields of the signature."""
        if (self.signing == "none") is not (self.signing_secret is None):
            message = "is only for a signature" if self.signing == "none" else "is required for a signature"
            yield Fault(path="signing_secret", message=message, code="missing")
        elif self.signing == "standard_webhooks" and not _is_webhook_secret(self.signing_secret):
            message = "must be whsec_ and 24 to 64 bytes in base64"
            yield Fault(path="signing_secret", message=message, code="webhook_secret")


def _is_webhook_secret(secret: Secret | None) -> bool:
    text = secret.get_secret_value() if secret else ""
    try:
        return 24 <= len(b64decode(text.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)) <= 64
    except ValueError:
        return False
