"""Approval limits: exact to the last digit, and whatever no limit names waits."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import approval
from connectors.exceptions import InvalidInput
from connectors.order import Order
from connectors.testing import sample_orders

ORDER = sample_orders.minimal().as_json()
amounts = st.tuples(
    st.decimals("0.001", "999999999999999.999", places=3), st.decimals(0, "99999999999999.9999", places=4)
)


def an_order(*lines):
    """Return an order with these quantities, prices and currencies."""
    return Order.parse(
        ORDER
        | {
            "lines": [
                ORDER["lines"][0] | {"line_no": number, "qty": str(qty), "unit_price": str(price), "currency": currency}
                for number, (qty, price, currency) in enumerate(lines, 1)
            ]
        }
    )


def is_needed(order, limits):
    return approval.is_needed(order, approval.parse(limits))


@given(lines=st.lists(amounts, min_size=1, max_size=20))
def test_the_total_has_every_digit(lines):
    order = an_order(*((qty, price, "EUR") for qty, price in lines))

    expected = sum(Fraction(qty) * Fraction(price) for qty, price in lines)

    assert Fraction(approval.totals(order)["EUR"]) == expected


@pytest.mark.parametrize(
    ("limits", "waits"),
    [
        ({}, False),
        ({"EUR": "10000.0001"}, False),
        ({"EUR": "10000.0000"}, False),
        ({"EUR": Decimal("9999.9999")}, True),
        ({"EUR": "0"}, True),
        ({"USD": "10000"}, True),
        ({"EUR": "10000", "USD": "1"}, False),
    ],
)
def test_above_the_limit_or_without_one_it_waits(limits, waits):
    assert is_needed(an_order((2, "5000", "EUR")), limits) is waits


def test_each_currency_counts_for_itself():
    order = an_order((1, "900", "EUR"), (1, "900", "EUR"), (1, "50", "USD"))

    assert not is_needed(order, {"EUR": "1800", "USD": "50"})
    assert is_needed(order, {"EUR": "1799.99", "USD": "50"})
    assert is_needed(order, {"EUR": "1800", "USD": "49.9999"})
    assert is_needed(order, {"EUR": "1800"})


def test_the_smallest_excess_of_the_largest_order_counts():
    largest = an_order(("999999999999999.999", "99999999999999.9999", "EUR"), ("0.001", "0.0001", "EUR"))

    # 999,999,999,999,999.999 * 99,999,999,999,999.9999 ends in …0001 at the seventh place, and one more makes two.
    assert str(approval.totals(largest)["EUR"]).endswith("0000002")


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ([], [""]),
        (None, [""]),
        ({"EUR": 1.5}, ["EUR"]),
        ({"EUR": True}, ["EUR"]),
        ({"EUR": "-1"}, ["EUR"]),
        ({"EUR": "1e3"}, ["EUR"]),
        ({"EUR": "1.00001"}, ["EUR"]),
        ({"EUR": None, "USD": "x"}, ["EUR", "USD"]),
        ({"eur": "1"}, ["eur.[key]"]),
    ],
)
def test_what_is_no_limit_is_refused(value, paths):
    with pytest.raises(InvalidInput) as refused:
        approval.parse(value)

    assert [fault.path for fault in refused.value.faults] == paths


def test_it_is_stored_with_its_digits():
    assert approval.as_json(approval.parse({"USD": "1", "EUR": "10000.00"})) == {"EUR": "10000.00", "USD": "1"}
