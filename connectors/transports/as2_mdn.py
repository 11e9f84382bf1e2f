"""Receipts of AS2, called message disposition notifications (RFC 4130, section 7; RFC 8098): read, and written.

A receipt says that a message arrived and could be read, not that anybody accepts the order. It counts when somebody who
is believed has signed it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography import x509

from connectors.exceptions import Said
from connectors.transports.as2_message import CHECKSUMS, as_base64, checksum
from connectors.transports.as2_mime import (
    NOTIFICATION,
    REPORT,
    SIGNED,
    Entity,
    MimeError,
    fields,
    multipart,
    signed,
    verified,
    whole,
)
from connectors.transports.cms import CmsError, KeyPair

_SENT_BY_ITSELF: Final = "automatic-action/MDN-sent-automatically"
_DISPOSITION: Final = re.compile(
    r"[^;]*;\s*(?P<type>[a-z-]+)\s*(?:/\s*(?P<modifier>[a-z-]+)\s*(?:[:;,]\s*(?P<reason>.*))?)?",
    re.IGNORECASE | re.DOTALL,
)
_REFUSALS: Final = (
    ("authentication-failed", "it does not trust our signature"),
    ("decryption-failed", "it cannot decrypt it"),
    ("decompression-failed", "it cannot unpack it"),
    ("integrity-check-failed", "it finds another content than was signed"),
    ("insufficient-message-security", "it wants other signatures or encryption"),
    ("unknown-trading", "it does not know these AS2 names"),
    ("sender-equals-receiver", "both AS2 names are the same to it"),
    ("unsupported", "it does not support a format or an algorithm"),
)
"""What lies in the agreement between the partners, not in an order (RFC 4130, section 7.5)."""


class Meaning(StrEnum):
    """What a receipt says of the message."""

    PROCESSED = "processed"  #: it has arrived
    DUPLICATE = "duplicate"  #: it had arrived before
    MISCONFIGURED = "misconfigured"  #: it cannot be read or is not trusted, and the next one will not be either
    FAILED = "failed"  #: the partner had trouble of its own
    REFUSED = "refused"  #: it was refused for another reason


class Missing(StrEnum):
    """Why a receipt proves nothing, as the end of a sentence, beside the flaws of its signature."""

    NO_RECEIPT = "there is none in the answer"
    UNSIGNED = "it is not signed"
    UNREADABLE = "it cannot be read"
    OTHER_MESSAGE = "it is for another message"
    NO_CHECKSUM = "it has no checksum"


class ReceiptError(Exception):
    """A receipt proves nothing."""

    def __init__(self, reason: str, said: Said | None = None) -> None:
        """Say why.

        Args:
            reason: the end of a sentence, in our words.
            said: what it says all the same.
        """
        self.reason, self.said = reason, said
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Mdn:
    """What a receipt says."""

    original_message_id: str
    type: str
    modifier: str
    reason: str
    checksum: str
    """Received-content-MIC, as it stands there."""
    text: str

    @property
    def meaning(self) -> Meaning:
        """What follows for the message."""
        reason = self.reason.lower().replace(" ", "-")
        if self.type == "processed" and "duplicate-document" in reason:  # some say it as an error
            return Meaning.DUPLICATE
        if self.type == "processed" and self.modifier in ("", "warning"):
            return Meaning.PROCESSED
        if self.refusal:
            return Meaning.MISCONFIGURED
        return Meaning.FAILED if "unexpected-processing-error" in reason else Meaning.REFUSED

    @property
    def refusal(self) -> str:
        """Why the partner could not take the message, in our words; empty for other reasons."""
        return next((words for name, words in _REFUSALS if name in self.reason.lower().replace(" ", "-")), "")

    @property
    def said(self) -> Said:
        """The partner's own words."""
        modifier = f"/{self.modifier}" if self.modifier else ""
        reason = f": {self.reason}" if self.reason else ""
        return Said(code=f"{self.type}{modifier}{reason}", message=self.text)

    def confirms(self, contents: Sequence[bytes]) -> bool:
        """Return whether its checksum is that of one of these contents.

        Raises:
            ReceiptError: it has none that can be read.
        """
        value, _, algorithm = self.checksum.rpartition(",")
        name = algorithm.strip().lower().removeprefix("rsa-").replace("-", "").replace("_", "")
        try:
            digest = base64.b64decode("".join(value.split()), validate=True)
        except binascii.Error:
            digest = b""
        if name not in CHECKSUMS or not digest:
            raise ReceiptError(Missing.NO_CHECKSUM, self.said)
        return any(checksum(content, name) == digest for content in contents)


def is_receipt(entity: Entity) -> bool:
    """Return whether an entity is a receipt and not a message, whatever is wrong with it."""
    if entity.content_type != SIGNED:
        return entity.content_type == REPORT
    try:
        return Entity.load(entity.parts()[0]).content_type == REPORT
    except (MimeError, IndexError):
        return False


def read(entity: Entity, *, believed: Sequence[x509.Certificate], at: datetime) -> Mdn:
    """Return what a signed receipt says.

    Args:
        entity: the answer, or what was sent to us.
        believed: who may sign.
        at: when that is asked.

    Raises:
        ReceiptError: it proves nothing.
    """
    reason: str
    try:
        if entity.content_type == REPORT:
            raise ReceiptError(Missing.UNSIGNED, _notification(entity).said)
        if entity.content_type == SIGNED:
            report = Entity.load(verified(entity, believed=believed, at=at))
            if report.content_type == REPORT:
                return _notification(report)
        reason = Missing.NO_RECEIPT
    except CmsError as error:
        reason = error.flaw
    except MimeError:
        reason = Missing.UNREADABLE
    raise ReceiptError(reason)


def _notification(report: Entity) -> Mdn:
    said: dict[str, str] = {}
    text = ""
    for part in map(Entity.load, report.parts()):
        if part.content_type == NOTIFICATION and not said:
            said = {name.lower(): value for name, value in fields(part.content().strip() + b"\r\n").items()}
        elif part.content_type in ("", "text/plain") and not text:
            text = part.content().decode(errors="replace")
    found = _DISPOSITION.fullmatch(said.get("disposition", ""))
    if found is None:
        raise MimeError
    # Some give the reason in a field of its own (RFC 8098, section 3.2.7).
    elsewhere = said.get("error") or said.get("failure") or said.get("warning") or ""
    return Mdn(
        original_message_id=said.get("original-message-id", ""),
        type=found["type"].lower(),
        modifier=(found["modifier"] or "").lower(),
        reason=(found["reason"] or elsewhere).strip(),
        checksum=said.get("received-content-mic", ""),
        text=text,
    )


# What we answer to messages of the partner


def wanted_checksum(options: str, default: str) -> str:
    """Return the algorithm that Disposition-Notification-Options ask for, if we know one of them."""
    found = re.search(r"signed-receipt-micalg\s*=([^;]*)", options, re.IGNORECASE)
    asked = (name.strip().lower().replace("-", "") for name in (found[1] if found else "").split(","))
    return next((name for name in asked if name in CHECKSUMS), default)


def write(
    *,
    message_id: str,
    own_name: str,
    modifier: str,
    text: str,
    checksum: tuple[bytes, str] | None,
    signer: KeyPair | None,
    digest: str,
    at: datetime,
) -> Entity:
    """Return a receipt.

    Args:
        message_id: of the message that it is for.
        own_name: who received it.
        modifier: what comes after "processed", such as "/error: decryption-failed".
        text: the same for people.
        checksum: of what the partner signed, and its algorithm.
        signer: signs the receipt; None where no signature is wanted.
        digest: of the signature.
        at: when.
    """
    lines = {
        "Reporting-UA": "erp-connector-framework",
        "Original-Recipient": f"rfc822; {own_name}",
        "Final-Recipient": f"rfc822; {own_name}",
        "Original-Message-ID": message_id,
        "Disposition": f"{_SENT_BY_ITSELF}; processed{modifier}",
    }
    if checksum is not None:
        lines["Received-content-MIC"] = f"{as_base64(checksum[0])}, {checksum[1]}"
    notification = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
    content_type = f"{REPORT}; report-type=disposition-notification"
    parts = (whole("text/plain; charset=utf-8", f"{text}\r\n".encode()), whole(NOTIFICATION, notification))
    report = multipart(content_type, *(part.dump() for part in parts))
    return signed(report.dump(), signer, digest=digest, at=at) if signer else report
