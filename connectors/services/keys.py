"""The verbs of the master keys: see what each is still needed for, and seal everything anew with the active one.

What is encrypted is found in the models and not listed by hand, so that no field can be forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction
from django.db.models.functions import Substr

from connectors.encryption import envelope
from connectors.exceptions import EncryptionError
from connectors.fields import EncryptedConfigField, key_ring
from connectors.models import (
    ConnectionStatus,
    ConnectionTest,
    EncryptionKey,
    ERPConnection,
    Health,
    KeyState,
    TestState,
)
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)

_TRIES: Final = 3
"""How often a row is opened again because somebody edited it at the same moment."""


@dataclass(frozen=True, kw_only=True)
class UnreadableRow:
    """A row that cannot be opened with the configured keys."""

    table: str
    id: str
    reason: str
    """The kind of EncryptionError."""

    def __str__(self) -> str:
        return f"{self.table} {self.id}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class RotationReport:
    """What a rotation did, or would do."""

    dry_run: bool
    rotated: int
    """Rows sealed anew; in a dry run, rows that would be."""
    already_active: int
    contended: int
    """Rows that were edited each time we wanted to write; the next run takes them."""
    unreadable: tuple[UnreadableRow, ...]

    @property
    def remaining(self) -> int:
        """Readable rows that are still under another key than the active one."""
        return self.contended + (self.rotated if self.dry_run else 0)


@dataclass(frozen=True, kw_only=True)
class KeyUse:
    """One master key, by its public id, and what still needs it."""

    key_id: str
    state: KeyState
    configured: bool
    rows: int


@dataclass(frozen=True, kw_only=True)
class KeyStatus:
    """All master keys this database knows, the active one first."""

    keys: tuple[KeyUse, ...]
    unreadable: tuple[UnreadableRow, ...]

    @property
    def active_key_id(self) -> str:
        """The public id of the key that seals everything new, in hex."""
        return next(key.key_id for key in self.keys if key.state is KeyState.ACTIVE)


class NoEncryptedFields(ImproperlyConfigured):
    """No installed model has an EncryptedConfigField, so these settings cannot be the application's."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def rotate(*, dry_run: bool = False, batch: int = 500) -> RotationReport:
    """Seal every row whose key is not the active one anew, each in its own statement.

    A row that somebody edits at the same moment keeps the edit: we write only over the envelope that we read. An
    unreadable row stays as it is.

    Args:
        dry_run: open everything, write nothing.
        batch: rows per query.

    Raises:
        ConfigurationError: the master keys are missing or malformed.
        NoEncryptedFields: there is nothing to rotate, which cannot be.
    """
    counts: Counter[str] = Counter()
    unreadable: list[UnreadableRow] = []
    for field, row in _rows(batch):
        try:
            counts[_rotate_row(field, row, dry_run=dry_run)] += 1
        except EncryptionError as error:
            unreadable.append(_unreadable(row, error))
    report = RotationReport(
        dry_run=dry_run,
        rotated=counts["rotated"],
        already_active=counts["already_active"],
        contended=counts["contended"],
        unreadable=tuple(unreadable),
    )
    if not dry_run:
        _note_rotation(report)
    return report


def status(*, batch: int = 500) -> KeyStatus:
    """Open every row, count what each master key is needed for, and bring the table of keys up to date.

    Args:
        batch: rows per query.

    Raises:
        ConfigurationError: the master keys are missing or malformed.
        NoEncryptedFields: no model has an encrypted field.
    """
    rows: Counter[str] = Counter()
    unreadable: list[UnreadableRow] = []
    for field, row in _rows(batch):
        try:
            rows[envelope.key_id_of(_blob(field, row)).hex()] += 1
            field.open(row)
        except EncryptionError as error:
            unreadable.append(_unreadable(row, error))
    return KeyStatus(keys=_refresh_registry(rows), unreadable=tuple(unreadable))


def rows_by_key() -> dict[bytes, int]:
    """Return how many rows each master key has sealed, by its id, without opening any."""
    counts: Counter[bytes] = Counter()
    for field in encrypted_fields():
        sealed = _sealed(field)
        if field.model is ConnectionTest:  # only the few that have not ended hold one
            sealed = sealed.filter(state__in=(TestState.QUEUED, TestState.RUNNING))
        for key_id, count in sealed.values_list("key_id").annotate(models.Count("pk")).order_by():
            counts[bytes(key_id)] += count
    return dict(counts)


def has_missing_key() -> bool:
    """Return whether an active connection was sealed with a master key that is not configured here.

    A connection that is known to be unreadable does not count: that is its own state, not that of this process.
    """
    in_use = _sealed(EncryptedConfigField.of(ERPConnection())).filter(status=ConnectionStatus.ACTIVE)
    unreadable = in_use.exclude(health=Health.UNREADABLE).exclude(key_id__in=key_ring().key_ids)
    return bool(unreadable.exists())


def encrypted_fields() -> list[EncryptedConfigField]:
    """Return every encrypted field of the installed models.

    Raises:
        NoEncryptedFields: there is none.
    """
    found = [
        field
        for model in apps.get_models()
        for field in model._meta.local_concrete_fields
        if isinstance(field, EncryptedConfigField)
    ]
    if not found:
        raise NoEncryptedFields
    return found


def _sealed(field: EncryptedConfigField) -> models.QuerySet[Any]:
    """Return the rows that hold an envelope, each with the `key_id` of its header."""
    prefix, key_id = (
        Substr(field.attname, start, length, output_field=models.BinaryField())
        for start, length in ((1, len(envelope.PREFIX)), (len(envelope.PREFIX) + 1, envelope.KEY_ID_SIZE))
    )
    return _table(field).alias(prefix=prefix).filter(prefix=envelope.PREFIX).annotate(key_id=key_id)


def _rows(batch: int) -> Iterator[tuple[EncryptedConfigField, Any]]:
    """Yield every row that has an envelope, by primary key, without holding a transaction open."""
    for field in encrypted_fields():
        rows = _table(field).exclude(**{f"{field.attname}__isnull": True}).only("pk", "org_id", field.attname)
        page = list(rows.order_by("pk")[:batch])
        while page:
            yield from ((field, row) for row in page)
            page = list(rows.order_by("pk").filter(pk__gt=page[-1].pk)[:batch])


def _rotate_row(field: EncryptedConfigField, row: Any, *, dry_run: bool) -> str:
    for _ in range(_TRIES):
        before = _blob(field, row)
        plain = field.open(row)
        if not key_ring().needs_rotation(before):
            return "already_active"
        if dry_run or _swap(field, row, before=before, after=field.seal(row, plain)):
            return "rotated"
        fresh = _table(field).filter(pk=row.pk).only("pk", "org_id", field.attname).first()
        if fresh is None:  # deleted meanwhile: nothing is left to seal
            return "deleted"
        row = fresh
    return "contended"


def _swap(field: EncryptedConfigField, row: Any, *, before: bytes, after: bytes) -> bool:
    """Write `after` only if the row still holds `before`; return whether it did."""
    return _table(field).filter(pk=row.pk, **{field.attname: before}).update(**{field.attname: after}) == 1


def _table(field: EncryptedConfigField) -> models.QuerySet[Any]:
    return field.model._base_manager.all()


def _blob(field: EncryptedConfigField, row: Any) -> bytes:
    return bytes(getattr(row, field.attname))


def _unreadable(row: Any, error: EncryptionError) -> UnreadableRow:
    return UnreadableRow(table=row._meta.db_table, id=str(row.pk), reason=type(error).__name__)


def _note_rotation(report: RotationReport) -> None:
    counts: dict[str, Any] = {
        "rotated": report.rotated,
        "already_active": report.already_active,
        "contended": report.contended,
        "unreadable": len(report.unreadable),
    }
    active = key_ring().active_key_id.hex()
    record(Actor.system("rotate_encryption_key"), "encryption.rotated", org=None, key_id=active, **counts)
    log.info("encryption.rotated", key_id=active[:16], **counts)


def _refresh_registry(rows: Counter[str]) -> tuple[KeyUse, ...]:
    configured = [key_id.hex() for key_id in key_ring().key_ids]
    with transaction.atomic():
        known = EncryptionKey.objects.order_by("created_at").values_list("key_id", flat=True)
        uses = tuple(
            KeyUse(key_id=key_id, state=_state(key_id, rows), configured=key_id in configured, rows=rows[key_id])
            for key_id in dict.fromkeys((*configured, *rows, *known))
        )
        for use in uses:
            EncryptionKey.objects.update_or_create(key_id=use.key_id, defaults={"state": use.state})
    return uses


def _state(key_id: str, rows: Counter[str]) -> KeyState:
    if key_id == key_ring().active_key_id.hex():
        return KeyState.ACTIVE
    return KeyState.DECRYPT_ONLY if rows[key_id] else KeyState.RETIRED
