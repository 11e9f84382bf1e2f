"""What a connection was and may become: revisions, the way back, staged credentials, the pinned host key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import examples, shapes
from connectors.api.connections import CONNECTION, of_organization, shown
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from connectors.models import ConnectionRevision
from connectors.services import revisions
from tenants.roles import Scope


class RevisionsView(ListView):
    """The configurations that one connection had."""

    scopes = {"GET": Scope.CONNECTIONS_READ}

    @describe(
        "list_connector_revisions",
        "List the revisions of a connection",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.ConnectionRevision])},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """List the earlier revisions that are kept: who replaced which fields when, and whether it passed a test."""
        connection = found(of_organization(self.org), connection_id)
        kept = ConnectionRevision.objects.of(self.org).filter(connection=connection, number__isnull=False)
        return self.page(kept, _show_revision)


class RevertView(ApiView):
    """The way back to an earlier configuration."""

    scopes = {"POST": Scope.CONNECTIONS_WRITE}

    @describe(
        "revert_connector",
        "Bring back an earlier configuration",
        request=shapes.RevertInput,
        request_examples={"The last one that passed a test": {}, "A certain one": {"revision": 3}},
        is_body_required=False,
        answers={200: CONNECTION},
        problems={409: ("CONFLICT", "UNREADABLE_CONFIG")},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Bring back a kept revision, secrets included, as a new revision."""
        connection = found(of_organization(self.org), connection_id)
        wanted = shapes.RevertInput.parse(request.data)
        revisions.revert(connection, self.actor, number=wanted.revision)
        return Response(shown(self.org, connection_id))


class StagedView(ApiView):
    """The credentials that wait to be promoted."""

    scopes = {"GET": Scope.CONNECTIONS_READ, "POST": Scope.CONNECTIONS_WRITE, "DELETE": Scope.CONNECTIONS_WRITE}

    @describe(
        "get_staged_credentials",
        "Show the staged credentials",
        answers={200: Answer(description="What is staged, by name.", model=shapes.StagedCredentials)},
    )
    def get(self, request: Request, connection_id: UUID) -> Response:
        """Say which secrets are staged and whether a test succeeded with them; 404 when none are."""
        slot = revisions.staged(found(of_organization(self.org), connection_id))
        if slot is None:
            raise Http404
        return Response(_show_staged(slot))

    @describe(
        "stage_credentials",
        "Stage the next credentials",
        request=shapes.StageInput,
        request_examples={"A new password": examples.STAGED_CREDENTIALS},
        answers={200: Answer(description="They wait to be tested.", model=shapes.StagedCredentials)},
        problems={409: ("UNREADABLE_CONFIG",)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Put the next credentials beside those in use, which go on working until the others are promoted."""
        connection = found(of_organization(self.org), connection_id)
        wanted = shapes.StageInput.parse(request.data)
        return Response(_show_staged(revisions.stage(connection, self.actor, wanted.config)))

    @describe(
        "discard_staged_credentials",
        "Discard the staged credentials",
        answers={204: Answer(description="They are gone.")},
        problems={409: ("CONFLICT",)},
    )
    def delete(self, request: Request, connection_id: UUID) -> Response:
        """Forget the staged credentials; those in use stay."""
        revisions.discard(found(of_organization(self.org), connection_id), self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


class PromotionView(ApiView):
    """The change from the credentials in use to the staged ones."""

    scopes = {"POST": Scope.CONNECTIONS_WRITE}

    @describe(
        "promote_staged_credentials",
        "Promote the staged credentials",
        request=shapes.PromotionInput,
        is_body_required=False,
        answers={200: CONNECTION},
        problems={409: ("CONFLICT", "UNREADABLE_CONFIG", "UNTESTED_REVISION")},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Let the staged credentials take over in one step; `revert` brings back those before."""
        connection = found(of_organization(self.org), connection_id)
        wanted = shapes.PromotionInput.parse(request.data)
        revisions.promote(connection, self.actor, reason=wanted.reason)
        return Response(shown(self.org, connection_id))


class HostKeyView(ApiView):
    """The host key that one connection trusts."""

    scopes = {"POST": Scope.CONNECTIONS_WRITE}

    @describe(
        "pin_host_key",
        "Pin the host key",
        request=shapes.PinInput,
        request_examples={
            "As the test showed it": {"fingerprint": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"}
        },
        answers={200: CONNECTION},
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request, connection_id: UUID) -> Response:
        """Trust the host key that the last test showed, where none was trusted before; compare it first."""
        connection = found(of_organization(self.org), connection_id)
        wanted = shapes.PinInput.parse(request.data)
        revisions.pin_host_key(connection, self.actor, fingerprint=wanted.fingerprint)
        return Response(shown(self.org, connection_id))


def _show_revision(revision: ConnectionRevision) -> dict[str, Any]:
    return shapes.ConnectionRevision(
        revision=revision.number,
        replaced_at=revision.created_at,
        replaced_by=revision.actor_label,
        changed=revision.changed,
        tested_at=revision.tested_at,
    ).as_json()


def _show_staged(slot: ConnectionRevision) -> dict[str, Any]:
    return shapes.StagedCredentials(
        secrets=slot.changed, created_at=slot.created_at, actor=slot.actor_label, tested_at=slot.tested_at
    ).as_json()
