"""The master keys and what is derived from them.

    key id   = HKDF-SHA-256(master key, salt "erpc/v1", info "key-id")                  names the key, commits to it
    data key = HKDF-SHA-256(master key, salt "erpc/v1", info "data-key\\0" + org UUID)   one per organisation
    code key = HKDF-SHA-256(master key, salt "erpc/v1", info "code-key\\0" + purpose)    one per purpose

HKDF is RFC 5869. All outputs are 32 bytes and none leads back to the master key.
"""

from __future__ import annotations

import hmac
import string
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NoReturn
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connectors.encryption import envelope
from connectors.exceptions import ConfigurationError, UnknownKey

MASTER_KEY_SIZE: Final = 32

_SALT: Final = b"erpc/v1"
_HEX_DIGITS: Final = 2 * MASTER_KEY_SIZE
_CACHED_CIPHERS: Final = 1024  # about 1 KiB each


class KeyRing:
    """The active master key, which seals and opens, and the previous ones, which only open.

    The envelope's header selects exactly one key; no other is tried. Safe to share between threads.
    """

    __slots__ = ("_cipher", "_masters", "active_key_id")

    def __init__(self, active: bytes, previous: Iterable[bytes] = ()) -> None:
        """Take the master keys, 32 bytes each.

        Args:
            active: seals everything from now on.
            previous: still open what they sealed. A key named twice, or the active one again, changes nothing: that is
                how a half-finished rotation looks.

        Raises:
            ConfigurationError: a key has another size.
        """
        self._masters = {_derive(master, b"key-id"): master for master in (active, *previous)}
        if any(len(master) != MASTER_KEY_SIZE for master in self._masters.values()):
            del active, previous  # an error report shows the locals of every frame
            raise ConfigurationError(f"A master key has exactly {MASTER_KEY_SIZE} bytes.")
        self.active_key_id = next(iter(self._masters))
        self._cipher = lru_cache(maxsize=_CACHED_CIPHERS)(self._new_cipher)

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The public ids of all keys, the active one first."""
        return tuple(self._masters)

    def seal(self, config: dict[str, Any], *, org_id: UUID, record_id: UUID, purpose: str = envelope.PURPOSE) -> bytes:
        """Return `config` as an envelope for one row, sealed with the active key.

        Raises:
            ConfigurationError: JSON cannot hold this configuration exactly.
        """
        key_id = self.active_key_id
        cipher = self._cipher(key_id, org_id.bytes)
        return envelope.seal(config, cipher=cipher, key_id=key_id, org_id=org_id, record_id=record_id, purpose=purpose)

    def open(self, blob: bytes, *, org_id: UUID, record_id: UUID, purpose: str = envelope.PURPOSE) -> dict[str, Any]:
        """Return the configuration that was sealed for exactly this row.

        Raises:
            Malformed: not an envelope, or it holds no JSON object.
            UnknownFormat: an envelope of another version.
            UnknownKey: its master key is not in this ring.
            Tampered: altered, or moved from another row.
        """
        cipher = self._cipher(envelope.key_id_of(blob), org_id.bytes)
        return envelope.open(blob, cipher=cipher, org_id=org_id, record_id=record_id, purpose=purpose)

    def reseal(self, blob: bytes, *, org_id: UUID, record_id: UUID, purpose: str = envelope.PURPOSE) -> bytes:
        """Return what `blob` holds, opened with its own key, as an envelope under the active key.

        Raises:
            Malformed: not an envelope, or it holds no JSON object.
            UnknownFormat: an envelope of another version.
            UnknownKey: its master key is not in this ring.
            Tampered: altered, or moved from another row.
        """
        return envelope.reseal(
            blob,
            cipher=self._cipher(envelope.key_id_of(blob), org_id.bytes),
            new_cipher=self._cipher(self.active_key_id, org_id.bytes),
            new_key_id=self.active_key_id,
            org_id=org_id,
            record_id=record_id,
            purpose=purpose,
        )

    def needs_rotation(self, blob: bytes) -> bool:
        """Was this envelope sealed with another key than the active one?

        Raises:
            Malformed: not an envelope.
            UnknownFormat: an envelope of another version.
        """
        return envelope.key_id_of(blob) != self.active_key_id

    def code(self, message: bytes, *, purpose: bytes, key_id: bytes | None = None) -> bytes:
        """Return the HMAC-SHA-256 (RFC 2104) of a message, which nobody without the master key can make.

        Args:
            message: what is to be recognised.
            purpose: what for; a code for one purpose is none for another.
            key_id: of the master key; None is the active one.

        Raises:
            UnknownKey: the master key is not in this ring.
        """
        key_id = key_id or self.active_key_id
        if key_id not in self._masters:
            raise UnknownKey(key_id)
        return hmac.digest(_derive(self._masters[key_id], b"code-key\0" + purpose), message, "sha256")

    def _new_cipher(self, key_id: bytes, org: bytes) -> AESGCM:
        if key_id not in self._masters:
            raise UnknownKey(key_id)
        return AESGCM(_derive(self._masters[key_id], b"data-key\0" + org))

    def __repr__(self) -> str:
        ids = ", ".join(key_id.hex()[:16] for key_id in self._masters)
        return f"KeyRing({ids})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key ring holds master keys and cannot be copied or pickled.")


def _derive(master: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=_SALT, info=info).derive(master)


def parse_master_key(text: str, *, name: str) -> bytes:
    """Return the 32 bytes of a master key that is written as 64 hexadecimal digits.

    Args:
        text: the value as configured.
        name: where it was configured, for the message: `ENCRYPTION_MASTER_KEY`.

    Raises:
        ConfigurationError: says which setting, why and what to do, never the value.
    """
    problem = _problem(text)
    if problem:
        del text  # an error report shows the locals of every frame
        raise ConfigurationError(f"{name} {problem}")
    return bytes.fromhex(text)


def _problem(text: str) -> str | None:
    generate = "Generate a key with: python manage.py generate_master_key"
    copy = f"Copy the key again, all {_HEX_DIGITS} hexadecimal digits of it."
    if not text:
        return f"is not set. {generate}"
    if any(character.isspace() for character in text):
        return "contains a space, a tab or a line break. Remove it: the key is one word."
    if not set(text) <= set(string.hexdigits):
        return f"contains something other than the hexadecimal digits 0-9 and a-f. {generate}"
    if len(text) < _HEX_DIGITS:
        return f"is too short: {len(text)} digits instead of {_HEX_DIGITS}. {copy}"
    if len(text) > _HEX_DIGITS:
        return f"is too long: {len(text)} digits instead of {_HEX_DIGITS}. {copy}"
    key = bytes.fromhex(text)
    if not any(key):
        return f"is all zeros, which is a placeholder and not a key. {generate}"
    if len(set(key)) == 1:
        return f"repeats one byte, which anyone can guess. {generate}"
    return None
