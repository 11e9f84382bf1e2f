"""Empties the tables of a test's database, trails that only grow included."""

from __future__ import annotations

from typing import Final

from django.db import connection, transaction

from tenants import scope

_KEPT: Final = frozenset({"django_migrations", "django_content_type", "auth_permission"})
"""Tables with what the migrations have left there."""


def empty_tables() -> None:
    """Delete all rows; the account that signed in to the database has to be a superuser.

    Django truncates all tables and fills them anew, which takes ten times as long where there are but few rows, and
    the audit trail refuses it.
    """
    from connectors.models import EncryptionKey, KeyState  # not before Django is set up
    from connectors.services import installation, keys

    with scope.as_owner(), transaction.atomic(), connection.cursor() as cursor:
        was_fenced = EncryptionKey.objects.filter(state=KeyState.RETIRED).exists()
        tables = [name for name in connection.introspection.table_names(cursor) if name not in _KEPT]
        cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger refuses, no reference binds
        cursor.execute(";".join(f"DELETE FROM {connection.ops.quote_name(name)}" for name in tables))  # noqa: S608
    installation.register()
    if was_fenced:
        keys.fence()
