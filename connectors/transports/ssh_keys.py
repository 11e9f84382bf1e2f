"""Keys of both ends: the host key we pin, and the private key we log in with."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Self

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType
from paramiko.pkey import PublicBlob

HOST_KEY_ALGORITHMS: Final[dict[str, tuple[str, ...]]] = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
"""Each type of host key and the signature algorithms it is asked for with (RFC 8332: RSA never with SHA-1)."""

_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}", re.ASCII)


def fingerprint(public_key: bytes) -> str:
    """Return the fingerprint of a public key blob as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("=")


@dataclass(frozen=True, kw_only=True)
class HostKeyPin:
    """The one host key that a server may show."""

    fingerprint: str
    key_type: str | None
    """Known only when the whole key is pinned."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an OpenSSH public key line (`ssh-ed25519 AAAA… comment`) or a `SHA256:` fingerprint.

        Raises:
            ValueError: it is neither.
        """
        if _FINGERPRINT.fullmatch(text.strip().rstrip("=")):
            return cls(fingerprint=text.strip().rstrip("="), key_type=None)
        key_type, _, rest = text.strip().partition(" ")
        try:
            blob = base64.b64decode(rest.split()[0], validate=True)
        except (IndexError, binascii.Error):
            raise ValueError("not a public key line") from None
        # The blob starts with its own type (RFC 4253, section 6.6).
        if key_type not in HOST_KEY_ALGORITHMS or not blob.startswith(
            len(key_type).to_bytes(4, "big") + key_type.encode()
        ):
            raise ValueError("not a public key of a known type")
        return cls(fingerprint=fingerprint(blob), key_type=key_type)

    @property
    def key_types(self) -> tuple[str, ...]:
        """The types of host key that may match."""
        return tuple(HOST_KEY_ALGORITHMS) if self.key_type is None else (self.key_type,)


class UnusableKey(ValueError):
    """The private key cannot be read."""


class WrongPassphrase(UnusableKey):
    """The private key is encrypted, and the passphrase does not open it."""


class UnusableCertificate(UnusableKey):
    """This is no OpenSSH certificate."""


class HostCertificate(UnusableCertificate):
    """The certificate is for a server, not for a login."""


class ForeignCertificate(UnusableCertificate):
    """The certificate was issued for another key."""


_MAX_LOADED: Final = 1000
_loaded: Final[OrderedDict[bytes, paramiko.PKey]] = OrderedDict()
"""The keys that were used last, by a digest: no secret in clear."""
_changing: Final = threading.Lock()


def load_private_key(text: str, passphrase: str | None, certificate: str | None = None) -> paramiko.PKey:
    """Return a private key written as OpenSSH, PEM or PKCS #8.

    Reading one takes a tenth of a second and more, by design where it is encrypted, and configurations are read for
    every delivery: one that was read is kept.

    Args:
        text: the key.
        passphrase: what opens it, if it is encrypted.
        certificate: an OpenSSH user certificate for it, on one line; a login then shows it in place of the public key.

    Raises:
        WrongPassphrase: it is encrypted, and the passphrase is missing or wrong.
        UnusableCertificate: the certificate cannot be read, or is not a user's, or is for another key.
        UnusableKey: it is not a private key, or of a type other than Ed25519, ECDSA and RSA.
    """
    digest = hashlib.sha256(repr((text, passphrase, certificate)).encode("utf-8", "surrogatepass")).digest()
    key = _loaded.get(digest) or _read(text, passphrase, certificate)
    with _changing:
        _loaded[digest] = key
        _loaded.move_to_end(digest)
        while len(_loaded) > _MAX_LOADED:
            _loaded.popitem(last=False)
    return key


def _read(text: str, passphrase: str | None, certificate: str | None) -> paramiko.PKey:
    key = _private_key(text, passphrase)
    if certificate is not None:
        # Not by paramiko's load_certificate, which first looks for a file of this name.
        key.public_blob = _certificate_for(key, certificate)
    return key


def _certificate_for(key: paramiko.PKey, line: str) -> PublicBlob:
    try:
        certificate = serialization.load_ssh_public_identity(line.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableCertificate from None
    if not isinstance(certificate, SSHCertificate):
        raise UnusableCertificate
    if certificate.type is not SSHCertificateType.USER:
        raise HostCertificate
    public = certificate.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    if public.decode().split()[1] != key.get_base64():
        raise ForeignCertificate
    return PublicBlob.from_string(line.strip())


def _private_key(text: str, passphrase: str | None) -> paramiko.PKey:
    key = _decrypted(text.strip().encode() + b"\n", passphrase)
    key_class: type[paramiko.PKey]
    match key:
        case Ed25519PrivateKey():
            key_class = paramiko.Ed25519Key
        case EllipticCurvePrivateKey():
            key_class = paramiko.ECDSAKey
        case RSAPrivateKey():
            key_class = paramiko.RSAKey
        case _:
            raise UnusableKey
    try:
        # paramiko reads fewer formats than cryptography: hand it the one that it reads for every type.
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        return key_class.from_private_key(io.StringIO(plain.decode()))
    except (ValueError, paramiko.SSHException):  # a curve that SSH does not know
        raise UnusableKey from None


def _decrypted(data: bytes, passphrase: str | None) -> object:
    load = serialization.load_ssh_private_key if b"BEGIN OPENSSH" in data[:64] else serialization.load_pem_private_key
    try:
        return load(data, None)
    except TypeError:  # cryptography's way to say that the key is encrypted
        pass
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey from None
    try:
        return load(data, (passphrase or "").encode())
    except (TypeError, ValueError):
        raise WrongPassphrase from None
    except UnsupportedAlgorithm:
        raise UnusableKey from None
