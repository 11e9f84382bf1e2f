"""System checks of who may enter and who may see what: each names the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DatabaseError, InterfaceError, connection

from tenants import scope
from tenants.row_security import owned_tables, unprotected_tables
from tenants.sign_in import second_factor


@register("tenants", deploy=True)
def second_factor_is_required(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report that a password alone lets staff in."""
    if second_factor.is_required():
        return []
    return [
        Warning(
            "Staff may sign in with a password alone.",
            hint="Set STAFF_SECOND_FACTOR=required: whoever has no second factor is led to set one up.",
            id="tenants.W001",
        )
    ]


@register("tenants")
def rows_are_protected(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report each table with rows of organisations that the database would show to everybody.

    A database that is away, or not migrated yet, is reported by others.
    """
    if scope.current() == scope.OWNER:  # what migrates may be what makes the policies
        return []
    try:
        with scope.everything():
            bare, owned = unprotected_tables(connection), owned_tables(connection)
    except (DatabaseError, InterfaceError):
        return []
    return [*map(_bare, bare), *map(_owned, owned)]


def _bare(table: str) -> CheckMessage:
    return Error(
        f"The table {table} names an organisation, but row-level security does not bind it to the scope.",
        hint="Add tenants.row_security.protect() to a migration of the app, then run `manage.py migrate`.",
        id="tenants.E001",
    )


def _owned(table: str) -> CheckMessage:
    return Error(
        f"The role of the application owns the table {table}, so no policy binds it.",
        hint="Let another role own it: ALTER TABLE … OWNER TO the account that migrates.",
        id="tenants.E002",
    )
