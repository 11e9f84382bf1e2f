"""The field: only envelopes go in, only envelopes come out."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.core.management import call_command
from django.db import connection, models, transaction
from django.test import override_settings

from connectors.exceptions import ConfigurationError, EncryptionError, Malformed, Tampered, UnknownFormat, UnknownKey
from connectors.fields import EncryptedConfigField, key_ring
from connectors.models import ERPConnection
from tenants.models import Organization

OLD, NEW = "0123456789abcdef" * 4, "fedcba9876543210" * 4
CONFIG = {"host": "sftp.example.com", "password": "Tr0ub4dor&3"}


@pytest.fixture(autouse=True)
def keys() -> Iterator[None]:
    with override_settings(ENCRYPTION_MASTER_KEY=NEW, ENCRYPTION_PREVIOUS_KEYS=[OLD]):
        yield


@dataclass
class Row:
    """All that the field asks of a row."""

    org_id: UUID = field(default_factory=uuid4)
    pk: UUID = field(default_factory=uuid4)
    config_encrypted: bytes = b""


def the_field(**options: Any) -> EncryptedConfigField:
    config_field = EncryptedConfigField(**options)
    config_field.set_attributes_from_name("config_encrypted")
    return config_field


def sealed_row() -> Row:
    row = Row()
    row.config_encrypted = the_field().seal(row, CONFIG)
    return row


class TestSealAndOpen:
    def test_round_trip(self) -> None:
        assert the_field().open(sealed_row()) == CONFIG

    @pytest.mark.parametrize("moved", ["org_id", "pk"])
    def test_the_envelope_is_bound_to_the_row_as_it_stands(self, moved: str) -> None:
        row = sealed_row()
        setattr(row, moved, uuid4())
        with pytest.raises(Tampered):
            the_field().open(row)

    def test_a_row_without_an_envelope_is_malformed(self) -> None:
        with pytest.raises(Malformed):
            the_field().open(Row())

    def test_an_envelope_of_one_kind_of_row_does_not_open_as_another(self) -> None:
        row = sealed_row()
        with pytest.raises(Tampered):
            the_field(purpose="webhook.config").open(row)

        row.config_encrypted = the_field(purpose="webhook.config").seal(row, CONFIG)

        assert the_field(purpose="webhook.config").open(row) == CONFIG
        with pytest.raises(Tampered):
            the_field().open(row)


class TestKeyRingOfTheSettings:
    def test_it_follows_the_settings(self) -> None:
        with override_settings(ENCRYPTION_MASTER_KEY=OLD, ENCRYPTION_PREVIOUS_KEYS=[]):
            row = sealed_row()
        assert key_ring().needs_rotation(row.config_encrypted)
        assert the_field().open(row) == CONFIG
        with override_settings(ENCRYPTION_PREVIOUS_KEYS=[]), pytest.raises(UnknownKey):
            the_field().open(row)

    def test_it_is_built_once(self) -> None:
        assert key_ring() is key_ring()

    @pytest.mark.parametrize(
        ("active", "previous", "message"),
        [
            ("", [], "ENCRYPTION_MASTER_KEY is not set"),
            (NEW[:-2], [], "ENCRYPTION_MASTER_KEY is too short"),
            (NEW, [OLD, OLD[:-2]], "ENCRYPTION_PREVIOUS_KEYS, key 2, is too short"),
        ],
    )
    def test_a_bad_key_is_named(self, active: str, previous: list[str], message: str) -> None:
        bad_keys = override_settings(ENCRYPTION_MASTER_KEY=active, ENCRYPTION_PREVIOUS_KEYS=previous)
        with bad_keys, pytest.raises(ConfigurationError, match=message) as caught:
            key_ring()
        assert NEW[:32] not in str(caught.value)
        assert OLD[:32] not in str(caught.value)


NOT_ENVELOPES = [
    (CONFIG, Malformed),
    (json.dumps(CONFIG), Malformed),
    (json.dumps(CONFIG).encode(), Malformed),
    (b"", Malformed),
    (b"ERPC", Malformed),
    (b"ERPC\x01" + bytes(59), Malformed),
    (b"ERPC\x02" + bytes(90), UnknownFormat),
    (None, Malformed),
    (7, Malformed),
]


class TestWhatMayBeSaved:
    @pytest.mark.parametrize(("value", "expected"), NOT_ENVELOPES)
    def test_nothing_but_an_envelope(self, value: Any, expected: type[EncryptionError]) -> None:
        with pytest.raises(expected) as caught:
            the_field().get_db_prep_save(value, connection)
        assert CONFIG["password"] not in f"{caught.value!r} {caught.value}"

    def test_an_envelope(self) -> None:
        blob = sealed_row().config_encrypted
        assert the_field().get_prep_value(blob) == blob

    def test_none_where_the_column_is_null(self) -> None:
        assert the_field(null=True).get_db_prep_save(None, connection) is None


class TestFormsAndFixtures:
    def test_it_is_not_in_a_form(self) -> None:
        assert not the_field().editable

    def test_value_to_string_is_the_envelope_and_reads_back(self) -> None:
        row = ERPConnection(config_encrypted=sealed_row().config_encrypted)
        text = the_field().value_to_string(row)
        assert text == b64encode(row.config_encrypted).decode()
        assert the_field().to_python(text) == row.config_encrypted

    @pytest.mark.parametrize("text", ["not base64!", "QUJ", "grün", json.dumps(CONFIG)])
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ValidationError) as caught:
            the_field().to_python(text)
        assert CONFIG["password"] not in repr(caught.value)

    def test_migrations_see_a_plain_field(self) -> None:
        name, path, args, kwargs = the_field().deconstruct()
        assert (name, path, args, kwargs) == ("config_encrypted", "connectors.fields.EncryptedConfigField", [], {})


@pytest.mark.django_db
class TestInTheDatabase:
    @pytest.fixture
    def row(self) -> ERPConnection:
        org = Organization.objects.create(slug="acme", name="Acme")
        row = ERPConnection(org=org, connector_type="MOCK", name="ERP")
        row.write_config(CONFIG)
        row.save()
        return row

    def test_round_trip(self, row: ERPConnection) -> None:
        assert ERPConnection.objects.get(pk=row.pk).read_config() == CONFIG

    def test_the_column_holds_the_envelope(self, row: ERPConnection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT config_encrypted FROM erp_connection WHERE id = %s", [row.pk])
            stored = bytes(cursor.fetchone()[0])
        assert stored == row.config_encrypted
        assert stored.startswith(b"ERPC\x01")
        assert b"Tr0ub4dor" not in stored

    def test_dumpdata_leaks_nothing_and_loaddata_brings_it_back(self, row: ERPConnection, tmp_path: Path) -> None:
        dump = tmp_path / "dump.json"
        call_command("dumpdata", "connectors.erpconnection", output=str(dump))
        assert "Tr0ub4dor" not in dump.read_text()
        row.delete()
        call_command("loaddata", str(dump), verbosity=0)
        assert ERPConnection.objects.get().read_config() == CONFIG

    def test_no_way_of_saving_takes_plaintext(self, row: ERPConnection) -> None:
        stored = ERPConnection.objects.filter(pk=row.pk)
        row.config_encrypted = json.dumps(CONFIG).encode()
        other = ERPConnection(org=row.org, connector_type="MOCK", config_encrypted=row.config_encrypted)
        for save in (
            row.save,
            other.save,
            lambda: stored.update(config_encrypted=row.config_encrypted),
            lambda: ERPConnection.objects.bulk_create([other]),
            lambda: ERPConnection.objects.bulk_update([row], ["config_encrypted"]),
        ):
            with pytest.raises(Malformed), transaction.atomic():
                save()
        assert stored.get().read_config() == CONFIG

    def test_an_envelope_copied_to_another_row_does_not_open(self, row: ERPConnection) -> None:
        """What an attacker with write access to the table would try."""
        org = Organization.objects.create(slug="evil", name="Evil")
        copy = ERPConnection(org=org, connector_type="MOCK", name="Copy", config_encrypted=row.config_encrypted)
        copy.save()
        with pytest.raises(Tampered):
            ERPConnection.objects.get(pk=copy.pk).read_config()

    def test_compare_and_swap(self, row: ERPConnection) -> None:
        """Re-encryption in the background must not undo a change made meanwhile."""
        seen, stored = row.config_encrypted, ERPConnection.objects.filter(pk=row.pk)
        row.write_config({"password": "changed"})
        assert stored.filter(config_encrypted=seen).update(config_encrypted=row.config_encrypted) == 1
        assert stored.filter(config_encrypted=seen).update(config_encrypted=seen) == 0

    @pytest.mark.parametrize("lookup", ["contains", "startswith", "gt", "in", "regex"])
    def test_no_lookup_that_means_nothing_on_ciphertext(self, lookup: str) -> None:
        with pytest.raises(FieldError):
            ERPConnection.objects.filter(models.Q(**{f"config_encrypted__{lookup}": b"x"})).exists()

    def test_isnull(self, row: ERPConnection) -> None:
        assert list(ERPConnection.objects.filter(config_encrypted__isnull=False)) == [row]
