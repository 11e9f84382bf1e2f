"""The canonical sales order: what every format is rendered from, exact to the last digit."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from connectors.exceptions import Fault, InvalidInput, InvalidOrder
from connectors.validation import ON_ONE_LINE, WITH_LINE_BREAKS, StrictModel

MAX_LINES: Final = 10_000

_DECIMAL: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def exact(number: Decimal) -> str:
    """Return the digits of `number` in plain notation, trailing zeros included."""
    return format(number, "f")


def _exact_decimal(value: object) -> object:
    # A float has already lost digits, and Decimal("1_0") would read as ten.
    match value:
        case bool() | float():
            raise PydanticCustomError("decimal_type", "must be a JSON number or a string of digits")
        case str() if not _DECIMAL.fullmatch(value):
            raise PydanticCustomError("decimal_parsing", "must be a plain decimal number such as 12.50")
    return value


def _read_at_once(*, whole: int, fraction: int, zero: bool) -> WrapValidator:
    """Read the string of digits that nearly every amount is; pydantic takes three times as long and finds the words."""
    plain = re.compile(f"[0-9]{{1,{whole}}}(\\.[0-9]{{1,{fraction}}})?", re.ASCII)

    def read(value: object, otherwise: Callable[[object], Decimal]) -> Decimal:
        if isinstance(value, str) and plain.fullmatch(value) and ((number := Decimal(value)) or zero):
            return number
        return otherwise(value)

    return WrapValidator(read)


def _iso_date(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise PydanticCustomError("date_parsing", "must be a date written YYYY-MM-DD")
    return value


def _iso_timestamp(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _TIMESTAMP.fullmatch(value)):
        return value
    raise PydanticCustomError("datetime_parsing", "must be a time with offset, written 2025-12-26T10:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first and the last day there is, with an offset beyond them
        raise PydanticCustomError("datetime_range", "must be from the year 1 to the year 9999 in UTC") from None


def _line_count(value: object) -> object:
    # Counted before the lines are looked at: pydantic's own min_length counts only the valid ones.
    if isinstance(value, list | tuple) and not 1 <= len(value) <= MAX_LINES:
        raise PydanticCustomError("line_count", "must have 1 to {most} lines", {"most": MAX_LINES})
    return value


def utc_text(moment: datetime) -> str:
    """Return `moment` as RFC 3339 text in UTC with a Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _amount_schema(*, whole: int, fraction: int, **bounds: int) -> WithJsonSchema:
    not_zero = "(?=.*[1-9])" if "exclusiveMinimum" in bounds else ""
    digits = f"^{not_zero}[0-9]{{1,{whole}}}(\\.[0-9]{{1,{fraction}}})?$"
    return WithJsonSchema({"anyOf": [{"type": "number", **bounds}, {"type": "string", "pattern": digits}]})


Quantity = Annotated[
    Decimal,
    Field(gt=0, max_digits=18, decimal_places=3),  # next to its type, else it is checked in Python
    BeforeValidator(_exact_decimal),
    _read_at_once(whole=15, fraction=3, zero=False),
    PlainSerializer(exact),
    _amount_schema(whole=15, fraction=3, exclusiveMinimum=0),
]
"""Up to 15 digits before the point and 3 after it, greater than zero."""

Price = Annotated[
    Decimal,
    Field(ge=0, max_digits=18, decimal_places=4),
    BeforeValidator(_exact_decimal),
    _read_at_once(whole=14, fraction=4, zero=True),
    PlainSerializer(exact),
    _amount_schema(whole=14, fraction=4, minimum=0),
]
"""Up to 14 digits before the point and 4 after it, not negative."""

IsoDate = Annotated[date, BeforeValidator(_iso_date)]
Timestamp = Annotated[
    AwareDatetime, BeforeValidator(_iso_timestamp), AfterValidator(_in_utc), PlainSerializer(utc_text)
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code", examples=["EUR"])]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2 code", examples=["DE"])]
Gln = Annotated[str, Field(pattern=r"^[0-9]{13}$", description="GS1 Global Location Number")]
Gtin = Annotated[str, Field(pattern=r"^([0-9]{8}|[0-9]{12,14})$", description="GS1 Global Trade Item Number")]

# Lengths stand next to the type as well; what is blank is refused as such, which is more than too short.
_NOT_EMPTY: Final[JsonDict] = {"minLength": 1}
Identifier = Annotated[str, Field(max_length=64, json_schema_extra=_NOT_EMPTY), ON_ONE_LINE]
Name = Annotated[str, Field(max_length=255, json_schema_extra=_NOT_EMPTY), ON_ONE_LINE]
Note = Annotated[str, Field(max_length=4000), WITH_LINE_BREAKS]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class Customer(StrictModel):
    """Who ordered."""

    id: Identifier
    erp_customer_number: Identifier | None = None
    name: Name | None = None


class Header(StrictModel):
    """What holds for the whole order."""

    external_order_number: Identifier | None = None
    order_date: IsoDate | None = None
    currency: Currency
    requested_delivery_date: IsoDate | None = None
    notes: Note | None = None


class Address(StrictModel):
    """Where to deliver, or whom to invoice."""

    name: Name | None = None
    name2: Name | None = None
    street: Name | None = None
    postal_code: Identifier | None = None
    city: Name | None = None
    region: Name | None = None
    country: Country | None = None
    gln: Gln | None = None

    def cross_field_faults(self) -> Iterator[Fault]:
        if self.name is None and self.gln is None:
            yield Fault(path="name", message="an address needs a name or a GLN", code="missing")


class OrderLine(StrictModel):
    """One position: how much of what, at which price."""

    line_no: Annotated[int, Field(strict=True, ge=1, le=999_999)]
    internal_sku: Identifier
    qty: Quantity
    uom: Annotated[str, Field(max_length=16, json_schema_extra=_NOT_EMPTY), ON_ONE_LINE]
    unit_price: Price
    currency: Currency
    customer_sku_raw: Name | None = None
    description: Annotated[str, Field(max_length=1000), WITH_LINE_BREAKS] | None = None
    gtin: Gtin | None = None
    requested_delivery_date: IsoDate | None = None


class SourceDocument(StrictModel):
    """The document the order was taken from."""

    document_id: Identifier
    file_name: Name
    sha256: Sha256


class Meta(StrictModel):
    """Where the order comes from."""

    created_by: Name | None = None
    source_document: SourceDocument | None = None


class Order(StrictModel):
    """One approved sales order."""

    error_class: ClassVar[type[InvalidInput]] = InvalidOrder

    order_id: Identifier
    approved_at: Timestamp
    customer: Customer
    header: Header
    ship_to: Address | None = None
    bill_to: Address | None = None
    lines: Annotated[
        tuple[OrderLine, ...],
        BeforeValidator(_line_count),
        Field(json_schema_extra={"minItems": 1, "maxItems": MAX_LINES}),
    ]
    meta: Meta = Meta()

    def cross_field_faults(self) -> Iterator[Fault]:
        seen: Counter[int] = Counter()
        for index, line in enumerate(self.lines):
            seen[line.line_no] += 1
            if seen[line.line_no] > 1:
                yield Fault(
                    path=f"lines.{index}.line_no", message=f"line_no {line.line_no} is used twice", code="duplicate"
                )

    def as_json(self) -> dict[str, Any]:
        """Return the order as plain JSON values, amounts as strings with exactly their digits."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """Return the SHA-256 (64 hex digits) by which two submissions are told to be the same order."""
        canonical = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
