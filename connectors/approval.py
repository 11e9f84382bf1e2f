"""Above which amount an order waits for a person.

Written as currency to amount: `{"EUR": "10000.00", "USD": "12000.00"}`. An order of exactly that amount goes through;
one above it, or with a line in a currency that is not named, waits. Without any limit none waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from connectors.exceptions import InvalidInput
from connectors.order import MAX_LINES, Currency, Order, Price, exact
from connectors.validation import faults

Limits = Mapping[str, Decimal]

_LIMITS: Final[TypeAdapter[dict[str, Decimal]]] = TypeAdapter(
    Annotated[dict[Currency, Price], Field(max_length=200)], config={"hide_input_in_errors": True}
)
_EXACT: Final = Context(prec=2 * 18 + len(str(MAX_LINES)))
"""Enough for the product of a quantity and a price, and for the sum of as many lines as an order may have."""


def parse(value: object) -> Limits:
    """Return the limits that `ERPConnection.approval_limits` says.

    Args:
        value: an object as it comes out of a JSON parser; amounts are texts or Decimals, never floats.

    Raises:
        InvalidInput: with one fault per currency.
    """
    try:
        return _LIMITS.validate_python(value)
    except ValidationError as error:
        found = tuple(faults(error))
    raise InvalidInput(found)


def as_json(limits: Limits) -> dict[str, str]:
    """Return the limits as they are stored, with exactly their digits."""
    return {currency: exact(limits[currency]) for currency in sorted(limits)}


def is_needed(order: Order, limits: Limits) -> bool:
    """Return whether this order waits for a person."""
    if not limits:
        return False
    return any(currency not in limits or total > limits[currency] for currency, total in totals(order).items())


def totals(order: Order) -> dict[str, Decimal]:
    """Return what an order comes to in each of its currencies, to the last digit."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in order.lines:
        amount = _EXACT.multiply(line.qty, line.unit_price)
        sums[line.currency] = _EXACT.add(sums[line.currency], amount)
    return dict(sums)
