"""A body written as a list of fields: from where in the order, to where in the body, and how it is written.

    {"target": "order.reference", "source": "header.external_order_number", "default": "none"}
    {"target": "order.day", "source": "header.order_date", "transform": [{"as": "date", "format": "DD.MM.YYYY"}]}
    {"target": "order.lines[].sku", "source": "lines[].internal_sku", "transform": [{"as": "upper"}]}
    {"target": "order.lines[].quantity", "source": "lines[].qty", "transform": [{"as": "number"}]}
    {"target": "order.source", "constant": "shop"}
    {"target": "order.title", "concat": ["header.currency", "order_id"], "separator": "-"}

`[]` in a target means: once for each line of the order. Sources are the fields of the order as the API takes it, and
`export_id`, `org_slug` and `created_at`. Nothing here is a program: there are no expressions, no conditions and no
loops but that over the lines, and fields, nesting and size are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from connectors import exact_json
from connectors.exact_json import Json
from connectors.exceptions import DocumentError, Fault
from connectors.order import Order, exact, utc_text
from connectors.validation import StrictModel

MAX_FIELDS: Final = 300
MAX_DEPTH: Final = 12
MAX_BODY_BYTES: Final = 20 * 1024 * 1024

_LINES: Final = "lines"
_PART: Final = r"[^\W\d][\w-]*"
_TARGET: Final = re.compile(rf"{_PART}(\[\])?(\.{_PART}(\[\])?)*")
_SOURCE: Final = re.compile(rf"{_PART}(\[\])?(\.{_PART})*")
_DATE_PARTS: Final = {"YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d", "hh": "%H", "mm": "%M", "ss": "%S"}
_DATE_FORMAT: Final = re.compile(r"(YYYY|YY|MM|DD|hh|mm|ss|[-./: TZ_,])+")
_DATE_TOKEN: Final = re.compile(r"YYYY|YY|MM|DD|hh|mm|ss")

Scalar = None | bool | int | str | Decimal
Text = Annotated[str, Field(max_length=1000)]
ShortText = Annotated[str, Field(max_length=200)]


def _target(text: str) -> str:
    if not _TARGET.fullmatch(text) or text.count("[]") > 1 or text.count(".") >= MAX_DEPTH:
        raise PydanticCustomError("target", "must be a path such as order.number or order.lines[].sku")
    return text


def _sources() -> frozenset[str]:
    """Return every path that an order can have, written as in a source."""
    return frozenset(_paths(Order, "")) | {"export_id", "org_slug", "created_at"}


def _paths(model: type[StrictModel], prefix: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        inner = _model_in(info.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from _paths(inner, f"{prefix}{name}[]." if name == _LINES else f"{prefix}{name}.")


def _model_in(annotation: Any) -> type[StrictModel] | None:
    kinds = (annotation, *getattr(annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrictModel)), None)


_KNOWN: Final = _sources()


def _source(text: str) -> str:
    if text not in _KNOWN:
        raise PydanticCustomError(
            "source", "must be a field of an order such as header.currency or lines[].internal_sku"
        )
    return text


def _date_format(text: str) -> str:
    if not _DATE_FORMAT.fullmatch(text):
        raise PydanticCustomError("date_format", "must be made of YYYY, YY, MM, DD, hh, mm, ss and - . / : T Z")
    return text


Target = Annotated[str, Field(max_length=200), AfterValidator(_target)]
Source = Annotated[str, Field(max_length=100), AfterValidator(_source)]


class Transform(StrictModel):
    """One step on the way from the order to the body."""

    kind: Annotated[
        Literal["date", "number", "text", "upper", "lower", "pad", "cut", "lookup"],
        Field(alias="as", description="What is done."),
    ]
    format: Annotated[
        str | None, Field(max_length=40, description="date: such as DD.MM.YYYY or YYYY-MM-DDThh:mm:ssZ.")
    ] = None
    places: Annotated[int | None, Field(ge=0, le=9, description="number, text: exactly so many decimal places.")] = None
    round: Annotated[bool, Field(description="Whether digits beyond may be rounded away; else they are an error.")] = (
        False
    )
    decimal_sign: Annotated[Literal[".", ","], Field(description="text: what stands before the decimal places.")] = "."
    length: Annotated[int | None, Field(ge=1, le=1000, description="pad, cut: to so many characters.")] = None
    fill: Annotated[str, Field(min_length=1, max_length=1, description="pad: with this.")] = "0"
    side: Annotated[Literal["left", "right"], Field(description="pad: where.")] = "left"
    table: Annotated[
        Annotated[dict[ShortText, ShortText], Field(max_length=1000)] | None,
        Field(description="lookup: what each value becomes."),
    ] = None
    otherwise: Annotated[
        ShortText | None, Field(description="lookup: for all others; without it they are an error.")
    ] = None

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    def cross_field_faults(self) -> Iterator[Fault]:
        if self.kind == "date":
            try:
                _date_format(self.format or "")
            except PydanticCustomError as error:
                yield Fault(path="format", message=error.message(), code="date_format")
        if self.kind in ("pad", "cut") and self.length is None:
            yield Fault(path="length", message=f"is required for {self.kind}", code="missing")
        if self.kind == "lookup" and not self.table:
            yield Fault(path="table", message="is required for lookup", code="missing")


class FieldRule(StrictModel):
    """One field of the body."""

    target: Annotated[Target, Field(description="Where it goes.")]
    source: Annotated[Source | None, Field(description="Where it comes from.")] = None
    constant: Annotated[bool | int | Text | None, Field(description="The same value for every order.")] = None
    concat: Annotated[tuple[Source, ...], Field(max_length=10, description="Several sources, joined.")] = ()
    separator: Annotated[str, Field(max_length=10, description="What stands between them.")] = " "
    default: Annotated[bool | int | Text | None, Field(description="Where the order says nothing.")] = None
    required: Annotated[bool, Field(description="Whether an order that says nothing is an error.")] = False
    omit_empty: Annotated[bool, Field(description="Whether the field is left out instead of being null.")] = False
    transform: Annotated[tuple[Transform, ...], Field(max_length=8, description="Steps, one after the other.")] = ()

    def cross_field_faults(self) -> Iterator[Fault]:
        given = [self.source is not None, self.constant is not None, bool(self.concat)]
        if sum(given) != 1:
            yield Fault(path="source", message="give one of source, constant and concat", code="one_of")
        if any("[]" in source for source in self.sources()) and "[]" not in self.target:
            yield Fault(path="target", message="needs [] where a source is of the lines", code="not_per_line")

    def sources(self) -> tuple[str, ...]:
        """Return where its value comes from."""
        return (self.source,) if self.source else self.concat


BodyMapping = Annotated[tuple[FieldRule, ...], Field(max_length=MAX_FIELDS)]
"""The fields of a body, for a configuration."""


def faults(mapping: Iterable[FieldRule], prefix: str) -> Iterator[Fault]:
    """Yield what is wrong between the fields: two that go to one place, or one into another that is no object."""
    taken: dict[str, str] = {}
    for index, field in enumerate(mapping):
        for path, shape in _places(field.target):
            if (path in taken and "value" in (shape, taken[path])) or taken.setdefault(path, shape) != shape:
                yield Fault(path=f"{prefix}.{index}.target", message="is taken by another field", code="duplicate")
                break


def _places(target: str) -> Iterator[tuple[str, str]]:
    """Yield each place on the way of a target, and whether there is an object, a list or the value itself."""
    parts, path = target.split("."), ""
    for depth, part in enumerate(parts, start=1):
        path = f"{path}.{part.removesuffix('[]')}"
        if part.endswith("[]"):
            yield path, "list"
            path += "[]"
        yield path, "value" if depth == len(parts) else "object"


def render(
    mapping: Iterable[FieldRule], order: Order, *, export_id: UUID, org_slug: str, created_at: datetime
) -> bytes:
    """Return the body of an order as JSON; the same arguments always give the same bytes.

    Raises:
        DocumentError: a value is missing, cannot be written as asked, or the body is too large.
    """
    values: dict[str, Any] = order.as_json()
    values |= {"export_id": str(export_id), "org_slug": org_slug, "created_at": utc_text(created_at)}
    body: dict[str, Json] = {}
    for field in mapping:
        _write(body, field, values)
    content = exact_json.dumps(body).encode()
    if len(content) > MAX_BODY_BYTES:
        raise DocumentError(where=" (it is too large)")
    return content


def _write(body: dict[str, Json], field: FieldRule, values: Mapping[str, Any]) -> None:
    above, per_line, below = field.target.partition("[]")
    if not per_line:
        _put(body, above, _value(field, values, None), field)
        return
    items = _items(body, above, len(values[_LINES]))
    for index, line in enumerate(values[_LINES]):
        value = _value(field, values, line)
        if below:
            _put(items[index], below.removeprefix("."), value, field)
        else:
            items[index] = value


def _items(body: dict[str, Json], path: str, count: int) -> list[Any]:
    """Return the list at a path, with a place for each line."""
    *parents, name = path.split(".")
    place = _object(body, parents)
    items = place.setdefault(name, [{} for _ in range(count)])
    assert isinstance(items, list)  # `faults` has seen to it
    return items


def _put(body: dict[str, Json], path: str, value: Scalar, field: FieldRule) -> None:
    *parents, name = path.split(".")
    if value is None and field.omit_empty:
        return
    _object(body, parents)[name] = value


def _object(body: dict[str, Json], parents: Iterable[str]) -> dict[str, Json]:
    place = body
    for parent in parents:
        inner = place.setdefault(parent, {})
        assert isinstance(inner, dict)  # as above
        place = inner
    return place


def _value(field: FieldRule, values: Mapping[str, Any], line: Mapping[str, Any] | None) -> Scalar:
    value = _taken(field, values, line)
    if value is None or value == "":
        if field.required and field.default is None:
            raise DocumentError(where=f" (at {field.target}: it is missing)")
        return field.default
    for step in field.transform:
        value = _transformed(value, step, field.target)
    return value


def _taken(field: FieldRule, values: Mapping[str, Any], line: Mapping[str, Any] | None) -> Scalar:
    if field.constant is not None:
        return field.constant
    found: list[Scalar] = [_at(source, values, line) for source in field.sources()]
    if field.source:
        return found[0]
    return field.separator.join(_text(value) for value in found if value not in (None, "")) or None


def _at(source: str, values: Mapping[str, Any], line: Mapping[str, Any] | None) -> Any:
    of_line = source.startswith(f"{_LINES}[].")
    value: Any = line if of_line else values
    for name in source.removeprefix(f"{_LINES}[].").split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _transformed(value: Scalar, step: Transform, where: str) -> Scalar:
    match step.kind:
        case "upper":
            return _text(value).upper()
        case "lower":
            return _text(value).lower()
        case "pad":
            filled = str.rjust if step.side == "left" else str.ljust
            return filled(_text(value), step.length or 0, step.fill)
        case "cut":
            return _text(value)[: step.length]
        case "lookup":
            found: str | None = (step.table or {}).get(_text(value), step.otherwise)
            if found is None:
                raise DocumentError(where=f" (at {where}: the table does not know this value)")
            return found
        case "date":
            return _date_text(value, step.format or "", where)
        case "number":
            return _number(value, step, where)
    if step.places is None and step.decimal_sign == ".":
        return _text(value)
    return exact(_number(value, step, where)).replace(".", step.decimal_sign)


def _text(value: Scalar) -> str:
    match value:
        case Decimal():
            return exact(value)
        case bool():
            return "true" if value else "false"
    return str(value)


def _number(value: Scalar, step: Transform, where: str) -> Decimal:
    try:
        number = Decimal(_text(value))
        if not number.is_finite():
            raise InvalidOperation
        if step.places is None:
            return number
        with localcontext() as exactly:
            exactly.prec = 60
            fitted = number.quantize(Decimal(1).scaleb(-step.places), rounding=ROUND_HALF_UP)
    except InvalidOperation:
        raise DocumentError(where=f" (at {where}: it is no number)") from None
    if fitted != number and not step.round:
        raise DocumentError(where=f" (at {where}: it has more than {step.places} decimal places)")
    return fitted


def _date_text(value: Scalar, pattern: str, where: str) -> str:
    text = _text(value)
    try:
        moment: date = datetime.fromisoformat(text).astimezone(UTC) if "T" in text else date.fromisoformat(text)
    except ValueError:
        raise DocumentError(where=f" (at {where}: it is no date)") from None
    return moment.strftime(_DATE_TOKEN.sub(lambda part: _DATE_PARTS[part[0]], pattern))
