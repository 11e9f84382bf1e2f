"""Acknowledgements: what the ERPs answered, and which answers need a person."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import examples, shapes
from connectors.api.filters import AcknowledgementFilter
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from connectors.models import AcknowledgementRecord
from connectors.models.acknowledgement import AcknowledgementQuerySet
from connectors.services import acknowledgements
from tenants.models import Organization
from tenants.roles import Scope


class AcknowledgementsView(ListView):
    """The answers that the organisation's ERPs gave."""

    scopes = {"GET": Scope.ACKNOWLEDGEMENTS_READ}
    filterset_class = AcknowledgementFilter

    @describe(
        "list_acknowledgements",
        "List acknowledgements",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.Acknowledgement])},
    )
    def get(self, request: Request) -> Response:
        """List what the ERPs answered; with `open=true` what waits for a person."""
        return self.page(_of(self.org), _show)


class AcknowledgementResolutionView(ApiView):
    """The end of one acknowledgement's wait for a person."""

    scopes = {"POST": Scope.ACKNOWLEDGEMENTS_RESOLVE}

    @describe(
        "resolve_acknowledgement",
        "Put an acknowledgement aside",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={
            200: Answer(
                description="It is put aside.", model=shapes.Acknowledgement, example=examples.RESOLVED_ACKNOWLEDGEMENT
            )
        },
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request, acknowledgement_id: UUID) -> Response:
        """Say that somebody has looked after an open acknowledgement; neither it nor its export changes by that."""
        acknowledgement = found(_of(self.org), acknowledgement_id)
        shapes.EmptyInput.parse(request.data)
        return Response(_show(acknowledgements.resolve(acknowledgement, self.actor)))


def _of(org: Organization) -> AcknowledgementQuerySet:
    return AcknowledgementRecord.objects.of(org).select_related("connection")


def _show(acknowledgement: AcknowledgementRecord) -> dict[str, Any]:
    connection = acknowledgement.connection
    return shapes.Acknowledgement(
        id=acknowledgement.pk,
        connector=shapes.ConnectionSummary(
            id=connection.pk, connector_type=connection.connector_type, name=connection.name
        ),
        export_id=acknowledgement.export_id,
        name=acknowledgement.name,
        sha256=acknowledgement.fingerprint,
        outcome=acknowledgement.outcome,
        status=acknowledgement.status or None,
        erp_order_id=acknowledgement.erp_order_id or None,
        error=acknowledgement.error,
        open=acknowledgement.is_open,
        problem=acknowledgements.problem_of(acknowledgement),
        processed_at=acknowledgement.processed_at,
        received_at=acknowledgement.received_at,
        resolved_at=acknowledgement.resolved_at,
    ).as_json()
