"""What `check --deploy` says of an installation, and what only its web processes are given."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.checks import run_checks
from django.db import connection

from erpconfig import checks, embedded_postgres, parsers
from erpconfig.paths import BASE_DIR
from tenants import scope

KEYS = {"SECRET_KEY": "K" + "0123456789" * 5, "ENCRYPTION_MASTER_KEY": "0123456789abcdef" * 4}


@pytest.fixture
def found(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """Return a function that gives the warnings under other settings."""
    monkeypatch.setenv("ENV_FILE", "")

    def found(**changed: object) -> set[str]:
        for name, value in changed.items():
            setattr(settings, name, value)
        return {message.id for message in run_checks(tags=["security"], include_deployment_checks=True)}

    return found


def test_the_example_is_clean(tmp_path: Path) -> None:
    """With every setting that it names, also those it only proposes."""
    example = (BASE_DIR / ".env.example").read_text()
    lines = re.findall(r"^#?([A-Z][A-Z0-9_]+=.*)$", example, re.MULTILINE)
    assert len(lines) > 40
    file = tmp_path / ".env"
    file.touch(0o600)
    file.write_text("\n".join(line for line in lines if line.partition("=")[0] not in {*KEYS, "DATABASE_URL"}))
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "DATABASE_URL")}

    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=BASE_DIR,
        env=kept | KEYS | {"ENV_FILE": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("setting", "value", "warning"),
    [
        ("DEBUG", True, "security.W018"),
        ("SECURE_SSL_REDIRECT", False, "security.W008"),
        ("SESSION_COOKIE_SECURE", False, "security.W010"),
        ("CSRF_COOKIE_SECURE", False, "security.W016"),
        ("SECURE_HSTS_SECONDS", 0, "security.W004"),
        ("ALLOWED_HOSTS", ["erp.example.com", "*"], "erpconfig.W001"),
        ("ALLOWED_HOSTS", [".*"], "erpconfig.W001"),
        ("EGRESS_ALLOWED_NETWORKS", ["0.0.0.0/0"], "erpconfig.W002"),
        ("EGRESS_ALLOWED_NETWORKS", ["0.0.0.0/1", "128.0.0.0/1"], "erpconfig.W002"),
        ("EGRESS_ALLOWED_NETWORKS", ["::/0"], "erpconfig.W002"),
        ("EGRESS_ALLOWED_NETWORKS", ["169.254.0.0/16"], "erpconfig.W003"),
        ("METRICS_ALLOWED_NETWORKS", parsers.networks("10.0.0.0/8,0.0.0.0/0"), "erpconfig.W004"),
    ],
)
def test_what_is_dangerous_is_said(found: Callable[..., set[str]], setting: str, value: object, warning: str) -> None:
    safe = {"DEBUG": False, "ALLOWED_HOSTS": ["erp.example.com"], "EGRESS_ALLOWED_NETWORKS": ["10.0.0.0/8", "fc00::/8"],
            "SECURE_SSL_REDIRECT": True, "SESSION_COOKIE_SECURE": True, "CSRF_COOKIE_SECURE": True,
            "SECURE_HSTS_SECONDS": 60}  # fmt: skip
    assert warning not in found(**safe)

    assert warning in found(**{setting: value})


def test_a_file_that_others_may_read_is_named(
    found: Callable[..., set[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dot_env, key = tmp_path / ".env", tmp_path / "key"
    for file in (dot_env, key):
        file.touch(0o640)
    monkeypatch.setenv("ENV_FILE", str(dot_env))
    monkeypatch.setenv("ENCRYPTION_MASTER_KEY_FILE", str(key))
    assert "erpconfig.W005" not in found()

    key.chmod(0o644)

    assert "erpconfig.W005" in found()


def test_the_embedded_database_is_for_trying_out(
    found: Callable[..., set[str]], settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "erpconfig.W006" not in found()

    monkeypatch.setitem(settings.DATABASES["default"], "HOST", str(embedded_postgres.cluster().socket_folder))

    assert "erpconfig.W006" in found()


@pytest.mark.django_db
def test_an_account_above_all_policies_is_told() -> None:
    def warned() -> bool:
        return bool(list(checks.database_account_is_plain(None, databases=["default"])))

    with scope.as_owner(), connection.cursor() as cursor:
        assert warned()  # tests run as the superuser of a throw-away server
        cursor.execute("CREATE ROLE erp_plain_for_a_test; SET SESSION AUTHORIZATION erp_plain_for_a_test")
        try:
            assert not warned()
        finally:
            cursor.execute("RESET SESSION AUTHORIZATION")


ASK = """
from django.db import connection
from tenants import scope
with scope.as_owner(), connection.cursor() as cursor:
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        cursor.execute(f"SHOW {name}")
        print(cursor.fetchone()[0])
connection.close()
connection.close_pool()
"""


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("from erpconfig import web_database; web_database.limit_time()", ["7s", "3s", "1min"]),
        ("import django; django.setup()", ["0", "0", "0"]),  # as manage.py does, also for workers and migrations
    ],
    ids=["web", "command"],
)
def test_only_web_requests_are_ended(start: str, expected: list[str]) -> None:
    limits = {"DATABASE_STATEMENT_SECONDS": "7", "DATABASE_LOCK_SECONDS": "3"}

    done = subprocess.run(
        [sys.executable, "-c", start + ASK],
        cwd=BASE_DIR,
        env=os.environ | limits | {"DJANGO_SETTINGS_MODULE": "erpconfig.settings"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == expected
    for entry_point in ("wsgi.py", "asgi.py"):
        assert "\nweb_database.limit_time()\n" in (BASE_DIR / "erpconfig" / entry_point).read_text()
