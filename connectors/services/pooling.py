"""Database connections are few: whoever waits for somebody else gives his back first."""

from __future__ import annotations

from typing import Final

from django.db import InterfaceError, OperationalError, connection

DATABASE_AWAY: Final = (OperationalError, InterfaceError)
"""What a query raises when its connection was cut, or none is to be had."""


def give_back() -> None:
    """Return this thread's connection to the pool; the next query takes one again."""
    if not connection.in_atomic_block:
        connection.close()
