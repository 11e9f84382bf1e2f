"""A trading partner's AS2 station, written from RFC 4130; signatures and encryption are those of the openssl command.

It shares no code with the product, and takes nothing on trust: what it cannot decrypt or verify it refuses.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply

OURS, THEIRS = "Acme AS2", "GLOBEX"


@dataclass(frozen=True)
class Pair:
    """A certificate that vouches for itself, and its key, in PEM."""

    certificate: str
    key: str = field(repr=False)


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """Return one of a few keys; making one takes a while."""
    return rsa.generate_private_key(65537, 2048)


def make_pair(
    name: str, *, key: Any = None, since: timedelta = timedelta(days=-1), until: timedelta = timedelta(days=365)
) -> Pair:
    """Return a pair, valid from and until so long from now."""
    key, now = key or rsa_key(), datetime.now(UTC)
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(names).issuer_name(names).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now + since)
    builder = builder.not_valid_after(now + until)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """Return an EC key."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Taken:
    """A message as the partner has read it."""

    headers: dict[str, str]
    filename: str
    content: bytes
    signed: bytes
    """What was signed, to the byte."""
    layers: tuple[str, ...]
    """What was around it, from the outside."""


class Refused(Exception):
    """The partner cannot take a message."""


class As2Partner(Imitation):
    """Takes messages, and signs receipts."""

    def __init__(self, folder: Path, ours: Pair, theirs: Pair) -> None:
        super().__init__()
        self.folder = folder
        self.believed = [ours]
        """Whose signatures it trusts; answers are encrypted for the last."""
        self.readers = [theirs]
        """With what it decrypts."""
        self.signer = theirs
        self.taken: dict[str, Taken] = {}
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.receipts: list[tuple[dict[str, str], bytes]] = []
        """What is still to be sent to whom asked for it later."""
        self.last_signed = b""
        """Of the last message to us, which openssl signs with CRLF at the end of each line, as it stands here."""
        self.recognises_duplicates = True
        # What a test wants to go wrong.
        self.disposition: str | None = None
        self.checksum: Callable[[bytes], str] = lambda signed: f"{_digest(signed, 'sha256')}, sha256"
        self.notification: Callable[[str], str] = lambda text: text
        self.altered: Callable[[bytes], bytes] = lambda body: body
        self.status, self.digest, self.signs = 200, "sha256", True
        self.credentials: str | None = None

    def changes(self, exchange: Exchange) -> bool:
        """Return whether it is a message."""
        return exchange.command == "POST"

    def respond(self, exchange: Exchange) -> Reply:
        """Take a message, and answer with a receipt or put it aside for later."""
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        self.posts.append((headers, exchange.body))
        if self.credentials is not None and headers.get("authorization") != self.credentials:
            return Reply(401)
        if self.status != 200:
            return Reply(self.status, "<html>no</html>")
        message_id, disposition, signed = headers["message-id"], "processed", b""
        try:
            taken = self.open(headers, exchange.body)
            signed = taken.signed
        except Refused as refusal:
            disposition = f"processed/error: {refusal}"
        else:
            if self.recognises_duplicates and message_id in self.taken:
                disposition = "processed/Warning: duplicate-document"
            else:
                self.taken[message_id] = taken
        receipt = self.receipt(message_id, self.disposition or disposition, signed)
        if "receipt-delivery-option" in headers:
            self.receipts.append(receipt)
            return Reply(202)
        return Reply(200, receipt[1], receipt[0])

    # Reading

    def open(self, headers: dict[str, str], body: bytes) -> Taken:
        """Take a message apart."""
        content_type, raw, signed, layers = headers["content-type"], body, b"", []
        head = headers
        while True:
            kind = content_type.partition(";")[0].lower()
            layers.append(re.sub('.*smime-type="?([a-zA-Z-]+).*', r"\1", content_type) if "pkcs7" in kind else kind)
            if "compressed-data" in content_type:
                raw = zlib.decompress(_octets(_decoded(head, raw)))
            elif kind == "application/pkcs7-mime":
                raw = self._decrypted(_decoded(head, raw))
            elif kind == "multipart/signed":
                raw = signed = self._verified(content_type, raw)
            else:
                break
            head, raw = _split(raw)
            content_type = head["content-type"]
        filename = re.search('filename="([^"]*)"', head.get("content-disposition", ""))
        content = _decoded(head, raw)
        return Taken(headers, filename[1] if filename else "", content, signed, tuple(layers))

    def _decrypted(self, data: bytes) -> bytes:
        for reader in self.readers:
            try:
                return self.openssl("cms", "-decrypt", "-inform", "DER", "-binary", *self._pair(reader), stdin=data)
            except Refused:
                continue
        raise Refused("decryption-failed")

    def _verified(self, content_type: str, body: bytes) -> bytes:
        """Return the first part when the second is its signature; not a byte of it is changed for that."""
        edge = b"--" + re.search('boundary="([^"]+)"', content_type)[1].encode()
        start, signed, signature, end = (b"\r\n" + body).split(b"\r\n" + edge)
        if start or end not in (b"--", b"--\r\n"):
            raise Refused("integrity-check-failed")
        head, encoded = _split(signature.removeprefix(b"\r\n"))
        (self.folder / "signed").write_bytes(signed.removeprefix(b"\r\n"))
        return self.verify("-inform", "DER", "-content", "signed", "-binary", stdin=_decoded(head, encoded))

    def verify(self, *options: str, stdin: bytes) -> bytes:
        """Return what was signed; only the certificates that were exchanged count, not those that come along."""
        for pair in self.believed:
            certificate = self._file("believed.pem", pair.certificate)
            believed = ("-nointern", "-certfile", certificate, "-CAfile", certificate, "-purpose", "any")
            try:
                return self.openssl("cms", "-verify", *believed, *options, stdin=stdin)
            except Refused:
                continue
        raise Refused("authentication-failed")

    # Writing

    def receipt(self, message_id: str, disposition: str, signed: bytes) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a receipt."""
        lines = [
            "Reporting-UA: a partner",
            f"Original-Recipient: rfc822; {THEIRS}",
            f"Final-Recipient: rfc822; {THEIRS}",
            f"Original-Message-ID: {message_id}",
            f"Disposition: automatic-action/MDN-sent-automatically; {disposition}",
        ]
        if signed:
            lines.append(f"Received-Content-MIC: {self.checksum(signed)}")
        notification = self.notification("\r\n".join(lines) + "\r\n")
        report = (
            'Content-Type: multipart/report; report-type=disposition-notification;\r\n boundary="=_report"\r\n\r\n'
            "--=_report\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nThis is what became of it.\r\n"
            f"--=_report\r\nContent-Type: message/disposition-notification\r\n\r\n{notification}\r\n--=_report--\r\n"
        )
        headers = {"AS2-Version": "1.2", "AS2-From": THEIRS, "AS2-To": f'"{OURS}"', "Message-ID": "<r1@globex>"}
        if not self.signs:
            head, body = _split(report.encode())
            return headers | {"Content-Type": head["content-type"]}, body
        head, body = _split(self.sign(report.encode()))
        return headers | {"Content-Type": head["content-type"]}, self.altered(body)

    def sign(self, entity: bytes) -> bytes:
        """Return a signed entity, as openssl writes it: with bare line feeds, though it signs CRLF."""
        return self.openssl("cms", "-sign", "-md", self.digest, *self._pair(self.signer, "-signer"), stdin=entity)

    def message(
        self, content: bytes, *, message_id: str = "<answer-1@globex>", encrypted: bool = True, **headers: str
    ) -> tuple[dict[str, str], bytes]:
        """Return headers and body of a message to us, such as an answer to an order."""
        entity = b'Content-Type: application/EDIFACT\r\nContent-Disposition: attachment; filename="answer.edi"\r\n\r\n'
        self.last_signed = entity + content
        entity = self.sign(self.last_signed)
        content_type = ""
        if encrypted:
            ours = self._file("recipient.pem", self.believed[-1].certificate)
            entity = self.openssl("cms", "-encrypt", "-aes256", "-binary", "-outform", "DER", ours, stdin=entity)
            content_type = 'application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"'
        else:
            head, entity = _split(entity)
            content_type = head["content-type"]
        return {
            "AS2-Version": "1.2",
            "AS2-From": THEIRS,
            "AS2-To": f'"{OURS}"',
            "Message-ID": message_id,
            "Content-Type": content_type,
            "Disposition-Notification-To": "edi@globex.example",
            "Disposition-Notification-Options": "signed-receipt-protocol=optional, pkcs7-signature; "
            "signed-receipt-micalg=optional, sha-256, sha1",
        } | {name.replace("_", "-"): value for name, value in headers.items()}, entity

    def openssl(self, *arguments: str, stdin: bytes) -> bytes:
        """Run the command; a failure is a refusal."""
        done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, cwd=self.folder, check=False)
        if done.returncode:
            raise Refused(done.stderr.decode())
        return done.stdout

    def _pair(self, pair: Pair, option: str = "-recip") -> tuple[str, ...]:
        return option, self._file("own.pem", pair.certificate), "-inkey", self._file("own.key", pair.key)

    def _file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name


def _digest(content: bytes, algorithm: str) -> str:
    return b64encode(hashlib.new(algorithm, content).digest()).decode()


def _split(raw: bytes) -> tuple[dict[str, str], bytes]:
    head, body = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)
    text = re.sub(r"\r?\n[ \t]+", " ", head.decode())
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}, body


def _decoded(head: dict[str, str], body: bytes) -> bytes:
    if head.get("content-transfer-encoding", "").lower() != "base64":
        return body
    return subprocess.run(["openssl", "base64", "-d"], input=body, capture_output=True, check=True).stdout


def _octets(data: bytes) -> bytes:
    """Return the only long OCTET STRING of a DER structure: the compressed content."""
    listed = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=data, capture_output=True, check=True, text=False
    ).stdout.decode()
    offset, header, length = re.findall(r"(\d+):d=\d+ +hl=(\d+) l= *(\d+) prim: +OCTET STRING", listed)[-1]
    begin = int(offset) + int(header)
    return data[begin : begin + int(length)]
