"""How orders leave through a connection: how many, when, above which amount only after approval, and not while paused.

These settings stand beside the configuration: to change one makes no new revision, and needs no new test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

from connectors import approval, maintenance
from connectors.exceptions import Fault, InvalidInput
from connectors.models import ERPConnection
from connectors.services import jobs
from connectors.services.connections import assign
from connectors.services.locking import locked
from connectors.validation import prefixed
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)

SETTINGS: Final = ("window", "max_per_minute", "ack_expected_within", "maintenance_windows", "approval_limits")


def configure(connection: ERPConnection, actor: Actor, settings: Mapping[str, Any]) -> ERPConnection:
    """Change how orders leave through a connection.

    Approval limits are for orders that are submitted from now on: what waits for approval goes on waiting.

    Args:
        connection: the row as the caller knows it.
        actor: who changes it.
        settings: those of SETTINGS that change, each with its new value.

    Raises:
        InvalidInput: maintenance windows or approval limits are not valid; paths begin with the name of the setting.
        ConnectionGone: it was deleted meanwhile.
    """
    wanted = _checked(settings)
    with transaction.atomic():
        row = locked(connection)
        if changes := assign(row, wanted):
            row.save(update_fields=[*changes, "updated_at"])
            record(actor, "connection.delivery_changed", org=row.org, target=row, changes=changes)
            jobs.wake(row.pk)  # what had to wait may go now
            log.info("connection.delivery_changed", connection_id=str(row.pk), fields=sorted(changes))
    return row


def pause(connection: ERPConnection, actor: Actor, *, reason: str) -> ERPConnection:
    """Keep orders from leaving until somebody resumes; what may have arrived is looked up all the same.

    Raises:
        ConnectionGone: it was deleted meanwhile.
    """
    with transaction.atomic():
        row = locked(connection)
        row.paused_at, row.pause_reason = row.paused_at or timezone.now(), reason
        row.save(update_fields=["paused_at", "pause_reason", "updated_at"])
        record(actor, "connection.paused", org=row.org, target=row, reason=reason)
    log.info("connection.paused_by_person", connection_id=str(row.pk))
    return row


def resume(connection: ERPConnection, actor: Actor) -> ERPConnection:
    """Let orders leave again.

    Raises:
        ConnectionGone: it was deleted meanwhile.
    """
    with transaction.atomic():
        row = locked(connection)
        if row.paused_at is not None:
            since, reason = row.paused_at, row.pause_reason
            row.paused_at, row.pause_reason = None, ""
            row.save(update_fields=["paused_at", "pause_reason", "updated_at"])
            record(actor, "connection.resumed", org=row.org, target=row, paused_at=since.isoformat(), was_paused=reason)
            jobs.wake(row.pk)
            log.info("connection.resumed", connection_id=str(row.pk))
    return row


def _windows(value: object) -> object:
    maintenance.parse(value)
    return value


def _limits(value: object) -> object:
    return approval.as_json(approval.parse(value))


_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "maintenance_windows": _windows,
    "approval_limits": _limits,
}


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as they are stored; what is wrong with any of them is told at once."""
    checked = dict(settings)
    found: list[Fault] = []
    for name in _READERS.keys() & settings.keys():
        try:
            checked[name] = _READERS[name](settings[name])
        except InvalidInput as error:
            found.extend(prefixed(error.faults, name))
    if found:
        raise InvalidInput(sorted(found, key=lambda fault: fault.path))
    return checked
