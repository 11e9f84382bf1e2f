"""The envelope, byte by byte, as a stranger would attack it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import OrderedDict
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from connectors.encryption import KeyRing, envelope
from connectors.exceptions import ConfigurationError, EncryptionError, Malformed, Tampered, UnknownFormat, UnknownKey
from connectors.tests.encryption.leaks import everything_shown

MASTER = bytes(range(32))
ORG = UUID("11111111-2222-4333-8444-555555555555")
OTHER_ORG = UUID("99999999-2222-4333-8444-555555555555")
RECORD = UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
OTHER_RECORD = UUID("aaaaaaaa-bbbb-4ccc-8ddd-ffffffffffff")

SECRET = "Tr0ub4dor&3-ünïque"  # what the leak tests look for
CONFIG = {"host": "sftp.example.com", "port": 22, "password": SECRET, "nested": {"list": [1, 2.5, None, True]}}
RING = KeyRing(MASTER)


def sealed(config: dict[str, Any] = CONFIG) -> bytes:
    return RING.seal(config, org_id=ORG, record_id=RECORD)


def opened(blob: Any) -> dict[str, Any]:
    return RING.open(blob, org_id=ORG, record_id=RECORD)


def rfc_5869(key: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 for one block of output, written from RFC 5869, sections 2.2 and 2.3."""
    extracted = hmac.digest(b"erpc/v1", key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def by_hand(plaintext: bytes, iv: bytes = b"twelve bytes") -> bytes:
    """The envelope of `plaintext`, made from the written format alone."""
    header = b"ERPC\x01" + rfc_5869(MASTER, b"key-id")
    data_key = rfc_5869(MASTER, b"data-key\0" + ORG.bytes)
    aad = header + b"connection.config\0" + ORG.bytes + RECORD.bytes
    return header + iv + AESGCM(data_key).encrypt(iv, plaintext, aad)


class TestFormat:
    def test_known_answer(self) -> None:
        """Computed once and written down: a change of the format cannot go unseen."""
        blob = by_hand(b'{"password":"secret"}')
        assert blob.hex() == (
            "4552504301"
            "3ce72068a93a35497e30939270abf345eca3d281ec0fce6de72d1a58cdbf94b2"
            "7477656c7665206279746573"
            "b053537e8a25abb39a7aef324d396ab719ebc8aebf"
            "0e7ab240714370278e404cae21de5a81"
        )
        assert opened(blob) == {"password": "secret"}

    def test_what_we_seal_is_the_written_format(self, monkeypatch: pytest.MonkeyPatch) -> None:
        iv = bytes(range(100, 112))
        monkeypatch.setattr("os.urandom", lambda size: iv[:size])
        plaintext = json.dumps(CONFIG, ensure_ascii=False, separators=(",", ":")).encode()
        assert sealed() == by_hand(plaintext, iv)

    def test_the_overhead_is_65_bytes(self) -> None:
        assert envelope.OVERHEAD == 65
        assert len(sealed({})) == 65 + len(b"{}")

    def test_every_envelope_has_its_own_iv(self) -> None:
        ivs = {sealed()[37:49] for _ in range(1000)}
        assert len(ivs) == 1000

    def test_no_plaintext_in_the_envelope(self) -> None:
        blob = sealed()
        for word in (SECRET.encode(), b"password", b"sftp.example.com"):
            assert word not in blob


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


class TestRoundTrip:
    @given(st.dictionaries(st.text(), JSON))
    def test_any_json_object_comes_back_exactly(self, config: dict[str, Any]) -> None:
        assert repr(opened(sealed(config))) == repr(config)  # repr tells 1 from 1.0 and from True

    def test_a_long_private_key(self) -> None:
        config = {"private_key": "-----BEGIN\n" + "x" * 100_000}
        assert opened(sealed(config)) == config

    @pytest.mark.parametrize(
        "config",
        [
            {"n": float("nan")},
            {"n": float("inf")},
            {"n": Decimal("1.5")},
            {"n": SecretStr(SECRET)},
            {"n": SECRET.encode()},
            {"n": (SECRET, 2)},
            {"n": {SECRET}},
            {"n": object()},
            {"n": SECRET + "\ud800"},
            {"n": 10**5000},
            {1: SECRET},
            {"n": {None: SECRET}},
            [SECRET],
            SECRET,
            None,
            OrderedDict(n=UUID(int=1)),
        ],
    )
    def test_what_would_come_back_changed_is_refused(self, config: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            sealed(config)
        assert caught.value.__context__ is None
        assert SECRET not in str(caught.value)

    def test_a_config_that_contains_itself_is_refused(self) -> None:
        config: dict[str, Any] = {}
        config["itself"] = config
        with pytest.raises(ConfigurationError):
            sealed(config)


class TestRefusals:
    def test_every_bit_is_guarded(self) -> None:
        blob = sealed()
        guards = 4 * [Malformed] + [UnknownFormat] + 32 * [UnknownKey] + (len(blob) - 37) * [Tampered]
        for position, expected in enumerate(guards):
            for bit in range(8):
                flipped = bytearray(blob)
                flipped[position] ^= 1 << bit
                with pytest.raises(EncryptionError) as caught:
                    opened(bytes(flipped))
                assert caught.type is expected, (position, bit)

    def test_every_length_is_guarded(self) -> None:
        blob = sealed()
        for length in range(len(blob)):
            with pytest.raises(EncryptionError) as caught:
                opened(blob[:length])
            assert caught.type is (Malformed if length < 65 else Tampered), length

    def test_nothing_may_follow(self) -> None:
        with pytest.raises(Tampered):
            opened(sealed() + b"\0")

    @pytest.mark.parametrize(
        ("org_id", "record_id"), [(ORG, OTHER_RECORD), (OTHER_ORG, RECORD), (OTHER_ORG, OTHER_RECORD), (RECORD, ORG)]
    )
    def test_an_envelope_does_not_open_in_another_row(self, org_id: UUID, record_id: UUID) -> None:
        with pytest.raises(Tampered):
            RING.open(sealed(), org_id=org_id, record_id=record_id)

    def test_the_organisation_is_bound_by_the_data_key_and_by_the_associated_data(self) -> None:
        """Each of the two alone would already refuse."""
        blob = sealed()
        key_of_org = AESGCM(rfc_5869(MASTER, b"data-key\0" + ORG.bytes))
        key_of_other = AESGCM(rfc_5869(MASTER, b"data-key\0" + OTHER_ORG.bytes))
        assert envelope.open(blob, cipher=key_of_org, org_id=ORG, record_id=RECORD) == CONFIG
        with pytest.raises(Tampered):
            envelope.open(blob, cipher=key_of_org, org_id=OTHER_ORG, record_id=RECORD)
        with pytest.raises(Tampered):
            envelope.open(blob, cipher=key_of_other, org_id=ORG, record_id=RECORD)

    @pytest.mark.parametrize("blob", [None, "", b"", b"ERPC", b'{"password":"x"}' * 10, "ERPC\x01" * 20, CONFIG, 7])
    def test_what_is_no_envelope_is_malformed(self, blob: Any) -> None:
        with pytest.raises(Malformed):
            opened(blob)

    def test_an_unknown_format_is_named_before_its_length_is_judged(self) -> None:
        with pytest.raises(UnknownFormat):
            opened(b"ERPC\x02")

    @pytest.mark.parametrize(
        "plaintext",
        [
            b"",
            b"null",
            b"[]",
            b'"text"',
            b"7",
            b"{} {}",
            b'{"n":NaN}',
            b'{"n":Infinity}',
            b'{"n":"\xff"}',
            b"\xef\xbb\xbf{}",
            '{"n":1}'.encode("utf-16"),
            b'{"n":' * 10_000,
        ],
    )
    def test_a_genuine_envelope_must_hold_a_json_object(self, plaintext: bytes) -> None:
        with pytest.raises(Malformed, match="does not hold a JSON object"):
            opened(by_hand(plaintext))


class TestLeaks:
    @pytest.mark.parametrize(
        ("blob", "expected"),
        [
            (by_hand(f'{{"password":"{SECRET}"'.encode()), Malformed),
            (by_hand(f'["{SECRET}"]'.encode()), Malformed),
            (by_hand(SECRET.encode("utf-16")), Malformed),
            (sealed()[:-1], Tampered),
            (KeyRing(b"another key of thirty-two bytes!").seal(CONFIG, org_id=ORG, record_id=RECORD), UnknownKey),
        ],
    )
    def test_no_plaintext_behind_an_error_of_reading(self, blob: bytes, expected: type[EncryptionError]) -> None:
        with pytest.raises(expected) as caught:
            opened(blob)
        shown = everything_shown(caught.value, below="test_no_plaintext_behind_an_error_of_reading")
        assert expected.__name__ in shown
        for part in ("Tr0ub4dor", "T\\x00r\\x000", MASTER.hex(), repr(MASTER)[2:-1]):
            assert part not in shown

    def test_no_plaintext_behind_an_error_of_writing(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            envelope.seal(
                {"password": SECRET, "broken": "\ud800"},
                cipher=AESGCM(MASTER),
                key_id=bytes(32),
                org_id=ORG,
                record_id=RECORD,
            )
        shown = everything_shown(caught.value, below="test_no_plaintext_behind_an_error_of_writing")
        assert "plain JSON object" in shown
        assert "Tr0ub4dor" not in shown
