"""What each master key is still needed for; looks at everything and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import CharField, Value

from connectors.encryption import envelope
from connectors.exceptions import EncryptionError
from connectors.fields import EncryptedConfigField, key_ring
from connectors.models import ConnectionStatus, EncryptionKey, ERPConnection, Health, KeyState, QuarantinedRow
from connectors.services.keys import registry
from connectors.services.keys.columns import UnreadableRow, encrypted_fields, rows_by_key, sealed
from connectors.services.keys.registry import KeysRefused
from tenants import scope

_PAGE: Final = 1000


@dataclass(frozen=True, kw_only=True)
class KeyUse:
    """One master key, by its fingerprint, and what still needs it."""

    key_id: str
    state: KeyState
    configured: bool
    rows: int


@dataclass(frozen=True, kw_only=True)
class TableUse:
    """What one table still needs one master key for."""

    table: str
    key_id: str
    rows: int
    unreadable: int
    """How many of them cannot be opened."""


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A row that a rotation could not open, and since when."""

    table: str
    id: str
    since: datetime


@dataclass(frozen=True, kw_only=True)
class KeyStatus:
    """All master keys this database knows, the configured ones first."""

    keys: tuple[KeyUse, ...]
    tables: tuple[TableUse, ...]
    unreadable: tuple[UnreadableRow, ...]
    quarantined: tuple[Quarantined, ...]
    """What the last rotation could not open."""

    @property
    def active_key_id(self) -> str:
        """The fingerprint of the key that seals everything new."""
        return next(key.key_id for key in self.keys if key.state is KeyState.ACTIVE)


def status() -> KeyStatus:
    """Open every row and count what each master key is needed for.

    Raises:
        ConfigurationError: the master keys are missing or malformed.
        NoEncryptedFields: no model has an encrypted field.
    """
    rows: Counter[tuple[str, str]] = Counter()
    lost: Counter[tuple[str, str]] = Counter()
    unreadable: list[UnreadableRow] = []
    with scope.everything():
        for field, row in _rows():
            table, key_id = row._meta.db_table, ""
            try:
                key_id = envelope.key_id_of(bytes(getattr(row, field.attname))).hex()
                field.open(row)
            except EncryptionError as error:
                unreadable.append(UnreadableRow.of(field, row.pk, error))
                lost[table, key_id] += bool(key_id)
            rows[table, key_id] += bool(key_id)
        keys = _keys(rows)
        quarantined = tuple(
            Quarantined(table=entry.table, id=str(entry.row_id), since=entry.found_at)
            for entry in QuarantinedRow.objects.order_by("found_at", "pk")
        )
    tables = tuple(
        TableUse(table=table, key_id=key_id, rows=count, unreadable=lost[table, key_id])
        for (table, key_id), count in sorted(rows.items())
        if count
    )
    return KeyStatus(keys=keys, tables=tables, unreadable=tuple(unreadable), quarantined=quarantined)


def is_fit_to_serve() -> bool:
    """Return whether this process can read what is in use here and may write: its keys are those of the database.

    A connection that is known to be unreadable does not count: that is its own state, not that of this process.
    """
    with scope.everything():
        in_use = sealed(EncryptedConfigField.of(ERPConnection)).filter(status=ConnectionStatus.ACTIVE)
        missing = in_use.exclude(health=Health.UNREADABLE).exclude(key_id__in=key_ring().key_ids)
        # One question, as load balancers ask it all the time: the registry, and an empty line if a key is missing.
        nothing = Value("", output_field=CharField())
        lines = missing.order_by().values_list(nothing, nothing)[:1]
        known = dict(EncryptionKey.objects.values_list("key_id", "state").union(lines))
    if "" in known:
        return False
    return registry.is_admissible({key_id: KeyState(state) for key_id, state in known.items()})


def _rows() -> Iterator[tuple[EncryptedConfigField, Any]]:
    """Yield every row that has an envelope, by primary key, without holding a transaction open."""
    for field in encrypted_fields():
        rows = field.model._base_manager.exclude(**{f"{field.attname}__isnull": True})
        rows = rows.only("pk", "org_id", field.attname).order_by("pk")
        page = list(rows[:_PAGE])
        while page:
            yield from ((field, row) for row in page)
            page = list(rows.filter(pk__gt=page[-1].pk)[:_PAGE])


def _keys(rows: Counter[tuple[str, str]]) -> tuple[KeyUse, ...]:
    ring, known = key_ring(), registry.states()
    configured = [key_id.hex() for key_id in ring.key_ids]
    counts: Counter[str] = Counter()
    for (_, key_id), count in rows.items():
        counts[key_id] += count
    try:
        states = registry.admitted(known, ring, rows_by_key)
    except KeysRefused:  # shown as it is: this may be how somebody finds out why
        states = known or {configured[0]: KeyState.ACTIVE}
    return tuple(
        KeyUse(
            key_id=key_id,
            state=states.get(key_id, KeyState.DECRYPT_ONLY),
            configured=key_id in configured,
            rows=counts[key_id],
        )
        for key_id in dict.fromkeys((*configured, *(key_id for key_id in counts if key_id), *states))
    )
