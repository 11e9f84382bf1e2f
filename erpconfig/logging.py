"""One line per event, from structlog and the standard library alike, without secrets and without exception texts.

An exception is logged as its type and the places it passed through. Its text is left out: a driver or a server may
have put a password, a customer's address or a whole document into it.
"""

from __future__ import annotations

import logging.config
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from erpconfig.paths import BASE_DIR

REDACTED: Final = "[redacted]"

_SECRET_NAME: Final = re.compile(
    r"passw|passphrase|secret|token|private_?key|master_?key|api_?key|authorization|cookie|credential", re.IGNORECASE
)

# Libraries whose own lines carry what we must not log, such as exception texts and SQL with values, or say nothing new.
_QUIET: Final = {
    "paramiko": "CRITICAL",
    "httpx2": "WARNING",
    "httpcore2": "WARNING",
    "boto3": "WARNING",
    "botocore": "WARNING",
    "urllib3": "WARNING",
    "django.db.backends": "INFO",
    "procrastinate.blueprints": "WARNING",
    "procrastinate.periodic": "WARNING",  # else every command would begin by listing the periodic tasks
}


def config(*, level: str, renderer: str) -> dict[str, Any]:
    """Return the LOGGING setting.

    Args:
        level: the least severe level that is written.
        renderer: `json` for machines, `console` for people.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "erpconfig.logging.formatter", "renderer": renderer}},
        "handlers": {"stderr": {"class": "erpconfig.logging.StderrHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "django.server": {"handlers": [], "propagate": True},
            **{name: {"level": quiet} for name, quiet in _QUIET.items()},
        },
    }


def configure(settings: dict[str, Any]) -> None:
    """Apply the LOGGING setting; Django calls this once, at start-up."""
    logging.config.dictConfig(settings)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is stderr at the moment; a line that cannot be written is named, never shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a property, as in the library's handler of last resort
        """Where lines go."""
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the library's name
        """Say that a line was lost; the library would print a traceback with the texts that we leave out."""
        error = sys.exc_info()[0]
        with suppress(OSError, ValueError):
            sys.stderr.write(f"A log line of {record.name} was lost ({error.__name__ if error else 'unknown'}).\n")


def formatter(renderer: str) -> structlog.stdlib.ProcessorFormatter:
    """Return the formatter through which every line passes, whichever library wrote it."""
    last: Processor = (
        structlog.processors.JSONRenderer()
        if renderer == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars],
        processors=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            exception_without_text,
            redact,
            last,
        ],
    )


def exception_without_text(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by `exception`: each error's type and where it came through, innermost cause last."""
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else sys.exc_info()[1]
    if info and error is not None:
        event["exception"] = without_text(error)
    return event


def without_text(error: BaseException) -> list[dict[str, Any]]:
    """Return an error and its causes, innermost last, as types and places."""
    return [_located(each) for each in _with_causes(error)]


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace every value whose name sounds like a secret, however deep it lies."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: _redacted(str(inner), each) for inner, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", each) for each in value]
    return value


def _with_causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _located(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.removeprefix(f'{BASE_DIR}/')}:{frame.lineno} {frame.name}" for frame in frames]
    return {"type": type(error).__qualname__, "places": places}
