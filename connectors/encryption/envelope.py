"""The envelope of a stored configuration: the one place that knows its bytes.

    "ERPC" | format 0x01 | key id (32) | IV (12) | ciphertext | tag (16)
    └────────── header (37) ─────────┘

AES-256-GCM (NIST SP 800-38D) with a random 96-bit IV. The associated data is the header, a label that names the
purpose, the organisation and the record. It is rebuilt from the row and never read from the blob, so an envelope opens
only in the row it was sealed for. The plaintext is a JSON object in UTF-8.

What is wrong decides the error, checked in this order: not our magic or too short is Malformed, another format byte is
UnknownFormat, and a tag that does not match is Tampered. What opens but holds no JSON object is Malformed too.

An error report shows the locals of every frame and the exceptions behind the exception, and a decoder's error may carry
its whole input. So nothing here raises while such an error is being handled, or while a local of the raising frame
holds plaintext.
"""

from __future__ import annotations

import os
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic_core import from_json, to_json

from connectors.exceptions import ConfigurationError, Malformed, Tampered, UnknownFormat

MAGIC: Final = b"ERPC"
FORMAT: Final = b"\x01"
KEY_ID_SIZE: Final = 32
IV_SIZE: Final = 12
TAG_SIZE: Final = 16

PREFIX: Final = MAGIC + FORMAT
HEADER_SIZE: Final = len(PREFIX) + KEY_ID_SIZE
OVERHEAD: Final = HEADER_SIZE + IV_SIZE + TAG_SIZE

PURPOSE: Final = "connection.config"
"""Of the rows that configure a connection; others have one of their own."""

_BODY: Final = HEADER_SIZE + IV_SIZE
_NO_OBJECT: Final = "The envelope is genuine, but it does not hold a JSON object."


def key_id_of(blob: bytes) -> bytes:
    """Return the id of the master key that `blob` says it was sealed with.

    Raises:
        Malformed: these bytes are not an envelope.
        UnknownFormat: an envelope of another version.
    """
    if not isinstance(blob, bytes) or not blob.startswith(MAGIC) or len(blob) == len(MAGIC):
        raise Malformed
    if not blob.startswith(PREFIX):
        raise UnknownFormat
    if len(blob) < OVERHEAD:
        raise Malformed
    return blob[len(PREFIX) : HEADER_SIZE]


def seal(
    config: dict[str, Any],
    *,
    cipher: AESGCM,
    key_id: bytes,
    org_id: UUID,
    record_id: UUID,
    purpose: str = PURPOSE,
) -> bytes:
    """Return the envelope of `config` for one row, under a fresh random IV.

    Args:
        config: a JSON object; whatever it holds must read back as it was written.
        cipher: AES-256-GCM under the data key of the organisation.
        key_id: 32 bytes that name the master key of that data key.
        org_id: the organisation of the row.
        record_id: the primary key of the row.
        purpose: what kind of row it is.

    Raises:
        ConfigurationError: JSON cannot hold this configuration exactly.
    """
    plaintext = _to_json(config)
    if plaintext is None:
        del config, plaintext
        raise ConfigurationError("The configuration is not a plain JSON object, so it cannot be stored.")
    return _encrypt(plaintext, cipher, key_id, purpose, org_id, record_id)


def open(blob: bytes, *, cipher: AESGCM, org_id: UUID, record_id: UUID, purpose: str = PURPOSE) -> dict[str, Any]:
    """Return the configuration in `blob`, provided it was sealed for exactly this row.

    Args:
        blob: an envelope whose shape `key_id_of` has accepted.
        cipher: AES-256-GCM under the data key of the organisation, from the master key that the envelope names.
        org_id: the organisation of the row.
        record_id: the primary key of the row.
        purpose: what kind of row it is.

    Raises:
        Tampered: altered, sealed for another row, or sealed under another key.
        Malformed: it opens, but holds no JSON object.
    """
    config = _from_json(_decrypt(blob, cipher, purpose, org_id, record_id))
    if config is None:
        raise Malformed(_NO_OBJECT)
    return config


def reseal(
    blob: bytes,
    *,
    cipher: AESGCM,
    new_cipher: AESGCM,
    new_key_id: bytes,
    org_id: UUID,
    record_id: UUID,
    purpose: str = PURPOSE,
) -> bytes:
    """Return the envelope of the same plaintext, byte for byte, under another key and a fresh random IV.

    Args:
        blob: as for `open`.
        cipher: as for `open`.
        new_cipher: AES-256-GCM under the data key of the organisation, from the new master key.
        new_key_id: 32 bytes that name the new master key.
        org_id: the organisation of the row.
        record_id: the primary key of the row.
        purpose: what kind of row it is.

    Raises:
        Tampered: as for `open`.
        Malformed: as for `open`.
    """
    plaintext = _decrypt(blob, cipher, purpose, org_id, record_id)
    if _from_json(plaintext) is None:
        del plaintext
        raise Malformed(_NO_OBJECT)
    return _encrypt(plaintext, new_cipher, new_key_id, purpose, org_id, record_id)


def _decrypt(blob: bytes, cipher: AESGCM, purpose: str, org_id: UUID, record_id: UUID) -> bytes:
    associated_data = _associated_data(blob[:HEADER_SIZE], purpose, org_id, record_id)
    try:
        return cipher.decrypt(blob[HEADER_SIZE:_BODY], blob[_BODY:], associated_data)
    except InvalidTag:
        raise Tampered from None


def _encrypt(plaintext: bytes, cipher: AESGCM, key_id: bytes, purpose: str, org_id: UUID, record_id: UUID) -> bytes:
    header, iv = PREFIX + key_id, os.urandom(IV_SIZE)
    return header + iv + cipher.encrypt(iv, plaintext, _associated_data(header, purpose, org_id, record_id))


def _associated_data(header: bytes, purpose: str, org_id: UUID, record_id: UUID) -> bytes:
    return header + purpose.encode("ascii") + b"\0" + org_id.bytes + record_id.bytes


def _to_json(config: dict[str, Any]) -> bytes | None:
    """Return compact UTF-8 JSON, or None when it would not read back as it is.

    The writer turns much into JSON that JSON does not have: it masks a SecretStr and makes text of a Decimal.
    Comparing with what will be read finds all of it, so a lost secret is noticed now and not at the next delivery.
    """
    try:
        plaintext = to_json(config)
        return plaintext if isinstance(config, dict) and _from_json(plaintext) == config else None
    except ValueError:
        return None


def _from_json(plaintext: bytes) -> dict[str, Any] | None:
    try:
        # The string cache is global to the process: not a place for passwords.
        config = from_json(plaintext, allow_inf_nan=False, cache_strings="none")
    except ValueError:
        return None
    return config if isinstance(config, dict) else None
