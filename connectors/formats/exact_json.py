"""JSON in which no amount ever passes through a float, written and read."""

from __future__ import annotations

import json
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn

from connectors.order import exact

Json = None | bool | int | str | Decimal | dict[str, "Json"] | list["Json"]

_CONSTANTS: Final = {None: "null", True: "true", False: "false"}


def dumps(value: Json) -> str:
    """Return compact JSON; a Decimal becomes a number with exactly its digits.

    The standard encoder knows no Decimal, and a float in between would turn 0.10 into 0.1 and lose digits.
    """
    match value:
        case str():
            return encode_basestring(value)
        case Decimal():
            return exact(value)
        case None | bool():
            return _CONSTANTS[value]
        case int():
            return str(value)
        case dict():
            return "{" + ",".join([f"{encode_basestring(key)}:{dumps(item)}" for key, item in value.items()]) + "}"
        case list():
            return "[" + ",".join([dumps(item) for item in value]) + "]"


def loads(content: bytes) -> Any:
    """Return what a JSON text says, numbers with a fraction as Decimal.

    A byte order mark is skipped (Windows programs write one).

    Raises:
        ValueError: not UTF-8, not JSON, nested too deeply, NaN or Infinity, or a key that stands there twice.
    """
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a key stands there twice")
    return read
