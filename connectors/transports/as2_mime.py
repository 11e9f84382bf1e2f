"""MIME entities as AS2 needs them: written to the byte, and taken apart without changing one.

What is signed is hashed as it lies there, so nothing may go through a parser that knows better: entities are split
where their boundaries are (RFC 2046), and written so that every canonicalisation leaves them as they are (RFC 8551,
section 3.1.1).
"""

from __future__ import annotations

import binascii
import hashlib
import quopri
import re
from base64 import encodebytes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import collapse_rfc2231_value
from typing import Final

from cryptography import x509

from connectors.transports.cms import CmsError, Flaw, KeyPair, sign, verify

SIGNED: Final = "multipart/signed"
REPORT: Final = "multipart/report"
NOTIFICATION: Final = "message/disposition-notification"
PKCS7: Final = ("application/pkcs7-mime", "application/x-pkcs7-mime")
SIGNATURES: Final = ("application/pkcs7-signature", "application/x-pkcs7-signature")

_MAX_HEAD: Final = 64 * 1024
_MAX_PARTS: Final = 20
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_MICALG: Final = {"sha256": "sha-256", "sha384": "sha-384", "sha512": "sha-512"}


class MimeError(ValueError):
    """An entity cannot be taken apart."""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """Headers and a body, which may hold further entities."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @classmethod
    def load(cls, raw: bytes) -> Entity:
        """Take the headers off.

        Raises:
            MimeError: they have no end.
        """
        if raw.startswith((b"\r\n", b"\n")):
            return cls(headers={}, body=raw.split(b"\n", 1)[1])
        end = _END_OF_HEAD.search(raw, 0, _MAX_HEAD)
        if end is None:
            raise MimeError
        return cls(headers=fields(raw[: end.start()]), body=raw[end.end() :])

    def dump(self) -> bytes:
        """Return the bytes."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return head.encode("ascii") + b"\r\n" + self.body

    def header(self, name: str) -> str:
        """Return the value of a header; empty when there is none."""
        return next((value for each, value in self.headers.items() if each.lower() == name.lower()), "")

    @property
    def content_type(self) -> str:
        """The type, in lower case and without its parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def parameter(self, name: str) -> str:
        """Return a parameter of the content type; empty when there is none."""
        message = Message()
        message["Content-Type"] = self.header("Content-Type")
        value = message.get_param(name)
        return collapse_rfc2231_value(value) if value else ""

    def content(self) -> bytes:
        """Return the body without its transfer encoding.

        Raises:
            MimeError: it cannot be decoded.
        """
        match self.header("Content-Transfer-Encoding").strip().lower():
            case "" | "7bit" | "8bit" | "binary":
                return self.body
            case "quoted-printable":
                return quopri.decodestring(self.body)
            case "base64":
                try:
                    return binascii.a2b_base64(self.body)
                except binascii.Error:
                    pass
        raise MimeError

    def parts(self) -> list[bytes]:
        """Return the bytes of each part, as they lie between the boundaries.

        Raises:
            MimeError: it has no parts, no end or too many.
        """
        boundary = self.parameter("boundary")
        if not boundary or len(boundary) > 70:
            raise MimeError
        line = re.compile(
            rb"(?:\A|\r?\n)--" + re.escape(boundary.encode(errors="replace")) + rb"(--)?[ \t]*(?=\r?\n|\Z)"
        )
        parts: list[bytes] = []
        begin: int | None = None
        for found in line.finditer(self.body):
            if begin is not None:
                parts.append(_after_line_break(self.body[begin : found.start()]))
            if found[1]:
                return parts
            if len(parts) == _MAX_PARTS:
                break
            begin = found.end()
        raise MimeError


def fields(head: bytes) -> dict[str, str]:
    """Return header fields, each on one line; of several with one name the first counts."""
    found: dict[str, str] = {}
    for name, value in BytesHeaderParser().parsebytes(head).items():
        found.setdefault(name, " ".join(str(value).split()))
    return found


def whole(content_type: str, content: bytes, **more: str) -> Entity:
    """Return an entity with one content, of which every canonicalisation makes the same bytes.

    Args:
        content_type: of the content.
        content: goes as it is, or in base64 where it has line breaks that somebody might replace.
        more: further headers, with underscores for hyphens.
    """
    headers = {"Content-Type": content_type, "Content-Transfer-Encoding": "binary"}
    if _BARE.search(content):
        headers["Content-Transfer-Encoding"] = "base64"
        content = encodebytes(content).replace(b"\n", b"\r\n")
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    return Entity(headers=headers, body=content)


def multipart(content_type: str, *parts: bytes) -> Entity:
    """Return an entity of several parts, with a boundary that follows from them."""
    boundary = f"part-{hashlib.sha256(b''.join(parts)).hexdigest()[:32]}"
    edge = f"--{boundary}".encode()
    body = b"".join(edge + b"\r\n" + part + b"\r\n" for part in parts) + edge + b"--\r\n"
    return Entity(headers={"Content-Type": f'{content_type}; boundary="{boundary}"'}, body=body)


def signed(inner: bytes, pair: KeyPair, *, digest: str, at: datetime) -> Entity:
    """Return an entity and its detached signature (RFC 1847). The same arguments give the same bytes."""
    signature = encodebytes(sign(inner, pair, digest=digest, at=at)).replace(b"\n", b"\r\n")
    headers = {
        "Content-Type": 'application/pkcs7-signature; name="smime.p7s"',
        "Content-Transfer-Encoding": "base64",
        "Content-Disposition": 'attachment; filename="smime.p7s"',
    }
    content_type = f'{SIGNED}; protocol="application/pkcs7-signature"; micalg={_MICALG[digest]}'
    return multipart(content_type, inner, Entity(headers=headers, body=signature).dump())


def verified(entity: Entity, *, believed: Sequence[x509.Certificate], at: datetime) -> bytes:
    """Return what was signed, as it was when its signature was made.

    Raises:
        MimeError: these are not two parts, the second of them a signature.
        CmsError: nobody who is believed has signed this.
    """
    parts = entity.parts()
    if len(parts) != 2:
        raise MimeError
    seal = Entity.load(parts[1])
    if seal.content_type not in SIGNATURES:
        raise MimeError
    signature, canonical = seal.content(), re.sub(rb"(?<!\r)\n", b"\r\n", parts[0])
    try:
        verify(parts[0], signature, believed=believed, at=at)
    except CmsError as error:
        # Some sign the canonical form and send another.
        if error.flaw is not Flaw.WRONG_SIGNATURE or canonical == parts[0]:
            raise
        verify(canonical, signature, believed=believed, at=at)
        return canonical
    return parts[0]


def _after_line_break(part: bytes) -> bytes:
    return part.removeprefix(b"\r").removeprefix(b"\n")
