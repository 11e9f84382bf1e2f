"""Members of the organisation, and invitations to become one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import access_shapes, shapes
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from tenants import members
from tenants.models import Invitation, Membership
from tenants.roles import Scope

_MEMBER: Final = Answer(description="The member as they are now.", model=access_shapes.Member)
_CONFLICT: Final = {409: ("CONFLICT",)}


class MembersView(ListView):
    """The people of the organisation."""

    scopes = {"GET": Scope.MEMBERS_READ}

    @describe(
        "list_members",
        "List members",
        answers={200: Answer(description="Newest first.", model=shapes.Page[access_shapes.Member])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's members."""
        return self.page(_members(self), _show)


class MemberView(ApiView):
    """One member."""

    scopes = {"GET": Scope.MEMBERS_READ, "PATCH": Scope.MEMBERS_MANAGE, "DELETE": Scope.MEMBERS_MANAGE}

    @describe("get_member", "Show a member", answers={200: _MEMBER})
    def get(self, request: Request, member_id: UUID) -> Response:
        """Show a member."""
        return Response(_show(found(_members(self), member_id)))

    @describe(
        "change_member",
        "Change the role of a member",
        request=access_shapes.MemberPatch,
        request_examples={"May configure connections": {"role": "INTEGRATOR"}},
        answers={200: _MEMBER},
        problems=_CONFLICT,
    )
    def patch(self, request: Request, member_id: UUID) -> Response:
        """Give a member another role. The last administrator keeps theirs."""
        member = found(_members(self), member_id)
        role = access_shapes.MemberPatch.parse(request.data).role
        return Response(_show(members.change_role(member, self.actor, role, by=self.caller.key)))

    @describe(
        "remove_member",
        "Remove a member",
        answers={204: Answer(description="They are no member any more.")},
        problems=_CONFLICT,
    )
    def delete(self, request: Request, member_id: UUID) -> Response:
        """End a membership. The last administrator stays."""
        members.remove(found(_members(self), member_id), self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


class InvitationsView(ListView):
    """The organisation's invitations."""

    scopes = {"GET": Scope.MEMBERS_READ, "POST": Scope.MEMBERS_MANAGE}

    @describe(
        "list_invitations",
        "List invitations",
        answers={200: Answer(description="Newest first.", model=shapes.Page[access_shapes.InvitationShape])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's invitations, past ones included, never with a token."""
        return self.page(_invitations(self), _show_invitation)

    @describe(
        "invite_member",
        "Invite a member",
        request=access_shapes.InvitationInput,
        request_examples={"To work with exports": {"email": "ada@example.com", "role": "OPS"}},
        answers={
            201: Answer(
                description="The mail has left.",
                model=access_shapes.InvitationShape,
                headers={"Location": "Where the invitation is."},
            )
        },
        problems=_CONFLICT,
    )
    def post(self, request: Request) -> Response:
        """Send an invitation by e-mail, good once and for 7 days. An open one to the same address is replaced."""
        wanted = access_shapes.InvitationInput.parse(request.data)
        invitation = members.invite(self.org, self.actor, email=wanted.email, role=wanted.role, by=self.caller.key)
        location = reverse("api:invitation", args=[invitation.pk])
        return Response(_show_invitation(invitation), status=HTTPStatus.CREATED, headers={"Location": location})


class InvitationView(ApiView):
    """One invitation."""

    scopes = {"GET": Scope.MEMBERS_READ, "DELETE": Scope.MEMBERS_MANAGE}

    @describe(
        "get_invitation",
        "Show an invitation",
        answers={200: Answer(description="The invitation.", model=access_shapes.InvitationShape)},
    )
    def get(self, request: Request, invitation_id: UUID) -> Response:
        """Show what became of an invitation."""
        return Response(_show_invitation(found(_invitations(self), invitation_id)))

    @describe(
        "revoke_invitation",
        "Revoke an invitation",
        answers={204: Answer(description="It can be accepted no more.")},
        problems=_CONFLICT,
    )
    def delete(self, request: Request, invitation_id: UUID) -> Response:
        """Take an invitation back; it stays in the list."""
        members.revoke(found(_invitations(self), invitation_id), self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


def _members(view: ApiView) -> Any:
    return Membership.objects.of(view.org).select_related("org", "user")


def _invitations(view: ApiView) -> Any:
    return Invitation.objects.of(view.org).select_related("org")


def _show(member: Membership) -> dict[str, Any]:
    return access_shapes.Member(
        id=member.pk,
        user_name=member.user.get_username(),
        email=member.user.email,
        role=member.role,
        created_at=member.created_at,
    ).as_json()


def _show_invitation(invitation: Invitation) -> dict[str, Any]:
    return access_shapes.InvitationShape(
        **{name: getattr(invitation, name) for name in access_shapes.InvitationShape.model_fields}
    ).as_json()
