"""The canonical order: exact to the last digit, and clear about every fault."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.exceptions import InvalidOrder
from connectors.order import MAX_LINES, Order
from connectors.testing import sample_orders


def order_input(**changes):
    return sample_orders.large_input(1) | changes


def with_line(**changes):
    return order_input(lines=[order_input()["lines"][0] | changes])


def faults_of(data):
    with pytest.raises(InvalidOrder) as refused:
        Order.parse(data)
    return {fault.path: fault for fault in refused.value.faults}


@pytest.mark.parametrize("price", ["12345678901234.5678", Decimal("12345678901234.5678"), "0.0000", 7])
def test_amounts_keep_their_digits(price):
    order = Order.parse(with_line(unit_price=price))

    assert order.as_json()["lines"][0]["unit_price"] == str(price)


@given(st.decimals(min_value=Decimal("0.001"), max_value=Decimal("999999999999999.999"), places=3))
def test_every_quantity_survives_a_round_trip(qty):
    first = Order.parse(with_line(qty=qty))

    again = Order.parse(first.as_json())

    assert again == first
    assert str(again.lines[0].qty) == str(qty)
    assert again.fingerprint() == first.fingerprint()


@pytest.mark.parametrize(
    "qty",
    [
        *("1e3", "1_000", " 1", "+1", "1,5", "NaN", "Infinity", "٣", "", "0", "-1", "1.0001", "1" * 16),
        *(Decimal("NaN"), Decimal("Infinity"), Decimal("1e400"), Decimal("1e-400")),
        *(1.5, True, None, []),
    ],
)
def test_other_quantities_are_refused_at_their_path(qty):
    assert set(faults_of(with_line(qty=qty))) == {"lines.0.qty"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"order_id": "x" * 65}, "order_id"),
        ({"order_id": " "}, "order_id"),
        ({"order_id": "a\nb"}, "order_id"),
        ({"order_id": "a\x00b"}, "order_id"),
        ({"order_id": "a\ud800"}, "order_id"),
        ({"order_id": 7}, "order_id"),
        ({"approved_at": "2025-12-26T10:00:00"}, "approved_at"),
        ({"approved_at": "2025-12-26"}, "approved_at"),
        ({"approved_at": 1766743200}, "approved_at"),
        ({"customer": None}, "customer"),
        ({"header": {"currency": "eur"}}, "header.currency"),
        ({"header": {"currency": "EUR\n"}}, "header.currency"),
        ({"header": {"currency": "EUR", "order_date": "2025-13-01"}}, "header.order_date"),
        ({"header": {"currency": "EUR", "order_date": "01.12.2025"}}, "header.order_date"),
        ({"header": {"currency": "EUR", "order_date": 20251201}}, "header.order_date"),
        ({"ship_to": {"city": "Bonn"}}, "ship_to.name"),
        ({"ship_to": {"name": "A", "country": "DEU"}}, "ship_to.country"),
        ({"ship_to": {"name": "A", "gln": "123"}}, "ship_to.gln"),
        ({"lines": []}, "lines"),
        ({"lines": {}}, "lines"),
        ({"surprise": 1}, "surprise"),
        ({"meta": {"source_document": {"document_id": "d", "file_name": "f", "sha256": "xyz"}}}, None),
    ],
)
def test_faults_name_their_field(change, path):
    assert set(faults_of(order_input(**change))) == {path or "meta.source_document.sha256"}


def test_all_faults_are_listed_at_once():
    found = faults_of(order_input(order_id="", extra=1, lines=[{"line_no": 0}]))

    assert {"order_id", "extra", "lines.0.line_no", "lines.0.qty", "lines.0.uom"} <= set(found)
    assert found["extra"].message == "is not a known field"


def test_a_line_number_is_used_once():
    line = order_input()["lines"][0]

    found = faults_of(order_input(lines=[line, line | {"line_no": 2}, line]))

    assert found["lines.2.line_no"].code == "duplicate"


@pytest.mark.parametrize("line_no", ["1", Decimal("1.0"), True, 0, -1])
def test_a_line_number_is_a_whole_number(line_no):
    assert set(faults_of(with_line(line_no=line_no))) == {"lines.0.line_no"}


def test_ten_thousand_lines_and_no_more():
    assert len(Order.parse(sample_orders.large_input(MAX_LINES)).lines) == 10_000
    assert set(faults_of(sample_orders.large_input(MAX_LINES + 1))) == {"lines"}


@pytest.mark.parametrize("data", [None, [], "order", 7])
def test_what_is_no_object_is_refused(data):
    assert set(faults_of(data)) == {""}


def test_times_are_told_in_utc():
    assert Order.parse(order_input(approved_at="2025-12-26T11:00:00+01:00")).as_json()["approved_at"] == (
        "2025-12-26T10:00:00Z"
    )


def test_a_fault_never_repeats_the_input():
    with pytest.raises(InvalidOrder) as refused:
        Order.parse(order_input(order_id="c4n4ry\x00", header={"currency": "c4n4ry"}, **{"customer": "c4n4ry"}))

    assert "c4n4ry" not in f"{refused.value} {refused.value!r} {refused.value.faults}"
    assert refused.value.__context__ is None
