"""A small part of JSONPath (RFC 9535) that finds values by name and place, and can neither compute nor run long.

    $.order.lines[0].number    names, and places from 0 (or from the end: [-1])
    $['order number']          names with any characters
    $.items[*].id, $.*         every item, every member

The `$` may be left out. Filters, slices, scripts and `..` are not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MAX_LENGTH: Final = 500
MAX_STEPS: Final = 32
MAX_FOUND: Final = 10_000

_STEP: Final = re.compile(
    r"""\.?(?:
        (?:(?<=\.)|^)(?P<name>[^\W\d][\w-]*|\*)
      | (?<!\.)\[(?P<index>-?[0-9]{1,7}|\*)\]
      | (?<!\.)\[(?:'(?P<single>[^'\\\x00-\x1f]+)'|"(?P<double>[^"\\\x00-\x1f]+)")\]
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class JsonPath:
    """A path that was read once and can be followed in any number of values."""

    text: str
    _steps: tuple[str | int | None, ...] = field(repr=False)
    """Names, places, and None for every one."""

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """Return what a text says.

        Raises:
            ValueError: it is no path of this kind.
        """
        return _parsed(text)

    def find(self, value: Any) -> list[Any]:
        """Return what lies at the path, in sequence; nothing where there is no such place."""
        found = [value]
        for step in self._steps:
            found = [inner for outer in found for inner in _step(outer, step)][:MAX_FOUND]
        return found

    def first(self, value: Any) -> Any:
        """Return the first of what lies at the path; None where there is nothing."""
        return next(iter(self.find(value)), None)

    def text_in(self, value: Any) -> str | None:
        """Return the first of what lies there as text; None for nothing, and for what is no text and no number."""
        found = self.first(value)
        if isinstance(found, bool) or found is None or isinstance(found, list | dict):
            return None
        return str(found).strip() or None


def _step(value: Any, step: str | int | None) -> Iterator[Any]:
    match step, value:
        case str(), dict() if step in value:
            yield value[step]
        case int(), list() if -len(value) <= step < len(value):
            yield value[step]
        case None, dict():
            yield from value.values()
        case None, list():
            yield from value


@lru_cache(maxsize=1000)
def _parsed(text: str) -> JsonPath:
    rest = text.removeprefix("$")
    if len(text) > MAX_LENGTH or (not rest and text != "$"):
        raise ValueError("This is no path.")
    steps: list[str | int | None] = []
    position = 0
    if text.startswith("$") and rest and rest[0] not in ".[":
        raise ValueError("This is no path.")
    while position < len(rest):
        step = _STEP.match(rest, position)
        if step is None or len(steps) == MAX_STEPS or step.end() == position:
            raise ValueError("This is no path.")
        steps.append(_meaning(step))
        position = step.end()
    return JsonPath(text, tuple(steps))


def _meaning(step: re.Match[str]) -> str | int | None:
    if (index := step["index"]) is not None:
        return None if index == "*" else int(index)
    name = step["name"] or step["single"] or step["double"]
    return None if step["name"] == "*" else name


def _checked(text: str) -> str:
    try:
        JsonPath.parse(text)
    except ValueError:
        raise PydanticCustomError("json_path", "must be a path such as $.order.number or $.items[0].id") from None
    return text


PathText = Annotated[str, Field(max_length=MAX_LENGTH, examples=["$.order.number"]), AfterValidator(_checked)]
"""A path in a configuration."""
