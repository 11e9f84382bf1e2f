"""Master keys are exchanged without losing a row, an edit or the reason why a row cannot be opened."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction

from connectors.encryption import KeyRing
from connectors.exceptions import ConfigurationError, UnknownKey
from connectors.fields import EncryptedConfigField, key_ring
from connectors.models import EncryptionKey, ERPConnection, Health, KeyState, QuarantinedRow
from connectors.services import connections, keys
from tenants import scope
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
    monkeypatch.setattr(apps, "get_models", list)

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


@pytest.fixture
def someone_writes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen between the moment a row is read and the moment it is written."""

    def before_each_write(happens: Callable[[], object]) -> None:
        reseal = KeyRing.reseal

        def interrupted(ring: KeyRing, blob: bytes, **row: Any) -> bytes:
            happens()
            return reseal(ring, blob, **row)

        monkeypatch.setattr(KeyRing, "reseal", interrupted)
        monkeypatch.setattr("connectors.services.keys.rotation._PAUSES", (0, 0))

    return before_each_write


def test_an_edit_at_the_same_moment_is_kept(
    connect: Connect, new_key: Callable, actor: Actor, someone_writes: Callable
) -> None:
    row = connect()
    new_key()
    someone_writes(lambda: connections.change(row, actor, config={"password": "newer"}))

    report = keys.rotate()

    row.refresh_from_db()
    assert row.read_config()["password"] == "newer"
    assert (report.rotated, report.contended) == (0, 0)


def test_a_row_that_is_edited_each_time_remains(connect: Connect, new_key: Callable, someone_writes: Callable) -> None:
    row = connect()
    old_ring, old = key_ring(), key_ring().active_key_id.hex()
    new_key()

    def write_with_the_old_key() -> None:
        theirs = old_ring.seal({}, org_id=row.org_id, record_id=row.pk)
        ERPConnection.objects.filter(pk=row.pk).update(config_encrypted=theirs)

    someone_writes(write_with_the_old_key)
    report = keys.rotate()

    assert (report.rotated, report.contended, report.remaining, report.retired) == (0, 1, 1, ())
    assert EncryptionKey.objects.get(key_id=old).state == KeyState.RETIRING


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
    assert [(use.table, use.key_id, use.rows, use.unreadable) for use in status.tables] == [
        ("erp_connection", key_id, rows, 0) for key_id, rows in sorted([(new, 1), (old, 2)])
    ]
    assert not EncryptionKey.objects.exists(), "looking changes nothing"

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


def test_a_retired_key_is_refused_by_the_database(connect: Connect, new_key: Callable) -> None:
    row = connect()
    old_ring, old = key_ring(), key_ring().active_key_id.hex()
    new_key()

    report = keys.rotate()

    assert report.retired == (old,)
    assert dict(EncryptionKey.objects.values_list("key_id", "state")) == {
        old: "RETIRED",
        key_ring().active_key_id.hex(): "ACTIVE",
    }
    theirs = old_ring.seal({}, org_id=row.org_id, record_id=row.pk)
    for field in keys.encrypted_fields():
        assert old in constraint_of(field)
    with pytest.raises(IntegrityError, match="erp_connection_config_encrypted_retired"), transaction.atomic():
        ERPConnection.objects.filter(pk=row.pk).update(config_encrypted=theirs)

    new_key()
    keys.rotate()
    assert all(old in constraint_of(field) for field in keys.encrypted_fields()), "it is refused for good"


def constraint_of(field: EncryptedConfigField) -> str:
    name = f"{field.model._meta.db_table}_config_encrypted_retired"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s AND convalidated", [name]
        )
        return cursor.fetchone()[0]


def test_a_key_with_an_unreadable_row_does_not_retire(connect: Connect, new_key: Callable) -> None:
    altered = connect()
    ERPConnection.objects.filter(pk=altered.pk).update(config_encrypted=blob(altered)[:-1] + b"\0")
    old = key_ring().active_key_id.hex()
    new_key()

    report = keys.rotate()

    assert (report.retired, len(report.unreadable)) == ((), 1)
    assert EncryptionKey.objects.get(key_id=old).state == KeyState.RETIRING


def test_an_unreadable_row_is_quarantined_until_its_key_comes_back(
    connect: Connect, new_key: Callable, settings: Any
) -> None:
    row = connect()
    lost = settings.ENCRYPTION_MASTER_KEY
    new_key(keep=False)
    sealed = blob(row)

    keys.rotate()
    keys.rotate()

    entry = QuarantinedRow.objects.get()
    assert (entry.org, entry.table, entry.row_id, entry.reason) == (row.org, "erp_connection", row.pk, "UnknownKey")
    assert entry.tried_at > entry.found_at
    row.refresh_from_db()
    assert (row.health, blob(row)) == (Health.UNREADABLE, sealed)
    assert [(known.table, known.id) for known in keys.status().quarantined] == [("erp_connection", str(row.pk))]

    settings.ENCRYPTION_PREVIOUS_KEYS = [lost]
    report = keys.rotate()

    assert (report.rotated, report.unreadable) == (1, ())
    assert not QuarantinedRow.objects.exists()
    row.refresh_from_db()
    assert (row.health, row.read_config()["password"]) == (Health.UNTESTED, SECRET)


def test_a_row_under_the_active_key_leaves_the_quarantine_when_it_is_entered_again(
    connect: Connect, new_key: Callable, actor: Actor
) -> None:
    row = connect()
    new_key(keep=False)
    keys.rotate()
    config = {"mode": "sftp", "host": "erp.example.com", "username": "u", "password": "x", "export_path": "in"}
    connections.change(row, actor, config=config)

    report = keys.rotate()

    assert (report.unreadable, len(report.retired), QuarantinedRow.objects.count()) == ((), 1, 0)


class TestStart:
    """Which process may serve this database."""

    @pytest.fixture
    def ring(self, settings: Any) -> Callable[..., str]:
        def configure(active: int, *previous: int) -> str:
            settings.ENCRYPTION_MASTER_KEY = bytes([active, *range(31)]).hex()
            settings.ENCRYPTION_PREVIOUS_KEYS = [bytes([key, *range(31)]).hex() for key in previous]
            return key_ring().active_key_id.hex()

        return configure

    @staticmethod
    def states() -> dict[str, str]:
        return dict(EncryptionKey.objects.values_list("key_id", "state"))

    def test_the_first_one_is_entered(self, ring: Callable) -> None:
        first = ring(1, 2)
        keys.admit()
        keys.admit()

        assert self.states() == {first: "ACTIVE"}
        assert AuditEvent.objects.filter(action="encryption.key_changed").count() == 1

    def test_one_without_the_active_key_is_refused_with_its_fingerprint(self, ring: Callable) -> None:
        first = ring(1)
        keys.admit()
        ring(2)

        with pytest.raises(keys.KeysRefused, match=first):
            keys.admit()
        assert self.states() == {first: "ACTIVE"}
        assert not keys.is_fit_to_serve()

    def test_an_empty_registry_does_not_take_a_key_that_opens_nothing(self, ring: Callable, connect: Connect) -> None:
        first = ring(1)
        connect()
        ring(2)

        with pytest.raises(keys.KeysRefused, match=first):
            keys.admit()
        assert self.states() == {}

    def test_many_machines_exchange_a_key_one_after_the_other(self, ring: Callable, connect: Connect) -> None:
        first = ring(1)
        keys.admit()
        row = connect()

        ring(1, 2)  # each machine learns the new key
        keys.admit()
        assert self.states() == {first: "ACTIVE"}

        second = ring(2, 1)  # the first machine seals with it
        keys.admit()
        assert self.states() == {first: "DECRYPT_ONLY", second: "ACTIVE"}

        ring(1, 2)  # another one starts again before its turn
        keys.admit()
        assert self.states() == {first: "DECRYPT_ONLY", second: "ACTIVE"}
        with pytest.raises(keys.KeysRefused, match="--back"):
            keys.rotate()
        ring(1)  # … and one was forgotten
        with pytest.raises(keys.KeysRefused, match=second):
            keys.admit()

        ring(2, 1)
        assert keys.rotate().retired == (first,)
        ring(2)
        keys.admit()
        row.refresh_from_db()
        assert row.read_config()["password"] == SECRET
        ring(1, 2)
        with pytest.raises(keys.KeysRefused, match=f"{first}, which is retired"):
            keys.admit()
        with pytest.raises(keys.KeysRefused, match="retired"):
            keys.rotate(back=True)
        assert not keys.is_fit_to_serve()

    def test_a_rotation_can_be_turned_back_until_the_key_is_retired(self, ring: Callable, connect: Connect) -> None:
        first = ring(1)
        row = connect()
        keys.admit()
        second = ring(2, 1)
        keys.admit()
        connect()
        ring(1, 2)

        report = keys.rotate(back=True)

        assert (report.rotated, report.retired) == (1, (second,))
        assert self.states() == {first: "ACTIVE", second: "RETIRED"}
        assert row.is_readable

    def test_a_lost_key_is_given_up_by_name_only(self, ring: Callable, connect: Connect) -> None:
        first = ring(1)
        connect()
        keys.admit()
        second = ring(2)

        with pytest.raises(keys.KeysRefused, match=f"--lost {first[:16]}"):
            keys.rotate()
        with pytest.raises(keys.KeysRefused):
            keys.rotate(lost=first[:8])
        report = keys.rotate(lost=first[:16])

        assert [row.reason for row in report.unreadable] == ["UnknownKey"]
        assert self.states() == {first: "DECRYPT_ONLY", second: "ACTIVE"}
        keys.admit()

    def test_a_dry_run_enters_nothing(self, ring: Callable, connect: Connect) -> None:
        ring(1)
        connect()
        ring(2, 1)

        keys.rotate(dry_run=True)

        assert self.states() == {}

    def test_a_database_without_tables_is_named(self, ring: Callable) -> None:
        ring(1)
        with scope.as_owner(), connection.cursor() as cursor:
            cursor.execute("ALTER TABLE erp_encryption_key RENAME TO gone")
        with pytest.raises(keys.KeysRefused, match=r"manage\.py migrate"), transaction.atomic():
            keys.admit()
