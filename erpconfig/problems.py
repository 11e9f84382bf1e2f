"""RFC 9457 problem documents for what happens outside the API's own views."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import bad_request, page_not_found, server_error

from erpconfig.request_id import request_id

_API = "/api/"


def problem(request: HttpRequest, status: HTTPStatus, *, code: str, detail: str, **extra: Any) -> JsonResponse:
    """Return a problem document.

    Args:
        request: the request it answers.
        status: of the answer.
        code: the stable name of what went wrong.
        detail: one sentence for people, free of anything secret.
        extra: members beyond those every problem has.
    """
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "request_id": request_id(request),
        **extra,
    }
    return JsonResponse(content, status=status, content_type="application/problem+json")


def bad(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that makes no sense, such as one for a host that we are not: a problem or a page."""
    if request.path.startswith(_API):
        detail = "The request cannot be understood."
        return problem(request, HTTPStatus.BAD_REQUEST, code="BAD_REQUEST", detail=detail)
    return bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a URL that does not exist: a problem below /api/, a page elsewhere."""
    if request.path.startswith(_API):
        return problem(request, HTTPStatus.NOT_FOUND, code="NOT_FOUND", detail="There is nothing at this address.")
    return page_not_found(request, exception)


def internal_error(request: HttpRequest) -> HttpResponse:
    """Answer after an exception that nobody expected: a problem below /api/, a page elsewhere."""
    if request.path.startswith(_API):
        detail = "Something went wrong on our side. Give the request id to the operator."
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, code="INTERNAL_ERROR", detail=detail)
    return server_error(request)
