"""Answers that come step by step: server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from connectors.api.renderers import ShapeRenderer
from connectors.models import ConnectionTest
from connectors.services import diagnosis

MEDIA_TYPE: Final = "text/event-stream"


class EventStreamRenderer(BaseRenderer):
    """Lets a caller ask for a stream with `Accept: text/event-stream`; the view makes the stream itself."""

    media_type = MEDIA_TYPE
    format = "event-stream"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Return nothing: errors are problem documents, and everything else is streamed."""
        return b""


RENDERERS: Final = (ShapeRenderer, EventStreamRenderer)


def is_wanted(request: Request) -> bool:
    """Return whether the caller asked for a stream."""
    return isinstance(request.accepted_renderer, EventStreamRenderer)


def stream_of(test: ConnectionTest) -> StreamingHttpResponse:
    """Return a stream of the test's steps as they end, and of its report."""
    return StreamingHttpResponse(
        _encoded(test),
        content_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _encoded(test: ConnectionTest) -> Iterator[bytes]:
    for event in diagnosis.events(test):
        yield event.encode()
