"""Rows with a configuration that opens only in them."""

from __future__ import annotations

from typing import Any

from django.db import models

from connectors.fields import EncryptedConfigField


class SealedConfig(models.Model):
    """A row whose `config_encrypted` is read and written by name only."""

    config_encrypted: EncryptedConfigField

    class Meta:
        abstract = True

    def read_config(self) -> dict[str, Any]:
        """Return what is sealed, in clear.

        Raises:
            EncryptionError: the row cannot be decrypted here.
        """
        return EncryptedConfigField.of(self).open(self)  # type: ignore[arg-type]  # each kind of row has its org_id

    def write_config(self, config: dict[str, Any]) -> None:
        """Seal a configuration into this row, without saving it."""
        self.config_encrypted = EncryptedConfigField.of(self).seal(self, config)  # type: ignore[arg-type]  # as above
