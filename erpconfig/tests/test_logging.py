"""Log lines: one shape for all libraries, no secrets, no exception texts."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from erpconfig.logging import REDACTED, formatter

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Return what the logger `test` wrote so far."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter("json"))
    logger = logging.getLogger("test")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def fail(text: str) -> None:
    try:
        raise ConnectionError(f"inner {text}")
    except ConnectionError as inner:
        raise RuntimeError(f"outer {text}") from inner


@pytest.mark.parametrize("get_logger", [logging.getLogger, structlog.stdlib.get_logger])
class TestEveryLibrary:
    def test_a_line_has_the_same_members(self, lines: Lines, get_logger: Callable[[str], Any]) -> None:
        structlog.contextvars.bind_contextvars(request_id="r-1")
        try:
            get_logger("test").warning("export %s done", 7)
        finally:
            structlog.contextvars.clear_contextvars()

        (line,) = lines()
        assert line.pop("timestamp").endswith("Z")
        assert line == {"event": "export 7 done", "level": "warning", "logger": "test", "request_id": "r-1"}

    def test_an_exception_shows_types_and_places_but_no_text(
        self, lines: Lines, get_logger: Callable[[str], Any]
    ) -> None:
        try:
            fail("s3cret")
        except RuntimeError:
            get_logger("test").exception("failed")

        (line,) = lines()
        assert "s3cret" not in json.dumps(line)
        assert [each["type"] for each in line["exception"]] == ["RuntimeError", "ConnectionError"]
        assert line["exception"][0]["places"][-1].startswith("erpconfig/tests/test_logging.py:")
        assert line["exception"][0]["places"][-1].endswith(" fail")


class TestRedaction:
    @pytest.mark.parametrize(
        "name",
        ["password", "db_passwd", "passphrase", "client_secret", "access_token", "private_key", "Authorization",
         "master_key", "api_key", "apikey", "Cookie", "credentials"],
    )  # fmt: skip
    def test_what_sounds_like_a_secret_is_dropped(self, lines: Lines, name: str) -> None:
        structlog.stdlib.get_logger("test").info("tested", **{name: "s3cret"})

        assert lines()[0][name] == REDACTED

    def test_however_deep_it_lies(self, lines: Lines) -> None:
        structlog.stdlib.get_logger("test").info("tested", config={"sftp": [{"host": "h", "password": "s3cret"}]})

        assert lines()[0]["config"] == {"sftp": [{"host": "h", "password": REDACTED}]}

    def test_other_values_stay(self, lines: Lines) -> None:
        structlog.stdlib.get_logger("test").info("tested", export_id="e-1", latency_ms=12, path="/in")

        assert lines()[0].items() >= {"export_id": "e-1", "latency_ms": 12, "path": "/in"}.items()


def test_the_console_form_is_for_people() -> None:
    record = logging.LogRecord("test", logging.INFO, __file__, 1, "hello", (), None)

    text = formatter("console").format(record)

    assert "hello" in text
    assert not text.startswith("{")
