"""What is JSON is read exactly; what is not, or could be read in two ways, is refused with its place."""

from __future__ import annotations

import json
import time
import traceback
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import strict_json
from connectors.exceptions import InvalidInput

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**390), 10**390) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans())
def test_reads_what_the_standard_library_writes(value: Any, as_ascii: bool) -> None:
    assert strict_json.loads(json.dumps(value, ensure_ascii=as_ascii).encode()) == value


@pytest.mark.parametrize("number", ["12345678901234.5678", "1.10", "0.001", "-0.5", "1e3", "1E-4", "1.5e+400"])
def test_a_fraction_keeps_its_digits(number: str) -> None:
    read = strict_json.loads(number.encode())

    assert isinstance(read, Decimal)
    assert read.as_tuple() == Decimal(number).as_tuple()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "This is not valid JSON (line 1, column 1)."),
        (b'{"a": 1,\n "b" 2}', "This is not valid JSON (line 2, column 6)."),
        (b"{} {}", "This is not valid JSON (line 1, column 4)."),
        (b"[01]", "This is not valid JSON (line 1, column 3)."),
        (b'["a\tb"]', "This is not valid JSON (line 1, column 4)."),
        (b'["\\x"]', "This is not valid JSON (line 1, column 3)."),
        (b'["open', "This is not valid JSON (line 1, column 2)."),
        (b"[1\n,\nNaN]", "NaN is not JSON (line 3, column 1)."),
        (b"[-Infinity]", "-Infinity is not JSON (line 1, column 2)."),
        (b'{"a": {"b": 1},\n "b": 2, "a": 3}', 'The key "a" stands twice in one object (line 2, column 10).'),
        (b'{"a": 1, "\\u0061": 2}', 'The key "a" stands twice in one object (line 1, column 10).'),
        (b'["\\ud83d"]', "A text has one half of a surrogate pair (line 1, column 2)."),
        (b'{"\\udc00": 1}', "A text has one half of a surrogate pair (line 1, column 2)."),
        (b'["\n\xff"]', "This is not UTF-8 (line 2, column 1)."),
        (b'"\xed\xa0\x80"', "This is not UTF-8 (line 1, column 2)."),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        ("{}".encode("utf-16"), "This is not UTF-8 (line 1, column 1)."),
        (b"[" * 65 + b"]" * 65, "The text is nested more than 64 deep (line 1, column 65)."),
        (b"[1, " + b"9" * 401 + b"]", "A number has more than 400 digits (line 1, column 5)."),
        (b"[0." + b"9" * 401 + b"]", "A number has more than 400 digits (line 1, column 2)."),
        (b"[1e401]", "A number has an exponent beyond 400 (line 1, column 2)."),
        (b"[1e-99999999999999999999]", "A number has an exponent beyond 400 (line 1, column 2)."),
    ],
)
def test_refuses_with_the_place(content: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        strict_json.loads(content)

    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 64 + b"]" * 64,
        b'["[[[[", "\\"[", {"a": {"a": 1}}, [{"a": 1}, {"a": 1}]]',
        b'"\\ud83d\\ude00 \\\\ud800"',
        b" \t\r\n1 ",
        b"9" * 400,
    ],
    ids=["64 deep", "brackets in text", "surrogate pair", "white space", "400 digits"],
)
def test_accepts_what_is_just_allowed(content: bytes) -> None:
    assert strict_json.loads(content) == json.loads(content)


@given(st.binary(max_size=200) | st.text('[]{}",:\\u0dD89NaInfity-.eE1 ').map(str.encode))
def test_no_other_error_escapes(content: bytes) -> None:
    refused = None
    try:
        strict_json.loads(content)
    except InvalidInput as error:
        refused = error
    assert refused is None or "line" in str(refused)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'"' + b"a" * 4_000_000,
        b'"\\' * 500_000,
        b"9" * 1_000_000,
        b"x" * 1_000_000,
    ],
    ids=["brackets", "objects", "open text", "escapes", "digits", "letters"],
)
def test_malice_costs_no_time(content: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidInput):
        strict_json.loads(content)

    assert time.monotonic() - started < 2


@pytest.mark.parametrize("tail", [b"", b', "x": NaN}', b', "x": 1, "x": 2}', b', "x": "\\ud800"}', b"\xff"])
def test_a_refusal_does_not_carry_the_text(tail: bytes) -> None:
    content = b'{"password": "hunter2"' + tail
    with pytest.raises(InvalidInput) as refusal:
        strict_json.loads(content)

    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))
    assert refusal.value.__context__ is None
