"""How orders leave through a connection: its settings, pausing and resuming."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from connectors import maintenance
from connectors.api import examples, shapes
from connectors.api.connections import of_organization
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, found
from connectors.models import ERPConnection
from connectors.services import steering
from tenants.roles import Scope

_DELIVERY: Final = Answer(
    description="How orders leave through it now.", model=shapes.Delivery, example=examples.DELIVERY
)
_NULLABLE: Final = ("max_per_minute", "ack_expected_within")
"""Where null is a value of its own; elsewhere it is the same as leaving the setting out."""


class DeliveryView(ApiView):
    """How orders leave through one connection."""

    scopes = {"GET": Scope.CONNECTIONS_READ, "PATCH": Scope.CONNECTIONS_WRITE}

    @describe("get_connector_delivery", "Show how orders leave", answers={200: _DELIVERY})
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Show how many orders leave at once, when none does, which wait for approval, and whether it is paused."""
        return Response(_show(found(of_organization(self.org), connection_id)))

    @describe(
        "change_connector_delivery",
        "Change how orders leave",
        request=shapes.DeliveryPatch,
        is_body_required=False,
        request_examples={"One after the other, at night not": examples.DELIVERY_PATCH},
        answers={200: _DELIVERY},
    )
    def patch(self, request: Request, connection_id: UUID) -> Response:
        """Change what is given; approval limits are for orders that are submitted from now on."""
        connection = found(of_organization(self.org), connection_id)
        patch = shapes.DeliveryPatch.parse(request.data)
        given = {name: getattr(patch, name) for name in patch.model_fields_set}
        settings = {name: value for name, value in given.items() if value is not None or name in _NULLABLE}
        return Response(_show(steering.configure(connection, self.actor, settings)))


class PauseView(ApiView):
    """Keeping orders from leaving."""

    scopes = {"POST": Scope.CONNECTIONS_PAUSE}

    @describe(
        "pause_connector",
        "Pause a connection",
        request=shapes.ReasonInput,
        request_examples={"Until the partner is back": {"reason": "Stocktaking until noon"}},
        answers={200: _DELIVERY},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Keep orders from leaving until `resume`; they are accepted and wait, and what may have arrived is looked up.

        What is under way is finished. Once more, it only changes the reason.
        """
        connection = found(of_organization(self.org), connection_id)
        wanted = shapes.ReasonInput.parse(request.data)
        return Response(_show(steering.pause(connection, self.actor, reason=wanted.reason)))


class ResumptionView(ApiView):
    """Letting orders leave again."""

    scopes = {"POST": Scope.CONNECTIONS_PAUSE}

    @describe(
        "resume_connector",
        "Resume a connection",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={200: _DELIVERY},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Let the orders leave that wait, in the sequence of their submission."""
        connection = found(of_organization(self.org), connection_id)
        shapes.EmptyInput.parse(request.data)
        return Response(_show(steering.resume(connection, self.actor)))


def _show(connection: ERPConnection) -> shapes.Delivery:
    windows = maintenance.parse(connection.maintenance_windows)
    paused = {"since": connection.paused_at, "reason": connection.pause_reason}
    return shapes.Delivery(
        **{name: getattr(connection, name) for name in steering.SETTINGS},
        paused=paused if connection.paused_at else None,
        closed_until=maintenance.closed_until(windows, timezone.now()),
    )
