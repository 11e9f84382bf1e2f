"""Keys: which of them opens what, which are refused, and that none of them shows."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from connectors.encryption import KeyRing, parse_master_key
from connectors.exceptions import ConfigurationError, Malformed, Tampered, UnknownFormat, UnknownKey
from connectors.tests.encryption.leaks import everything_shown

OLD, NEW, FOREIGN = (bytes([first, *range(31)]) for first in (100, 101, 102))
ORG, RECORD = uuid4(), uuid4()
CONFIG = {"password": "s3cret"}
GOOD = "0123456789abcdef" * 4


def sealed_with(*keys: bytes) -> bytes:
    active, *previous = keys
    return KeyRing(active, previous).seal(CONFIG, org_id=ORG, record_id=RECORD)


class TestKeyRing:
    def test_previous_keys_still_open(self) -> None:
        ring = KeyRing(NEW, [FOREIGN, OLD])
        assert ring.open(sealed_with(OLD), org_id=ORG, record_id=RECORD) == CONFIG

    def test_the_active_key_seals(self) -> None:
        assert KeyRing(NEW).open(sealed_with(NEW, OLD), org_id=ORG, record_id=RECORD) == CONFIG

    def test_an_unknown_key_is_named_by_its_id(self) -> None:
        with pytest.raises(UnknownKey) as caught:
            KeyRing(NEW, [OLD]).open(sealed_with(FOREIGN), org_id=ORG, record_id=RECORD)
        assert caught.value.key_id == KeyRing(FOREIGN).active_key_id
        assert caught.value.key_id.hex()[:16] in str(caught.value)

    def test_the_header_alone_selects_the_key(self) -> None:
        """An envelope that claims another key of the ring is not tried with the right one."""
        forged = bytearray(sealed_with(OLD))
        forged[5:37] = KeyRing(NEW).active_key_id
        with pytest.raises(Tampered):
            KeyRing(NEW, [OLD]).open(bytes(forged), org_id=ORG, record_id=RECORD)

    def test_key_ids_are_public_distinct_and_the_active_one_comes_first(self) -> None:
        ring = KeyRing(NEW, [OLD, FOREIGN])
        assert ring.key_ids == tuple(KeyRing(key).active_key_id for key in (NEW, OLD, FOREIGN))
        assert {len(key_id) for key_id in ring.key_ids} == {32}
        assert not {NEW, OLD, FOREIGN} & set(ring.key_ids)

    def test_a_key_named_twice_counts_once(self) -> None:
        ring = KeyRing(NEW, [NEW, OLD, OLD, NEW])
        assert ring.key_ids == KeyRing(NEW, [OLD]).key_ids
        assert ring.active_key_id == KeyRing(NEW).active_key_id

    def test_needs_rotation(self) -> None:
        ring = KeyRing(NEW, [OLD])
        assert ring.needs_rotation(sealed_with(OLD))
        assert ring.needs_rotation(sealed_with(FOREIGN))
        assert not ring.needs_rotation(sealed_with(NEW))

    @pytest.mark.parametrize(("blob", "expected"), [(b"{}", Malformed), (b"ERPC\x02" + bytes(90), UnknownFormat)])
    def test_needs_rotation_has_no_opinion_on_what_is_no_envelope(self, blob: bytes, expected: type[Exception]) -> None:
        with pytest.raises(expected):
            KeyRing(NEW).needs_rotation(blob)

    @pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
    def test_a_key_of_another_size_is_refused(self, size: int) -> None:
        for keys in ((bytes(size), []), (NEW, [OLD, bytes(size)])):
            with pytest.raises(ConfigurationError, match="exactly 32 bytes") as caught:
                KeyRing(*keys)
            shown = everything_shown(caught.value, below="test_a_key_of_another_size_is_refused")
            assert repr(NEW)[2:-1] not in shown

    def test_threads_share_a_ring(self) -> None:
        """More organisations than the cache holds, so that threads also meet in its eviction."""
        ring = KeyRing(NEW, [OLD])
        organisations = [UUID(int=number) for number in range(1500)]

        def round_trip(org_id: UUID) -> bool:
            config = {"org": str(org_id)}
            blob = ring.seal(config, org_id=org_id, record_id=RECORD)
            return ring.open(blob, org_id=org_id, record_id=RECORD) == config

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(round_trip, organisations * 2))


class TestLeaks:
    def test_repr_names_ids_only(self) -> None:
        ring = KeyRing(NEW, [OLD])
        for text in (repr(ring), str(ring), f"{ring}"):
            assert ring.active_key_id.hex()[:16] in text
            for key in (NEW, OLD):
                assert key.hex() not in text
                assert repr(key)[2:-1] not in text

    @pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_a_ring_is_not_copied(self, duplicate: object) -> None:
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            duplicate(KeyRing(NEW))  # type: ignore[operator]

    def test_a_ring_has_no_dict_to_look_into(self) -> None:
        with pytest.raises(TypeError):
            vars(KeyRing(NEW))


class TestParseMasterKey:
    def test_hexadecimal_in_either_case(self) -> None:
        assert parse_master_key(GOOD, name="KEY") == bytes.fromhex(GOOD)
        assert parse_master_key(GOOD.upper(), name="KEY") == bytes.fromhex(GOOD)

    @pytest.mark.parametrize(
        ("text", "reason", "remedy"),
        [
            ("", "is not set", "generate_master_key"),
            (GOOD[:-1], "is too short: 63 digits instead of 64", "Copy the key again"),
            (GOOD[:32], "is too short: 32 digits instead of 64", "Copy the key again"),
            (GOOD + "0", "is too long: 65 digits instead of 64", "Copy the key again"),
            (GOOD * 2, "is too long: 128 digits instead of 64", "Copy the key again"),
            ("g" + GOOD[1:], "something other than the hexadecimal digits", "generate_master_key"),
            ("0x" + GOOD[2:], "something other than the hexadecimal digits", "generate_master_key"),
            ("٣" + GOOD[1:], "something other than the hexadecimal digits", "generate_master_key"),
            ("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw==", "something other than", "generate_master_key"),
            (GOOD + "\n", "a space, a tab or a line break", "Remove it"),
            (" " + GOOD, "a space, a tab or a line break", "Remove it"),
            (GOOD[:30] + "\t" + GOOD[31:], "a space, a tab or a line break", "Remove it"),
            (GOOD[:30] + "\u00a0" + GOOD[31:], "a space, a tab or a line break", "Remove it"),
            ("0" * 64, "is all zeros", "generate_master_key"),
            ("ab" * 32, "repeats one byte", "generate_master_key"),
            ("Ff" * 32, "repeats one byte", "generate_master_key"),
        ],
    )
    def test_refusals(self, text: str, reason: str, remedy: str) -> None:
        """Each names the setting, the reason and the remedy, and never the value."""
        with pytest.raises(ConfigurationError) as caught:
            parse_master_key(text, name="ENCRYPTION_MASTER_KEY")
        message = str(caught.value)
        assert message.startswith("ENCRYPTION_MASTER_KEY ")
        assert reason in message
        assert remedy in message
        if text:
            shown = everything_shown(caught.value, below="test_refusals")
            assert text not in shown
            assert text[4:20] not in shown
