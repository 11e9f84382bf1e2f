"""Who is calling the API, for which organisation, and in which role."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q
from django.utils import timezone
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from tenants import scope
from tenants.actors import Actor, ActorKind
from tenants.models import ApiKey, Membership, Organization
from tenants.roles import Role, Scope, held_by
from tenants.sign_in import second_factor

ORGANIZATION_HEADER: Final = "X-Organization"

_LAST_USED_PRECISION: Final = timedelta(minutes=1)


class Forbidden(PermissionDenied):
    """You may not do this."""

    def __init__(self, detail: str, hint: str) -> None:
        """Say what is refused, and what would help."""
        super().__init__(detail)
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Principal:
    """An API key or a signed-in person, acting for one organisation in one role; stands as `request.user`."""

    org: Organization
    role: Role
    actor: Actor
    key: ApiKey | None = None

    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> str:
        """What rate limits and log lines tell callers apart by."""
        return f"{self.actor.kind}:{self.actor.id}"

    @property
    def is_api_key(self) -> bool:
        """Whether this is an API key."""
        return self.actor.kind == ActorKind.API_KEY

    @property
    def rights(self) -> frozenset[Scope]:
        """What the caller may do: everything of the role, or what an API key is confined to."""
        return self.key.rights if self.key else held_by(self.role)


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer erpk_<id>_<secret>` (RFC 6750, section 2.1)."""

    def authenticate(self, request: Request) -> tuple[Principal, ApiKey] | None:
        """Return the caller and the key, or None when there is no bearer token.

        Raises:
            AuthenticationFailed: the key is malformed, unknown, wrong, expired, revoked, of a disabled account or
                not for this network; which one is not said.
        """
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        origin = _origin(request)
        key = ApiKey.objects.authenticate(token.strip(), origin["address"])
        if key is None:
            raise AuthenticationFailed
        scope.enter(scope.of(key.org_id))
        _note_use(key, origin["address"])
        actor = Actor.api_key(key, **origin)
        return Principal(org=key.org, role=Role(key.role), actor=actor, key=key), key

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that goes with 401."""
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """The session of the admin, with its CSRF token.

    The organisation is named by the header X-Organization, or is the only one of which the person is a member. A
    superuser may name any and has the role ADMIN there.
    """

    def authenticate(self, request: Request) -> tuple[Principal, AbstractBaseUser] | None:
        """Return the caller and the user, or None without a session.

        Raises:
            Forbidden: the account may not enter the admin, the second factor or the CSRF token is missing, or the
                organisation is not clear.
        """
        user = getattr(request._request, "user", None)
        if user is None or isinstance(user, Principal) or not user.is_active:
            return None
        self.enforce_csrf(request)
        if not user.is_staff:
            raise Forbidden("This account may not use the API.", "Ask for staff access, or use an API key.")
        if not second_factor.is_satisfied(request._request):
            raise Forbidden("The second factor is missing.", "Sign in to the admin with your one-time code.")
        org, role = _place_of(user, request.headers.get(ORGANIZATION_HEADER))
        scope.enter(scope.of(org.pk))
        return Principal(org=org, role=role, actor=Actor.user(user, **_origin(request))), user

    def enforce_csrf(self, request: Request) -> None:
        """Refuse a request that may have been sent by another site in the person's browser."""
        try:
            super().enforce_csrf(request)
            return
        except PermissionDenied:
            pass
        raise Forbidden("The CSRF token is missing or wrong.", "Send it in the header X-CSRFToken, or use an API key.")


def _place_of(user: Any, slug: str | None) -> tuple[Organization, Role]:
    """Return the organisation a person acts for, and the role there."""
    memberships = Membership.objects.filter(user=user).select_related("org")
    if slug:
        memberships = memberships.filter(org__slug=slug)
    places = [(membership.org, Role(membership.role)) for membership in memberships[:2]]
    if user.is_superuser:
        organizations = Organization.objects.filter(slug=slug) if slug else Organization.objects.all()
        places = [(org, Role.ADMIN) for org, _ in places] or [(org, Role.ADMIN) for org in organizations[:2]]
    match places:
        case [place]:
            return place
        case []:
            raise Forbidden(
                "You are not a member of this organisation." if slug else "You are not a member of any organisation.",
                "Ask an administrator for a membership.",
            )
        case _:
            raise Forbidden("It is not clear for which organisation.", f"Name it in {ORGANIZATION_HEADER}: <slug>.")


def _note_use(key: ApiKey, address: str | None) -> None:
    """Write down when and from where the key was last used, once a minute at most."""
    now = timezone.now()
    stale = now - _LAST_USED_PRECISION
    if key.last_used_at is None or key.last_used_at < stale:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=stale)
        with scope.only(key.org_id):
            ApiKey.objects.filter(unnoted, pk=key.pk).update(last_used_at=now, last_used_from=address)


def _origin(request: Request) -> dict[str, Any]:
    """Return where a request comes from, as the audit trail records it."""
    return {
        "address": request.META.get("REMOTE_ADDR") or None,
        "request_id": request.META.get("HTTP_X_REQUEST_ID", ""),
    }
