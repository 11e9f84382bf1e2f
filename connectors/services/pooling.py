"""Database connections are few: whoever waits for somebody else gives his back first."""

from __future__ import annotations

from django.db import connection


def give_back() -> None:
    """Return this thread's connection to the pool; the next query takes one again."""
    if not connection.in_atomic_block:
        connection.close()
