"""Secrets of people, sealed under keys that are derived from SECRET_KEY, so that a stolen database gives none away.

    0x01 | key id (8) | IV (12) | ciphertext | tag (16)
    └─── header (9) ──┘

    key id = HKDF-SHA-256(SECRET_KEY, salt "erpc/v1", info "sign-in key-id", 8)
    key    = HKDF-SHA-256(SECRET_KEY, salt "erpc/v1", info "sign-in key\\0" + purpose, 32)

AES-256-GCM (NIST SP 800-38D) with a random IV; HKDF is RFC 5869. The associated data is the header, the purpose and the
owner, so what is sealed for one person does not open for another. SECRET_KEY rather than the master key of stored
configurations: it already guards sessions, and whoever lets people in needs no key that opens an ERP. A key in
SECRET_KEY_FALLBACKS still opens.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_SALT: Final = b"erpc/v1"
_FORMAT: Final = b"\x01"
_KEY_ID_SIZE: Final = 8
_HEADER_SIZE: Final = len(_FORMAT) + _KEY_ID_SIZE
_IV_SIZE: Final = 12


class Unreadable(Exception):
    """What was sealed does not open here."""


def seal(plaintext: bytes, *, purpose: str, owner: object) -> bytes:
    """Return `plaintext` sealed with the current SECRET_KEY.

    Args:
        plaintext: what to keep.
        purpose: what it is; nothing opens under another purpose.
        owner: the primary key of the person it belongs to.
    """
    header = _header(settings.SECRET_KEY)
    iv = os.urandom(_IV_SIZE)
    cipher = _cipher(settings.SECRET_KEY, purpose)
    return header + iv + cipher.encrypt(iv, plaintext, _associated_data(header, purpose, owner))


def unseal(blob: bytes, *, purpose: str, owner: object) -> bytes:
    """Return what was sealed for this purpose and owner.

    Raises:
        Unreadable: altered, sealed for somebody else, or under a key that is not configured.
    """
    header, body = blob[:_HEADER_SIZE], blob[_HEADER_SIZE:]
    secret_key = next((key for key in _secret_keys() if _header(key) == header), None)
    if secret_key is None or len(body) < _IV_SIZE:
        raise Unreadable
    try:
        return _cipher(secret_key, purpose).decrypt(
            body[:_IV_SIZE], body[_IV_SIZE:], _associated_data(header, purpose, owner)
        )
    except InvalidTag:
        raise Unreadable from None


def is_under_current_key(blob: bytes) -> bool:
    """Return whether `blob` was sealed with the current SECRET_KEY, and so needs no fallback."""
    return blob[:_HEADER_SIZE] == _header(settings.SECRET_KEY)


def _secret_keys() -> tuple[str, ...]:
    return tuple(map(str, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)))


def _header(secret_key: str) -> bytes:
    return _FORMAT + _derive(secret_key, b"sign-in key-id", _KEY_ID_SIZE)


def _cipher(secret_key: str, purpose: str) -> AESGCM:
    return AESGCM(_derive(secret_key, b"sign-in key\0" + purpose.encode(), 32))


def _derive(secret_key: str, info: bytes, size: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=size, salt=_SALT, info=info).derive(secret_key.encode())


def _associated_data(header: bytes, purpose: str, owner: object) -> bytes:
    return b"\0".join((header, purpose.encode(), str(owner).encode()))
