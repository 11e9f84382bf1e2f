"""Sealing everything anew with the active master key, while everyone works.

A batch is one transaction: its rows are locked, except those that somebody else holds, each is opened with its own key
in its own row and sealed anew, and all are written with one statement over exactly the envelopes that were read. Which
rows are left stands in the rows, so a rotation that was killed goes on where it was, and several share the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from django.db import connection, transaction
from psycopg import sql

from connectors.encryption import KeyRing, envelope
from connectors.exceptions import EncryptionError
from connectors.fields import EncryptedConfigField, key_ring
from connectors.models import KeyState
from connectors.services import audit_seals
from connectors.services.keys import quarantine, registry
from connectors.services.keys.columns import UnreadableRow, encrypted_fields, rows_by_key
from connectors.services.keys.registry import KeysRefused, States
from tenants import scope
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)

Progress = Callable[[int, int], None]
"""Is told how many rows are done, and of how many."""

BATCH: Final = 1000

_PAUSES: Final = (0.0, 0.1, 0.5, 2.0)
"""Before each pass, in seconds: the later ones come for what somebody held in the earlier ones."""

_ACTOR: Final = Actor.system("rotate_encryption_key")


@dataclass(frozen=True, kw_only=True)
class RotationReport:
    """What a rotation did, or would do."""

    dry_run: bool
    rotated: int
    """Rows sealed anew; in a dry run, rows that would be."""
    already_active: int
    contended: int
    """Readable rows that others held, or wrote with another key; the next run takes them."""
    unreadable: tuple[UnreadableRow, ...]
    retired: tuple[str, ...] = ()
    """The fingerprints of the keys that nothing needs any more, refused from now on."""
    unfenced: tuple[str, ...] = ()
    """The fingerprints of those that nothing needs, but that could not be refused yet; the next run does it."""

    @property
    def remaining(self) -> int:
        """Readable rows that are still under another key than the active one."""
        return self.contended + (self.rotated if self.dry_run else 0)


@dataclass(kw_only=True)
class _Sweep:
    """What one rotation has done so far."""

    ring: KeyRing
    batch: int
    dry_run: bool
    total: int
    progress: Progress | None
    rotated: int = 0
    unreadable: dict[tuple[EncryptedConfigField, UUID], EncryptionError] = field(default_factory=dict)


def rotate(
    *,
    dry_run: bool = False,
    batch: int = BATCH,
    lost: str = "",
    back: bool = False,
    progress: Progress | None = None,
) -> RotationReport:
    """Seal every row whose key is not the active one anew, and retire the keys that nothing needs then.

    An edit is never lost: who is editing a row is waited for. A row that cannot be opened stays as it is and is
    quarantined: remembered, shown, and tried again by each rotation.

    Args:
        dry_run: open everything, write nothing.
        batch: rows per transaction.
        lost: the fingerprint of the active key, or its beginning, when it is lost for good.
        back: make a key the active one again that was replaced already.
        progress: is told how far we are.

    Raises:
        ConfigurationError: the master keys are missing or malformed.
        KeysRefused: they do not fit this database.
        NoEncryptedFields: there is nothing to rotate, which cannot be.
    """
    ring = key_ring()
    with scope.everything():
        _begin(ring, dry_run=dry_run, lost=lost, back=back)
        before = rows_by_key()
        already_active = before.pop(ring.active_key_id, 0)
        sweep = _Sweep(ring=ring, batch=batch, dry_run=dry_run, total=sum(before.values()), progress=progress)
        _sweep(sweep)
        retired = () if dry_run else registry.retire_unneeded(_ACTOR)
        found = [UnreadableRow.of(column, pk, error) for (column, pk), error in sweep.unreadable.items()]
        report = RotationReport(
            dry_run=dry_run,
            rotated=sweep.rotated,
            already_active=already_active,
            contended=0 if dry_run else _left(sweep),
            unreadable=(*found, *quarantine.review(sweep.unreadable, dry_run=dry_run)),
            retired=retired,
            unfenced=() if dry_run else registry.idle(),
        )
        if not dry_run:
            _note(report, ring)
    return report


def _begin(ring: KeyRing, *, dry_run: bool, lost: str, back: bool) -> None:
    """Make the configured key the active one, and announce that the others are going to retire."""

    def rule(states: States) -> dict[str, KeyState]:
        return turned(states, ring, lost=lost, back=back, sealed=rows_by_key)

    if dry_run:
        rule(registry.states())
    else:
        registry.change(rule, _ACTOR)


def turned(
    states: States, ring: KeyRing, *, lost: str, back: bool, sealed: Callable[[], Collection[bytes]]
) -> dict[str, KeyState]:
    """Return the registry with which a rotation begins.

    Args:
        states: the registry as it is.
        ring: the keys of the process.
        lost: as for `rotate`.
        back: as for `rotate`.
        sealed: returns the ids of the keys that have sealed rows; asked for only where the registry is empty.

    Raises:
        KeysRefused: these keys must not become those of the database.
    """
    own = ring.active_key_id.hex()
    if not states:
        states = dict.fromkeys((key_id.hex() for key_id in sealed()), KeyState.DECRYPT_ONLY)
        states[own] = KeyState.ACTIVE
    active = registry.active_of(states)
    registry.refuse_retired(states, own)
    if active not in registry.fingerprints(ring) and not _is_named(active, lost):
        raise KeysRefused(
            f"The active master key {active} of this database is not configured here, so this may be the wrong machine "
            "or the wrong database. Put the key into ENCRYPTION_PREVIOUS_KEYS. If it is lost for good, and its "
            f"configurations with it: manage.py rotate_encryption_key --lost {active[:16]}"
        )
    if own in states and own != active and not back:
        raise KeysRefused(
            f"ENCRYPTION_MASTER_KEY is the key {own}, which {active} has replaced: this machine may have old settings. "
            "Exchange the two keys, or turn the rotation back: manage.py rotate_encryption_key --back"
        )
    if own != active:
        states = registry.activated(states, own)
    retiring = {key_id for key_id in registry.fingerprints(ring) if states.get(key_id) is KeyState.DECRYPT_ONLY}
    return dict(states) | dict.fromkeys(retiring, KeyState.RETIRING)


def _is_named(fingerprint: str, text: str) -> bool:
    return len(text) >= 16 and fingerprint.startswith(text.lower().rstrip("…"))


def _sweep(sweep: _Sweep) -> None:
    """Go through all columns until nothing is left, or the rest is held for too long."""
    for pause in _PAUSES:
        time.sleep(pause)
        for column in encrypted_fields():
            _pass(sweep, column)
        if sweep.dry_run or not _left(sweep):
            break


def _pass(sweep: _Sweep, column: EncryptedConfigField) -> None:
    """Go through the rows of one column by their keys, each once."""
    last: UUID | None = None
    while True:
        with transaction.atomic():
            rows = _lock_batch(sweep, column, after=last)
            if not rows:
                return
            last = rows[-1][0]
            _seal_anew(sweep, column, rows)
        if sweep.progress:
            sweep.progress(min(sweep.rotated + len(sweep.unreadable), sweep.total), sweep.total)


def _seal_anew(sweep: _Sweep, column: EncryptedConfigField, rows: Iterable[tuple[UUID, UUID, bytes]]) -> None:
    sealed: list[tuple[UUID, bytes, bytes]] = []
    unreadable: list[tuple[UUID, UUID, EncryptionError]] = []
    for pk, org_id, blob in rows:
        try:
            anew = sweep.ring.reseal(blob, org_id=org_id, record_id=pk, purpose=column.purpose)
        except EncryptionError as error:
            unreadable.append((pk, org_id, error))
        else:
            sealed.append((pk, blob, anew))
    sweep.rotated += len(sealed) if sweep.dry_run else _swap(column, sealed)
    sweep.unreadable |= {(column, pk): error for pk, _, error in unreadable}
    if unreadable and not sweep.dry_run:
        quarantine.put(column, unreadable)


def _lock_batch(sweep: _Sweep, column: EncryptedConfigField, *, after: UUID | None) -> list[tuple[UUID, UUID, bytes]]:
    """Return the next rows under another key than the active one, locked, without those that somebody else holds."""
    query = sql.SQL(
        "SELECT {pk}, {org}, {blob} FROM {table} WHERE {blob} IS NOT NULL AND {other_key} {after} ORDER BY {pk} "
        "LIMIT {batch} {lock}"
    ).format(
        **_names(column),
        other_key=_other_key(sweep, column),
        after=sql.SQL("AND {pk} > {last}").format(**_names(column), last=after) if after else sql.SQL(""),
        batch=sweep.batch,
        # Not FOR UPDATE: orders for a connection may be accepted meanwhile, which refer to its row.
        lock=sql.SQL("" if sweep.dry_run else "FOR NO KEY UPDATE SKIP LOCKED"),
    )
    return [(pk, org_id, bytes(blob)) for pk, org_id, blob in _all(query)]


def _swap(column: EncryptedConfigField, rows: list[tuple[UUID, bytes, bytes]]) -> int:
    """Write the new envelopes with one statement, each only over the one that was read; return how many were."""
    if not rows:
        return 0
    query = sql.SQL(
        "UPDATE {table} SET {blob} = anew.blob "
        "FROM unnest(%b::uuid[], %b::bytea[], %b::bytea[]) AS anew (id, old, blob) "
        "WHERE {table}.{pk} = anew.id AND {table}.{blob} = anew.old"
    ).format(**_names(column))
    # Django's own cursor would write every byte into the statement as text.
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(query, [list(values) for values in zip(*rows, strict=True)])
        return cursor.rowcount


def _left(sweep: _Sweep) -> int:
    """Return how many readable rows are still under another key."""
    left = 0
    for column in encrypted_fields():
        query = sql.SQL("SELECT {pk} FROM {table} WHERE {blob} IS NOT NULL AND {other_key}").format(
            **_names(column), other_key=_other_key(sweep, column)
        )
        left += sum((column, pk) not in sweep.unreadable for (pk,) in _all(query))
    return left


def _other_key(sweep: _Sweep, column: EncryptedConfigField) -> sql.Composed:
    """Return the condition that an envelope was not sealed with the active key, or is none."""
    header = envelope.PREFIX + sweep.ring.active_key_id
    return sql.SQL("substr({blob}, 1, {size}) <> {header}").format(**_names(column), size=len(header), header=header)


def _names(column: EncryptedConfigField) -> dict[str, sql.Composable]:
    model: Any = column.model._meta
    names = {"table": model.db_table, "pk": model.pk.column, "org": "org_id", "blob": column.column}
    return {role: sql.Identifier(name) for role, name in names.items()}


def _all(query: sql.Composed) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _note(report: RotationReport, ring: KeyRing) -> None:
    counts: dict[str, Any] = {
        "rotated": report.rotated,
        "already_active": report.already_active,
        "contended": report.contended,
        "unreadable": len(report.unreadable),
        "retired": list(report.retired),
    }
    active = ring.active_key_id.hex()
    record(_ACTOR, "encryption.rotated", org=None, key_id=active, **counts)
    log.info("encryption.rotated", key_id=active[:16], **counts)
    audit_seals.seal_grown()  # under the new key, while the old one still proves what was sealed with it
