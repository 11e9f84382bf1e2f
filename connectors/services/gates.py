"""What a connection lets through right now: nothing in a maintenance window, only look-ups while a person has paused
it, and no more orders in a minute than it may take.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from connectors import maintenance
from connectors.exceptions import InvalidInput
from connectors.models import ConnectionStatus, ERPConnection

log = structlog.get_logger(__name__)

_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """How many exports may be taken now."""

    room: int
    only_look_ups: bool = False
    """Nothing is sent: what may have arrived is looked up, no more."""
    opens_at: datetime | None = None
    """When there is room again; None where there is some, or where a person has to act."""


def gate_of(connection: ERPConnection, *, now: datetime, most: int) -> Gate:
    """Return what a connection lets through.

    Args:
        connection: the row as it is now.
        now: the present moment.
        most: how many exports the caller would take.
    """
    try:
        closed_until = maintenance.closed_until(maintenance.parse(connection.maintenance_windows), now)
    except InvalidInput:  # this host lacks the data of a time zone
        log.error("connection.maintenance_unreadable", connection_id=str(connection.pk))
        return Gate(room=0)
    if closed_until is not None:
        return Gate(room=0, opens_at=closed_until)
    if not sends(connection):
        return Gate(room=most, only_look_ups=True)
    if connection.max_per_minute is None:
        return Gate(room=most)
    taken = _of_the_last_minute(connection, now)
    room = connection.max_per_minute - sum(count for _, count in taken)
    if room > 0:
        return Gate(room=min(room, most))
    return Gate(room=0, opens_at=datetime.fromtimestamp(taken[0][0], UTC) + _MINUTE)


def sends(connection: ERPConnection) -> bool:
    """Return whether orders leave through a connection at all: it is active, and nobody has paused it."""
    return connection.status == ConnectionStatus.ACTIVE and connection.paused_at is None


def note_taken(connection: ERPConnection, count: int, *, now: datetime) -> None:
    """Remember, where there is a limit, that so many exports were taken; the caller holds the row."""
    if connection.max_per_minute is not None:
        connection.taken_lately = [*_of_the_last_minute(connection, now), (now.timestamp(), count)]
        connection.save(update_fields=["taken_lately"])


def _of_the_last_minute(connection: ERPConnection, now: datetime) -> list[tuple[float, int]]:
    since = (now - _MINUTE).timestamp()
    return [(moment, count) for moment, count in connection.taken_lately if moment > since]
