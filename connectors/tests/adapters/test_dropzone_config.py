"""What a dropzone configuration accepts, and what it says when it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from connectors.adapters.dropzone_json_v1 import DropzoneConfig
from connectors.config import edit
from connectors.exceptions import ConfigurationError, SecretsRequired
from connectors.transports import ssh_keys

SFTP = {
    "mode": "sftp",
    "host": "sftp.example.com",
    "username": "orders",
    "password": "s3cret-password",
    "export_path": "/in",
}
FILES = {"mode": "filesystem", "export_path": "in"}
KEY = Ed25519PrivateKey.generate()
PLAIN_KEY = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
AUTHORITY = asyncssh.generate_private_key("ssh-ed25519")
PUBLIC_KEY = asyncssh.import_private_key(PLAIN_KEY).convert_to_public()
CERTIFICATE = AUTHORITY.generate_user_certificate(PUBLIC_KEY, "id", valid_before=2_000_000_000)
CERTIFIED = {"private_key": PLAIN_KEY, "certificate": CERTIFICATE.export_certificate().decode().strip()}
PUBLIC_LINE = PUBLIC_KEY.export_public_key().decode().strip()
HOST_CERTIFICATE = AUTHORITY.generate_host_certificate(PUBLIC_KEY, "id").export_certificate().decode().strip()
FOREIGN_CERTIFICATE = (
    AUTHORITY.generate_user_certificate(AUTHORITY.convert_to_public(), "id").export_certificate().decode().strip()
)
LOCKED_KEY = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, BestAvailableEncryption(b"opens")).decode()


def faults(config: dict[str, Any]) -> dict[str, str]:
    """Return the path of each fault and its code."""
    try:
        DropzoneConfig.parse(config)
    except ConfigurationError as error:
        if "s3cret" in str(error) or LOCKED_KEY[100:150] in str(error):
            pytest.fail("the error shows a secret")
        return {fault.path: fault.code for fault in error.faults}
    return {}


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


def test_defaults() -> None:
    config = DropzoneConfig.parse(SFTP)

    assert (config.port, config.timeout_s, config.atomic_write, config.temp_suffix) == (22, 10, True, ".tmp")


@pytest.mark.parametrize(
    "change",
    [
        {"password": None, "private_key": PLAIN_KEY},
        {"private_key": PLAIN_KEY},
        {"private_key": LOCKED_KEY, "passphrase": "opens"},
        CERTIFIED,
        CERTIFIED | {"password": None, "private_key": LOCKED_KEY, "passphrase": "opens"},
        {"host_key": "SHA256:" + "A" * 43},
        {"host": "2001:db8::1"},
        {"host": "192.0.2.1"},
        {"ack_path": "/in"},
        {"export_path": "relative/folder with spaces/ü"},
        {"timeout_s": 1},
        {"timeout_s": 120},
        {"temp_suffix": "_part"},
    ],
    ids=lambda change: "+".join(change),
)
def test_accepted(change: dict[str, Any]) -> None:
    assert faults({name: value for name, value in (SFTP | change).items() if value is not None}) == {}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"mode": "missing", "export_path": "missing"}),
        (SFTP | {"mode": "ftp"}, {"mode": "literal_error"}),
        (without(SFTP, "host"), {"host": "missing"}),
        (without(SFTP, "username"), {"username": "missing"}),
        (without(SFTP, "password"), {"password": "missing"}),
        (without(SFTP, "export_path"), {"export_path": "missing"}),
        (SFTP | {"passphrase": "x"}, {"passphrase": "not_applicable"}),
        (SFTP | {"private_key": "s3cret-no-key"}, {"private_key": "unusable_key"}),
        (SFTP | {"private_key": LOCKED_KEY}, {"passphrase": "wrong_passphrase"}),
        (SFTP | {"private_key": LOCKED_KEY, "passphrase": "s3cret"}, {"passphrase": "wrong_passphrase"}),
        (SFTP | {"certificate": CERTIFIED["certificate"]}, {"certificate": "not_applicable"}),
        (FILES | {"certificate": CERTIFIED["certificate"]}, {"certificate": "not_applicable"}),
        (
            SFTP | CERTIFIED | {"certificate": "ssh-ed25519-cert-v01@openssh.com AAAA"},
            {"certificate": "unusable_certificate"},
        ),
        (SFTP | CERTIFIED | {"certificate": "nonsense"}, {"certificate": "unusable_certificate"}),
        (SFTP | CERTIFIED | {"certificate": PUBLIC_LINE}, {"certificate": "unusable_certificate"}),
        (SFTP | CERTIFIED | {"certificate": HOST_CERTIFICATE}, {"certificate": "host_certificate"}),
        (SFTP | CERTIFIED | {"certificate": FOREIGN_CERTIFICATE}, {"certificate": "foreign_certificate"}),
        (SFTP | CERTIFIED | {"private_key": LOCKED_KEY}, {"passphrase": "wrong_passphrase"}),
        (SFTP | {"host_key": "ssh-ed25519 nonsense"}, {"host_key": "host_key"}),
        (SFTP | {"host": "sftp://example.com"}, {"host": "string_pattern_mismatch"}),
        (SFTP | {"host": "user@example.com"}, {"host": "string_pattern_mismatch"}),
        (SFTP | {"host": ""}, {"host": "string_pattern_mismatch"}),
        (SFTP | {"port": 0}, {"port": "greater_than_equal"}),
        (SFTP | {"port": 65536}, {"port": "less_than_equal"}),
        (SFTP | {"timeout_s": 0}, {"timeout_s": "greater_than_equal"}),
        (SFTP | {"timeout_s": 121}, {"timeout_s": "less_than_equal"}),
        (SFTP | {"export_path": "in/../../etc"}, {"export_path": "path"}),
        (SFTP | {"export_path": "in\0"}, {"export_path": "control_character"}),
        (SFTP | {"export_path": " "}, {"export_path": "blank"}),
        (SFTP | {"ack_path": "../ack"}, {"ack_path": "path"}),
        (SFTP | {"temp_suffix": ""}, {"temp_suffix": "string_pattern_mismatch"}),
        (SFTP | {"temp_suffix": "/x"}, {"temp_suffix": "string_pattern_mismatch"}),
        (SFTP | {"temp_suffix": ".tmp.JSON"}, {"temp_suffix": "temp_suffix"}),
        (SFTP | {"private_key": PLAIN_KEY, "colour": "red"}, {"colour": "extra_forbidden"}),
        (FILES | {"host": "h", "password": "p"}, {"host": "not_applicable", "password": "not_applicable"}),
    ],
)
def test_refused(config: dict[str, Any], expected: dict[str, str]) -> None:
    assert faults(config) == expected


def test_filesystem_needs_only_a_folder() -> None:
    assert faults(FILES) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"host": "evil.example.com"},
        {"port": 2222},
        {"username": "x"},
        {"host_key": "SHA256:" + "B" * 43},
        {"export_path": "/x"},
        {"ack_path": "/x"},
    ],
)
def test_a_new_destination_asks_for_the_secrets_again(change: dict[str, Any]) -> None:
    with pytest.raises(SecretsRequired) as caught:
        edit(DropzoneConfig, DropzoneConfig.parse(SFTP).reveal(), change)

    assert [fault.path for fault in caught.value.faults] == ["password"]


def test_another_certificate_asks_for_the_key_again() -> None:
    stored = DropzoneConfig.parse(without(SFTP, "password") | CERTIFIED).reveal()
    renewed = AUTHORITY.generate_user_certificate(PUBLIC_KEY, "id", valid_before=2_100_000_000)

    with pytest.raises(SecretsRequired) as caught:
        edit(DropzoneConfig, stored, {"certificate": renewed.export_certificate().decode().strip()})

    assert [fault.path for fault in caught.value.faults] == ["private_key"]


def test_what_is_a_destination() -> None:
    assert set(DropzoneConfig.model_fields) - set(DropzoneConfig.destination_fields()) == {
        *("password", "private_key", "passphrase"),
        *("atomic_write", "temp_suffix", "timeout_s"),
    }


@pytest.mark.parametrize(
    ("config", "endpoint"),
    [
        (SFTP, "sftp.example.com:22"),
        (SFTP | {"host": "SFTP.Example.COM.", "port": 2222}, "sftp.example.com:2222"),
        (SFTP | {"host": "2001:DB8::1"}, "[2001:db8::1]:22"),
        (FILES, "filesystem"),
    ],
)
def test_endpoint(config: dict[str, Any], endpoint: str) -> None:
    assert DropzoneConfig.parse(config).endpoint() == endpoint


def test_expiries() -> None:
    (expiry,) = DropzoneConfig.parse(SFTP | CERTIFIED).expiries()

    assert (expiry.field, expiry.kind) == ("certificate", "SSH certificate")
    assert expiry.expires_at == datetime.fromtimestamp(2_000_000_000, UTC)


def test_what_never_expires_is_no_expiry() -> None:
    eternal = AUTHORITY.generate_user_certificate(PUBLIC_KEY, "id").export_certificate().decode().strip()

    assert list(DropzoneConfig.parse(SFTP | CERTIFIED | {"certificate": eternal}).expiries()) == []
    assert list(DropzoneConfig.parse(SFTP).expiries()) == []


@pytest.mark.parametrize("change", [{"timeout_s": 30}, {"atomic_write": False}, {"temp_suffix": ".part"}])
def test_an_inert_field_keeps_them(change: dict[str, Any]) -> None:
    edited = edit(DropzoneConfig, DropzoneConfig.parse(SFTP).reveal(), change)

    assert edited.reveal()["password"] == "s3cret-password"


def test_secrets_and_long_texts_are_marked_for_forms() -> None:
    properties = DropzoneConfig.json_schema()["properties"]

    assert {name for name, field in properties.items() if field.get("writeOnly")} == {
        "password",
        "private_key",
        "passphrase",
    }
    assert properties["private_key"]["x-widget"] == "textarea"


def test_an_encrypted_key_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SFTP | {"private_key": LOCKED_KEY, "passphrase": "opens"}
    DropzoneConfig.parse(config)
    monkeypatch.setattr(ssh_keys, "_decrypted", lambda *_: pytest.fail("opened again"))

    DropzoneConfig.parse(config)
