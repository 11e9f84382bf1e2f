"""Tests while they run, as the admin shows them: streamed to a page that watches, or waited for."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.http import HttpRequest, StreamingHttpResponse

from connectors.admin.connection_state import failed_step
from connectors.codes import Code, describe
from connectors.exceptions import EncryptionError, InvalidInput, UnknownConnector
from connectors.models import ConnectionTest
from connectors.services import diagnosis
from connectors.services.errors import Refused, TooManyTests

REFUSALS: Final = (Refused, InvalidInput, UnknownConnector, EncryptionError)
"""Whatever a service may say instead of doing it."""

_EVENTS: Final = "text/event-stream"


def is_stream_wanted(request: HttpRequest) -> bool:
    """Return whether the page wants to watch the test that it asks for."""
    return _EVENTS in request.headers.get("Accept", "")


def stream_of(test: ConnectionTest) -> StreamingHttpResponse:
    """Return the steps of a test as they end, and its report, as server-sent events."""
    return StreamingHttpResponse(
        (event.encode() for event in diagnosis.events(test)),
        content_type=_EVENTS,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def reason_of(refusal: Exception) -> str:
    """Return one of the REFUSALS in words for people."""
    match refusal:
        case TooManyTests():
            return f"{refusal.message} Try again in {refusal.retry_after} seconds."
        case Refused() | UnknownConnector():
            return f"{refusal.message} {refusal.hint}"
        case InvalidInput():
            faults = "; ".join(f"{fault.path} {fault.message}".strip() for fault in refusal.faults)
            return f"{describe(Code.CONFIGURATION_INVALID).message} {faults}."
    text = describe(Code.UNREADABLE_CONFIG)
    return f"{text.message} {text.hint}"


class RefusalsSaid:
    """Says above the next page why a service refused, but for what the caller deals with himself."""

    def __init__(self, request: HttpRequest, *, but: tuple[type[Refused], ...] = ()) -> None:
        self._request, self._but = request, but

    def __enter__(self) -> None:
        """Begin to listen."""

    def __exit__(self, kind: object, refusal: BaseException | None, traceback: object) -> bool:
        """Say it, and go on after the block."""
        if not isinstance(refusal, REFUSALS) or isinstance(refusal, self._but):
            return False
        messages.error(self._request, reason_of(refusal))
        return True


def say_result(request: HttpRequest, name: str, test: ConnectionTest) -> None:
    """Put the outcome of a test above the next page."""
    if test.success:
        messages.success(request, f"{name}: the test passed in {test.latency_ms} ms.")
    elif failed := failed_step(test):
        messages.error(request, f"{name}: {failed['name']} failed. {failed['detail']} {failed['hint']}")
    else:
        messages.warning(request, f"{name}: the test still runs.")
