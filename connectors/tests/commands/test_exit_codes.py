"""Every command explains itself, and the process ends with the exit code that its help promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from django.core.management import get_commands, load_command_class
from django.db import DatabaseError, OperationalError, ProgrammingError

from connectors.services import keys
from connectors.tests.commands.conftest import run
from erpconfig.paths import BASE_DIR
from tenants.management.base import OperatorCommand

OURS = {
    name: command
    for name, app in get_commands().items()
    if app in ("connectors", "tenants")
    if isinstance(command := load_command_class(app, name), OperatorCommand)
}


def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_commands_of_the_manual_exist() -> None:
    assert set(OURS) == {
        "arm_installation", "create_api_key", "create_organization", "decrypt_connector_config", "demo",
        "encryption_status", "export_audit", "generate_master_key", "list_connectors", "poll_acks", "purge",
        "push_order", "reset_second_factor", "retry_exports", "rotate_encryption_key", "send_digest",
        "test_connections", "verify_audit",
    }  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_help_has_a_description_examples_and_exit_codes(name: str) -> None:
    text = OURS[name].create_parser("manage.py", name).format_help()

    assert re.search(r"\n\n\w.+\.\n", text), "a description in sentences"
    assert f"examples:\n  manage.py {name}" in text
    assert "exit codes:\n  0  " in text


def test_a_key_is_made_before_there_is_any_setting() -> None:
    done = manage("generate_master_key")

    assert done.returncode == 0
    assert re.fullmatch(r"[0-9a-f]{64}\n", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("push_order",),
        ("decrypt_connector_config", "no-uuid", "--reason", "x"),
        ("create_api_key", "acme", "--role", "KING"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_no_traceback(arguments: tuple[str, ...]) -> None:
    done = manage(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(OperationalError, "DATABASE_URL"), (ProgrammingError, "manage.py migrate"), (DatabaseError, "Its log")],
)
def test_trouble_with_the_database_is_one_line_without_its_text(
    error: type[DatabaseError], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error("host=db user=app password=canary-77")

    monkeypatch.setattr(keys, "status", fail)
    outcome = run("encryption_status")

    assert outcome.code == 2
    assert remedy in outcome.err
    assert "canary-77" not in outcome.err
