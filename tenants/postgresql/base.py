"""Tells each connection whose rows are to be seen before it is used.

Statements run as the role of the application, which owns no table and is bound by the policies; only what runs
`as_owner` runs as the account that signed in. Both stand in the session of a pooled connection, so every loan begins
by saying them anew, and what a rollback took back is said again.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base

from tenants import scope

_TELL: Final = "SELECT set_config('role', %s, false), set_config('tenants.scope', %s, false)"
_FIND: Final = (
    "SELECT set_config('role', %s, false), set_config('tenants.scope', found.org_id::text, false), found.* "
    "FROM {function}(%s) AS found"
)
_LONGEST_NAME: Final = 63  # of an identifier of PostgreSQL, in bytes


def role_of(database: str) -> str:
    """Return the name of the role as which the application works in a database.

    A server shares its roles between its databases, so each has one of its own: who works in one may not in another.
    """
    suffix = "_app"
    return database.encode()[: _LONGEST_NAME - len(suffix)].decode(errors="ignore") + suffix


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that knows whose rows it shows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told: str | None = None

    def find_scope(self, function: str, argument: str) -> tuple[Any, ...] | None:
        """Ask whose rows a caller may see, and tell it in the same statement: every request begins with this.

        Args:
            function: of the database, to be asked without any scope; has a column `org_id`.
            argument: what the caller has shown.

        Returns:
            What the function found, if anything. The scope has to be entered once the caller has proven who it is;
            until then nothing is done within it.
        """
        self.ensure_connection()
        with self.wrap_database_errors, self.connection.cursor() as cursor:
            cursor.execute(_FIND.format(function=function), [role_of(self.settings_dict["NAME"]), argument])
            row: tuple[Any, ...] | None = cursor.fetchone()
        self._told = row[1] if row else None
        return row[2:] if row else None

    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor, once the connection knows the present scope."""
        if self._told != scope.current() and self.alias != NO_DB_ALIAS:
            self._tell(scope.current())
        return super().create_cursor(name)

    def init_connection_state(self) -> None:
        """Forget what the connection before this one knew."""
        self._told = None
        super().init_connection_state()

    def _tell(self, wanted: str) -> None:
        role = "none" if wanted == scope.OWNER else role_of(self.settings_dict["NAME"])
        with self.wrap_database_errors, self.connection.cursor() as cursor:
            cursor.execute(_TELL, [role, wanted])
        self._told = wanted

    def _rollback(self) -> Any:
        self._told = None
        return super()._rollback()  # type: ignore[misc]  # the stubs leave it out

    def _savepoint_rollback(self, sid: str) -> None:
        self._told = scope.current()  # a transaction that failed takes no statement but this one
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # as above
        self._told = None
