"""The verbs of a connection: create, change, activate, disable, delete.

Everybody comes through here, API, admin and commands alike, so that validation, encryption, the fate of stored secrets
and the audit trail are the same for all. Its tests are in `diagnosis`; what it was and may become, in `revisions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, Final
from uuid import uuid4

import structlog
from django.db import IntegrityError, models, transaction
from django.db.models import ProtectedError

from connectors.config import edit
from connectors.models import ConnectionStatus, ERPConnection
from connectors.registry import registry
from connectors.services import checks, configurations, diagnosis, exports, revisions
from connectors.services.errors import ActiveConnectorExists, ConnectorInUse, RevisionChanged, UntestedRevision
from connectors.services.locking import lock_organization, locked
from tenants.actors import Actor
from tenants.audit import Changes
from tenants.models import Organization, record

log = structlog.get_logger(__name__)

KEEP: Final[Any] = object()
"""Leaves a value that may be cleared as it is."""


def create(
    org: Organization,
    actor: Actor,
    *,
    connector_type: str,
    config: Mapping[str, Any],
    name: str = "",
    status: str = ConnectionStatus.ACTIVE,
) -> ERPConnection:
    """Store a new connection.

    Raises:
        UnknownConnector: there is no such type.
        ConfigurationError: the config is not valid; paths are relative to it.
        ActiveConnectorExists: it shall be active, and another one is.
    """
    connector = registry.get(connector_type)
    parsed = edit(connector.Config, {}, config)
    connection = ERPConnection(
        id=uuid4(),
        org=org,
        connector_type=connector_type,
        name=name or connector.title,
        status=status,
        next_check_at=checks.first_time(),
    )
    configurations.seal(connection, parsed, entered=parsed.secret_fields(), kept={})
    with transaction.atomic(), _one_active(org):
        connection.save(force_insert=True)
        record(
            actor,
            "connection.created",
            org=org,
            target=connection,
            connector_type=connector_type,
            status=status,
            config=parsed.public(),
        )
    log.info("connection.created", connection_id=str(connection.pk), connector_type=connector_type)
    return connection


def change(
    connection: ERPConnection,
    actor: Actor,
    *,
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
    status: str | None = None,
    check_minutes: int | None = None,
    credentials_expire_on: date | None = KEEP,
    reason: str = "",
    expected_revision: int | None = None,
) -> ERPConnection:
    """Change a connection; what is left out stays.

    Args:
        connection: the row as the caller knows it.
        actor: who changes it.
        config: the fields to change; null clears a field, a secret that is left out is kept.
        name: a new name.
        status: ACTIVE or DISABLED.
        check_minutes: how often to check it; 0 is never.
        credentials_expire_on: the last day of its credentials, or None.
        reason: why it is activated although no test has succeeded with this configuration.
        expected_revision: refuse when somebody else changed the config since.

    Raises:
        ConfigurationError: the resulting config is not valid.
        SecretsRequired: the destination changed and a stored secret was not entered again.
        ActiveConnectorExists: it shall be active, and another one is.
        RevisionChanged: `expected_revision` is no longer the present one.
        UntestedRevision: it shall be active, was never tested like this, and there is no reason.
        ConnectionGone: it was deleted meanwhile.
    """
    with transaction.atomic(), _one_active(connection.org):
        if status == ConnectionStatus.ACTIVE:
            lock_organization(connection.org)
        row = locked(connection)
        if expected_revision is not None and row.revision != expected_revision:
            raise RevisionChanged(revision=row.revision)
        wanted = {"name": name, "status": status, "check_minutes": check_minutes}
        changes = assign(row, {column: value for column, value in wanted.items() if value is not None})
        if credentials_expire_on is not KEEP:
            changes |= assign(row, {"credentials_expire_on": credentials_expire_on})
        columns = [*changes]
        if "check_minutes" in changes:
            columns += checks.hasten(row)
        told: dict[str, Any] = {}
        if config is not None:
            changed, secrets, config_columns = revisions.reconfigure(row, actor, config)
            changes |= changed
            columns += config_columns
            if secrets:
                told["secrets"] = secrets
        if "status" in changes and row.status == ConnectionStatus.ACTIVE:
            told |= _reason_for(row, reason)
            columns += checks.watch(row)
        if columns:
            # Only what changed: a config that cannot be read here must not stand in the way of a new name.
            row.save(update_fields=[*columns, "updated_at"])
            record(actor, "connection.changed", org=row.org, target=row, changes=changes, **told)
            log.info("connection.changed", connection_id=str(row.pk), fields=sorted(changes))
    return row


def activate(connection: ERPConnection, actor: Actor, *, replace: bool, reason: str = "") -> ERPConnection:
    """Make this the connection that takes the organisation's orders.

    With `replace` this is one step for everybody who looks: the other connection is disabled, finishes what it is
    sending right now, and what waits at it moves to this one.

    Args:
        connection: the one to activate.
        actor: who does it.
        replace: disable the one that is active now.
        reason: why it is activated although no test has succeeded with this configuration; goes into the audit trail.

    Raises:
        ActiveConnectorExists: another one is active and shall not be replaced.
        UntestedRevision: it was never tested like this, and there is no reason.
    """
    with transaction.atomic(), _one_active(connection.org):
        lock_organization(connection.org)
        for other in ERPConnection.objects.of(connection.org).active().exclude(pk=connection.pk):
            if not replace:
                raise ActiveConnectorExists(connection_id=str(other.pk))
            disable(other, actor)
        activated = change(connection, actor, status=ConnectionStatus.ACTIVE, reason=reason)
        exports.move_waiting(connection.org)
    return activated


def disable(connection: ERPConnection, actor: Actor) -> ERPConnection:
    """Send nothing more through this connection; its pending exports wait for another one."""
    return change(connection, actor, status=ConnectionStatus.DISABLED)


def accept_identity(connection: ERPConnection, actor: Actor) -> ERPConnection:
    """Forget who the far end was: whoever the next successful test meets is the right one."""
    with transaction.atomic():
        row = locked(connection)
        if row.pinned_identity is not None:
            record(actor, "connection.identity_released", org=row.org, target=row, identity=row.pinned_identity)
            row.pinned_identity = None
            row.save(update_fields=["pinned_identity", "updated_at"])
            log.info("connection.identity_released", connection_id=str(row.pk))
    return row


def delete(connection: ERPConnection, actor: Actor) -> None:
    """Remove a connection that nothing was sent through; its tests are ended, and stay as evidence.

    Raises:
        ConnectorInUse: there are exports; disable it instead.
        ConnectionGone: somebody else was faster.
    """
    pk = str(connection.pk)
    try:
        with transaction.atomic():
            row = locked(connection)
            record(actor, "connection.deleted", org=row.org, target=row, name=row.name)
            diagnosis.detach(row)
            row.delete()
    except (ProtectedError, IntegrityError):
        raise ConnectorInUse(connection_id=pk) from None
    log.info("connection.deleted", connection_id=pk)


def assign(row: models.Model, values: Mapping[str, Any]) -> Changes:
    """Set what is different and return it as the audit trail shows it."""
    changes: Changes = {}
    for column, value in values.items():
        before = getattr(row, column)
        if before != value:
            changes[column] = (_plain(before), _plain(value))
            setattr(row, column, value)
    return changes


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _reason_for(row: ERPConnection, reason: str) -> dict[str, Any]:
    if row.is_tested:
        return {}
    if not reason.strip():
        raise UntestedRevision(revision=row.revision, tested_revision=row.tested_revision)
    return {"untested": True, "reason": reason.strip()}


@contextmanager
def _one_active(org: Organization) -> Iterator[None]:
    """Turn a breach of the partial unique index into the refusal that names the active connection."""
    try:
        with transaction.atomic():
            yield
        return
    except IntegrityError as error:
        constraint = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
        if constraint != "erp_connection_one_active_per_org":
            raise
    active = ERPConnection.objects.of(org).active().values_list("pk", flat=True).first()
    raise ActiveConnectorExists(connection_id=str(active) if active else None)
