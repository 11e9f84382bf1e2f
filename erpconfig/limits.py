"""What a request may cost before anybody looks at it; all it needs are its headers, no byte of its body is read.

Request line, header fields and time are limited by the web server (`erpconfig.gunicorn`), depth and size of JSON by its
parser (`connectors.strict_json`), and how often somebody may ask by the throttles of the API.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from erpconfig.problems import problem

MAX_ADDRESS: Final = 4000
"""Characters of path and query together."""
MAX_PARAMETERS: Final = 100
"""Of one query; no page and no call knows a fifth of it."""
MAX_FORM: Final = 1024 * 1024
"""Bytes of a form, the longest of which holds a few keys; JSON may have DATA_UPLOAD_MAX_MEMORY_SIZE."""

_Refusal = tuple[HTTPStatus, str, str]


class RequestLimitsMiddleware:
    """Answers what is beyond a limit with a problem document."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        refusal = _refusal_of_address(request) or _refusal_of_body(request)
        if refusal is None:
            return self._get_response(request)
        status, code, detail = refusal
        return problem(request, status, code=code, detail=detail)


def _refusal_of_address(request: HttpRequest) -> _Refusal | None:
    query = request.META.get("QUERY_STRING", "")
    if len(request.path) + len(query) > MAX_ADDRESS:
        return HTTPStatus.REQUEST_URI_TOO_LONG, "URI_TOO_LONG", f"The address has more than {MAX_ADDRESS} characters."
    if query.count("&") >= MAX_PARAMETERS:
        return HTTPStatus.BAD_REQUEST, "BAD_REQUEST", f"The query has more than {MAX_PARAMETERS} parameters."
    return None


def _refusal_of_body(request: HttpRequest) -> _Refusal | None:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        detail = "A compressed body is not accepted; send it without Content-Encoding."
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail
    if "Transfer-Encoding" in request.headers:  # a body whose end nobody knows (RFC 9112, section 6.3)
        detail = "Send the body in one piece with Content-Length, not chunked."
        return HTTPStatus.LENGTH_REQUIRED, "LENGTH_REQUIRED", detail
    is_json = request.content_type == "application/json"
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE if is_json else MAX_FORM
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "PAYLOAD_TOO_LARGE", "The body is larger than is accepted here."
    return None
