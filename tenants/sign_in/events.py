"""What the audit trail is told of sign-in, beyond what Django's own signals say."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from tenants.actors import Actor


def note(request: HttpRequest, action: str, user: Any = None, **details: Any) -> None:
    """Record what the signed-in person did, to themselves or to another person."""
    from tenants.models import record  # which knows these models, too

    person: Any = request.user
    actor = Actor.user(
        person,
        address=request.META.get("REMOTE_ADDR") or None,
        request_id=request.META.get("HTTP_X_REQUEST_ID", ""),
    )
    record(actor, action, org=None, target=user or person, **details)
