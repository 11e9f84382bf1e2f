"""Writes JSON in which no amount ever passes through a float; `connectors.strict_json` reads it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from json.encoder import encode_basestring
from types import NoneType
from typing import Any, Final

from connectors.order import exact

Json = None | bool | int | str | Decimal | dict[str, "Json"] | list["Json"]


def dumps(value: Json) -> str:
    """Return compact JSON; a Decimal becomes a number with exactly its digits.

    The standard encoder knows no Decimal, and a float in between would turn 0.10 into 0.1 and lose digits.
    """
    return _WRITERS[type(value)](value)


def _object(members: dict[str, Json]) -> str:
    written = [f"{encode_basestring(name)}:{_WRITERS[type(value)](value)}" for name, value in members.items()]
    return "{" + ",".join(written) + "}"


def _array(items: list[Json]) -> str:
    return "[" + ",".join([_WRITERS[type(item)](item) for item in items]) + "]"


_CONSTANTS: Final = {None: "null", True: "true", False: "false"}
_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    str: encode_basestring,
    Decimal: exact,
    int: str,
    bool: _CONSTANTS.__getitem__,
    NoneType: _CONSTANTS.__getitem__,
    dict: _object,
    list: _array,
}
