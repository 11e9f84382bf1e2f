"""Master keys are exchanged without losing a row, an edit or the reason why a row cannot be opened."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from connectors.exceptions import ConfigurationError, UnknownKey
from connectors.fields import EncryptedConfigField, key_ring
from connectors.models import EncryptionKey, ERPConnection, KeyState
from connectors.services import connections, keys
from tenants.actors import Actor
from tenants.models import AuditEvent, Organization

pytestmark = pytest.mark.django_db

SECRET = "canary-5d1c"
Connect = Callable[..., ERPConnection]


@pytest.fixture
def connect(acme: Organization, actor: Actor) -> Connect:
    def create(**changes: Any) -> ERPConnection:
        config = {"mode": "sftp", "host": "erp.example.com", "username": "u", "password": SECRET, "export_path": "in"}
        return connections.create(
            acme, actor, connector_type="DROPZONE_JSON_V1", config=config | changes, status="DISABLED"
        )

    return create


@pytest.fixture
def new_key(settings: Any) -> Callable[[], None]:
    """Make a fresh master key the active one and the present one a previous one."""

    def exchange(*, keep: bool = True) -> None:
        if keep:
            settings.ENCRYPTION_PREVIOUS_KEYS = [settings.ENCRYPTION_MASTER_KEY, *settings.ENCRYPTION_PREVIOUS_KEYS]
        settings.ENCRYPTION_MASTER_KEY = secrets.token_hex(32)

    return exchange


def blob(row: ERPConnection) -> bytes:
    return bytes(ERPConnection.objects.values_list("config_encrypted", flat=True).get(pk=row.pk))


def test_finds_the_encrypted_fields_in_the_models() -> None:
    assert {str(field) for field in keys.encrypted_fields()} == {
        f"connectors.{model}.config_encrypted"
        for model in ("ERPConnection", "ConnectionTest", "ConnectionRevision", "Webhook")
    }


def test_finding_no_encrypted_field_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys.apps, "get_models", list)

    with pytest.raises(keys.NoEncryptedFields):
        keys.rotate()


def test_rotation_makes_the_old_key_superfluous(connect: Connect, new_key: Callable, settings: Any) -> None:
    rows = [connect() for _ in range(5)]
    new_key()

    report = keys.rotate(batch=2)

    assert (report.rotated, report.already_active, report.remaining, report.unreadable) == (5, 0, 0, ())
    settings.ENCRYPTION_PREVIOUS_KEYS = []
    for row in rows:
        row.refresh_from_db()
        assert row.read_config()["password"] == SECRET


def test_rotation_changes_nothing_but_the_envelope(connect: Connect, new_key: Callable) -> None:
    row = connect()
    before = ERPConnection.objects.filter(pk=row.pk).values().get()
    new_key()
    keys.rotate()

    after = ERPConnection.objects.filter(pk=row.pk).values().get()
    assert {name for name in before if before[name] != after[name]} == {"config_encrypted"}


def test_a_second_rotation_has_nothing_to_do(connect: Connect, new_key: Callable) -> None:
    row = connect()
    new_key()
    keys.rotate()
    sealed = blob(row)

    report = keys.rotate()

    assert (report.rotated, report.already_active) == (0, 1)
    assert blob(row) == sealed


def test_a_dry_run_writes_nothing(connect: Connect, new_key: Callable) -> None:
    row = connect()
    sealed = blob(row)
    new_key()
    trail = AuditEvent.objects.count()

    report = keys.rotate(dry_run=True)

    assert (report.rotated, report.remaining) == (1, 1)
    assert blob(row) == sealed
    assert AuditEvent.objects.count() == trail


def test_an_unreadable_row_is_named_and_left_and_stops_no_other(connect: Connect, new_key: Callable) -> None:
    lost, moved = connect(), connect()
    new_key(keep=False)
    good = connect()
    ERPConnection.objects.filter(pk=moved.pk).update(config_encrypted=blob(good))
    sealed = blob(lost)
    new_key()

    report = keys.rotate()

    assert report.rotated == 1
    assert {(row.id, row.reason) for row in report.unreadable} == {
        (str(lost.pk), "UnknownKey"),
        (str(moved.pk), "Tampered"),
    }
    assert blob(lost) == sealed


def test_an_edit_at_the_same_moment_is_kept(
    connect: Connect, new_key: Callable, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = connect()
    new_key()
    seal, edits = EncryptedConfigField.seal, []

    def edit_first(field: EncryptedConfigField, target: ERPConnection, config: dict[str, Any]) -> bytes:
        if not edits:
            edits.append(True)
            connections.change(row, actor, config={"password": "newer"})
        return seal(field, target, config)

    monkeypatch.setattr(EncryptedConfigField, "seal", edit_first)
    report = keys.rotate()

    row.refresh_from_db()
    assert row.read_config()["password"] == "newer"
    assert (report.rotated, report.contended) == (0, 0)


def test_a_row_that_is_edited_each_time_remains(
    connect: Connect, new_key: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = connect()
    old_ring = key_ring()
    new_key()
    seal = EncryptedConfigField.seal

    def always_beaten(field: EncryptedConfigField, target: ERPConnection, config: dict[str, Any]) -> bytes:
        # A process that still has the old key, writing between our read and our write.
        theirs = old_ring.seal(config, org_id=row.org_id, record_id=row.pk)
        ERPConnection.objects.filter(pk=row.pk).update(config_encrypted=theirs)
        return seal(field, target, config)

    monkeypatch.setattr(EncryptedConfigField, "seal", always_beaten)
    report = keys.rotate()

    assert (report.rotated, report.contended, report.remaining) == (0, 1, 1)


def test_a_rotation_stands_in_the_audit_trail(connect: Connect, new_key: Callable) -> None:
    connect()
    new_key()
    keys.rotate()

    event = AuditEvent.objects.get(action="encryption.rotated")
    assert event.org is None
    assert event.details["rotated"] == 1
    assert event.details["key_id"] == key_ring().active_key_id.hex()


def test_status_counts_what_each_key_is_needed_for(connect: Connect, new_key: Callable, settings: Any) -> None:
    connect()
    connect()
    old = key_ring().active_key_id.hex()
    new_key()
    new = key_ring().active_key_id.hex()
    connect()

    status = keys.status()

    assert status.active_key_id == new
    assert [(key.key_id, key.state, key.configured, key.rows) for key in status.keys] == [
        (new, KeyState.ACTIVE, True, 1),
        (old, KeyState.DECRYPT_ONLY, True, 2),
    ]
    assert dict(EncryptionKey.objects.values_list("key_id", "state")) == {new: "ACTIVE", old: "DECRYPT_ONLY"}

    keys.rotate()
    settings.ENCRYPTION_PREVIOUS_KEYS = []

    status = keys.status()
    assert [(key.state, key.configured, key.rows) for key in status.keys] == [
        (KeyState.ACTIVE, True, 3),
        (KeyState.RETIRED, False, 0),
    ]
    assert status.unreadable == ()


def test_status_names_rows_whose_key_is_missing(connect: Connect, new_key: Callable) -> None:
    row = connect()
    missing = key_ring().active_key_id.hex()
    new_key(keep=False)

    status = keys.status()

    assert [str(unreadable) for unreadable in status.unreadable] == [f"erp_connection {row.pk}: {UnknownKey.__name__}"]
    assert (missing, False, 1) in [(key.key_id, key.configured, key.rows) for key in status.keys]


def test_a_malformed_key_is_refused_without_its_value(settings: Any) -> None:
    settings.ENCRYPTION_MASTER_KEY = "5ec2e7"

    with pytest.raises(ConfigurationError) as refusal:
        keys.rotate()
    assert "5ec2e7" not in str(refusal.value)
