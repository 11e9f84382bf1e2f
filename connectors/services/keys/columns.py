"""The encrypted columns of the installed models, and how many of their rows each master key has sealed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.functions import Substr

from connectors.encryption import envelope
from connectors.exceptions import EncryptionError
from connectors.fields import EncryptedConfigField
from connectors.models import ConnectionTest, TestState
from tenants import scope


class NoEncryptedFields(ImproperlyConfigured):
    """No installed model has an EncryptedConfigField, so these settings cannot be the application's."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True, kw_only=True)
class UnreadableRow:
    """A row that cannot be opened with the configured keys."""

    table: str
    id: str
    reason: str
    """The kind of EncryptionError."""

    @classmethod
    def of(cls, field: EncryptedConfigField, row_id: object, error: EncryptionError) -> UnreadableRow:
        """Describe the row of one column that an error came from."""
        return cls(table=field.model._meta.db_table, id=str(row_id), reason=type(error).__name__)

    def __str__(self) -> str:
        return f"{self.table} {self.id}: {self.reason}"


def encrypted_fields() -> list[EncryptedConfigField]:
    """Return every encrypted field of the installed models.

    Raises:
        NoEncryptedFields: there is none.
    """
    found = [
        field
        for model in apps.get_models()
        for field in model._meta.local_concrete_fields
        if isinstance(field, EncryptedConfigField) and model._meta.managed
    ]
    if not found:
        raise NoEncryptedFields
    return found


def sealed(field: EncryptedConfigField) -> models.QuerySet[Any]:
    """Return the rows that hold an envelope, each with the `key_id` of its header."""
    prefix, key_id = (
        Substr(field.attname, start, length, output_field=models.BinaryField())
        for start, length in ((1, len(envelope.PREFIX)), (len(envelope.PREFIX) + 1, envelope.KEY_ID_SIZE))
    )
    rows = field.model._base_manager.alias(prefix=prefix).filter(prefix=envelope.PREFIX).annotate(key_id=key_id)
    if field.model is ConnectionTest:  # only the few that have not ended hold one
        return rows.filter(state__in=(TestState.QUEUED, TestState.RUNNING))
    return rows


def rows_by_column() -> dict[EncryptedConfigField, dict[bytes, int]]:
    """Return how many rows of each column each master key has sealed, by its id, without opening any."""
    with scope.everything():
        return {
            field: {
                bytes(key_id): count
                for key_id, count in sealed(field).values_list("key_id").annotate(models.Count("pk")).order_by()
            }
            for field in encrypted_fields()
        }


def rows_by_key() -> dict[bytes, int]:
    """Return how many rows each master key has sealed, by its id, without opening any."""
    counts: Counter[bytes] = Counter()
    for keys in rows_by_column().values():
        counts.update(keys)
    return dict(counts)
