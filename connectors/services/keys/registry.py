"""Which master keys this database knows, and which process may therefore serve it.

The database's active key is the latest that any process seals with. A process needs it to read what the others write,
so one that lacks it does not start. Of several machines each gets a new key as a previous one first, and as its active
one when all of them have it: in between, both kinds of process have both keys.

    first sealed with ──> ACTIVE ── another one is ──> DECRYPT_ONLY ── rotate ──> RETIRING ── no row left ──> RETIRED
                            ^                                                        │
                            └───────────────── rotate, turned back ──────────────────┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError, ProgrammingError, connection, transaction

from connectors.encryption import KeyRing
from connectors.exceptions import ConfigurationError
from connectors.fields import key_ring
from connectors.models import EncryptionKey, KeyState
from connectors.services.keys.columns import encrypted_fields, rows_by_key
from tenants import scope
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)

States = Mapping[str, KeyState]
"""The registry: each key's state by its fingerprint."""

_LOCK_MS: Final = 500
"""So long others wait behind us for the encrypted tables at worst; less than PostgreSQL's deadlock_timeout, so that of
two that wait for each other it is us who give up."""

_PAUSES: Final = (0.0, 0.2, 0.5, 1.0)
"""Before each try to raise the fence, in seconds."""


class KeysRefused(ImproperlyConfigured):
    """The configured master keys do not fit this database."""


REFUSALS: Final = (ConfigurationError, ImproperlyConfigured)
"""What a start can be refused with: the keys are wrong in themselves, or for this database."""


def admit() -> None:
    """Compare the configured keys with the registry before this process serves, and enter its own where it is new.

    Raises:
        ConfigurationError: the keys are missing or malformed, or their provider does not hand them out.
        KeysRefused: they do not fit this database; the message has the fingerprint that is missing.
    """
    ring = key_ring()
    try:
        change(lambda states: admitted(states, ring, rows_by_key), Actor.system("start"))
    except ProgrammingError:
        raise KeysRefused("The database lacks tables or columns. Run: manage.py migrate") from None
    except OperationalError:
        raise KeysRefused(
            "The database does not answer, so nobody knows which master keys it needs. Check DATABASE_URL."
        ) from None


def is_admissible(states: States) -> bool:
    """Return whether a process with the configured keys would be admitted by this registry."""
    try:
        admitted(states, key_ring(), dict)
    except KeysRefused:
        return False
    return True


def admitted(states: States, ring: KeyRing, sealed: Callable[[], Collection[bytes]]) -> dict[str, KeyState]:
    """Return the registry as it stands once a process with these keys serves.

    Args:
        states: the registry as it is.
        ring: the keys of the process.
        sealed: returns the ids of the keys that have sealed rows; asked for only where the registry is empty.

    Raises:
        KeysRefused: it must not serve.
    """
    own, configured = ring.active_key_id.hex(), fingerprints(ring)
    if not states:
        in_use = {key_id.hex() for key_id in sealed()}
        if in_use and not in_use & configured:
            raise KeysRefused(_lacks("The master key", min(in_use), "what is stored in this database"))
        return dict.fromkeys(in_use, KeyState.DECRYPT_ONLY) | {own: KeyState.ACTIVE}
    active = active_of(states)
    if active not in configured:
        raise KeysRefused(_lacks("The active master key", active, "this database"))
    refuse_retired(states, own)
    return dict(states) if own in states else activated(states, own)


def activated(states: States, own: str) -> dict[str, KeyState]:
    """Return the registry with another active key; the one before still opens."""
    return dict(states) | {active_of(states): KeyState.DECRYPT_ONLY} | {own: KeyState.ACTIVE}


def active_of(states: States) -> str:
    """Return the fingerprint of the active key; there is one in every registry that is not empty."""
    return next(key_id for key_id, state in states.items() if state is KeyState.ACTIVE)


def refuse_retired(states: States, own: str) -> None:
    """Refuse a process that would seal with a retired key.

    Raises:
        KeysRefused: its active key is retired.
    """
    if states.get(own) is KeyState.RETIRED:
        raise KeysRefused(
            f"ENCRYPTION_MASTER_KEY is the key {own}, which is retired: the database refuses whatever it seals. "
            f"The active key is {active_of(states)}. A retired key is never active again; generate a new one."
        )


def fingerprints(ring: KeyRing) -> set[str]:
    """Return the public ids of the configured keys, in hex."""
    return {key_id.hex() for key_id in ring.key_ids}


def states() -> dict[str, KeyState]:
    """Return the registry."""
    entries = EncryptionKey.objects.order_by("created_at", "key_id").values_list("key_id", "state")
    return {key_id: KeyState(state) for key_id, state in entries}


def change(rule: Callable[[States], dict[str, KeyState]], actor: Actor) -> dict[str, KeyState]:
    """Bring the registry to what `rule` makes of it, one process at a time, and return it.

    Args:
        rule: takes the registry and returns the new one; may be called twice.
        actor: whom the audit trail names.
    """
    with scope.everything():
        before = states()
        after = rule(before)
        if after == before:  # nearly every start
            return after
        with transaction.atomic():
            _lock()
            before = states()
            after = rule(before)
            _write(before, after, actor)
    return after


def retire_unneeded(actor: Actor) -> tuple[str, ...]:
    """Retire each key that has no row any more, and let the database refuse from now on what is sealed with it.

    Returns:
        The fingerprints of the keys that are retired now. A key is left out when a row under it turned up meanwhile, or
        when somebody held one of the tables for too long, such as a backup.
    """
    for pause in _PAUSES:
        time.sleep(pause)
        unneeded = idle()
        if not unneeded:
            return ()
        try:
            with transaction.atomic():
                _retire(unneeded, actor)
        except (IntegrityError, OperationalError):
            continue
        return unneeded
    return ()


def idle() -> tuple[str, ...]:
    """Return the fingerprints of the keys that have no row any more and are not retired yet."""
    needed = {key_id.hex() for key_id in rows_by_key()}
    waiting = (KeyState.DECRYPT_ONLY, KeyState.RETIRING)
    return tuple(key_id for key_id, state in states().items() if state in waiting and key_id not in needed)


def fence(**_: Any) -> None:
    """Let each encrypted column refuse the retired keys; a handler of `post_migrate`, as tables come and change."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regproc('erp_fence_retired_keys') IS NOT NULL")
        if cursor.fetchone() != (True,):  # migrated back to a state before there was a fence
            return
        connection.check_constraints()  # a table with deferred checks under way cannot be altered
        for field in encrypted_fields():
            table = connection.ops.quote_name(field.model._meta.db_table)
            cursor.execute("SELECT erp_fence_retired_keys(to_regclass(%s), %s)", [table, field.column])


def _retire(unneeded: Iterable[str], actor: Actor) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
    _lock()
    before = states()
    still = {key_id for key_id in unneeded if before[key_id] is not KeyState.ACTIVE}
    _write(before, before | dict.fromkeys(still, KeyState.RETIRED), actor)
    fence()


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {EncryptionKey._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")


def _write(before: States, after: States, actor: Actor) -> None:
    changed = {key_id: state for key_id, state in after.items() if before.get(key_id) is not state}
    # The active key comes last: there is one at most at any time.
    for key_id, state in sorted(changed.items(), key=lambda entry: entry[1] is KeyState.ACTIVE):
        EncryptionKey.objects.update_or_create(key_id=key_id, defaults={"state": state})
        record(actor, "encryption.key_changed", org=None, key_id=key_id, before=before.get(key_id), after=state)
        log.info("encryption.key_changed", key_id=key_id, state=state)


def _lacks(which: str, key_id: str, of: str) -> str:
    return (
        f"{which} {key_id} of {of} is not configured here. Put it into ENCRYPTION_PREVIOUS_KEYS; "
        "`manage.py encryption_status` shows what needs it."
    )
