"""Reading the ERP's answers: strict about what matters, bounded in everything."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.codes import Code
from connectors.exceptions import DocumentError
from connectors.formats.orderflow_json_v1 import (
    MAX_ACKNOWLEDGEMENT_BYTES,
    acknowledgement_names,
    is_acknowledgement,
    parse_acknowledgement,
)
from connectors.results import Acknowledgement, AckStatus

EXPORT = "sales_order_SO-1_20251226T100507Z_0a1b2c3d.json"
ACK, ERROR = acknowledgement_names(EXPORT)
ACKED = {"status": "ACKED", "erp_order_id": "SO-4711", "processed_at": "2025-12-26T10:15:00Z"}
FAILED = {"status": "FAILED", "error_code": "E42", "message": "Unknown SKU", "processed_at": "2025-12-26T10:15:00Z"}


def parse(name: str, answer: object) -> Acknowledgement:
    return parse_acknowledgement(name, json.dumps(answer).encode())


def test_accepted() -> None:
    assert parse(ACK, ACKED) == Acknowledgement(
        filename=EXPORT,
        status=AckStatus.ACKED,
        erp_order_id="SO-4711",
        processed_at=datetime(2025, 12, 26, 10, 15, tzinfo=UTC),
    )


def test_refused() -> None:
    assert parse(ERROR, FAILED) == Acknowledgement(
        filename=EXPORT,
        status=AckStatus.REJECTED,
        error_code="E42",
        message="Unknown SKU",
        processed_at=datetime(2025, 12, 26, 10, 15, tzinfo=UTC),
    )


@pytest.mark.parametrize(("name", "status"), [(ACK, "ACKED"), (ERROR, "FAILED")])
def test_only_the_status_is_required(name: str, status: str) -> None:
    assert parse(name, {"status": status}).filename == EXPORT
    assert parse(name, {"status": status, "their_own": {"key": [1]}, "processed_at": None}).processed_at is None


def test_words_of_the_partner_are_cleaned_and_cut() -> None:
    answer = parse(ERROR, FAILED | {"message": "\x1b[31mred\r\n\x00" + "x" * 5000, "error_code": "y" * 500})

    assert answer.message is not None
    assert answer.message.startswith("[31mred x")
    assert len(answer.message) == 1000
    assert len(answer.error_code or "") == 64


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (ACK, ACKED | {"status": "FAILED"}),
        (ERROR, FAILED | {"status": "ACKED"}),
        (ACK, ACKED | {"status": "acked"}),
        (ACK, ACKED | {"status": None}),
        (ACK, {"erp_order_id": "1"}),
        (ACK, ACKED | {"erp_order_id": 4711}),
        (ACK, ACKED | {"erp_order_id": ""}),
        (ACK, ACKED | {"erp_order_id": "x" * 129}),
        (ACK, ACKED | {"processed_at": "yesterday"}),
        (ACK, ACKED | {"processed_at": 1766743200}),
        (ERROR, FAILED | {"message": ["x"]}),
        (ERROR, FAILED | {"error_code": 42}),
        (ACK, [ACKED]),
        (ACK, "ACKED"),
        (ACK, None),
    ],
)
def test_malformed(name: str, answer: object) -> None:
    with pytest.raises(DocumentError):
        parse(name, answer)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"status": "ACKED"',
        b'{"status": "ACKED", "status": "ACKED"}',
        b'{"status": "ACKED", "x": NaN}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"status": "ACKED", "x": "' + b"x" * MAX_ACKNOWLEDGEMENT_BYTES + b'"}',
    ],
    ids=["empty", "brace", "cut", "twice", "nan", "not utf-8", "deep", "too big"],
)
def test_not_even_json(content: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_acknowledgement(ACK, content)

    assert caught.value.code is Code.ACKNOWLEDGEMENT_MALFORMED
    assert "status" not in caught.value.message


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_content_breaks_the_parser(content: bytes) -> None:
    with pytest.raises(DocumentError):
        parse_acknowledgement(ACK, content)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (ACK, True),
        (ERROR, True),
        (EXPORT, False),
        ("ack_x.json.tmp", False),
        ("ACK_x.json", False),
        (".ack_x.json", False),
        ("ack_x.xml", False),
    ],
)
def test_which_files_are_answers(name: str, expected: bool) -> None:
    assert is_acknowledgement(name) is expected


def test_a_byte_order_mark_is_skipped() -> None:
    answer = parse_acknowledgement(ACK, b'\xef\xbb\xbf{"status": "ACKED", "erp_order_id": "7"}')

    assert answer.erp_order_id == "7"
