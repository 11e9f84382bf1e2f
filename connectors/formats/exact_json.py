"""Writes JSON in which no amount ever passes through a float; `connectors.strict_json` reads it."""

from __future__ import annotations

from decimal import Decimal
from json.encoder import encode_basestring
from typing import Final

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
