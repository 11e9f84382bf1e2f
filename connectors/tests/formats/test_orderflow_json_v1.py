"""The export document and its name, byte for byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import strict_json
from connectors.codes import Code
from connectors.exceptions import DocumentError
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.results import Document
from connectors.testing import sample_orders

EXPORT_ID = UUID("0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d")
CREATED_AT = datetime(2025, 12, 26, 10, 5, 7, 999_999, tzinfo=UTC)
GOLDEN = Path(__file__).parent / "sales_order_complete.golden.json"


def render(order: Order, org_slug: str = "acme", created_at: datetime = CREATED_AT) -> Document:
    return orderflow_json_v1.render(order, org_slug=org_slug, export_id=EXPORT_ID, created_at=created_at)


def read(document: Document) -> Any:
    return strict_json.loads(document.content)


class TestDocument:
    def test_golden_file(self) -> None:
        assert render(sample_orders.complete()).content == GOLDEN.read_bytes()

    def test_keys_and_their_order(self) -> None:
        document = read(render(sample_orders.complete()))

        assert list(document) == [
            "export_version", "org_slug", "draft_order_id", "approved_at", "customer", "header", "lines", "meta",
        ]  # fmt: skip
        assert list(document["customer"]) == ["id", "erp_customer_number", "name"]
        assert list(document["header"]) == [
            "external_order_number", "order_date", "currency", "requested_delivery_date", "notes",
        ]  # fmt: skip
        assert list(document["lines"][0]) == [
            "line_no", "internal_sku", "qty", "uom", "unit_price", "currency", "customer_sku_raw", "description",
        ]  # fmt: skip
        assert list(document["meta"]) == ["created_by", "source_document"]
        assert list(document["meta"]["source_document"]) == ["document_id", "file_name", "sha256"]

    def test_what_is_not_known_is_null_and_present(self) -> None:
        document = read(render(sample_orders.minimal()))

        assert document["customer"] == {"id": "c-1", "erp_customer_number": None, "name": None}
        assert document["header"] == {
            "external_order_number": None,
            "order_date": None,
            "currency": "EUR",
            "requested_delivery_date": None,
            "notes": None,
        }
        assert document["lines"][0]["customer_sku_raw"] is None
        assert document["meta"] == {"created_by": None, "source_document": None}

    def test_amounts_are_numbers_with_exactly_their_digits(self) -> None:
        content = render(sample_orders.complete()).content

        assert b'"qty":0.001,' in content
        assert b'"unit_price":12345678901234.5678,' in content
        assert b'"qty":123456789012345.100,' in content
        assert b'"unit_price":0.0000,' in content

    def test_utf_8_without_byte_order_mark(self) -> None:
        content = render(sample_orders.complete()).content

        assert "Müller & Söhne “Elektro”".encode() in content
        assert content.startswith(b"{")

    def test_times_are_utc(self) -> None:
        assert read(render(sample_orders.complete()))["approved_at"] == "2025-12-26T10:00:00Z"

    def test_media_type(self) -> None:
        assert render(sample_orders.minimal()).media_type == "application/json"

    @given(
        qty=st.decimals(min_value=Decimal("0.001"), max_value=Decimal("999999999999999.999"), places=3),
        price=st.decimals(min_value=0, max_value=Decimal("99999999999999.9999"), places=4),
        text=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=64).filter(
            str.strip
        ),
    )
    def test_everything_comes_back_as_it_went_in(self, qty: Decimal, price: Decimal, text: str) -> None:
        data = sample_orders.large_input(1)
        data["lines"][0] |= {"qty": str(qty), "unit_price": str(price), "internal_sku": text}

        line = read(render(Order.parse(data)))["lines"][0]

        assert format(line["qty"], "f") == format(qty, "f")
        assert format(Decimal(line["unit_price"]), "f") == format(price, "f")
        assert line["internal_sku"] == text


class TestSchema:
    def test_is_a_valid_schema(self) -> None:
        jsonschema_rs.meta.validate(json.loads(orderflow_json_v1.SCHEMA))

    @pytest.mark.parametrize("order", [sample_orders.minimal(), sample_orders.complete(), sample_orders.large(10_000)])
    def test_documents_satisfy_it(self, order: Order) -> None:
        jsonschema_rs.validate(json.loads(orderflow_json_v1.SCHEMA), read(render(order)))

    def test_a_document_that_does_not_satisfy_it_is_not_sent(self) -> None:
        with pytest.raises(DocumentError) as caught:
            render(sample_orders.minimal(), org_slug="")

        assert caught.value.code is Code.DOCUMENT_INVALID
        assert "org_slug" in caught.value.message

    @pytest.mark.parametrize("key", ["draft_order_id", "lines", "meta"])
    def test_refuses_a_missing_key(self, key: str) -> None:
        document = read(render(sample_orders.minimal()))
        del document[key]

        assert not jsonschema_rs.is_valid(json.loads(orderflow_json_v1.SCHEMA), document)


class TestFilename:
    def test_order_time_and_export(self) -> None:
        assert render(sample_orders.minimal()).filename == "sales_order_SO-1_20251226T100507Z_0a1b2c3d.json"

    def test_time_is_utc(self) -> None:
        berlin = timezone(timedelta(hours=1))

        name = render(sample_orders.minimal(), created_at=CREATED_AT.astimezone(berlin)).filename

        assert name == "sales_order_SO-1_20251226T100507Z_0a1b2c3d.json"

    @pytest.mark.parametrize(
        ("order_id", "in_name"),
        [("a/b", "a_b"), ("../../etc", ".._.._etc"), ("Ä ß", "___"), ("A.b_c-9", "A.b_c-9"), ("x" * 64, "x" * 64)],
    )
    def test_only_safe_characters(self, order_id: str, in_name: str) -> None:
        name = render(sample_orders.minimal(order_id)).filename

        assert name == f"sales_order_{in_name}_20251226T100507Z_0a1b2c3d.json"


class TestLeftOut:
    def test_nothing_of_a_minimal_order(self) -> None:
        assert orderflow_json_v1.left_out(sample_orders.minimal()) == ()

    def test_names_what_the_format_has_no_place_for(self) -> None:
        listed = " ".join(orderflow_json_v1.left_out(sample_orders.complete()))

        for part in ("ship_to", "bill_to", "gtin", "requested_delivery_date"):
            assert part in listed
