"""The commands about master keys and stored secrets: outcome, exit code, and what they print where."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from connectors.fields import key_ring
from connectors.models import ERPConnection
from connectors.services import connections, webhooks
from connectors.tests.commands.conftest import run
from tenants.actors import Actor
from tenants.models import AuditEvent, Organization

pytestmark = pytest.mark.django_db

CANARY = "canary-9b41e7"


@pytest.fixture
def connection(acme: Organization, actor: Actor, dropzone: Path) -> ERPConnection:
    """Return an active connection to a server that refuses, with a secret nobody may see."""
    config = {
        "mode": "sftp", "host": "127.0.0.1", "port": 1, "username": "orders", "password": CANARY, "export_path": "in"
    }  # fmt: skip
    return connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)


@pytest.fixture
def exchange_key(settings: Any) -> Callable[..., None]:
    def exchange(*, keep: bool) -> None:
        settings.ENCRYPTION_PREVIOUS_KEYS = [settings.ENCRYPTION_MASTER_KEY] if keep else []
        settings.ENCRYPTION_MASTER_KEY = secrets.token_hex(32)

    return exchange


def test_a_new_master_key_stands_alone_on_stdout() -> None:
    first, second = run("generate_master_key"), run("generate_master_key")

    assert re.fullmatch(r"[0-9a-f]{64}\n", first.out)
    assert first.err == ""
    assert first.out != second.out


def test_rotation_in_steps(connection: ERPConnection, exchange_key: Callable[..., None], settings: Any) -> None:
    assert run("rotate_encryption_key").code == 0
    exchange_key(keep=True)

    dry = run("rotate_encryption_key", "--dry-run")
    assert dry.code == 4
    assert re.search(r"to seal anew +1\n", dry.out)

    done = run("rotate_encryption_key")
    assert done.code == 0
    assert re.search(r"sealed anew +1\n", done.out)
    settings.ENCRYPTION_PREVIOUS_KEYS = []
    connection.refresh_from_db()
    assert connection.read_config()["password"] == CANARY


def test_a_rotation_shows_its_progress_on_a_terminal_only(
    connection: ERPConnection, exchange_key: Callable[..., None]
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    exchange_key(keep=True)
    terminal = Terminal()
    call_command("rotate_encryption_key", "--batch", "1", stdout=StringIO(), stderr=terminal)

    assert "sealing anew [##############################] 1 of 1" in terminal.getvalue()
    exchange_key(keep=True)
    assert run("rotate_encryption_key").err == ""


@pytest.mark.parametrize("size", ["0", "-1", "10001", "many"])
def test_a_batch_has_a_size(size: str) -> None:
    assert "must be a number from 1 to 10000" in run("rotate_encryption_key", "--batch", size).err


def test_a_rotation_away_from_a_missing_key_is_a_usage_error(
    connection: ERPConnection, exchange_key: Callable[..., None]
) -> None:
    run("rotate_encryption_key")
    active = key_ring().active_key_id.hex()
    exchange_key(keep=False)

    refused = run("rotate_encryption_key")
    assert (refused.code, refused.out) == (2, "")
    assert f"--lost {active[:16]}" in refused.err
    assert run("rotate_encryption_key", "--lost", active[:16]).code == 3
    assert f"{connection.pk}: UnknownKey, quarantined since 2" in run("encryption_status").err


def test_rotation_reports_what_it_cannot_open(connection: ERPConnection, exchange_key: Callable[..., None]) -> None:
    exchange_key(keep=False)

    outcome = run("rotate_encryption_key")

    assert outcome.code == 3
    assert f"erp_connection {connection.pk}: UnknownKey" in outcome.err
    assert "ENCRYPTION_PREVIOUS_KEYS" in outcome.err


@pytest.mark.parametrize("command", ["rotate_encryption_key", "encryption_status"])
def test_a_malformed_key_is_a_usage_error_without_its_value(command: str, settings: Any) -> None:
    settings.ENCRYPTION_MASTER_KEY = "5ec2e7"

    outcome = run(command)

    assert outcome.code == 2
    assert "ENCRYPTION_MASTER_KEY is too short" in outcome.err
    assert "5ec2e7" not in outcome.err


def test_status_names_the_keys_and_their_rows(connection: ERPConnection, exchange_key: Callable[..., None]) -> None:
    old = key_ring().active_key_id.hex()
    exchange_key(keep=True)

    outcome = run("encryption_status", "--json")

    assert outcome.code == 0
    assert outcome.json["active_key_id"] == key_ring().active_key_id.hex()
    assert {"key_id": old, "state": "DECRYPT_ONLY", "configured": True, "rows": 1} in outcome.json["keys"]
    assert f"{old[:16]}…" in run("encryption_status").out


def test_status_reports_unreadable_rows(connection: ERPConnection, exchange_key: Callable[..., None]) -> None:
    exchange_key(keep=False)

    outcome = run("encryption_status", "--json")

    assert outcome.code == 3
    assert outcome.json["unreadable"] == [{"table": "erp_connection", "id": str(connection.pk), "reason": "UnknownKey"}]


def test_decrypts_on_a_terminal_and_records_it_first(connection: ERPConnection) -> None:
    outcome = run("decrypt_connector_config", str(connection.pk), "--reason", "ticket 4711", terminal=True)

    assert outcome.code == 0
    assert outcome.json["password"] == CANARY
    event = AuditEvent.objects.get(action="connection.decrypted")
    assert (event.org, event.target_id, event.details) == (
        connection.org, str(connection.pk), {"reason": "ticket 4711"}
    )  # fmt: skip


def test_decrypts_a_webhook_and_a_revision(connection: ERPConnection, actor: Actor) -> None:
    connections.change(connection, actor, config={"password": "newer"})
    webhook, secret = webhooks.create(connection.org, actor, name="shop", url="https://shop.example.com/told")
    revision = connection.revisions.get()

    shown = run("decrypt_connector_config", str(webhook.pk), "--reason", "x", "--force")
    assert shown.json["secret"] == secret
    assert run("decrypt_connector_config", str(revision.pk), "--reason", "x", "--force").json["password"] == CANARY
    assert set(AuditEvent.objects.filter(action__endswith=".decrypted").values_list("action", "target_id")) == {
        ("webhook.decrypted", str(webhook.pk)),
        ("revision.decrypted", str(revision.pk)),
    }


def test_into_a_pipe_only_with_force(connection: ERPConnection) -> None:
    command = ("decrypt_connector_config", str(connection.pk), "--reason", "move")

    refused = run(*command)
    assert refused.code == 2
    assert "--force" in refused.err
    assert CANARY not in refused.out
    assert not AuditEvent.objects.filter(action="connection.decrypted").exists()

    assert run(*command, "--force").json["password"] == CANARY


def test_nothing_is_shown_when_it_cannot_be_recorded(
    connection: ERPConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **details: Any) -> None:
        raise CommandError("no trail")

    monkeypatch.setattr("connectors.management.commands.decrypt_connector_config.record", fail)
    outcome = run("decrypt_connector_config", str(connection.pk), "--reason", "x", terminal=True)

    assert (outcome.out, outcome.err) == ("", "no trail")


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_is_required(connection: ERPConnection, reason: str) -> None:
    assert run("decrypt_connector_config", str(connection.pk), "--reason", reason, terminal=True).code == 2


def test_an_unknown_connection_is_a_usage_error(acme: Organization) -> None:
    assert run("decrypt_connector_config", str(uuid4()), "--reason", "x", terminal=True).code == 2


def test_an_unreadable_configuration_is_a_failure(connection: ERPConnection, exchange_key: Callable[..., None]) -> None:
    exchange_key(keep=False)

    outcome = run("decrypt_connector_config", str(connection.pk), "--reason", "x", terminal=True)

    assert outcome.code == 1
    assert "master key" in outcome.err


@pytest.mark.parametrize(
    "command",
    [
        ("list_connectors", "--json"),
        ("test_connections", "--all"),
        ("test_connections", "--all", "--json"),
        ("poll_acks",),
        ("rotate_encryption_key", "--dry-run"),
        ("encryption_status",),
        ("encryption_status", "--json"),
        ("dumpdata",),
        ("dumpdata", "connectors.erpconnection"),
    ],
    ids=" ".join,
)
def test_no_other_command_shows_or_logs_a_secret(
    connection: ERPConnection, command: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    outcome = run(*command)

    shown = outcome.out + outcome.err + caplog.text + json.dumps([vars(entry) for entry in caplog.records], default=str)
    assert CANARY not in shown
    assert key_ring()._masters[key_ring().active_key_id].hex() not in shown
    assert list(AuditEvent.objects.filter(details__icontains=CANARY)) == []
