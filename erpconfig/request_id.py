"""Gives every request an id that the caller, the log and the error answer share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

HEADER: Final = "X-Request-ID"

_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Keeps a sane X-Request-ID, replaces any other, and returns it in the answer's header.

    Views find it as `request.META["HTTP_X_REQUEST_ID"]`; `request_id()` reads it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request.META["HTTP_X_REQUEST_ID"] = given if _SANE.fullmatch(given) else str(uuid4())
        response = self._get_response(request)
        response[HEADER] = request_id(request)
        return response


def request_id(request: HttpRequest) -> str:
    """Return the id of this request."""
    return str(request.META["HTTP_X_REQUEST_ID"])
