"""One at a time: what must not happen twice at once waits here, until the transaction of whoever came first ends.

Whoever takes several locks takes them in this order: organisation, connection, test, and the named ones last. A claim
begins with its turn, but waits for no row.
"""

from __future__ import annotations

from enum import IntEnum

from django.db import connection as database

from connectors.models import ERPConnection
from connectors.services.errors import ConnectionGone
from tenants.models import Organization


class Turn(IntEnum):
    """What is done by one process at a time: advisory locks of PostgreSQL."""

    ASK_FOR_TEST = 0x45525043_41534B54  #: so that the rations hold
    CLAIM_TEST = 0x45525043_54455354  #: so that no organisation has more tests running than it may


def take(turn: Turn) -> None:
    """Wait for a turn, and have it until the transaction ends."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [turn.value])


def lock_organization(org: Organization) -> None:
    """Let nobody else decide which connection of an organisation is active."""
    Organization.objects.select_for_update(no_key=True).get(pk=org.pk)


def locked(connection: ERPConnection) -> ERPConnection:
    """Return the row as it is now; nobody else changes or deletes it until the transaction ends.

    Raises:
        ConnectionGone: it was deleted meanwhile.
    """
    rows = ERPConnection.objects.select_for_update(of=("self",), no_key=True).select_related("org")
    row: ERPConnection | None = rows.filter(pk=connection.pk).first()
    if row is None:
        raise ConnectionGone
    return row
