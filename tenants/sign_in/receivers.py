"""What happens by itself when somebody signs in, or may no longer."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_save
from django.dispatch import receiver

from tenants.sign_in import confirmation, sessions


@receiver(user_logged_in, dispatch_uid="tenants.sign_in.begin")
def begin_session(request: Any, **_: Any) -> None:
    """Start the clock of the session, sweep up what has expired, and count the sign-in as a confirmation."""
    request.session[sessions.SIGNED_IN_AT] = int(time.time())
    confirmation.confirm(request)
    sessions.SessionStore.clear_expired()


@receiver(post_save, sender=get_user_model(), dispatch_uid="tenants.sign_in.end")
def end_sessions(instance: Any, **_: Any) -> None:
    """End the sessions of somebody who is deactivated: they do not come back with the account."""
    if not instance.is_active:
        sessions.end_all(instance)
