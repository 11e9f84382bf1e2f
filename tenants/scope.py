"""Whose rows the database lets us see: nobody's, until somebody says so.

Row-level security of PostgreSQL compares each row with the scope of the transaction that asks, so a filter that is
forgotten in Python yields no foreign row. A request gets the scope of its caller, a job that of the connection it is
about; only what looks after all organisations, such as a sweep or an operator's command, sees everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import _GeneratorContextManager, contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias
from uuid import UUID

NOTHING: Final = ""
EVERYTHING: Final = "*"
OWNER: Final = "owner"
"""No role of the application at all, and so no policy: for migrations, which change what the tables are."""

Block: TypeAlias = "_GeneratorContextManager[None]"
"""What `with` takes, and what decorates a function as well."""

_scope: ContextVar[str] = ContextVar("scope", default=NOTHING)


def current() -> str:
    """Return the scope as the database is told it."""
    return _scope.get()


def of(*organizations: UUID) -> str:
    """Return the scope of some organisations, by their keys."""
    return ",".join(sorted(map(str, organizations)))


def enter(scope: str) -> None:
    """Set the scope for the rest of this request, when it is known who asks; the middleware takes it back."""
    _scope.set(scope)


@contextmanager
def within(scope: str) -> Iterator[None]:
    """Set the scope for a block, in this thread: another thread begins with NOTHING."""
    before = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(before)


def only(*organizations: UUID) -> Block:
    """Show a block the rows of these organisations, by their keys."""
    return within(of(*organizations))


def everything() -> Block:
    """Show a block all rows: for what looks after all organisations."""
    return within(EVERYTHING)


def as_owner() -> Block:
    """Run a block as the account that signed in to the database: for migrations."""
    return within(OWNER)
