"""Exports: submit an order, follow it, retry or cancel it, see its document."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.http import content_disposition_header
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import examples, shapes
from connectors.api.filters import ExportFilter
from connectors.api.problems import problem_response
from connectors.api.schema import Answer, describe
from connectors.api.views import AnyAccept, ApiView, ListView, found
from connectors.codes import Code
from connectors.codes import describe as describe_code
from connectors.exceptions import (
    ConfigurationError,
    DocumentError,
    Fault,
    InvalidInput,
    TemporaryError,
    UnknownConnector,
)
from connectors.models import ERPExport, ExportAttempt
from connectors.models.export import ExportQuerySet
from connectors.results import Document
from connectors.services import documents, exports
from tenants.models import Organization
from tenants.roles import Scope

IDEMPOTENCY_KEY: Final = "Idempotency-Key"

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
ACCEPTED: Final = Answer(
    description="Accepted; a worker sends it.",
    model=shapes.ExportDetail,
    example=examples.PENDING_EXPORT | {"order": examples.ORDER},
    headers={"Location": "Where to follow the export."},
)
_WITHOUT_DOCUMENT: Final = {
    Code.DOCUMENT_PURGED: HTTPStatus.GONE,
    Code.DOCUMENT_STORAGE_FAILED: HTTPStatus.SERVICE_UNAVAILABLE,
}
_DOCUMENT: Final = Answer(
    description="The exact bytes.",
    media_type="*/*",
    headers={
        "Content-Disposition": "The file name.",
        "ETag": "The SHA-256 of the bytes.",
        "Repr-Digest": "The same as RFC 9530 writes it.",
    },
)


class ExportsView(ListView):
    """The organisation's exports."""

    scopes = {"GET": Scope.EXPORTS_READ, "POST": Scope.EXPORTS_SUBMIT}
    filterset_class = ExportFilter

    @describe(
        "list_exports",
        "List exports",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.Export])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's exports."""
        return self.page(of_organization(self.org).defer("order"), lambda row: shapes.Export(**_columns(row)))

    @describe(
        "submit_export",
        "Push an order",
        request=shapes.ExportInput,
        request_examples={"An order": examples.EXPORT_INPUT},
        answers={
            202: ACCEPTED,
            200: Answer(
                description="This key brought this order before: the same export, as it is now.",
                model=shapes.ExportDetail,
                headers={"Location": "Where to follow the export."},
            ),
        },
        problems={409: ("EXPORT_EXISTS", "NO_ACTIVE_CONNECTOR"), 422: ("IDEMPOTENCY_KEY_REUSED",)},
        headers=(
            {
                "in": "header",
                "name": IDEMPOTENCY_KEY,
                "required": True,
                "description": "Chosen by you, one for each order; the same again only to repeat the same request.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
                "example": "5f0c2a7e-order-0042",
            },
        ),
    )
    def post(self, request: Request) -> Response:
        """Accept an approved order for delivery through the active connection."""
        key = _idempotency_key(request)
        order = shapes.ExportInput.parse(request.data).order
        export, is_new = exports.submit(self.org, self.actor, order, idempotency_key=key)
        return located(export, HTTPStatus.ACCEPTED if is_new else HTTPStatus.OK)


class ExportView(ApiView):
    """One export."""

    scopes = {"GET": Scope.EXPORTS_READ}

    @describe(
        "get_export",
        "Show an export",
        answers={
            200: Answer(
                description="The export as it is now.",
                model=shapes.ExportDetail,
                example=examples.EXPORT | {"order": examples.ORDER},
            )
        },
    )
    def get(self, request: Request, export_id: UUID) -> Response:
        """Show an export with its order."""
        return Response(show(found(of_organization(self.org), export_id)))


class ExportAttemptsView(ListView):
    """The tries to deliver one export."""

    scopes = {"GET": Scope.EXPORTS_READ}

    @describe(
        "list_export_attempts",
        "List the attempts of an export",
        answers={200: Answer(description="Oldest first.", model=shapes.Page[shapes.Attempt])},
    )
    def get(self, request: Request, export_id: UUID) -> Response:
        """List every try to deliver this export, with its steps as they ran."""
        export = found(of_organization(self.org), export_id)
        return self.page(ExportAttempt.objects.of(self.org).filter(export=export), _show_attempt)


class ExportDocumentView(ApiView):
    """The document of one export."""

    scopes = {"GET": Scope.EXPORTS_READ}
    reveals = ("GET",)
    content_negotiation_class = AnyAccept

    @describe(
        "get_export_document",
        "Fetch the document of an export",
        answers={200: _DOCUMENT},
        problems={409: ("DOCUMENT_LOST",), 410: ("DOCUMENT_PURGED",), 503: ("DOCUMENT_STORAGE_FAILED",)},
    )
    def get(self, request: Request, export_id: UUID) -> HttpResponseBase:
        """Fetch the bytes that every attempt sends; 404 while none are rendered."""
        try:
            document = documents.read(found(of_organization(self.org), export_id), self.actor)
        except (DocumentError, TemporaryError) as error:
            status = _WITHOUT_DOCUMENT.get(error.code, HTTPStatus.CONFLICT)
            return problem_response(request, status, error.code, detail=error.message, hint=error.hint)
        if document is None:
            raise Http404
        return _file(document)


class ExportRetryView(ApiView):
    """The retry of one export."""

    scopes = {"POST": Scope.EXPORTS_MANAGE}

    @describe(
        "retry_export",
        "Retry an export",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={202: ACCEPTED},
        problems={409: ("EXPORT_EXISTS", "NO_ACTIVE_CONNECTOR", "CONFLICT")},
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        """Send the order of a failed, rejected or unconfirmed export again, as a new export."""
        export = found(of_organization(self.org), export_id)
        shapes.EmptyInput.parse(request.data)
        return located(exports.retry(export, self.actor), HTTPStatus.ACCEPTED)


class ExportCancelView(ApiView):
    """The withdrawal of one export."""

    scopes = {"POST": Scope.EXPORTS_MANAGE}

    @describe(
        "cancel_export",
        "Cancel an export",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={200: Answer(description="It is cancelled.", model=shapes.ExportDetail)},
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        """Withdraw a pending export of which nothing can have arrived."""
        export = found(of_organization(self.org), export_id)
        shapes.EmptyInput.parse(request.data)
        return Response(show(exports.cancel(export, self.actor)))


class ExportPreviewView(ApiView):
    """A dry run."""

    scopes = {"POST": Scope.EXPORTS_SUBMIT}
    content_negotiation_class = AnyAccept

    @describe(
        "preview_export",
        "Preview the document of an order",
        request=shapes.ExportInput,
        request_examples={"An order": examples.EXPORT_INPUT},
        answers={200: _DOCUMENT},
        problems={
            409: ("NO_ACTIVE_CONNECTOR", "UNREADABLE_CONFIG", "CONFIGURATION_INVALID"),
            422: ("DOCUMENT_INVALID", "UNSUPPORTED_FEATURE"),
        },
    )
    def post(self, request: Request) -> HttpResponseBase:
        """Render an order for the active connection as it would be sent; nothing is stored or sent."""
        order = shapes.ExportInput.parse(request.data).order
        try:
            return _file(exports.preview(self.org, order))
        except (ConfigurationError, UnknownConnector) as error:
            # The order is fine: it is the stored connection that cannot be used.
            code = error.code
        text = describe_code(code)
        return problem_response(request, HTTPStatus.CONFLICT, code, detail=text.message, hint=text.hint)


def of_organization(org: Organization) -> ExportQuerySet:
    """Return the organisation's exports."""
    return ERPExport.objects.of(org).select_related("connection")


def _idempotency_key(request: Request) -> str:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and _IDEMPOTENCY_KEY.fullmatch(key):
        return key
    message = "is required" if key is None else "must be 1 to 255 visible ASCII characters"
    raise InvalidInput([Fault(path=IDEMPOTENCY_KEY, message=message, code="missing" if key is None else "invalid")])


def located(export: ERPExport, status: HTTPStatus) -> Response:
    """Return an answer that shows an export and says where to follow it."""
    location = reverse("api:export", args=[export.pk])
    return Response(show(export), status=status, headers={"Location": location})


def show(export: ERPExport) -> shapes.ExportDetail:
    """Return an export with its order as the API shows it."""
    return shapes.ExportDetail(**_columns(export), order=export.order)


def _columns(export: ERPExport) -> dict[str, Any]:
    connection = export.connection
    return {
        "id": export.pk,
        "status": export.status,
        "connector": shapes.ConnectionSummary(
            id=connection.pk, connector_type=connection.connector_type, name=connection.name
        ),
        "order_id": export.order_id,
        "filename": export.filename or None,
        "document": _document(export),
        "receipt": export.receipt,
        "erp_order_id": export.erp_order_id or None,
        "error": export.error,
        "warnings": export.warnings,
        "attempts": export.attempts,
        "next_attempt_at": export.next_attempt_at,
        "outcome_unknown": export.outcome_unknown,
        "held": export.held,
        "retry_of": export.retry_of_id,
        "superseded": export.superseded_at is not None,
        "reason": export.reason or None,
        "dismissed": export.dismissed_at is not None,
        "created_at": export.created_at,
        "updated_at": export.updated_at,
        "sent_at": export.sent_at,
        "finished_at": export.finished_at,
    }


def _document(export: ERPExport) -> Mapping[str, Any] | None:
    if not export.document_name:
        return None
    return {
        "sha256": export.document_sha256,
        "size": export.document_size,
        "media_type": export.document_media_type,
        "purged_at": export.document_purged_at,
    }


def _show_attempt(attempt: ExportAttempt) -> shapes.Attempt:
    return shapes.Attempt(
        number=attempt.number,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        latency_ms=round((attempt.finished_at - attempt.started_at).total_seconds() * 1000),
        outcome=attempt.outcome,
        error=attempt.error,
        receipt=attempt.receipt,
        steps=attempt.steps,
        next_attempt_at=attempt.next_attempt_at,
    )


def _file(document: Document) -> HttpResponse:
    digest = base64.b64encode(bytes.fromhex(document.sha256)).decode()
    return HttpResponse(
        document.content,
        content_type=document.media_type,
        headers={
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=document.filename),
            "ETag": f'"{document.sha256}"',
            "Repr-Digest": f"sha-256=:{digest}:",
        },
    )
