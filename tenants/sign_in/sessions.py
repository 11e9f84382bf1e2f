"""Sessions of staff, by the names Django knows session engines by.

The cookie holds a random key, the database its SHA-256, and the stored data is signed for that hash: a stolen table
opens no session, and data that is copied to another row does not open. A session ends after an idle time, after an
absolute age, and with `end_all`.
"""

from __future__ import annotations

import hashlib
import time
from datetime import datetime, timedelta
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY as USER_ID
from django.contrib.sessions.backends import db
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from tenants.sign_in.models import StaffSession

SIGNED_IN_AT: Final = "signed_in_at"

_TOUCH_PRECISION: Final = timedelta(minutes=1)


class SessionStore(db.SessionStore):
    """Reads and writes sessions by the hash of their key."""

    _expires_at: datetime | None = None

    @classmethod
    def get_model_class(cls) -> type[StaffSession]:
        """Return the table of sessions."""
        return StaffSession

    @property
    def key_salt(self) -> str:
        """Sign what is stored for this session alone."""
        return f"{__name__}:{hash_of(self.session_key)}"

    def load(self) -> dict[str, Any]:
        """Return what is stored; nothing once the session has reached its age."""
        row = self._get_session_from_db()
        data: dict[str, Any] = self.decode(row.session_data) if row else {}
        if USER_ID in data and time.time() >= data.get(SIGNED_IN_AT, 0) + settings.SESSION_COOKIE_AGE:
            self.delete()
            row, data = None, {}
        if row is None:
            self._session_key = None
        else:
            self._expires_at = row.expire_date
        return data

    def get_session_cookie_age(self) -> int:
        """Return how many seconds are left, if nothing more happens."""
        signed_in_at = self.get(SIGNED_IN_AT)
        left = settings.SESSION_COOKIE_AGE - (time.time() - signed_in_at if signed_in_at else 0)
        return max(0, min(settings.SESSION_IDLE_SECONDS, int(left)))

    def touch(self) -> None:
        """Postpone the end of the idle time; writes once a minute at most, and nothing but the time."""
        if self._expires_at is None or self.modified:  # what was modified is saved anyway
            return
        until = self.get_expiry_date()
        if until - self._expires_at >= _TOUCH_PRECISION:
            StaffSession.objects.filter(pk=hash_of(self.session_key)).update(expire_date=until)

    def exists(self, session_key: str) -> bool:
        """Return whether there is a session of this key."""
        return StaffSession.objects.filter(pk=hash_of(session_key)).exists()

    def delete(self, session_key: str | None = None) -> None:
        """Delete the session of this key, or this one."""
        StaffSession.objects.filter(pk=hash_of(session_key or self.session_key)).delete()

    def create_model_instance(self, data: dict[str, Any]) -> StaffSession:
        """Return the row to be written."""
        key: str = self._get_or_create_session_key()  # type: ignore[attr-defined]  # the stubs leave it out
        return StaffSession(
            session_key=hash_of(key),
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_id=data.get(USER_ID),
        )

    def _get_session_from_db(self) -> StaffSession | None:
        return StaffSession.objects.filter(pk=hash_of(self.session_key), expire_date__gt=timezone.now()).first()

    # Django's own would go by the key in clear.

    async def aload(self) -> dict[str, Any]:
        """See load."""
        return await sync_to_async(self.load)()

    async def aexists(self, session_key: str) -> bool:
        """See exists."""
        return await sync_to_async(self.exists)(session_key)

    async def asave(self, must_create: bool = False) -> None:
        """See save."""
        await sync_to_async(self.save)(must_create)

    async def adelete(self, session_key: str | None = None) -> None:
        """See delete."""
        await sync_to_async(self.delete)(session_key)


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, which also notices that somebody is there."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        """Let whatever a person does postpone the idle time-out, but not a page that looks after itself."""
        session: Any = request.session
        if session.accessed and _is_done_by_a_person(request):
            session.touch()
        return super().process_response(request, response)  # type: ignore[arg-type]  # streams as well


def hash_of(session_key: str | None) -> str:
    """Return what the database knows a session by; the key is random, so a plain hash will do."""
    return hashlib.sha256((session_key or "").encode()).hexdigest()


def end_all(user: Any, *, but: Any = None) -> int:
    """End every session of a person; return how many.

    Args:
        user: whose.
        but: a session to be kept.
    """
    sessions = StaffSession.objects.filter(user_id=user.pk)
    if but is not None:
        sessions = sessions.exclude(pk=hash_of(but.session_key))
    return sessions.delete()[0]


def _is_done_by_a_person(request: HttpRequest) -> bool:
    # A script that reads has this header with another value; whoever calls the API without a browser has none.
    return request.method not in ("GET", "HEAD") or request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
