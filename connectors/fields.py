"""The model field behind `config_encrypted`: envelopes in, envelopes out, and nothing else.

The row's plaintext never is a field value, so no serializer, form, admin page or `repr` can show it. It is read and
written by name only: `field.open(row)` and `field.seal(row, config)`.
"""

from __future__ import annotations

from base64 import b64decode
from functools import lru_cache
from typing import Any, Protocol, cast
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.db import models
from django.db.models.lookups import Lookup
from django.dispatch import receiver

from connectors.encryption import KeyRing, envelope, providers
from connectors.exceptions import Malformed


@lru_cache(maxsize=1)
def key_ring() -> KeyRing:
    """Return the key ring of ENCRYPTION_MASTER_KEY and ENCRYPTION_PREVIOUS_KEYS; their providers are asked once.

    Raises:
        ConfigurationError: a key is missing or malformed, or its provider does not hand it out; the message names the
            setting, never the value.
    """
    return KeyRing(
        _unwrap(settings.ENCRYPTION_MASTER_KEY, "ENCRYPTION_MASTER_KEY"),
        [
            _unwrap(key, f"ENCRYPTION_PREVIOUS_KEYS, key {number},")
            for number, key in enumerate(settings.ENCRYPTION_PREVIOUS_KEYS, start=1)
        ],
    )


def _unwrap(text: str, name: str) -> bytes:
    return providers.of_text(text, settings.ENCRYPTION_KEY_PROVIDERS).unwrap(text, name=name)


@receiver(setting_changed)
def _forget_key_ring(*, setting: str, **_: Any) -> None:
    if setting in ("ENCRYPTION_MASTER_KEY", "ENCRYPTION_PREVIOUS_KEYS", "ENCRYPTION_KEY_PROVIDERS"):
        key_ring.cache_clear()


class Row(Protocol):
    """What an envelope is bound to; both stand before the first `seal`."""

    org_id: UUID
    pk: UUID


class EncryptedConfigField(models.BinaryField):
    """A configuration, stored as the envelope of `connectors.encryption.envelope`.

    An envelope is bound to its row: moved to another one it does not open. What is not an envelope cannot be saved, so
    a mistake elsewhere ends as an error and never as plaintext in the database.
    """

    description = "Encrypted configuration"

    def __init__(self, *args: Any, purpose: str = envelope.PURPOSE, **kwargs: Any) -> None:
        """Take what any BinaryField takes.

        Args:
            args: of the field.
            purpose: what kind of row it configures; an envelope of one kind does not open as one of another.
            kwargs: of the field.
        """
        self.purpose = purpose
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """Return what migrations write down."""
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, kwargs | ({"purpose": self.purpose} if self.purpose != envelope.PURPOSE else {})

    @classmethod
    def of(cls, row: models.Model | type[models.Model], name: str = "config_encrypted") -> EncryptedConfigField:
        """Return the encrypted field of a row's model."""
        return cast(EncryptedConfigField, row._meta.get_field(name))

    def seal(self, row: Row, config: dict[str, Any]) -> bytes:
        """Return the envelope of `config` for `row`, to be assigned to it.

        Raises:
            ConfigurationError: JSON cannot hold this configuration exactly, or the keys are not configured.
        """
        return key_ring().seal(config, org_id=row.org_id, record_id=row.pk, purpose=self.purpose)

    def open(self, row: Row) -> dict[str, Any]:
        """Return the configuration of `row`.

        Raises:
            EncryptionError: it cannot be read; the subclass says why.
        """
        return key_ring().open(getattr(row, self.attname), org_id=row.org_id, record_id=row.pk, purpose=self.purpose)

    def to_python(self, value: Any) -> Any:
        """Return the envelope that `value_to_string` wrote as base64, as `loaddata` asks for it."""
        if not isinstance(value, str):
            return value
        try:
            return b64decode(value, validate=True)
        except ValueError:
            raise ValidationError("This is not an encrypted configuration.", code="invalid") from None

    def get_prep_value(self, value: Any) -> bytes | None:
        """Let only envelopes pass into the database.

        Raises:
            Malformed: a dict, a string, plain JSON, None in a column that is not null, or anything else.
            UnknownFormat: an envelope that this version did not write.
        """
        if value is None and self.null:
            return None
        if not isinstance(value, bytes):
            kind = type(value).__name__
            raise Malformed(f"{self.name} takes a sealed envelope, not a {kind}; seal the configuration first.")
        envelope.key_id_of(value)
        return value

    def get_lookup(self, lookup_name: str) -> type[Lookup[Any]] | None:
        """Offer `isnull`, and `exact` for compare-and-swap; nothing else means anything on ciphertext."""
        return super().get_lookup(lookup_name) if lookup_name in ("exact", "isnull") else None
