"""GET me: who the caller is."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api.schema import Answer, describe
from connectors.api.shapes import Me, OrganizationShape
from connectors.api.views import ApiView


class MeView(ApiView):
    """The caller."""

    scopes = {"GET": None}

    @describe("get_me", "Who am I?", answers={200: Answer(description="The caller.", model=Me)})
    def get(self, request: Request) -> Response:
        """Show the organisation, the role, and the API key or person behind this request."""
        caller = self.caller
        me = Me(
            organization=OrganizationShape(id=caller.org.pk, slug=caller.org.slug, name=caller.org.name),
            role=caller.role,
            key_name=caller.actor.label if caller.is_api_key else None,
            user_name=None if caller.is_api_key else caller.actor.label,
        )
        return Response(me.as_json())
