"""Reads JSON strictly: what two programs could understand differently is refused, with the place where it stands.

The grammar is RFC 8259. Beyond it, following I-JSON (RFC 7493): UTF-8 only, no key twice in one object, no lone
surrogates. A number with a fraction or an exponent becomes a Decimal, so that no amount passes through a float.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn

from connectors.exceptions import InvalidInput

MAX_DEPTH: Final = 64
MAX_MEMBERS: Final = 500_000
"""Of all arrays and objects together; an order of 10,000 lines has some 100,000, and each costs memory."""
MAX_DIGITS: Final = 400
"""Of one number; far beyond any amount, and below where Python refuses to convert (4,300 digits)."""
MAX_EXPONENT: Final = 400
"""Written out in full, 1e999999999 would need a gigabyte."""

_BOM: Final = "\ufeff"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NEXT_BRACKET: Final = re.compile(r'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
_TOKEN: Final = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+")(?P<key>\s*:)?|(?P<number>-?(?:[0-9][0-9.eE+-]*+|Infinity)|NaN)|[\[\]{}]',
    re.DOTALL,
)


class _Refused(Exception):
    """What is wrong, as a part of a sentence."""


def loads(content: bytes) -> Any:
    """Return what a JSON text says.

    Args:
        content: the text in UTF-8, without a byte order mark.

    Returns:
        None, bool, int, Decimal, str, list or dict.

    Raises:
        InvalidInput: one sentence with line and column, both from 1.
    """
    text = _decode(content)
    if text.count(",") > MAX_MEMBERS and _STRING.sub("", text).count(",") > MAX_MEMBERS:
        raise _invalid(text, 0, f"The text has more than {MAX_MEMBERS} members")
    if _is_too_deep(text) or _SURROGATE_ESCAPE.search(text):
        _refuse_first_fault(text)
    fault: int | None = None
    try:
        return json.loads(
            text, parse_int=_integer, parse_float=_decimal, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        fault = error.pos
    except _Refused:
        pass
    # Raised out here: the decoder's error holds the whole text, and __context__ would keep it.
    if fault is None:
        _refuse_first_fault(text)
        fault = 0
    raise _invalid(text, fault, "This is not valid JSON")


def _decode(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        valid = content[: error.start].decode()
    else:
        if text.startswith(_BOM):
            raise _invalid(text, 0, "The text begins with a byte order mark; save it as UTF-8 without one")
        return text
    raise _invalid(valid, len(valid), "This is not UTF-8")


def _is_too_deep(text: str) -> bool:
    depth = position = 0
    while bracket := _NEXT_BRACKET.match(text, position):
        depth += 1 if bracket[1] in "[{" else -1
        if depth > MAX_DEPTH:
            return True
        position = bracket.end()
    return False


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _Refused(f"A number has more than {MAX_DIGITS} digits")
    return int(digits)


def _decimal(digits: str) -> Decimal:
    if len(digits) > MAX_DIGITS:
        raise _Refused(f"A number has more than {MAX_DIGITS} digits")
    exponent = re.split("[eE]", digits)[1:]
    if exponent and abs(int(exponent[0])) > MAX_EXPONENT:
        raise _Refused(f"A number has an exponent beyond {MAX_EXPONENT}")
    return Decimal(digits)


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused
    return found


def _refuse_first_fault(text: str) -> None:
    """Raise for the first thing that the grammar allows and we do not; return if there is none.

    Slow, and therefore only for a text that is suspected or known to have one.
    """
    keys: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        try:
            _check(token, keys)
        except _Refused as refused:
            fault = str(refused)
        except ValueError:
            return  # not JSON at all from here on, which the parser reports
        else:
            continue
        raise _invalid(text, token.start(), fault)


def _check(token: re.Match[str], keys: list[set[str]]) -> None:
    if token["string"]:
        string = json.loads(token["string"])
        if _SURROGATE.search(string):
            raise _Refused("A text has one half of a surrogate pair")
        if token["key"] and keys:
            if string in keys[-1]:
                raise _Refused(f"The key {json.dumps(string[:64])} stands twice in one object")
            keys[-1].add(string)
    elif token["number"]:
        json.loads(token["number"], parse_int=_integer, parse_float=_decimal, parse_constant=_constant)
    elif token[0] in "[{":
        keys.append(set())
        if len(keys) > MAX_DEPTH:
            raise _Refused(f"The text is nested more than {MAX_DEPTH} deep")
    elif keys:
        keys.pop()


def _invalid(text: str, position: int, fault: str) -> InvalidInput:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return InvalidInput(f"{fault} (line {line}, column {column}).")
