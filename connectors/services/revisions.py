"""What a connection was, and what it may become: kept revisions, the way back, and credentials that wait in a slot.

A revision is a whole configuration, sealed like the one in use. So to go back restores each secret together with the
destination it was entered for, and never sends one anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from connectors.codes import Code
from connectors.config import ConnectorConfig, edit
from connectors.exceptions import ConfigurationError, EncryptionError, Fault
from connectors.models import ConnectionRevision, ERPConnection, Health, TestSubject
from connectors.registry import registry
from connectors.results import StepStatus
from connectors.services import configurations, health
from connectors.services.errors import NothingStaged, NothingToPin, NothingToRevert, RevisionChanged, UntestedRevision
from connectors.services.locking import locked
from tenants.actors import Actor
from tenants.audit import Changes
from tenants.models import record

log = structlog.get_logger(__name__)

KEPT: Final = 10
"""So many earlier revisions of a connection are kept, and beyond them the one that a test last succeeded with."""

_SEALED: Final = ["config_encrypted", "secrets_updated_at", "expiries", "revision"]


# Keeping


def _keep(row: ERPConnection, actor: Actor, *, changed: Iterable[str]) -> None:
    """Store the configuration that is about to be replaced, unless it cannot be read; forget the oldest."""
    plain = configurations.stored(row)
    if not plain:
        return
    passed = row.tests.filter(subject=TestSubject.STORED, revision=row.revision, success=True).first()
    kept = ConnectionRevision(
        org_id=row.org_id,
        connection=row,
        number=row.revision,
        secrets_updated_at=row.secrets_updated_at,
        changed=sorted(changed),
        actor_kind=actor.kind,
        actor_label=actor.label,
        # A promoted one was tested while it was staged.
        tested_at=passed.started_at if passed else row.last_test_at if row.is_tested else None,
    )
    kept.write_config(plain)
    kept.save(force_insert=True)
    _forget_oldest(row)


def _forget_oldest(row: ERPConnection) -> None:
    numbered = ConnectionRevision.objects.filter(connection=row, number__isnull=False)
    recent = list(numbered.order_by("-number").values_list("pk", flat=True)[:KEPT])
    proven = to_revert_to(row)
    numbered.exclude(pk__in=[*recent, proven.pk] if proven else recent).delete()


def note_success(connection: ERPConnection, tested: Mapping[str, Any]) -> None:
    """Record that a test has succeeded with the staged credentials, unless others were staged meanwhile."""
    slot = staged(connection)
    with suppress(EncryptionError):  # sealed meanwhile with a key that is not here: others
        if slot is not None and slot.read_config() == tested:
            slot.tested_at = timezone.now()
            slot.save(update_fields=["tested_at"])


# Changing


def reconfigure(row: ERPConnection, actor: Actor, patch: Mapping[str, Any]) -> tuple[Changes, list[str], list[str]]:
    """Apply an edit to a locked row, without saving the row.

    Returns:
        The fields that changed with their values before and after, the secrets that changed by name only, and the
        columns to save; all empty when nothing did.

    Raises:
        ConfigurationError, SecretsRequired: see `connectors.config.edit`.
    """
    config_class = registry.get(row.connector_type).Config
    before = configurations.stored(row)
    edited = edit(config_class, before, patch)
    after, secrets = edited.reveal(), edited.secret_fields()
    changed = [name for name in after if after[name] != before.get(name)]
    if not changed and before:
        return {}, [], []
    columns = _replace(row, actor, edited, entered=[name for name in secrets if name in patch], changed=changed)
    shown = {f"config.{name}": (before.get(name), after[name]) for name in changed if name not in secrets}
    return shown, [name for name in changed if name in secrets], columns


def _replace(
    row: ERPConnection, actor: Actor, config: ConnectorConfig, *, entered: Iterable[str], changed: Iterable[str]
) -> list[str]:
    """Put another configuration into a locked row; return the columns to save."""
    changed = list(changed)
    _keep(row, actor, changed=changed)
    configurations.seal(row, config, entered=entered, kept=row.secrets_updated_at)
    row.revision += 1
    columns = [*_SEALED, *health.reset(row)]
    if set(changed) & set(config.destination_fields()):
        row.pinned_identity = None
        columns.append("pinned_identity")
    # It was made from a configuration that is no longer in use.
    ConnectionRevision.objects.filter(connection=row, number=None).delete()
    health.release_waiting(row)
    return columns


# The way back


def to_revert_to(connection: ERPConnection) -> ConnectionRevision | None:
    """Return the latest earlier revision that a test succeeded with."""
    numbered = ConnectionRevision.objects.filter(connection=connection, number__isnull=False)
    return numbered.exclude(tested_at=None).order_by("-number").first()


def revert(connection: ERPConnection, actor: Actor, *, number: int | None = None) -> ERPConnection:
    """Bring back an earlier configuration, secrets included, as a new revision.

    Args:
        connection: the row as the caller knows it.
        actor: who does it.
        number: the revision to bring back; by default the latest one that a test succeeded with.

    Raises:
        NothingToRevert: there is no such revision.
        EncryptionError: it cannot be decrypted here.
        ConfigurationError: it is not valid for this version of the adapter.
    """
    with transaction.atomic():
        row = locked(connection)
        earlier = row.revisions.filter(number=number).first() if number else to_revert_to(row)
        if earlier is None:
            raise NothingToRevert
        config = edit(registry.get(row.connector_type).Config, earlier.read_config(), {})
        before, after = configurations.stored(row), config.reveal()
        changed = [name for name in after if after[name] != before.get(name)]
        entered_at = earlier.secrets_updated_at
        columns = _replace(row, actor, config, entered=(), changed=changed)
        row.secrets_updated_at = {name: entered_at.get(name, since) for name, since in row.secrets_updated_at.items()}
        row.save(update_fields=[*columns, "updated_at"])
        record(actor, "connection.reverted", org=row.org, target=row, revision=earlier.number, fields=sorted(changed))
    log.info("connection.reverted", connection_id=str(row.pk), revision=earlier.number)
    return row


# The second slot


def staged(connection: ERPConnection) -> ConnectionRevision | None:
    """Return the credentials that wait to be promoted."""
    return ConnectionRevision.objects.filter(connection=connection, number=None).first()


def stage(connection: ERPConnection, actor: Actor, secrets: Mapping[str, Any]) -> ConnectionRevision:
    """Put the next credentials beside those in use; those staged before are replaced.

    Raises:
        ConfigurationError: something else than a secret was given, or the result is not valid.
    """
    with transaction.atomic():
        row = locked(connection)
        config_class = registry.get(row.connector_type).Config
        others = [name for name in secrets if name not in config_class.secret_fields()]
        if others or not secrets:
            raise ConfigurationError(
                [Fault(path=name, message="is no secret; change it in the connection itself") for name in others]
                or "At least one secret has to be staged."
            )
        config = edit(config_class, row.read_config(), secrets)
        ConnectionRevision.objects.filter(connection=row, number=None).delete()
        slot = ConnectionRevision(
            org_id=row.org_id,
            connection=row,
            based_on=row.revision,
            changed=sorted(secrets),
            actor_kind=actor.kind,
            actor_label=actor.label,
        )
        configurations.seal(slot, config, entered=secrets, kept=row.secrets_updated_at)
        slot.save(force_insert=True)
        record(actor, "connection.credentials_staged", org=row.org, target=row, secrets=sorted(secrets))
    log.info("connection.credentials_staged", connection_id=str(row.pk))
    return slot


def discard(connection: ERPConnection, actor: Actor) -> None:
    """Forget the staged credentials.

    Raises:
        NothingStaged: there are none.
    """
    with transaction.atomic():
        row = locked(connection)
        if not ConnectionRevision.objects.filter(connection=row, number=None).delete()[0]:
            raise NothingStaged
        record(actor, "connection.credentials_discarded", org=row.org, target=row)


def promote(connection: ERPConnection, actor: Actor, *, reason: str = "") -> ERPConnection:
    """Let the staged credentials take the place of those in use, in one step.

    Args:
        connection: the row as the caller knows it.
        actor: who does it.
        reason: why they are promoted although no test has succeeded with them.

    Raises:
        NothingStaged: there are none.
        RevisionChanged: the connection was changed after they were staged.
        UntestedRevision: no test has succeeded with them, and there is no reason.
    """
    with transaction.atomic():
        row = locked(connection)
        slot = staged(row)
        if slot is None:
            raise NothingStaged
        if slot.based_on != row.revision:
            raise RevisionChanged(revision=row.revision)
        if slot.tested_at is None and not reason.strip():
            raise UntestedRevision(revision=row.revision, tested_revision=row.tested_revision)
        config = edit(registry.get(row.connector_type).Config, slot.read_config(), {})
        columns = _replace(row, actor, config, entered=slot.changed, changed=slot.changed)
        if slot.tested_at is not None:  # the very same configuration: what was proven of it stays proven
            row.tested_revision, row.health, row.last_test_at = row.revision, Health.HEALTHY, slot.tested_at
            columns += ["tested_revision", "health", "last_test_at"]
        row.save(update_fields=[*columns, "updated_at"])
        details: dict[str, Any] = {"reason": reason.strip()} if reason.strip() else {}
        record(actor, "connection.credentials_promoted", org=row.org, target=row, secrets=slot.changed, **details)
    log.info("connection.credentials_promoted", connection_id=str(row.pk))
    return row


# The host key


def pin_host_key(connection: ERPConnection, actor: Actor, *, fingerprint: str) -> ERPConnection:
    """Trust the host key that the latest test showed, where none was trusted before.

    The stored secrets stay, although the host key is a destination: without one they were never sent anywhere, and
    this very server is where they were entered for. A key that takes another's place is an edit like any other, which
    asks for the secrets again.

    Args:
        connection: the row as the caller knows it.
        actor: who has compared the fingerprint.
        fingerprint: as the latest test of the present configuration showed it.

    Raises:
        NothingToPin: a key is pinned already, or the latest test did not show this one.
    """
    with transaction.atomic():
        row = locked(connection)
        plain = configurations.stored(row)
        if plain.get("host_key") or fingerprint != shown_host_key(row):
            raise NothingToPin
        config = edit(registry.get(row.connector_type).Config, {}, _without_nulls(plain) | {"host_key": fingerprint})
        columns = _replace(row, actor, config, entered=(), changed=["host_key"])
        row.save(update_fields=[*columns, "updated_at"])
        record(
            actor,
            "connection.host_key_pinned",
            org=row.org,
            target=row,
            changes={"config.host_key": (None, fingerprint)},
        )
    log.info("connection.host_key_pinned", connection_id=str(row.pk), fingerprint=fingerprint)
    return row


def shown_host_key(connection: ERPConnection) -> str | None:
    """Return the fingerprint of the unknown host key that the latest test of the present configuration met."""
    latest = connection.tests.of_what_is_in_use().first()
    if latest is None or latest.code != Code.HOST_KEY_UNKNOWN or latest.revision != connection.revision:
        return None
    failed = next(step for step in latest.result["steps"] if step["status"] == StepStatus.FAILED)
    fingerprint: str | None = failed.get("params", {}).get("fingerprint")
    return fingerprint


def _without_nulls(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if value is not None}
