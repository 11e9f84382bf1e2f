"""What a partner sends to us by AS2: receipts that come later, and answers to orders, which get a receipt of ours.

Anybody can send something to a public address, so nothing counts before a signature of the partner is verified. Whoever
sends altered copies of a message learns from our answers only whether it was encrypted for us at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.message import Message as Head
from email.utils import make_msgid
from typing import Final

from connectors.exceptions import DocumentError, Said
from connectors.port import Context
from connectors.results import (
    Acknowledgement,
    AckStatus,
    Document,
    Inbound,
    MalformedAcknowledgement,
    Reply,
    Settlement,
)
from connectors.transports import as2_mdn
from connectors.transports.as2_agreement import Agreement
from connectors.transports.as2_config import DropOrAs2Config
from connectors.transports.as2_mdn import Mdn, Meaning, ReceiptError
from connectors.transports.as2_message import VERSION, checksum, export_of, possible_contents, quoted, unquoted
from connectors.transports.as2_mime import PKCS7, SIGNED, Entity, MimeError, verified
from connectors.transports.cms import CmsError, Flaw, content_kind
from connectors.transports.cms_sealing import decompress, decrypt
from connectors.transports.drop_answers import MAX_ANSWER_BYTES, fingerprint

Settle = Callable[[Acknowledgement], Settlement]
Read = Callable[[str, bytes], Sequence[Acknowledgement]]

_MOST_LAYERS: Final = 4
"""Encrypted, compressed, signed, compressed."""

_COME_AGAIN: Final = Reply(status=503, headers={"Retry-After": "30"}, refused="the order is still being sent")


def take(message: Inbound, config: DropOrAs2Config, context: Context, settle: Settle, read: Read) -> Reply:
    """Take what somebody sent; see `ERPConnectorPort.receive`.

    Args:
        message: as it arrived.
        config: of the connection that it was sent to.
        context: tools and deadline.
        settle: records an answer.
        read: returns what a file of this name and content says of our orders.
    """
    entity = Entity(headers=message.headers, body=message.content)
    agreement = config.agreement()
    if as2_mdn.is_receipt(entity):
        return _take_receipt(entity, config, agreement, context, settle)
    names = (unquoted(entity.header("AS2-From")), unquoted(entity.header("AS2-To")))
    if names != (agreement.partner_name, agreement.own_name):
        return Reply(status=400, refused="it is not from the partner to us")
    return _Delivery(entity, config, agreement, context).take(settle, read)


# Receipts that come later


def _take_receipt(
    entity: Entity, config: DropOrAs2Config, agreement: Agreement, context: Context, settle: Settle
) -> Reply:
    try:
        mdn = as2_mdn.read(entity, believed=agreement.believed, at=context.clock.now())
    except ReceiptError as error:
        return Reply(status=400, refused=f"a receipt: {error.reason}")
    export_id = export_of(mdn.original_message_id)
    document = context.sent(export_id) if export_id else None
    if document is None:
        return Reply(status=400, refused="a receipt: it is for no message of ours")
    source = f"receipt {export_id}"
    try:
        answer = _answer(mdn, document, config)
    except ReceiptError as error:
        # Signed by the partner, and for our message: somebody has to ask them.
        context.report_malformed(
            MalformedAcknowledgement(
                source=source,
                fingerprint=fingerprint(entity.body),
                reason=f"a receipt: {error.reason}",
                filename=document.filename,
            )
        )
        return Reply()
    settled = settle(replace(answer, source=source, fingerprint=fingerprint(entity.body)))
    return _COME_AGAIN if settled is Settlement.LATER else Reply()


def _answer(mdn: Mdn, document: Document, config: DropOrAs2Config) -> Acknowledgement:
    """Return what a receipt makes of an order: it has arrived, or will not be read; never that it is accepted."""
    if mdn.meaning not in (Meaning.PROCESSED, Meaning.DUPLICATE):
        said = mdn.said
        return Acknowledgement(
            filename=document.filename, status=AckStatus.REJECTED, error_code=said.code, message=said.message
        )
    is_bare = mdn.meaning is Meaning.DUPLICATE and not mdn.checksum
    if not is_bare and not mdn.confirms(possible_contents(document, config)):
        raise ReceiptError("it is for another content than was sent")
    return Acknowledgement(filename=document.filename, status=AckStatus.RECEIVED)


# Messages


@dataclass(frozen=True)
class _Delivery:
    """One message of the partner."""

    entity: Entity
    config: DropOrAs2Config
    agreement: Agreement
    context: Context

    def take(self, settle: Settle, read: Read) -> Reply:
        try:
            content, what_was_signed = self._opened()
        except CmsError as error:
            is_for_another = error.flaw is Flaw.NOT_FOR_US
            reason = "decryption-failed" if is_for_another else "authentication-failed"
            return self._refusal(reason, f"It was not taken: {error.flaw if is_for_another else 'it is not trusted'}.")
        except MimeError:
            return self._refusal("authentication-failed", "It was not taken: it is not trusted.")
        payload = Entity.load(content)
        name, received = _name(payload) or self._message_id, self._checksum(what_was_signed)
        try:
            answers = read(name, payload.content())
        except (DocumentError, MimeError) as error:
            reason = error.params["reason"] if isinstance(error, DocumentError) else "it cannot be decoded"
            malformed = fingerprint(payload.body)
            self.context.report_malformed(MalformedAcknowledgement(source=name, fingerprint=malformed, reason=reason))
            return self._refusal("unexpected-processing-error", f"It cannot be read: {reason}.", received)
        if not answers:
            return self._refusal("unexpected-processing-error", "It holds no answer to an order.", received)
        for number, answer in enumerate(answers):
            known_by = fingerprint(payload.content(), number)
            if settle(replace(answer, source=name, fingerprint=known_by)) is Settlement.LATER:
                return _COME_AGAIN
        return self._receipt("", "The message has arrived.", received)

    @property
    def _message_id(self) -> str:
        return Said(message=self.entity.header("Message-ID")).message or "(no id)"

    def _opened(self) -> tuple[bytes, bytes]:
        """Return the entity inside and what the partner has signed of it.

        Raises:
            CmsError, MimeError: it is not from the partner, not for us, or cannot be read.
        """
        entity, now = self.entity, self.context.clock.now()
        what_was_signed: bytes | None = None
        raw = b""
        for _ in range(_MOST_LAYERS):
            if entity.content_type == SIGNED and what_was_signed is None:
                raw = what_was_signed = verified(entity, believed=self.agreement.believed, at=now)
            elif entity.content_type in PKCS7:
                raw = self._unpacked(entity.content())
            else:
                break
            entity = Entity.load(raw)
        if what_was_signed is None:
            raise MimeError
        return raw, what_was_signed

    def _unpacked(self, data: bytes) -> bytes:
        if content_kind(data) == "compressed_data":
            return decompress(data, limit=2 * MAX_ANSWER_BYTES)
        return decrypt(data, self.agreement.readers)

    def _checksum(self, what_was_signed: bytes) -> tuple[bytes, str]:
        options = self.entity.header("Disposition-Notification-Options")
        algorithm = as2_mdn.wanted_checksum(options, self.config.digest)
        return checksum(what_was_signed, algorithm), algorithm

    def _refusal(self, reason: str, text: str, received: tuple[bytes, str] | None = None) -> Reply:
        return replace(self._receipt(f"/error: {reason}", text, received), refused=reason)

    def _receipt(self, modifier: str, text: str, received: tuple[bytes, str] | None) -> Reply:
        """Return a receipt, signed where that is wanted; always at once."""
        if not self.entity.header("Disposition-Notification-To"):
            return Reply(status=400 if modifier else 200)
        now, options = self.context.clock.now(), self.entity.header("Disposition-Notification-Options")
        mdn = as2_mdn.write(
            message_id=self._message_id,
            own_name=self.agreement.own_name,
            modifier=modifier,
            text=text,
            checksum=received,
            signer=self.agreement.signer(now) if "pkcs7-signature" in options.lower() else None,
            digest=self.config.digest,
            at=now,
        )
        headers = {
            "AS2-Version": VERSION,
            "AS2-From": quoted(self.agreement.own_name),
            "AS2-To": quoted(self.agreement.partner_name),
            "Message-ID": make_msgid(domain="erp-connector-framework"),
            "MIME-Version": "1.0",
        }
        return Reply(headers=headers | dict(mdn.headers), content=mdn.body)


def _name(payload: Entity) -> str:
    """Return how the partner calls a file."""
    head = Head()
    head["Content-Disposition"] = payload.header("Content-Disposition")
    return Said(message=head.get_filename("")).message or ""
