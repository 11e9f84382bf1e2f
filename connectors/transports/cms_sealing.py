"""Encryption and compression of the Cryptographic Message Syntax: RFC 5652 (AES-CBC), RFC 5083 (AES-GCM), RFC 3274."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from asn1crypto import cms, core
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from connectors.transports.cms import CmsError, Flaw, KeyPair, content_of, dump, issuer_and_serial, names, reading

KEY_BYTES: Final = {"aes128_cbc": 16, "aes192_cbc": 24, "aes256_cbc": 32, "aes128_gcm": 16, "aes256_gcm": 32}
"""The ciphers that are spoken, each with the length of its key."""

_BLOCK: Final = 128
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_OAEP_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303  # nosec B303  # what OAEP means where nothing is said; not a signature
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class _GcmParameters(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types; RFC 5084, section 3.2
    _fields = [  # noqa: RUF012  # as asn1crypto wants them
        ("nonce", core.OctetString),
        ("icv_length", core.Integer, {"default": 12}),
    ]


def encrypt(content: bytes, recipient: x509.Certificate, *, cipher: str, oaep: bool = False) -> bytes:
    """Return a content that only the holder of a certificate's RSA key can read, in DER.

    Args:
        content: what to encrypt.
        recipient: whose certificate it is.
        cipher: one of `KEY_BYTES`.
        oaep: whether the key is wrapped with OAEP (SHA-256) instead of PKCS #1 v1.5.
    """
    key = os.urandom(KEY_BYTES[cipher])
    if cipher.endswith("_gcm"):
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, content, None)
        parameters: Any = _GcmParameters({"nonce": nonce, "icv_length": _TAG_BYTES})
        info = _encrypted(cipher, parameters, sealed[:-_TAG_BYTES])
        enveloped = cms.AuthEnvelopedData(
            {
                "version": "v0",
                "recipient_infos": [_for(recipient, key, oaep=oaep)],
                "auth_encrypted_content_info": info,
                "mac": sealed[-_TAG_BYTES:],
            }
        )
        return dump(cms.ContentInfo({"content_type": "authenticated_enveloped_data", "content": enveloped}))
    vector, padder = os.urandom(_BLOCK // 8), PKCS7(_BLOCK).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    sealed = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    enveloped = cms.EnvelopedData(
        {
            "version": "v0",
            "recipient_infos": [_for(recipient, key, oaep=oaep)],
            "encrypted_content_info": _encrypted(cipher, core.OctetString(vector), sealed),
        }
    )
    return dump(cms.ContentInfo({"content_type": "enveloped_data", "content": enveloped}))


def decrypt(data: bytes, pairs: Sequence[KeyPair]) -> bytes:
    """Return what was encrypted for one of our certificates.

    Raises:
        CmsError: NOT_FOR_US before anything was decrypted; else UNREADABLE, whatever is wrong: somebody who sends
            altered copies learns nothing from the difference.
    """
    with reading():
        info = cms.ContentInfo.load(data)
        is_gcm = info["content_type"].native == "authenticated_enveloped_data"
        body = content_of(data, "authenticated_enveloped_data" if is_gcm else "enveloped_data")
        encrypted = body["auth_encrypted_content_info" if is_gcm else "encrypted_content_info"]
        algorithm, sealed = encrypted["content_encryption_algorithm"], encrypted["encrypted_content"].native
        cipher = algorithm["algorithm"].native
        if cipher not in KEY_BYTES or cipher.endswith("_gcm") is not is_gcm:
            raise CmsError(Flaw.UNREADABLE)
        key = _key_of(body["recipient_infos"], pairs, KEY_BYTES[cipher])
        if is_gcm:
            parameters = algorithm["parameters"].parse(spec=_GcmParameters)
            tag = body["mac"].native
            if len(tag) != _TAG_BYTES or body["auth_attrs"].native is not None:
                raise CmsError(Flaw.UNREADABLE)
            with suppress(InvalidTag):
                return AESGCM(key).decrypt(parameters["nonce"].native, sealed + tag, None)
            raise CmsError(Flaw.UNREADABLE)
        decryptor = Cipher(algorithms.AES(key), modes.CBC(algorithm["parameters"].native)).decryptor()
        unpadder = PKCS7(_BLOCK).unpadder()
        return unpadder.update(decryptor.update(sealed) + decryptor.finalize()) + unpadder.finalize()
    raise CmsError(Flaw.UNREADABLE)


def compress(content: bytes) -> bytes:
    """Return a content in less space, in DER (RFC 3274)."""
    compressed = cms.CompressedData(
        {
            "version": "v0",
            "compression_algorithm": {"algorithm": "zlib"},
            "encap_content_info": {"content_type": "data", "content": zlib.compress(content, 9)},
        }
    )
    return dump(cms.ContentInfo({"content_type": "compressed_data", "content": compressed}))


def decompress(data: bytes, *, limit: int) -> bytes:
    """Return what was compressed.

    Raises:
        CmsError: it cannot be read, or has more than `limit` bytes.
    """
    with reading():
        body = content_of(data, "compressed_data")
        if body["compression_algorithm"]["algorithm"].native != "zlib":
            raise CmsError(Flaw.UNREADABLE)
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(body["encap_content_info"]["content"].native, limit + 1)
        except zlib.error:
            raise CmsError(Flaw.UNREADABLE) from None
        if len(content) > limit:
            raise CmsError(Flaw.TOO_LARGE)
        if unpacker.eof:
            return content
    raise CmsError(Flaw.UNREADABLE)


def _encrypted(cipher: str, parameters: Any, sealed: bytes) -> Any:
    return cms.EncryptedContentInfo(
        {
            "content_type": "data",
            "content_encryption_algorithm": {"algorithm": cipher, "parameters": parameters},
            "encrypted_content": sealed,
        }
    )


def _for(recipient: x509.Certificate, key: bytes, *, oaep: bool) -> Any:
    public = recipient.public_key()
    assert isinstance(public, rsa.RSAPublicKey)  # the configuration demands it
    sha256 = {"algorithm": "sha256"}
    return cms.RecipientInfo(
        {
            "ktri": cms.KeyTransRecipientInfo(
                {
                    "version": "v0",
                    "rid": cms.RecipientIdentifier({"issuer_and_serial_number": issuer_and_serial(recipient)}),
                    "key_encryption_algorithm": {
                        "algorithm": "rsaes_oaep",
                        "parameters": {
                            "hash_algorithm": sha256,
                            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": sha256},
                        },
                    }
                    if oaep
                    else {"algorithm": "rsaes_pkcs1v15"},
                    "encrypted_key": public.encrypt(key, _oaep("sha256", "sha256") if oaep else padding.PKCS1v15()),
                }
            )
        }
    )


def _key_of(recipients: Any, pairs: Sequence[KeyPair], length: int) -> bytes:
    """Return the key of the content; a random one where ours does not open it, so that nobody can tell (RFC 3218)."""
    for wrapped, private in _wrapped_for(recipients, pairs):
        algorithm = wrapped["key_encryption_algorithm"]
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if algorithm["algorithm"].native == "rsaes_oaep":
            parameters = algorithm["parameters"]
            mask = parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native
            scheme = _oaep(parameters["hash_algorithm"]["algorithm"].native, mask)
        with suppress(ValueError):
            key = private.decrypt(wrapped["encrypted_key"].native, scheme)
            if len(key) == length:
                return key
        return os.urandom(length)
    raise CmsError(Flaw.NOT_FOR_US)


def _wrapped_for(recipients: Any, pairs: Sequence[KeyPair]) -> Iterator[tuple[Any, rsa.RSAPrivateKey]]:
    for recipient in recipients:
        for pair in pairs:
            is_ours = recipient.name == "ktri" and names(recipient.chosen["rid"], pair.certificate)
            if is_ours and isinstance(pair.key, rsa.RSAPrivateKey):
                yield recipient.chosen, pair.key


def _oaep(hash_name: str, mask_name: str) -> padding.AsymmetricPadding:
    mask = padding.MGF1(_OAEP_HASHES[mask_name])
    return padding.OAEP(mgf=mask, algorithm=_OAEP_HASHES[hash_name], label=None)
