"""Orders to test with."""

from __future__ import annotations

from typing import Any

from connectors.order import Order


def minimal(order_id: str = "SO-1") -> Order:
    """Return an order with nothing that may be left out."""
    return Order.parse(
        {
            "order_id": order_id,
            "approved_at": "2025-12-26T10:00:00Z",
            "customer": {"id": "c-1"},
            "header": {"currency": "EUR"},
            "lines": [_line(1)],
        }
    )


def complete(order_id: str = "SO-2025/0042") -> Order:
    """Return an order with every field filled, amounts at the edge of what is allowed, and text beyond ASCII."""
    address = {
        "name": "Muster GmbH",
        "name2": "Wareneingang",
        "street": "Große Straße 1",
        "postal_code": "80331",
        "city": "München",
        "region": "BY",
        "country": "DE",
        "gln": "4012345000009",
    }
    return Order.parse(
        {
            "order_id": order_id,
            "approved_at": "2025-12-26T11:00:00+01:00",
            "customer": {"id": "c-1", "erp_customer_number": "4711", "name": "Müller & Söhne “Elektro”"},
            "header": {
                "external_order_number": "PO-12345",
                "order_date": "2025-12-01",
                "currency": "EUR",
                "requested_delivery_date": "2025-12-10",
                "notes": "Bitte vor 8 Uhr.\n\tTor 3 \\ links",
            },
            "ship_to": address,
            "bill_to": address,
            "lines": [
                _line(1)
                | {
                    "customer_sku_raw": "AB-123",
                    "description": "Kabel NYM-J 3x1,5 ⚡",
                    "gtin": "4006381333931",
                    "requested_delivery_date": "2025-12-11",
                },
                _line(2) | {"qty": "0.001", "unit_price": "12345678901234.5678"},
                _line(3) | {"qty": "123456789012345.100", "unit_price": "0.0000"},
            ],
            "meta": {
                "created_by": "ops@acme.example",
                "source_document": {"document_id": "d-7", "file_name": "po 12345.pdf", "sha256": "ab" * 32},
            },
        }
    )


def large(lines: int = 500) -> Order:
    """Return an order with that many lines."""
    return Order.parse(large_input(lines))


def large_input(lines: int = 500) -> dict[str, Any]:
    """Return the input of an order with that many lines, as a JSON parser gives it."""
    return {
        "order_id": "SO-LARGE",
        "approved_at": "2025-12-26T10:00:00Z",
        "customer": {"id": "c-1", "erp_customer_number": "4711", "name": "Muster GmbH"},
        "header": {"external_order_number": "PO-1", "order_date": "2025-12-01", "currency": "EUR"},
        "lines": [
            _line(number) | {"customer_sku_raw": f"AB-{number}", "description": "Kabel NYM-J 3x1,5"}
            for number in range(1, lines + 1)
        ],
    }


def _line(number: int) -> dict[str, Any]:
    return {
        "line_no": number,
        "internal_sku": f"INT-{number}",
        "qty": "10.50",
        "uom": "M",
        "unit_price": "1.2300",
        "currency": "EUR",
    }
