"""Numbers keep their digits, and nothing that is not JSON is read."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.formats import exact_json

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=Decimal("-1e14"), max_value=Decimal("1e14"))
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
    assert exact_json.loads(f"[{exact_json.dumps(number)}]".encode()) == [number]


@given(VALUES)
def test_what_is_written_is_read_back(value: exact_json.Json) -> None:
    text = exact_json.dumps(value)
    if is_utf8(text):
        assert exact_json.loads(text.encode()) == value


@given(st.text() | st.lists(st.integers() | st.text()) | st.dictionaries(st.text(), st.none() | st.booleans()))
def test_writes_what_the_standard_library_writes(value: exact_json.Json) -> None:
    assert exact_json.dumps(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("number", ["12345678901234.5678", "0.0000", "1.10", "100", "0.001", "-0.5"])
def test_trailing_zeros_stay(number: str) -> None:
    assert exact_json.dumps(Decimal(number)) == number


def test_no_exponent_is_written() -> None:
    assert exact_json.dumps([Decimal("1E+3"), Decimal("1E-4")]) == "[1000,0.0001]"


def test_a_byte_order_mark_is_skipped() -> None:
    assert exact_json.loads(b'\xef\xbb\xbf{"a": 1.50}') == {"a": Decimal("1.50")}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{'a': 1}", b'{"a": NaN}', b"[Infinity]", b"[-Infinity]", b'{"a": 1, "a": 2}', b"\xff\xfe{\x00}\x00",
     b'"\xc3"', b"[" * 100_000, b"1" + b"0" * 5000],
    ids=["empty", "cut", "quotes", "nan", "inf", "-inf", "twice", "utf-16", "not utf-8", "deep", "huge"],
)  # fmt: skip
def test_refuses_what_is_not_json(content: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        exact_json.loads(content)
