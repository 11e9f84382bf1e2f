"""Who was refused: each refusal is an event of the audit trail, however often it is repeated only a few of them.

The first refusal of somebody at an address is recorded at once. What follows within a minute is counted, and told with
the next one. So many are told apart in a minute and process; more are counted together, so that nobody fills the disk.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse

from tenants.actors import Actor, ActorKind
from tenants.audit import record
from tenants.authentication import Principal
from tenants.models import Organization

log = structlog.get_logger(__name__)

WINDOW_SECONDS: Final = 60
MOST_PER_WINDOW: Final = 100
"""Refusals of one process that are told apart; an address in IPv6 is quickly changed."""

_REFUSED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_API: Final = "/api/"
_KEY_ID: Final = re.compile(r"bearer\s+erpk_([a-z0-9]{12})_", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Denial:
    """One refusal."""

    actor: Actor
    org: Organization | None
    action: str
    details: tuple[tuple[str, Any], ...]

    @property
    def repeats(self) -> tuple[Any, ...]:
        """What it has in common with its repetitions."""
        org_id: UUID | None = self.org.pk if self.org else None
        return (self.actor.kind, self.actor.id, self.actor.address, org_id, self.action, self.details)


class Denials:
    """Counts refusals, and says which of them are to be recorded. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._began = clock()
        self._seen: dict[tuple[Any, ...], tuple[Denial, int]] = {}
        self._too_many = 0

    def note(self, denial: Denial) -> list[tuple[Denial, int]]:
        """Return what is to be recorded now, each with how often it was repeated before without being recorded."""
        with self._lock:
            due = self._end_window() if self._clock() - self._began >= WINDOW_SECONDS else []
            key = denial.repeats
            if key in self._seen:
                first, count = self._seen[key]
                self._seen[key] = first, count + 1
            elif len(self._seen) < MOST_PER_WINDOW:
                self._seen[key] = denial, 0
                due.append((denial, 0))
            else:
                self._too_many += 1
            return due

    def _end_window(self) -> list[tuple[Denial, int]]:
        repeated = [(denial, count) for denial, count in self._seen.values() if count]
        if self._too_many:
            others = Denial(actor=Actor.system("many others"), org=None, action="access.denied", details=())
            repeated.append((others, self._too_many))
        self._began, self._too_many = self._clock(), 0
        self._seen.clear()
        return repeated


denials: Final = Denials()


def note(denial: Denial) -> None:
    """Record a refusal, unless it repeats one; the trail that cannot be written refuses nobody less."""
    try:
        for each, repeated in denials.note(denial):
            details = dict(each.details) | ({"repeated": repeated} if repeated else {})
            with transaction.atomic():
                record(each.actor, each.action, org=each.org, **details)
    except DatabaseError as error:
        log.error("audit.denial_lost", exception=type(error).__name__)


class DenialsMiddleware:
    """Records the answers that refuse: 401 and 403, and 404 where a caller of the API asks for what is not theirs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and record it when it refuses."""
        response = self._get_response(request)
        status = response.status_code
        if status in _REFUSED or (status == _NOT_FOUND and _asks_for_an_object(request)):
            note(_denial(request, status))
        return response


def _asks_for_an_object(request: HttpRequest) -> bool:
    # Whether it is another organisation's or nobody's is not asked: how long the answer takes would tell.
    match = request.resolver_match
    return bool(match and match.kwargs and request.path.startswith(_API) and isinstance(_user(request), Principal))


def _denial(request: HttpRequest, status: int) -> Denial:
    user = _user(request)
    if isinstance(user, Principal):
        actor, org = user.actor, user.org
    else:
        actor, org = _stranger(request, user), None
    match = request.resolver_match
    details = {"status": status, "method": request.method, "route": match.view_name if match else "(none)"}
    return Denial(actor=actor, org=org, action="access.denied", details=tuple(details.items()))


def _stranger(request: HttpRequest, user: Any) -> Actor:
    """Return who asks, as far as it is known: the public part of a key proves nothing, but it says what to look for."""
    origin = {
        "address": request.META.get("REMOTE_ADDR") or None,
        "request_id": request.META.get("HTTP_X_REQUEST_ID", ""),
    }
    if user is not None and user.is_authenticated:
        return Actor.user(user, **origin)
    key = _KEY_ID.match(request.META.get("HTTP_AUTHORIZATION", ""))
    unknown = Actor(kind=ActorKind.SYSTEM, id="", label="unknown", **origin)
    return replace(unknown, kind=ActorKind.API_KEY, id=key[1], label="refused key") if key else unknown


def _user(request: HttpRequest) -> Any:
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return user
    return getattr(request, "_cached_user", user)  # REST framework has put nobody in the place of whom it refused
