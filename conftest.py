"""What all tests share."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import TransactionTestCase


def pytest_configure() -> None:
    """Leave out what is slow on purpose or done once in a process: neither is ours to test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.WHITENOISE_AUTOREFRESH = True  # else each client of a test reads all static files as it begins


@pytest.fixture(autouse=True, scope="session")
def _quick_flush() -> None:
    """Empty the tables after a test with transactions of its own by deleting rows."""
    from erpconfig.testing.emptying import empty_tables  # not before Django is set up

    TransactionTestCase._fixture_teardown = lambda _: empty_tables()


@pytest.fixture(autouse=True)
def _no_earlier_denials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no refusal of an earlier test be counted as repeated."""
    from tenants import denials  # not before Django is set up

    monkeypatch.setattr(denials, "denials", denials.Denials())
