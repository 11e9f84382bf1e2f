"""The policies of PostgreSQL behind `tenants.scope`, and what the role of the application may do at all.

Each table with a column `org_id` has one policy: a row is there for whoever has its organisation in scope, to be seen
as well as to be written. Rows of no organisation are there for EVERYTHING only. The owner of the tables stands outside:
so do foreign keys, which PostgreSQL checks as the owner, and functions that are SECURITY DEFINER.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import RunSQL
from psycopg import sql

from tenants import scope
from tenants.postgresql.base import role_of

_POLICY: Final = "organizations_in_scope"
_SCOPE: Final = "current_setting('tenants.scope', true)"


def protect(table: str, *, column: str = "org_id") -> RunSQL:
    """Return the step of a migration that shows the rows of a table only to those who have their organisation in scope.

    Args:
        table: to be protected.
        column: that names the organisation.
    """
    # As sub-selects: so the scope is read once in a statement and not for every row. The second cast changes nothing;
    # without it, ANY would take the sub-select for a set of rows.
    in_scope = f"""
        (SELECT {_SCOPE} = '*')
        OR {column} = ANY ((SELECT string_to_array(nullif({_SCOPE}, '*'), ',')::uuid[])::uuid[])
    """
    return RunSQL(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        CREATE POLICY {_POLICY} ON {table} USING ({in_scope});
        """,
        f"""
        DROP POLICY {_POLICY} ON {table};
        ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
        """,
    )


def grant(*, using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Make the role of the application, unless it is there, and give it its rights; to be called after each migration.

    Args:
        using: which database.

    Raises:
        ImproperlyConfigured: the role is not there and this account may not make it.
    """
    database = connections[using]
    name = role_of(database.settings_dict["NAME"])
    role = sql.Identifier(name)
    with scope.as_owner(), database.cursor() as cursor:
        try:
            cursor.execute(_MAKE_ROLE.format(role=role, name=sql.Literal(name)))
        except ProgrammingError:
            raise ImproperlyConfigured(
                f"This account may not make the role {name} as which the application works. Let a superuser of "
                f'PostgreSQL run: CREATE ROLE "{name}" NOLOGIN; GRANT "{name}" TO CURRENT_USER, as whom you migrate.'
            ) from None
        cursor.execute(_GRANT.format(role=role))
        present = set(database.introspection.table_names(cursor))
        for table, privileges in _privileges():
            if table in present:
                rights = {"table": sql.Identifier(table), "role": role, "privileges": sql.SQL(privileges)}
                cursor.execute(_GRANT_LESS.format(**rights))


def unprotected_tables(database: BaseDatabaseWrapper) -> list[str]:
    """Return the tables that name an organisation and have not their policy, or another one beside it."""
    with database.cursor() as cursor:
        cursor.execute(_UNPROTECTED, [_POLICY])
        return [table for (table,) in cursor.fetchall()]


def owned_tables(database: BaseDatabaseWrapper) -> list[str]:
    """Return the tables that the role of the application owns, and which no policy keeps from it."""
    with database.cursor() as cursor:
        cursor.execute(_OWNED)
        return [table for (table,) in cursor.fetchall()]


def _privileges() -> Iterator[tuple[str, LiteralString]]:
    """Yield the tables that the application may not do everything to, as their models say it."""
    yield "django_migrations", "SELECT"
    for model in apps.get_models():
        if (privileges := getattr(model, "privileges", None)) is not None:
            yield model._meta.db_table, privileges


_MAKE_ROLE: Final = sql.SQL("""
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
            CREATE ROLE {role} NOLOGIN;
        END IF;
        IF NOT pg_has_role(current_user, {name}, 'MEMBER') THEN
            GRANT {role} TO CURRENT_USER;
        END IF;
    END $$;
""")
_GRANT: Final = sql.SQL("""
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role};
""")
_GRANT_LESS: Final = sql.SQL("REVOKE ALL ON {table} FROM {role}; GRANT {privileges} ON {table} TO {role}")

_UNPROTECTED: Final = """
    SELECT c.relname
      FROM pg_class c
      JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
       AND (a.attname = 'org_id' OR c.relname = 'organization' AND a.attname = 'id')
       AND NOT (c.relrowsecurity AND ARRAY(
           SELECT p.polname::text || p.polcmd::text || coalesce(p.polwithcheck::text, '')
                  || (pg_get_expr(p.polqual, c.oid) LIKE '%%tenants.scope%%' || a.attname || ' = ANY%%')::text
             FROM pg_policy p
            WHERE p.polrelid = c.oid AND p.polpermissive) = ARRAY[%s || '*true'])
     ORDER BY c.relname
"""
_OWNED: Final = """
    SELECT relname FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relowner = current_user::regrole
     ORDER BY relname
"""
