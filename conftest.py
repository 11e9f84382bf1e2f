"""What all tests share."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import TransactionTestCase

_KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})
"""Tables with what the migrations have left there."""


def pytest_configure() -> None:
    """Hash passwords quickly: a real hash is slow on purpose, and not ours to test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True, scope="session")
def _quick_flush() -> None:
    """Empty the tables after a test with transactions of its own by deleting rows.

    Django truncates all of them and fills them anew, which takes ten times as long where there are but few rows.
    """
    from connectors.services import installation  # not before Django is set up

    flush = TransactionTestCase._fixture_teardown

    def empty(case: TransactionTestCase) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW is_superuser")
            may_pass_triggers = cursor.fetchone() == ("on",)
        if not may_pass_triggers:
            flush(case)
            return
        tables = [name for name in connection.introspection.table_names() if name not in _KEPT]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger refuses, no reference binds
            cursor.execute(";".join(f"DELETE FROM {connection.ops.quote_name(name)}" for name in tables))  # noqa: S608
        installation.register()

    TransactionTestCase._fixture_teardown = empty


@pytest.fixture(autouse=True)
def _no_earlier_denials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no refusal of an earlier test be counted as repeated."""
    from tenants import denials  # not before Django is set up

    monkeypatch.setattr(denials, "denials", denials.Denials())
