"""Whose rows a request may see."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from tenants import scope
from tenants.models import Membership


class ScopeMiddleware:
    """Begins each request with nobody's rows, or those of the organisations of the person who has signed in.

    An API key is looked at later, by `tenants.authentication`, which also narrows a person's scope down to the one
    organisation that a call of the API is about.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer within the scope of the caller."""
        with scope.within(_scope_of(request)):
            return self._get_response(request)


def roles_of(request: HttpRequest) -> dict[UUID, str]:
    """Return the signed-in person's role in each organisation, asked once per request."""
    kept = vars(request)
    if "_roles_by_org" not in kept:
        kept["_roles_by_org"] = Membership.objects.roles_of(request.user.pk or 0)  # nobody's key is 0
    roles: dict[UUID, str] = kept["_roles_by_org"]
    return roles


def _scope_of(request: HttpRequest) -> str:
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:  # a call with an API key touches no session
        return scope.NOTHING
    user = request.user
    if not (user.is_active and user.is_staff):
        return scope.NOTHING
    return scope.EVERYTHING if user.is_superuser else scope.of(*roles_of(request))
