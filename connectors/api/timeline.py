"""What happened to an export."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import shapes
from connectors.api.exports import of_organization
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, found
from connectors.services import timeline
from connectors.services.timeline import Event
from tenants.roles import Scope


class TimelineView(ApiView):
    """What happened to one export."""

    scopes = {"GET": Scope.EXPORTS_READ}

    @describe(
        "get_export_timeline",
        "Show what happened to an export",
        answers={200: Answer(description="Oldest first.", model=shapes.Timeline)},
    )
    def get(self, request: Request, export_id: UUID) -> Response:
        """Tell an order's story: accepted, held and approved, each attempt with its receipt, sent, answered, retried.

        The same is in the row, its attempts and the audit trail; here it stands in order.
        """
        export = found(of_organization(self.org), export_id)
        return Response(shapes.Timeline(events=[_show(event) for event in timeline.of(export)]))


def _show(event: Event) -> dict[str, Any]:
    """Return an event; what does not apply to it is null."""
    return {
        "kind": event.kind,
        "at": event.at,
        "until": event.until,
        "actor": {"kind": event.actor_kind, "label": event.actor_label} if event.actor_kind else None,
        "request_id": event.request_id or None,
        "idempotency_key": event.idempotency_key,
        "reason": event.reason or None,
        "export_id": event.export_id,
        "attempt": event.attempt,
        "outcome": event.outcome or None,
        "next_attempt_at": event.next_attempt_at,
        "receipt": event.receipt,
        "error": event.error,
        "steps": event.steps,
        "answer": event.answer or None,
        "erp_order_id": event.erp_order_id or None,
    }
