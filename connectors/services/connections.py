"""The verbs of a connection: create, change, test, activate, disable, delete.

Everybody comes through here, API, admin and commands alike, so that validation, encryption, the fate of stored secrets
and the audit trail are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, ProtectedError
from django.utils import timezone

from connectors.codes import Code
from connectors.config import ConnectorConfig, edit
from connectors.exceptions import ConfigurationError, ConnectorError, EncryptionError, UnknownConnector
from connectors.models import (
    ConnectionStatus,
    ConnectionTest,
    ERPConnection,
    ERPExport,
    ExportStatus,
    Health,
    TestState,
)
from connectors.network import Dialer, EgressPolicy
from connectors.port import Context, ERPConnectorPort, StepRecorder, SystemClock
from connectors.registry import registry
from connectors.results import StepStatus, TestResult, TestStep
from connectors.services import jobs
from connectors.services.errors import ActiveConnectorExists, ConnectorInUse, RevisionChanged
from tenants.actors import Actor
from tenants.models import Organization, record

log = structlog.get_logger(__name__)

TEST_SECONDS: Final = 60.0
"""How long a whole test may take; each step inside it has the connection's own, shorter time-out."""

OnStep = Callable[[TestStep], None]


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
        id=uuid4(), org=org, connector_type=connector_type, name=name or connector.title, status=status
    )
    _seal(connection, parsed, entered=parsed.secret_fields())
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
    expected_revision: int | None = None,
) -> ERPConnection:
    """Change a connection; what is None stays.

    Args:
        connection: the row as the caller knows it.
        actor: who changes it.
        config: the fields to change; null clears a field, a secret that is left out is kept.
        name: a new name.
        status: ACTIVE or DISABLED.
        expected_revision: refuse when somebody else changed the config since.

    Raises:
        ConfigurationError: the resulting config is not valid.
        SecretsRequired: the destination changed and a stored secret was not entered again.
        ActiveConnectorExists: it shall be active, and another one is.
        RevisionChanged: `expected_revision` is no longer the present one.
    """
    with transaction.atomic(), _one_active(connection.org):
        row = ERPConnection.objects.select_for_update().select_related("org").get(pk=connection.pk)
        if expected_revision is not None and row.revision != expected_revision:
            raise RevisionChanged(revision=row.revision)
        changes: dict[str, Any] = {}
        if name is not None and name != row.name:
            changes["name"] = {"from": row.name, "to": name}
            row.name = name
        if status is not None and status != row.status:
            changes["status"] = {"from": row.status, "to": status}
            row.status = status
        if config is not None:
            changes |= _reconfigure(row, config)
        if "config" in changes:
            _release_waiting(row)
        if changes:
            # Only what changed: a config that cannot be read here must not stand in the way of a new name.
            row.save(update_fields=[*_columns(changes), "updated_at"])
            record(actor, "connection.changed", org=row.org, target=row, **changes)
            log.info("connection.changed", connection_id=str(row.pk), fields=sorted(changes))
    return row


def test(
    connection: ERPConnection, actor: Actor, *, patch: Mapping[str, Any] | None = None, on_step: OnStep | None = None
) -> ConnectionTest:
    """Test a connection as it is stored, or as it would be after an edit.

    Args:
        connection: whose ERP to talk to.
        actor: who asks for it.
        patch: an edit that is tested without being saved; the rules of `change` apply to it.
        on_step: called with each step as it ends.

    Returns:
        The report as a row of the history; an unsaved one when there was a patch.

    Raises:
        ConfigurationError, SecretsRequired: the patch is not valid.
    """
    started_at, revision = timezone.now(), connection.revision
    if patch is None:
        result = _test_stored(connection, on_step)
    else:
        connector = registry.get(connection.connector_type)
        result = _run(connector, edit(connector.Config, _stored(connection), patch), on_step)
    failed = result.failed_step
    report = ConnectionTest(
        org_id=connection.org_id,
        connection=connection,
        revision=revision,
        started_at=started_at,
        actor_kind=actor.kind,
        actor_label=actor.label,
        state=TestState.FINISHED,
        success=result.success,
        code=(failed.code or "") if failed else "",
        latency_ms=result.latency_ms,
        result=result.as_json(),
    )
    with transaction.atomic():
        if patch is None:
            report.save(force_insert=True)
            _note_health(connection, report)
        record(
            actor,
            "connection.tested",
            org=connection.org,
            target=connection,
            success=result.success,
            code=report.code,
            unsaved_edit=patch is not None,
        )
    _log_test(result, connection_id=str(connection.pk), connector_type=connection.connector_type)
    connection.refresh_from_db()
    return report


def test_unsaved(
    org: Organization, actor: Actor, *, connector_type: str, config: Mapping[str, Any], on_step: OnStep | None = None
) -> TestResult:
    """Test a configuration that is not stored anywhere.

    Raises:
        UnknownConnector: there is no such type.
        ConfigurationError: the config is not valid.
    """
    connector = registry.get(connector_type)
    result = _run(connector, edit(connector.Config, {}, config), on_step)
    record(actor, "connection.tested", org=org, connector_type=connector_type, success=result.success)
    _log_test(result, connection_id=None, connector_type=connector_type)
    return result


def activate(connection: ERPConnection, actor: Actor, *, replace: bool) -> ERPConnection:
    """Make this the connection that takes the organisation's orders.

    Args:
        connection: the one to activate.
        actor: who does it.
        replace: disable the one that is active now, in the same transaction.

    Raises:
        ActiveConnectorExists: another one is active and shall not be replaced.
    """
    with transaction.atomic(), _one_active(connection.org):
        # One lock for the whole organisation, so that two switch-overs come one after the other.
        Organization.objects.select_for_update().get(pk=connection.org_id)
        others = ERPConnection.objects.of(connection.org).active().exclude(pk=connection.pk)
        if replace:
            for other in others:
                disable(other, actor)
        return change(connection, actor, status=ConnectionStatus.ACTIVE)


def disable(connection: ERPConnection, actor: Actor) -> ERPConnection:
    """Send nothing more through this connection; its pending exports wait for another one."""
    return change(connection, actor, status=ConnectionStatus.DISABLED)


def delete(connection: ERPConnection, actor: Actor) -> None:
    """Remove a connection that nothing was sent through.

    Raises:
        ConnectorInUse: there are exports; disable it instead.
    """
    pk = str(connection.pk)
    try:
        with transaction.atomic():
            record(actor, "connection.deleted", org=connection.org, target=connection, name=connection.name)
            connection.delete()
    except (ProtectedError, IntegrityError):
        raise ConnectorInUse(connection_id=pk) from None
    log.info("connection.deleted", connection_id=pk)


def load(connection: ERPConnection) -> tuple[ERPConnectorPort[Any], ConnectorConfig]:
    """Return the adapter and the validated configuration, ready for use.

    Raises:
        UnknownConnector: the adapter is no longer installed.
        EncryptionError: the row cannot be decrypted.
        ConfigurationError: the stored config is not valid for this version of the adapter.
    """
    connector = registry.get(connection.connector_type)
    return connector, edit(connector.Config, connection.read_config(), {})


def describe(connection: ERPConnection) -> dict[str, Any]:
    """Return what may be shown of a connection: health, config without secrets, and which secrets are set.

    An unreadable row has an empty config; this function never raises for it.
    """
    try:
        stored = connection.read_config()
    except EncryptionError:
        return {"health": Health.UNREADABLE, "config": {}, "secrets": {}}
    health = Health.UNTESTED if connection.health == Health.UNREADABLE else Health(connection.health)
    try:
        config_class = registry.get(connection.connector_type).Config
    except UnknownConnector:
        # Without its class nobody can say which fields are secret, so none is shown.
        return {"health": health, "config": {}, "secrets": {}}
    secrets = {
        name: {"set": bool(stored.get(name)), "updated_at": connection.secrets_updated_at.get(name)}
        for name in config_class.secret_fields()
    }
    shown = {name: stored.get(name) for name in config_class.model_fields if name not in secrets}
    return {"health": health, "config": shown, "secrets": secrets}


def make_context(*, seconds: float, on_step: OnStep | None = None) -> dict[str, Any]:
    """Return the arguments that every `Context` of this installation starts with.

    Args:
        seconds: until the deadline.
        on_step: called with each step as it ends.
    """
    clock = SystemClock()
    root = settings.DROPZONE_ROOT
    return {
        "dialer": Dialer(policy=EgressPolicy(allowed_networks=tuple(settings.EGRESS_ALLOWED_NETWORKS))),
        "deadline": clock.monotonic() + seconds,
        "dropzone_root": Path(root) if root else None,
        "clock": clock,
        "steps": StepRecorder(clock, on_step),
    }


def _reconfigure(row: ERPConnection, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply an edit to the row and return what changed, secrets by name only."""
    stored = _stored(row)
    edited = edit(registry.get(row.connector_type).Config, stored, patch)
    secrets = edited.secret_fields()
    before, after = stored, edited.reveal()
    changed = [name for name in after if after[name] != before.get(name)]
    if not changed and stored:
        return {}
    _seal(row, edited, entered=[name for name in secrets if name in patch])
    row.revision += 1
    row.health = Health.UNTESTED
    return {
        "config": {name: {"from": before.get(name), "to": after[name]} for name in changed if name not in secrets},
        "secrets": [name for name in changed if name in secrets],
    }


def _columns(changes: Mapping[str, Any]) -> list[str]:
    columns = [name for name in ("name", "status") if name in changes]
    if "config" in changes:
        columns += ["config_encrypted", "secrets_updated_at", "revision", "health"]
    return columns


def _stored(connection: ERPConnection) -> dict[str, Any]:
    """Return the configuration in clear; empty when it cannot be read, so that it can be replaced."""
    try:
        return connection.read_config()
    except EncryptionError:
        return {}


def _seal(row: ERPConnection, config: ConnectorConfig, *, entered: list[str] | tuple[str, ...]) -> None:
    plain, now = config.reveal(), timezone.now().isoformat()
    row.write_config(plain)
    kept = row.secrets_updated_at
    row.secrets_updated_at = {
        name: now if name in entered else kept.get(name, now) for name in config.secret_fields() if plain[name]
    }


def _test_stored(connection: ERPConnection, on_step: OnStep | None) -> TestResult:
    try:
        connector, config = load(connection)
    except EncryptionError:
        return _failed_before_start(Code.UNREADABLE_CONFIG, on_step)
    except ConfigurationError:
        return _failed_before_start(Code.CONFIGURATION_INVALID, on_step)
    except UnknownConnector as error:
        return _failed_before_start(
            Code.UNKNOWN_CONNECTOR, on_step, connector_type=error.connector_type, known=", ".join(error.known)
        )
    return _run(connector, config, on_step)


def _failed_before_start(code: Code, on_step: OnStep | None, **params: Any) -> TestResult:
    steps = StepRecorder(on_step=on_step)
    with suppress(ConnectorError), steps.step("configuration"):
        raise ConnectorError(code, **params)
    return steps.result()


def _run(connector: ERPConnectorPort[Any], config: ConnectorConfig, on_step: OnStep | None) -> TestResult:
    context = Context(**make_context(seconds=TEST_SECONDS, on_step=on_step))
    try:
        return connector.test_connection(config, context)
    except Exception as error:  # an adapter's fault must end as a failed test, not as a 500
        log.error("connection.adapter_fault", connector_type=connector.connector_type, exc_info=error)
    if not any(step.status is StepStatus.FAILED for step in context.steps.steps):
        with suppress(ConnectorError), context.steps.step("test"):
            raise ConnectorError(Code.INTERNAL_ERROR)
    return context.steps.result()


def _note_health(connection: ERPConnection, report: ConnectionTest) -> None:
    """Record what the test showed, unless the configuration was changed while it ran."""
    row = ERPConnection.objects.filter(pk=connection.pk, revision=connection.revision)
    row.update(last_test_at=report.started_at)
    if report.success:
        if row.update(health=Health.HEALTHY, tested_revision=F("revision")):
            _release_waiting(connection)
    elif report.code == Code.AUTHENTICATION_FAILED:
        row.update(health=Health.AUTH_FAILED)
    elif report.code == Code.UNREADABLE_CONFIG:
        row.update(health=Health.UNREADABLE)
    else:
        # A refused sign-in stays the reason for the pause until a test succeeds.
        row.exclude(health=Health.AUTH_FAILED).update(health=Health.FAILING)


def _release_waiting(connection: ERPConnection) -> None:
    """Let the exports that wait for another attempt go now: what they waited for may be over.

    Not those that the far end itself asked to wait.
    """
    waiting = ERPExport.objects.filter(
        connection=connection, status=ExportStatus.PENDING, next_attempt_at__gt=timezone.now()
    )
    waiting.exclude(error__code=str(Code.RATE_LIMITED)).update(next_attempt_at=None)
    jobs.wake(connection.pk)


def _log_test(result: TestResult, *, connection_id: str | None, connector_type: str) -> None:
    failed = result.failed_step
    log.info(
        "connection.tested",
        connection_id=connection_id,
        connector_type=connector_type,
        success=result.success,
        code=failed.code if failed else None,
        latency_ms=result.latency_ms,
    )


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
