"""What is kept of people who sign in; none of it lets anybody in who steals the database."""

from __future__ import annotations

from base64 import b32encode
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode

import structlog
from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django_otp.models import Device, ThrottlingMixin, TimestampMixin
from django_otp.oath import TOTP

from tenants.sign_in import sealing

log = structlog.get_logger(__name__)

DIGITS: Final = 6
PURPOSE: Final = "authenticator.secret"

_STEP_SECONDS: Final = 30
_STEPS_OFF: Final = 1
_MOST_FAILURES: Final = 10  # the wait doubles with each: 1, 2, 4, … 512 seconds


class Authenticator(TimestampMixin, ThrottlingMixin, Device):
    """A person's authenticator app: time-based codes of six digits (RFC 6238), each good for one use.

    A row is written once its first code was right, so `confirmed` always holds.
    """

    secret_sealed = models.BinaryField(editable=False)
    last_step = models.BigIntegerField(editable=False)
    """Of the last code that was used; only codes of later steps are taken."""

    class Meta:
        db_table = "authenticator"
        constraints: ClassVar = [models.UniqueConstraint(fields=("user",), name="authenticator_once_per_user")]

    def __str__(self) -> str:
        return f"Authenticator of {self.user}"

    def verify_token(self, token: str) -> bool:
        """Return whether this is a code for now, give or take a step, that was not used yet; use it up.

        The caller holds the lock of the row.
        """
        if not self.verify_is_allowed()[0]:
            return False
        secret = self._secret()
        step = None if secret is None else matching_step(secret, token, later_than=self.last_step)
        if secret is None or step is None:
            self.throttle_increment()
            return False
        if not sealing.is_under_current_key(bytes(self.secret_sealed)):
            self.secret_sealed = sealing.seal(secret, purpose=PURPOSE, owner=self.user_id)
        self.last_step = step
        self.note_success()
        return True

    def note_success(self) -> None:
        """Write down that a right code was given."""
        self.throttle_reset(commit=False)
        self.set_last_used_timestamp(commit=False)
        self.save()

    def throttle_increment(self, commit: bool = True) -> None:
        """Lengthen the wait after a wrong code, up to minutes: a stranger must not shut its owner out for ever."""
        before: int = getattr(self, "throttling_failure_count")  # noqa: B009  # the base class has no types
        self.throttling_failure_count = min(before, _MOST_FAILURES - 1)
        super().throttle_increment(commit)

    def get_throttle_factor(self) -> int:
        """Return how many seconds to wait after the first wrong code."""
        return 1

    def _secret(self) -> bytes | None:
        try:
            return sealing.unseal(bytes(self.secret_sealed), purpose=PURPOSE, owner=self.user_id)
        except sealing.Unreadable:
            log.error("authenticator.unreadable", user_id=self.user_id)
            return None


def matching_step(secret: bytes, code: str, *, later_than: int = -1) -> int | None:
    """Return the time step of which `code` is the code, or None; one step of drift either way is forgiven."""
    if not (len(code) == DIGITS and code.isascii() and code.isdecimal()):
        return None
    totp = TOTP(secret, step=_STEP_SECONDS, digits=DIGITS)
    return totp.t() if totp.verify(int(code), tolerance=_STEPS_OFF, min_t=later_than + 1) else None


def provisioning_uri(secret: bytes, *, issuer: str, account: str) -> str:
    """Return the `otpauth://` address that apps read from the QR code (Google Authenticator's Key URI Format)."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    parameters = {"secret": shown(secret), "issuer": issuer, "digits": DIGITS, "period": _STEP_SECONDS}
    return f"otpauth://totp/{label}?{urlencode(parameters, quote_via=quote)}"


def shown(secret: bytes) -> str:
    """Return a secret as people type it into an app."""
    return b32encode(secret).decode().rstrip("=")


class RecoveryCode(models.Model):
    """One way in for somebody without their authenticator, once; only its hash is stored.

    The code has 80 random bits, so a plain hash is as good as a slow one. It is bound to its person.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recovery_codes")
    code_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "recovery_code"
        constraints: ClassVar = [models.UniqueConstraint(fields=("user", "code_sha256"), name="recovery_code_once")]

    def __str__(self) -> str:
        return f"Recovery code of {self.user}"


class StaffSession(AbstractBaseSession):
    """A session under the SHA-256 of its key: what is stolen from here is no cookie."""

    session_key = models.CharField(primary_key=True, max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    """Whose it is, so that all sessions of a person can be ended; null before sign-in."""

    class Meta:
        db_table = "staff_session"
        verbose_name = "session"

    def __str__(self) -> str:
        return f"Session of {self.user or 'nobody'}"

    @classmethod
    def get_session_store_class(cls) -> Any:
        """Return the store that reads and writes these rows."""
        from tenants.sign_in.sessions import SessionStore

        return SessionStore
