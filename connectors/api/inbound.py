"""The one address that far ends send messages to: they have no key, so the connector has to verify who they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from connectors.api import throttling
from connectors.results import Inbound
from connectors.services import inbound
from connectors.services.throttles import Verdict
from erpconfig.limits import MAX_FORM
from erpconfig.problems import problem


@csrf_exempt  # no browser, no session
@require_POST
def receive(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """Take a message for a connection; the far end reads what the connector answers."""
    allowance = throttling.count_inbound(connection_id)
    if allowance and not allowance.allowed:
        return _too_many(request, allowance)
    if len(request.body) > MAX_FORM:
        detail = "The body is larger than is accepted here."
        return problem(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, code="PAYLOAD_TOO_LARGE", detail=detail)
    reply = inbound.receive(connection_id, Inbound(headers=dict(request.headers), content=request.body))
    if reply is None or reply.refused:
        failures = throttling.count_failure(request.META.get("REMOTE_ADDR"))
        if failures and not failures.allowed:
            return _too_many(request, failures)
    if reply is None:
        detail = "There is nothing at this address."
        return problem(request, HTTPStatus.NOT_FOUND, code="NOT_FOUND", detail=detail)
    if not reply.content and reply.status >= HTTPStatus.BAD_REQUEST:
        status = HTTPStatus(reply.status)
        return _with(reply.headers, problem(request, status, code="NOT_TAKEN", detail="The message was not taken."))
    return _with(reply.headers, HttpResponse(reply.content, status=reply.status))


def _with(headers: Mapping[str, str], response: HttpResponse) -> HttpResponse:
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _too_many(request: HttpRequest, allowance: Verdict) -> HttpResponse:
    detail = "Too many messages; come back later."
    response = problem(request, HTTPStatus.TOO_MANY_REQUESTS, code="THROTTLED", detail=detail)
    return _with({"Retry-After": str(max(1, math.ceil(allowance.resets_in)))}, response)
