"""Every error of the API as `application/problem+json` (RFC 9457).

Beyond the members of the RFC each has `code`, stable for machines, and `request_id`; `hint` says what to do, and
`errors` names each faulty field. No text of an exception that is not ours ever gets in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from psycopg.errors import LockNotAvailable, QueryCanceled
from rest_framework import exceptions
from rest_framework.request import Request

from connectors.codes import Code, describe
from connectors.exceptions import (
    ConfigurationError,
    ConnectorError,
    EncryptionError,
    Fault,
    InvalidInput,
    InvalidOrder,
    SecretsRequired,
    UnknownConnector,
)
from connectors.results import TestResult
from connectors.services.errors import Gone, IdempotencyKeyReused, TooManyTests
from connectors.validation import prefixed
from tenants.errors import Conflict, Vanished

MEDIA_TYPE: Final = "application/problem+json"
VALIDATION_ERROR: Final = "VALIDATION_ERROR"
MAX_ERRORS: Final = 1000
"""So many faults are listed; who sends more has made one mistake many times."""
_BUSY_SECONDS: Final = 5

log = structlog.get_logger(__name__)


class PayloadTooLarge(exceptions.APIException):
    """The body is larger than this API accepts."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


# What DRF or Django refuses before a service is asked: code, detail and hint of each status.
_BY_STATUS: Final[dict[int, tuple[str, str, str]]] = {
    400: ("BAD_REQUEST", "The request cannot be understood.", ""),
    401: (
        "AUTH_REQUIRED",
        "There is no valid API key and no session.",
        "Send Authorization: Bearer erpk_… with a key that is neither expired nor revoked.",
    ),
    403: ("FORBIDDEN", "You may not do this.", ""),
    404: ("NOT_FOUND", "There is nothing at this address.", ""),
    405: ("METHOD_NOT_ALLOWED", "This address does not take this method.", "The header Allow names those it takes."),
    406: ("NOT_ACCEPTABLE", "The API answers application/json.", "Send Accept: application/json, or leave it out."),
    408: ("REQUEST_TIMEOUT", "The body did not arrive in time.", ""),
    413: ("PAYLOAD_TOO_LARGE", "The body is larger than this API accepts.", "An order has 10,000 lines at most."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "The body has to be JSON.", "Send Content-Type: application/json."),
    429: ("THROTTLED", "There were too many requests with these credentials.", "Come back after Retry-After seconds."),
    503: (
        "BUSY",
        "The database takes too long to answer.",
        "Nothing was changed. Come back after Retry-After seconds.",
    ),
}


def problem_response(
    request: HttpRequest | Request,
    status: int,
    code: str,
    *,
    detail: str,
    hint: str = "",
    errors: Iterable[Fault] = (),
    **members: Any,
) -> JsonResponse:
    """Return a problem document.

    Args:
        request: the request it answers.
        status: of the answer.
        code: the stable name of what went wrong.
        detail: one sentence for people.
        hint: what to do about it, if anything.
        errors: the faults of the input, field by field.
        members: extension members, such as the id of what stands in the way.
    """
    faults = [{"path": fault.path, "message": fault.message, "code": fault.code} for fault in errors]
    if len(faults) > MAX_ERRORS:
        detail = f"{detail} The first {MAX_ERRORS} of {len(faults)} faults are listed."
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": str(code),
        "request_id": request.META.get("HTTP_X_REQUEST_ID", ""),
        **({"hint": hint} if hint else {}),
        **({"errors": faults[:MAX_ERRORS]} if faults else {}),
        **members,
    }
    return JsonResponse(problem, status=status, content_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


def failed_test(request: Request, result: TestResult | Mapping[str, Any]) -> JsonResponse:
    """Return the problem that a failed connection test is: the code of its failing step, and the whole report."""
    report = result.as_json() if isinstance(result, TestResult) else result
    failed = next((step for step in report["steps"] if step["status"] == "failed"), None)
    code = (failed and failed["code"]) or Code.REMOTE_ERROR
    return problem_response(
        request,
        HTTPStatus.BAD_REQUEST,
        code,
        detail=failed["detail"] if failed else describe(Code.REMOTE_ERROR).message,
        hint=failed["hint"] if failed else "",
        test=report,
    )


def exception_handler(error: Exception, context: Mapping[str, Any]) -> JsonResponse:
    """Return the problem for anything a view may raise; the EXCEPTION_HANDLER of DRF."""
    request = context["request"]
    match error:
        case InvalidInput():
            return _invalid_input(request, error)
        case UnknownConnector():
            fault = Fault(path="connector_type", message=error.message, code="unknown_connector")
            return _unprocessable(request, VALIDATION_ERROR, "There is no such connector type.", error.hint, (fault,))
        case TooManyTests():
            response = _by_status(request, HTTPStatus.TOO_MANY_REQUESTS, error.message, error.hint)
            response["Retry-After"] = str(error.retry_after)
            return response
        case Gone() | Vanished():
            return _by_status(request, HTTPStatus.NOT_FOUND)
        case Conflict():
            reused = isinstance(error, IdempotencyKeyReused)
            status = HTTPStatus.UNPROCESSABLE_ENTITY if reused else HTTPStatus.CONFLICT
            return problem_response(
                request, status, error.code, detail=error.message, hint=error.hint, **_plain(error.details)
            )
        case EncryptionError():
            text = describe(error.code)
            return problem_response(request, HTTPStatus.CONFLICT, error.code, detail=text.message, hint=text.hint)
        case ConnectorError():
            return _unprocessable(request, error.code, error.message, error.hint)
        case Http404():
            return _by_status(request, HTTPStatus.NOT_FOUND)
        case DjangoPermissionDenied():
            return _by_status(request, HTTPStatus.FORBIDDEN)
        case RequestDataTooBig():
            return _by_status(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        case SuspiciousOperation():
            return _by_status(request, HTTPStatus.BAD_REQUEST)
        case UnreadablePostError():
            return _by_status(request, HTTPStatus.REQUEST_TIMEOUT)
        case OperationalError() if isinstance(error.__cause__, QueryCanceled | LockNotAvailable):
            log.warning("api.database_too_slow", exc_info=error)
            response = _by_status(request, HTTPStatus.SERVICE_UNAVAILABLE)
            response["Retry-After"] = str(_BUSY_SECONDS)
            return response
        case IntegrityError() if _is_fenced(error):
            log.critical("encryption.key_is_retired")
            return problem_response(
                request,
                HTTPStatus.SERVICE_UNAVAILABLE,
                "NOT_READY",
                detail="This server has master keys of before and has to be restarted.",
                hint="Nothing was changed. Another server may take the request.",
            )
        case exceptions.APIException() if error.status_code in _BY_STATUS:
            return _refused_by_framework(request, error)
    log.error("api.unexpected_error", exc_info=error)
    text = describe(Code.INTERNAL_ERROR)
    return problem_response(
        request, HTTPStatus.INTERNAL_SERVER_ERROR, Code.INTERNAL_ERROR, detail=text.message, hint=text.hint
    )


def _is_fenced(error: IntegrityError) -> bool:
    """Return whether PostgreSQL refused to store what a retired master key has sealed."""
    constraint = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or ""
    return constraint.endswith("_config_encrypted_retired")


def _invalid_input(request: Request, error: InvalidInput) -> JsonResponse:
    """Place the faults of a part at its place in the body."""
    match error:
        case SecretsRequired():
            text = describe(error.code)
            return _unprocessable(request, error.code, text.message, text.hint, prefixed(error.faults, "config"))
        case ConfigurationError():
            text = describe(error.code)
            return _unprocessable(request, VALIDATION_ERROR, text.message, text.hint, prefixed(error.faults, "config"))
        case InvalidOrder():
            return _unprocessable(request, VALIDATION_ERROR, str(error.__doc__), "", prefixed(error.faults, "order"))
    return _unprocessable(request, VALIDATION_ERROR, str(error.__doc__), "", error.faults)


def _unprocessable(request: Request, code: str, detail: str, hint: str, faults: Iterable[Fault] = ()) -> JsonResponse:
    return problem_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, code, detail=detail, hint=hint, errors=faults)


def _refused_by_framework(request: Request, error: exceptions.APIException) -> JsonResponse:
    response = _by_status(
        request,
        error.status_code,
        # Only our own refusals carry a hint, and only their words are ours.
        detail=str(error.detail) if hasattr(error, "hint") else "",
        hint=getattr(error, "hint", ""),
    )
    if challenge := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    if isinstance(error, exceptions.Throttled):
        response["Retry-After"] = str(math.ceil(getattr(error, "wait", None) or 1))
    return response


def _by_status(request: Request, status: int, detail: str = "", hint: str = "") -> JsonResponse:
    code, usual_detail, usual_hint = _BY_STATUS[status]
    return problem_response(request, status, code, detail=detail or usual_detail, hint=hint or usual_hint)


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details of a refusal as members that do not hide those of the problem itself."""
    return {
        f"present_{name}" if name == "status" else name: value
        if isinstance(value, int | dict) or value is None
        else str(value)
        for name, value in details.items()
    }
