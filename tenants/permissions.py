"""What each role may do. A view says it per method; what it does not say is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from tenants.authentication import Forbidden, Principal
from tenants.models import Role

ALL: Final = frozenset(Role)
"""Everybody of the organisation: look at exports and connector types."""

OPERATE: Final = frozenset({Role.ADMIN, Role.INTEGRATOR, Role.OPS})
"""Submit, preview, retry and cancel exports."""

CONFIGURE: Final = frozenset({Role.ADMIN, Role.INTEGRATOR})
"""Manage connections, read the audit trail."""


APPROVE: Final = frozenset({Role.ADMIN, Role.OPS})
"""Let an order go that waits for approval: not who integrates, and so not the key that submits."""

TEST: Final = CONFIGURE
"""Test connections, which logs in at the far end. A permission of its own: it may be given or taken apart."""


class HasRole(BasePermission):
    """Lets a caller in whose role is among `view.roles[method]`.

    A view without `roles`, or a method that is not in them, refuses everybody.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise.

        Raises:
            Forbidden: the role may not do this; the hint names the roles that may.
        """
        caller: object = request.user  # the stubs know Django's users only
        if not isinstance(caller, Principal):
            return False
        declared: Mapping[str, frozenset[Role]] = getattr(view, "roles", {})
        method = "GET" if request.method == "HEAD" else str(request.method)
        allowed = declared.get(method, frozenset())
        if caller.role in allowed:
            return True
        names = ", ".join(role for role in Role if role in allowed) or "nobody"
        raise Forbidden(f"The role {caller.role} may not do this.", f"It is for: {names}.")
