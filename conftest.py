"""What all tests share."""

from __future__ import annotations

from django.conf import settings


def pytest_configure() -> None:
    """Hash passwords quickly: a real hash is slow on purpose, and not ours to test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
