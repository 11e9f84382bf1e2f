"""Sign-in, sign-out and what was refused there, for the audit trail.

What is typed as a name may be a password: only the names of existing accounts are recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from tenants import denials, scope
from tenants.actors import Actor, ActorKind
from tenants.denials import Denial
from tenants.models import Membership, Organization, record


@receiver(user_logged_in, dispatch_uid="tenants.sign_in.trail.in")
def _signed_in(request: HttpRequest | None, user: Any, **_: Any) -> None:
    _record(request, user, "sign_in.succeeded")


@receiver(user_logged_out, dispatch_uid="tenants.sign_in.trail.out")
def _signed_out(request: HttpRequest | None, user: Any, **_: Any) -> None:
    if user is not None:
        _record(request, user, "sign_in.ended")


@receiver(user_login_failed, dispatch_uid="tenants.sign_in.trail.failed")
def _refused(credentials: Mapping[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    _deny(request, str(credentials.get("username", "")), "sign_in.refused")


@receiver(user_locked_out, dispatch_uid="tenants.sign_in.trail.locked")
def _locked_out(request: HttpRequest | None = None, username: str | None = None, **_: Any) -> None:
    _deny(request, username or "", "sign_in.locked_out")


def _record(request: HttpRequest | None, user: Any, action: str) -> None:
    """Record it in the trail of each organisation the person belongs to; of none, in the installation's own."""
    with scope.everything():
        places: list[Organization | None] = [
            each.org for each in Membership.objects.filter(user=user).select_related("org")
        ]
    actor = Actor.user(user, **_origin(request))
    for org in places or [None]:
        record(actor, action, org=org, target=user)


def _deny(request: HttpRequest | None, name: str, action: str) -> None:
    model = get_user_model()
    person = model._default_manager.filter(**{model.USERNAME_FIELD: name.replace("\0", "")}).first()
    actor = Actor(kind=ActorKind.USER, id="", label="unknown", **_origin(request))
    if person is not None:
        actor = replace(actor, id=str(person.pk), label=person.get_username())
    denials.note(Denial(actor=actor, org=None, action=action, details=()))


def _origin(request: HttpRequest | None) -> dict[str, Any]:
    meta = request.META if request is not None else {}
    return {"address": meta.get("REMOTE_ADDR") or None, "request_id": meta.get("HTTP_X_REQUEST_ID", "")}
