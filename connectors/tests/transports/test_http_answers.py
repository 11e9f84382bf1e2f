"""What a status, a body and a Retry-After stand for."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
)
from connectors.transports.http_answers import (
    Answer,
    Unusable,
    left_to_the_caller,
    raise_for_status,
    retry_after_s,
)

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


def answer(status: int = 200, content: bytes = b"", *, safe: bool = True, **headers: str) -> Answer:
    return Answer(
        status=status,
        headers=httpx2.Headers([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]),
        content=content,
        host="erp.test",
        received_at=NOW,
        safe=safe,
    )


def error_of(answer: Answer, rules=None) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        raise_for_status(answer, rules)
    return caught.value


class TestStatus:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299, 404])
    @pytest.mark.parametrize("safe", [True, False])
    def test_no_error(self, status: int, safe: bool) -> None:
        assert raise_for_status(given := answer(status, safe=safe)) is given

    @pytest.mark.parametrize(
        ("status", "read", "write", "code"),
        [
            (401, AuthenticationFailed, AuthenticationFailed, Code.AUTHENTICATION_FAILED),
            (403, AuthenticationFailed, AuthenticationFailed, Code.AUTHENTICATION_FAILED),
            (407, AuthenticationFailed, AuthenticationFailed, Code.AUTHENTICATION_FAILED),
            (408, TemporaryError, OutcomeUnknown, Code.REMOTE_ERROR),
            (429, RateLimited, RateLimited, Code.RATE_LIMITED),
            (500, TemporaryError, OutcomeUnknown, Code.REMOTE_ERROR),
            (502, TemporaryError, OutcomeUnknown, Code.REMOTE_ERROR),
            (503, TemporaryError, OutcomeUnknown, Code.REMOTE_ERROR),
            (504, TemporaryError, OutcomeUnknown, Code.REMOTE_ERROR),
            (599, TemporaryError, OutcomeUnknown, Code.REMOTE_ERROR),
            (304, TemporaryError, OutcomeUnknown, Code.UNUSABLE_ANSWER),
            (101, TemporaryError, OutcomeUnknown, Code.UNUSABLE_ANSWER),
        ],
    )
    def test_errors(self, status: int, read: type, write: type, code: Code) -> None:
        for safe, expected in ((True, read), (False, write)):
            error = error_of(answer(status, b"their own words", safe=safe))
            assert type(error) is expected
            assert error.code is code
            assert "their own words" not in error.message + error.hint

    @pytest.mark.parametrize("status", [400, 405, 409, 410, 413, 415, 422, 451])
    def test_a_no(self, status: int) -> None:
        assert type(error_of(answer(status, safe=False))) is RejectedByERP
        assert type(error_of(answer(status, safe=True))) is ConnectorError
        assert f"(HTTP {status})" in error_of(answer(status)).message

    def test_busy_and_says_for_how_long(self) -> None:
        for status in (429, 503):
            error = error_of(answer(status, safe=False, Retry_After="120"))
            assert isinstance(error, RateLimited)
            assert error.retry_after == 120

    def test_an_adapter_judges_differently(self) -> None:
        rules = {403: lambda given: RejectedByERP(Code.PERMISSION_DENIED), 409: left_to_the_caller}

        assert error_of(answer(403), rules).code is Code.PERMISSION_DENIED
        assert raise_for_status(answer(409, safe=False), rules).status == 409
        assert isinstance(error_of(answer(401), rules), AuthenticationFailed)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0), ("120", 120), (" 7 ", 7),
            ("Wed, 25 Nov 2026 12:02:00 GMT", 120),
            ("Wednesday, 25-Nov-26 12:02:00 GMT", 120),
            ("Wed Nov 25 12:02:00 2026", 120),
            ("Wed, 25 Nov 2026 13:02:00 +0100", 120),
            ("Wed, 25 Nov 2026 11:00:00 GMT", 0),
            ("", None), ("-1", None), ("1.5", None), ("soon", None), ("9" * 5000, None), ("١٢٠", None),
            ("Wed, 99 Nov 2026 12:02:00 GMT", None), ("Wed, 25 Nov 99999 12:02:00 GMT", None),
            ("Wed, 25 Nov 2026 12:02:00 +999999999999", None),
        ],
    )  # fmt: skip
    def test_forms(self, value: str, seconds: float | None) -> None:
        assert retry_after_s(answer(503, Retry_After=value)) == seconds

    def test_without(self) -> None:
        assert retry_after_s(answer(503)) is None

    @given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} Nov \d{1,6} \d+:\d+:\d+ [+-]?\d{1,12}"))
    def test_nothing_makes_it_fall_over(self, value: str) -> None:
        seconds = retry_after_s(answer(503, Retry_After=value))

        assert seconds is None or seconds >= 0


class TestJson:
    def test_amounts_are_decimals(self) -> None:
        assert answer(content=b'{"total": 12345678901234.5678}').json() == {"total": Decimal("12345678901234.5678")}

    def test_a_byte_order_mark_is_passed_over(self) -> None:
        assert answer(content=b'\xef\xbb\xbf{"id": 1}').json() == {"id": 1}

    @pytest.mark.parametrize(
        ("content", "media_type", "reason"),
        [
            (b"", "application/json", Unusable.EMPTY),
            (b" \r\n", "application/json", Unusable.EMPTY),
            (b"<!DOCTYPE html><title>s3cret", "text/html; charset=utf-8", Unusable.HTML),
            (b" <html>s3cret", "application/json", Unusable.HTML),
            (b"Bad gateway s3cret", "text/html", Unusable.HTML),
            (b'{"s3cret": ', "application/json", Unusable.NOT_JSON),
            (b'{"s3cret": 1, "s3cret": 2}', "application/json", Unusable.NOT_JSON),
            (b'"s3cret" NaN', "application/json", Unusable.NOT_JSON),
            (b"\xff\xfes3cret", "application/json", Unusable.NOT_JSON),
            (gzip.compress(b"{}", mtime=0), "application/json", Unusable.NOT_JSON),
            (b"[" * 100_000, "application/json", Unusable.NOT_JSON),
        ],
    )
    @pytest.mark.parametrize("safe", [True, False])
    def test_anything_else(self, content: bytes, media_type: str, reason: Unusable, safe: bool) -> None:
        with pytest.raises(TemporaryError if safe else OutcomeUnknown) as caught:
            answer(content=content, safe=safe, Content_Type=media_type).json()

        error = caught.value
        assert (error.code, error.params["reason"]) == (Code.UNUSABLE_ANSWER, reason)
        assert reason in error.message
        assert error.__context__ is None
        assert "s3cret" not in error.message + error.hint + str(error.params)

    def test_what_was_answered_is_not_shown(self) -> None:
        shown = repr(answer(content=b"s3cret-1", Set_Cookie="s3cret-2"))

        assert "s3cret" not in shown
