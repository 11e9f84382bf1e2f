"""The audit trail: page by page for people, and whole for whoever keeps it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.http import StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import shapes
from connectors.api.filters import AuditFilter
from connectors.api.schema import Answer, describe
from connectors.api.views import AnyAccept, ApiView, ListView
from connectors.exceptions import Fault, InvalidInput
from connectors.validation import moment
from tenants import audit_export
from tenants.models import AuditEvent, record
from tenants.roles import Scope

_SINCE: Final = {
    "name": "since",
    "in": "query",
    "required": False,
    "description": "Leave out what was recorded before this time.",
    "schema": {"type": "string", "format": "date-time"},
}


class AuditEventsView(ListView):
    """The organisation's audit trail."""

    scopes = {"GET": Scope.AUDIT_READ}
    filterset_class = AuditFilter

    @describe(
        "list_audit_events",
        "List audit events",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.AuditEventShape])},
    )
    def get(self, request: Request) -> Response:
        """List what was done in the organisation; the trail can only grow."""
        return self.page(AuditEvent.objects.of(self.org).select_related("link"), _show)


class AuditExportView(ApiView):
    """The whole trail, to be kept elsewhere."""

    scopes = {"GET": Scope.AUDIT_READ}
    reveals = ("GET",)
    content_negotiation_class = AnyAccept

    def query_parameters(self) -> Mapping[str, bool]:
        """Return the only one."""
        return {"since": False}

    @describe(
        "export_audit_events",
        "Export the audit trail",
        headers=(_SINCE,),
        answers={
            200: Answer(
                description="One JSON object per line, the oldest first, each with its place and hash in the chain.",
                media_type=audit_export.MEDIA_TYPE,
            )
        },
        problems={422: ("VALIDATION_ERROR",)},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream the whole trail as JSON lines that can be verified; the export itself is recorded first."""
        since = _since(request.query_params.get("since"))
        record(self.actor, "audit.exported", org=self.org, since=since)
        return StreamingHttpResponse(
            audit_export.lines(self.org, since=since),
            content_type=audit_export.MEDIA_TYPE,
            headers={"Content-Disposition": f'attachment; filename="audit-{self.org.slug}.jsonl"'},
        )


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    if at := moment(text):
        return at
    raise InvalidInput([Fault(path="since", message="is no time such as 2026-01-01T00:00:00Z", code="invalid")])


def _show(event: AuditEvent) -> dict[str, Any]:
    link = getattr(event, "link", None)
    return shapes.AuditEventShape(
        id=event.pk,
        sequence=link.sequence if link else None,
        hash=bytes(link.hash).hex() if link else None,
        created_at=event.created_at,
        actor=shapes.ActorShape(kind=event.actor_kind, id=event.actor_id, label=event.actor_label),
        address=event.address,
        request_id=event.request_id,
        action=event.action,
        target=shapes.TargetShape(type=event.target_type, id=event.target_id) if event.target_id else None,
        changes=event.changes,
        details={name: value for name, value in event.details.items() if name != "changes"},
    ).as_json()
