"""GET audit-events: what was done, by whom."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import shapes
from connectors.api.filters import AuditFilter
from connectors.api.schema import Answer, describe
from connectors.api.views import ListView
from tenants.models import AuditEvent
from tenants.roles import Scope


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
        return self.page(AuditEvent.objects.of(self.org), _show)


def _show(event: AuditEvent) -> dict[str, Any]:
    target = shapes.TargetShape(type=event.target_type, id=event.target_id) if event.target_id else None
    return shapes.AuditEventShape(
        id=event.pk,
        created_at=event.created_at,
        actor=shapes.ActorShape(kind=event.actor_kind, id=event.actor_id, label=event.actor_label),
        address=event.address,
        request_id=event.request_id,
        action=event.action,
        target=target,
        details=event.details,
    ).as_json()
