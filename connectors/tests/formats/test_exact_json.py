"""Numbers keep their digits, and what is written is what others read."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import exact_json, strict_json

DECIMALS = st.decimals(
    allow_nan=False, allow_infinity=False, places=4, min_value=Decimal("-1e14"), max_value=Decimal("1e14")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | DECIMALS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@given(DECIMALS)
def test_a_decimal_keeps_its_digits(number: Decimal) -> None:
    assert exact_json.dumps(number) == format(number, "f")
    assert strict_json.loads(f"[{exact_json.dumps(number)}]".encode()) == [number]


@given(VALUES)
def test_what_is_written_is_read_back(value: exact_json.Json) -> None:
    text = exact_json.dumps(value)
    if is_utf8(text):
        assert strict_json.loads(text.encode()) == value


@given(st.text() | st.lists(st.integers() | st.text()) | st.dictionaries(st.text(), st.none() | st.booleans()))
def test_writes_what_the_standard_library_writes(value: exact_json.Json) -> None:
    assert exact_json.dumps(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("number", ["12345678901234.5678", "0.0000", "1.10", "100", "0.001", "-0.5"])
def test_trailing_zeros_stay(number: str) -> None:
    assert exact_json.dumps(Decimal(number)) == number


def test_no_exponent_is_written() -> None:
    assert exact_json.dumps([Decimal("1E+3"), Decimal("1E-4")]) == "[1000,0.0001]"
