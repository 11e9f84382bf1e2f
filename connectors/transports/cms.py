"""Signatures of the Cryptographic Message Syntax (RFC 5652), detached from what they sign.

The syntax is asn1crypto's, the cryptography that of `cryptography`. Whom to believe is pinned: a signature counts when
the certificate that made it is one of those given, whatever else travels with it.

    signature = sign(content, pair, digest="sha256", at=now)
    verify(content, signature, believed=[certificate], at=now)      # raises CmsError

Encryption and compression stand in `cms_sealing`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from asn1crypto import cms, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

MIN_RSA_BITS: Final = 2048
DIGESTS: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
"""What is believed in a signature, and signed with."""


class Flaw(StrEnum):
    """Why a structure is not accepted, as the end of a sentence."""

    UNREADABLE = "it cannot be read"
    TOO_WEAK = "it is signed with an algorithm that is too weak"
    UNKNOWN_SIGNER = "it is signed with a certificate that is not configured here"
    EXPIRED_SIGNER = "it is signed with a certificate that is not valid now"
    WRONG_SIGNATURE = "its signature is wrong"
    NOT_FOR_US = "it is encrypted for another certificate"
    TOO_LARGE = "it is too large"


class CmsError(Exception):
    """A structure is not accepted."""

    def __init__(self, flaw: Flaw) -> None:
        """Say why, without quoting anything."""
        self.flaw = flaw
        super().__init__(str(flaw))


class UnusableKey(ValueError):
    """A key or a certificate cannot be used; the message ends a sentence and quotes nothing."""


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)


def load_certificates(pem: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text.

    Raises:
        UnusableKey: there are none, or one has a key that is too weak.
    """
    certificates: list[x509.Certificate] = []
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
        keys = [certificate.public_key() for certificate in certificates]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        keys = []
    if not keys:
        raise UnusableKey("must be certificates in PEM")
    for key in keys:
        _check_strength(key)
    return certificates


def load_pair(certificate: str, key: str, passphrase: str | None, *, check: bool = False) -> KeyPair:
    """Return a pair from its PEM texts.

    Args:
        certificate: the first of these belongs to the key.
        key: the private key.
        passphrase: opens the key; ignored when it is not encrypted.
        check: whether to try if the key can sign.

    Raises:
        UnusableKey: they cannot be read, are too weak, or do not belong together.
    """
    loaded: Any = None
    for word in (passphrase.encode() if passphrase else None, None):
        try:
            # That takes 40 ms; to sign something tells as much.
            loaded = load_pem_private_key(key.encode(), word, unsafe_skip_rsa_key_validation=True)
            break
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise UnusableKey("must be an RSA or EC key in PEM that the passphrase opens")
    ours = load_certificates(certificate)[0]
    if ours.public_key() != loaded.public_key():
        raise UnusableKey("does not belong to the certificate")
    pair = KeyPair(certificate=ours, key=loaded)
    if check and not _can_sign(pair):
        raise UnusableKey("cannot sign")
    return pair


def is_valid(certificate: x509.Certificate, at: datetime) -> bool:
    """Return whether a moment lies within the time for which a certificate was issued."""
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def sign(content: bytes, pair: KeyPair, *, digest: str, at: datetime) -> bytes:
    """Return the detached signature of a content, in DER. The same arguments give the same bytes."""
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "signing_time", "values": [cms.Time({"utc_time": core.UTCTime(at)})]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.new(digest, content).digest()]}),
        ]
    )
    algorithm, signature = _signature(attributes.dump(), pair.key, digest)
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier({"issuer_and_serial_number": issuer_and_serial(pair.certificate)}),
            "digest_algorithm": {"algorithm": digest},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": algorithm},
            "signature": signature,
        }
    )
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [{"algorithm": digest}],
            "encap_content_info": {"content_type": "data"},
            "certificates": [as_asn1(pair.certificate)],
            "signer_infos": [signer],
        }
    )
    return dump(cms.ContentInfo({"content_type": "signed_data", "content": signed}))


def verify(content: bytes, signature: bytes, *, believed: Sequence[x509.Certificate], at: datetime) -> x509.Certificate:
    """Return the certificate that signed a content.

    Args:
        content: exactly what was signed.
        signature: SignedData in DER or BER; of several signers one that is believed is enough.
        believed: the certificates that count.
        at: when they have to be valid.

    Raises:
        CmsError: nobody who is believed has signed this.
    """
    flaw = Flaw.UNKNOWN_SIGNER
    with reading():
        for signer in content_of(signature, "signed_data")["signer_infos"]:
            for certificate in believed:
                if not names(signer["sid"], certificate):
                    continue
                if not is_valid(certificate, at):
                    flaw = Flaw.EXPIRED_SIGNER
                    continue
                _verify_one(content, signer, certificate)
                return certificate
    raise CmsError(flaw)


# What encryption needs as well


@contextmanager
def reading() -> Iterator[None]:
    """Let whatever goes wrong while a foreign structure is read end as CmsError; asn1crypto reads lazily."""
    try:
        yield
        return
    except CmsError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError):
        pass
    except UnsupportedAlgorithm:
        pass
    raise CmsError(Flaw.UNREADABLE)


def content_of(data: bytes, content_type: str) -> Any:
    """Return the content of a ContentInfo of this type; to be called while `reading`."""
    info = cms.ContentInfo.load(data)
    if info["content_type"].native != content_type:
        raise CmsError(Flaw.UNREADABLE)
    return info["content"]


def content_kind(data: bytes) -> str:
    """Return the type of a ContentInfo, such as "signed_data".

    Raises:
        CmsError: UNREADABLE.
    """
    with reading():
        return str(cms.ContentInfo.load(data)["content_type"].native)
    raise CmsError(Flaw.UNREADABLE)


def as_asn1(certificate: x509.Certificate) -> Any:
    """Return a certificate as asn1crypto has it."""
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def issuer_and_serial(certificate: x509.Certificate) -> Any:
    """Return by what a structure names a certificate."""
    ours = as_asn1(certificate)
    return cms.IssuerAndSerialNumber({"issuer": ours.issuer, "serial_number": ours.serial_number})


def dump(value: Any) -> bytes:
    """Return a structure in DER."""
    return bytes(value.dump())


def names(identifier: Any, certificate: x509.Certificate) -> bool:
    """Return whether a SignerIdentifier or RecipientIdentifier means a certificate; to be called while `reading`."""
    if identifier.name == "issuer_and_serial_number":
        named, ours = identifier.chosen, as_asn1(certificate)
        # By value: some write the issuer's name with another kind of string than its certificate.
        return bool(named["serial_number"].native == ours.serial_number and named["issuer"] == ours.issuer)
    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        known = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return bool(identifier.chosen.native == known)


def _can_sign(pair: KeyPair) -> bool:
    try:
        now = pair.certificate.not_valid_before_utc
        verify(b"", sign(b"", pair, digest="sha256", at=now), believed=[pair.certificate], at=now)
    except (CmsError, ValueError, InternalError):
        return False
    return True


def _check_strength(key: object) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise UnusableKey(f"has an RSA key of less than {MIN_RSA_BITS} bits")
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.key_size < 256:
        raise UnusableKey("must have an RSA key, or an EC key of 256 bits or more")


def _signature(content: bytes, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, digest: str) -> tuple[str, bytes]:
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsassa_pkcs1v15", key.sign(content, padding.PKCS1v15(), DIGESTS[digest])
    return f"{digest}_ecdsa", key.sign(content, ec.ECDSA(DIGESTS[digest], deterministic_signing=True))


def _verify_one(content: bytes, signer: Any, certificate: x509.Certificate) -> None:
    digest = _digest(signer["digest_algorithm"]["algorithm"].native)
    signed = content
    if signer["signed_attrs"].native is not None:
        attributes = {each["type"].native: each["values"] for each in signer["signed_attrs"]}
        if attributes["content_type"].native != ["data"]:
            raise CmsError(Flaw.UNREADABLE)
        if attributes["message_digest"].native != [hashlib.new(digest, content).digest()]:
            raise CmsError(Flaw.WRONG_SIGNATURE)
        # What is signed is the set itself, not its place in the structure (RFC 5652, section 5.4).
        signed = b"\x31" + dump(signer["signed_attrs"])[1:]
    try:
        _check_signature(signed, signer["signature"].native, signer["signature_algorithm"], digest, certificate)
        return
    except InvalidSignature:
        pass
    raise CmsError(Flaw.WRONG_SIGNATURE)


def _check_signature(
    signed: bytes, signature: bytes, algorithm: Any, digest: str, certificate: x509.Certificate
) -> None:
    key, kind = certificate.public_key(), algorithm.signature_algo
    named = digest if algorithm["algorithm"].native in ("rsassa_pkcs1v15", "ecdsa") else algorithm.hash_algo
    hash_algorithm = DIGESTS[_digest(named)]
    match key, kind:
        case rsa.RSAPublicKey(), "rsassa_pkcs1v15":
            key.verify(signature, signed, padding.PKCS1v15(), hash_algorithm)
        case rsa.RSAPublicKey(), "rsassa_pss":
            mask = algorithm["parameters"]["mask_gen_algorithm"]["parameters"]["algorithm"].native
            salt = algorithm["parameters"]["salt_length"].native
            pss = padding.PSS(mgf=padding.MGF1(DIGESTS[_digest(mask)]), salt_length=salt)
            key.verify(signature, signed, pss, hash_algorithm)
        case ec.EllipticCurvePublicKey(), "ecdsa":
            key.verify(signature, signed, ec.ECDSA(hash_algorithm))
        case _:
            raise CmsError(Flaw.UNREADABLE)


def _digest(name: str) -> str:
    if name not in DIGESTS:
        raise CmsError(Flaw.TOO_WEAK)
    return name
