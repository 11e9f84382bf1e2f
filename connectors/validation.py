"""What orders and configurations share: a strict pydantic base, and faults that never repeat the input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from connectors.exceptions import Fault, InvalidInput

_NOT_ON_ONE_LINE: Final = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_NOT_IN_LINES: Final = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_SURROGATES: Final = r"\ud800-\udfff"  # which no text that came as UTF-8 has
_CONTROL: Final = re.compile(f"[{_NOT_ON_ONE_LINE}{_SURROGATES}]")
_CONTROL_BUT_LINES: Final = re.compile(f"[{_NOT_IN_LINES}{_SURROGATES}]")
_CROSS_FIELD: Final = "cross_field"
_FOREIGN: Final = ("value_error", "assertion_error")
"""What pydantic makes of a plain ValueError: its text is a library's, which may repeat the input."""

_WORDING: Final = (
    ("Extra inputs are not permitted", "is not a known field"),
    ("Field required", "is required"),
    ("Decimal input should", "must"),
    ("String should", "must"),
    ("Input should", "must"),
)


def _single_line(text: str) -> str:
    if not text.isprintable() and _CONTROL.search(text):  # the first is cheap, and true of nearly every text
        raise PydanticCustomError("control_character", "must not contain control characters or line breaks")
    if not text.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return text


def _single_line_or_empty(text: str) -> str:
    return _single_line(text) if text else text


def _many_lines(text: str) -> str:
    if not text.isprintable() and _CONTROL_BUT_LINES.search(text):
        raise PydanticCustomError("control_character", "must not contain control characters other than line breaks")
    return text


@dataclass(frozen=True, slots=True)
class _Rule:
    """A check that stands in the JSON Schema, too."""

    check: Callable[[str], str]
    pattern: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"pattern": self.pattern, **handler(schema)}


ON_ONE_LINE: Final = _Rule(_single_line, f"^[^{_NOT_ON_ONE_LINE}]+$")
ON_ONE_LINE_OR_EMPTY: Final = _Rule(_single_line_or_empty, f"^[^{_NOT_ON_ONE_LINE}]*$")
Line = Annotated[str, ON_ONE_LINE]
"""Text on one line: no control characters, not blank."""

WITH_LINE_BREAKS: Final = _Rule(_many_lines, f"^[^{_NOT_IN_LINES}]*$")
Paragraphs = Annotated[str, WITH_LINE_BREAKS]
"""Text that may have line breaks."""


def moment(text: str) -> datetime | None:
    """Return a time with offset (ISO 8601) in UTC, as the database knows no offset beyond 15:59; else None."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):  # the second: in UTC it is before the first day there is, or after the last
        return None


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys, NaN and infinity, and whose errors never show the input."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        validate_default=True,
    )

    error_class: ClassVar[type[InvalidInput]] = InvalidInput

    @classmethod
    def parse(cls, data: object) -> Self:
        """Return the model that `data` describes.

        Args:
            data: a mapping as it comes out of a JSON parser (Decimal for numbers with a fraction).

        Raises:
            InvalidInput: the subclass named by `error_class`, with one fault per field.
        """
        if not isinstance(data, Mapping):
            raise cls.error_class([Fault(path="", message="must be an object", code="object_type")])
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            listed = tuple(faults(error))
        # Raised outside the handler: the foreign error holds the input, and __context__ would keep it.
        raise cls.error_class(listed)

    def cross_field_faults(self) -> Iterable[Fault]:
        """Return what is wrong between fields that are each valid; a hook for subclasses."""
        return ()

    @model_validator(mode="after")
    def _check_across_fields(self) -> Self:
        if found := tuple(self.cross_field_faults()):
            summary = "; ".join(f"{fault.path}: {fault.message}" for fault in found).replace("{", "(").replace("}", ")")
            raise PydanticCustomError(_CROSS_FIELD, summary, {"faults": found})
        return self


def faults(error: ValidationError, prefix: str = "") -> Iterator[Fault]:
    """Yield one fault per field of a pydantic error.

    Args:
        error: what `model_validate` raised.
        prefix: the path of the model inside the request, such as "order".
    """
    for detail in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in (prefix, *detail["loc"]) if part != "")
        if detail["type"] == _CROSS_FIELD:
            for fault in detail["ctx"]["faults"]:
                yield Fault(path=f"{path}.{fault.path}".strip("."), message=fault.message, code=fault.code)
        else:
            message = "is not valid" if detail["type"] in _FOREIGN else _sentence(detail["msg"])
            yield Fault(path=path, message=message, code=detail["type"])


def prefixed(found: Iterable[Fault], prefix: str) -> tuple[Fault, ...]:
    """Return the faults with `prefix` before each path."""
    return tuple(
        Fault(path=f"{prefix}.{fault.path}".rstrip("."), message=fault.message, code=fault.code) for fault in found
    )


def _sentence(message: str) -> str:
    """Turn pydantic's wording into what the reader has to do."""
    for theirs, ours in _WORDING:
        message = message.replace(theirs, ours)
    return message
