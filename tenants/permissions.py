"""Who may call what. A view says it per method; what it does not say is refused."""

from __future__ import annotations

from collections.abc import Mapping

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from tenants.authentication import Forbidden, Principal
from tenants.roles import HOLDERS, Role, Scope
from tenants.sign_in.confirmation import is_recent


class HasScope(BasePermission):
    """Lets a caller in who has the scope `view.scopes[method]`; where that is None, everybody of the organisation.

    Somebody with a session has to have confirmed a moment ago that it is them before they give access to others, or
    call a method that is among `view.reveals`: what they get outlives the session.

    A view without `scopes`, or a method that is not in them, refuses everybody.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise.

        Raises:
            Forbidden: the role or the API key may not do this; the hint says what it takes.
        """
        caller: object = request.user  # the stubs know Django's users only
        if not isinstance(caller, Principal):
            return False
        declared: Mapping[str, Scope | None] = getattr(view, "scopes", {})
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in declared:
            raise _not_for(caller.role, frozenset())
        scope = declared[method]
        if not caller.is_api_key and _is_sensitive(view, method, scope) and not is_recent(request._request):
            raise Forbidden("Confirm first that it is you.", "Open /admin/confirm/ in this session, then try again.")
        if scope is None or scope in caller.rights:
            return True
        if caller.role not in HOLDERS[scope]:
            raise _not_for(caller.role, HOLDERS[scope])
        raise Forbidden("This API key may not do this.", f"It needs the scope {scope}.")


def _is_sensitive(view: APIView, method: str, scope: Scope | None) -> bool:
    """Return whether somebody with a session has to confirm who they are: it gives access, or `view.reveals` it.

    What takes access away must never wait.
    """
    gives_access = scope in (Scope.KEYS_MANAGE, Scope.MEMBERS_MANAGE) and method != "DELETE"
    return gives_access or method in getattr(view, "reveals", ())


def _not_for(role: Role, holders: frozenset[Role]) -> Forbidden:
    names = ", ".join(each for each in Role if each in holders) or "nobody"
    return Forbidden(f"The role {role} may not do this.", f"It is for: {names}.")
