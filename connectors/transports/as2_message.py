"""An order as an AS2 message (RFC 4130): compressed, signed and encrypted as agreed upon.

Its Message-ID follows from the export, and what is signed from the document, so every attempt sends the same message.
Only the encryption around it is drawn anew.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from uuid import UUID

from connectors.results import Document
from connectors.transports.as2_agreement import Agreement
from connectors.transports.as2_config import DropOrAs2Config
from connectors.transports.as2_mime import Entity, signed, whole
from connectors.transports.cms_sealing import compress, encrypt

VERSION: Final = "1.1"
"""Compression is understood (RFC 5402)."""

_ID: Final = re.compile(r"\s*<?\s*([0-9a-f-]{36})@erp-connector-framework\s*>?\s*", re.IGNORECASE)
_PLAIN_NAME: Final = re.compile(r'[^\s"\\]+')


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is posted."""

    message_id: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


def write(
    document: Document,
    config: DropOrAs2Config,
    agreement: Agreement,
    *,
    export_id: UUID,
    created_at: datetime,
    now: datetime,
    receipts_to: str | None,
) -> Message:
    """Return the message that carries a document.

    Args:
        document: the frozen bytes.
        config: how they are packed.
        agreement: the same configuration's names and certificates.
        export_id: whose document it is.
        created_at: when the export was accepted: the time of the message and of its signature.
        now: says which certificates are used.
        receipts_to: where an asynchronous receipt is wanted; None wants it at once.

    Raises:
        AuthenticationFailed: CERTIFICATE_UNUSABLE.
    """
    inner = what_is_signed(document, config, is_compressed=config.compression == "before_signing")
    entity = signed(inner, agreement.signer(now), digest=config.digest, at=created_at)
    if config.compression == "after_signing":
        entity = _compressed(entity.dump())
    if config.cipher != "none":
        sealed = encrypt(
            entity.dump(), agreement.recipient(now), cipher=config.cipher, oaep=config.key_transport == "oaep"
        )
        kind = "authEnveloped-data" if config.cipher.endswith("_gcm") else "enveloped-data"
        headers = {
            "Content-Type": f'application/pkcs7-mime; smime-type={kind}; name="smime.p7m"',
            "Content-Transfer-Encoding": "binary",
            "Content-Disposition": 'attachment; filename="smime.p7m"',
        }
        entity = Entity(headers=headers, body=sealed)
    message_id = message_id_of(export_id)
    headers = {
        "AS2-Version": VERSION,
        "AS2-From": quoted(agreement.own_name),
        "AS2-To": quoted(agreement.partner_name),
        "Message-ID": message_id,
        "Date": format_datetime(created_at.astimezone(UTC), usegmt=True),
        "Subject": "EDI",
        "MIME-Version": "1.0",
        "Disposition-Notification-To": quoted(agreement.own_name),
        "Disposition-Notification-Options": "signed-receipt-protocol=required, pkcs7-signature; "
        f"signed-receipt-micalg=required, {config.digest}",
    }
    if receipts_to is not None:
        headers["Receipt-Delivery-Option"] = receipts_to
    return Message(message_id=message_id, headers=headers | dict(entity.headers), body=entity.body)


def what_is_signed(document: Document, config: DropOrAs2Config, *, is_compressed: bool) -> bytes:
    """Return the entity that is signed, and of which the partner computes its checksum (RFC 4130, 7.3.1; RFC 5402)."""
    content_type = document.media_type if config.content_type == "of_the_format" else config.content_type
    disposition = f'attachment; filename="{document.filename}"'
    inner = whole(content_type, document.content, Content_Disposition=disposition).dump()
    return _compressed(inner).dump() if is_compressed else inner


def possible_contents(document: Document, config: DropOrAs2Config) -> list[bytes]:
    """Return of what a receipt may have its checksum: the setting may change while the receipt is on its way."""
    return [what_is_signed(document, config, is_compressed=is_compressed) for is_compressed in (False, True)]


def checksum(content: bytes, algorithm: str) -> bytes:
    """Return the digest of what was signed.

    SHA-1 is computed as well, for partners who compute nothing else: it only has to tell our content from what became
    of it on the way, and nobody who could profit from a collision chooses our content.
    """
    return hashlib.new(algorithm, content, usedforsecurity=False).digest()


CHECKSUMS: Final = ("sha1", "sha256", "sha384", "sha512")


def as_base64(digest: bytes) -> str:
    """Return a checksum as receipts have it."""
    return base64.b64encode(digest).decode("ascii")


# Names and ids


def message_id_of(export_id: UUID) -> str:
    """Return the Message-ID of an export's message, the same for every attempt."""
    return f"<{export_id}@erp-connector-framework>"


def export_of(message_id: str) -> UUID | None:
    """Return the export that a Message-ID stands for; None for what is none of ours."""
    found = _ID.fullmatch(message_id)
    try:
        return UUID(found[1]) if found else None
    except ValueError:
        return None


def quoted(name: str) -> str:
    """Return an AS2 name as a header has it (RFC 4130, section 6.2)."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unquoted(text: str) -> str:
    """Return the AS2 name that a header gives."""
    text = text.strip()
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _compressed(inner: bytes) -> Entity:
    content_type = 'application/pkcs7-mime; smime-type=compressed-data; name="smime.p7z"'
    return whole(content_type, compress(inner), Content_Disposition='attachment; filename="smime.p7z"')
