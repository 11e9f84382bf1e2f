"""The second factor: an authenticator app, and recovery codes for the day it is gone."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django_otp import DEVICE_ID_SESSION_KEY

from tenants.sign_in import sealing, sessions
from tenants.sign_in.events import note
from tenants.sign_in.models import PURPOSE, Authenticator, RecoveryCode, matching_step

REQUIRED: Final = "required"
OPTIONAL: Final = "optional"

RECOVERY_CODES: Final = 10

_PENDING: Final = "second_factor.pending"
_PENDING_PURPOSE: Final = "authenticator.pending"
_SECRET_SIZE: Final = 20  # RFC 4226, section 4: 160 bits are recommended
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 signs, none of which looks like another
_CODE_LENGTH: Final = 16
_GROUP: Final = 4


def of(user: Any) -> Authenticator | None:
    """Return the authenticator of a person."""
    return Authenticator.objects.filter(user_id=user.pk).first()


def is_required() -> bool:
    """Return whether staff needs a second factor to do anything."""
    return bool(settings.STAFF_SECOND_FACTOR == REQUIRED)


def is_satisfied(request: HttpRequest) -> bool:
    """Return whether the signed-in person gave every factor there is to give; asks the database once per request."""
    user: Any = request.user
    if getattr(user, "otp_device", None) is not None:
        return True
    return not is_required() and not _has_authenticator(request)


def must_enrol(request: HttpRequest) -> bool:
    """Return whether the signed-in person may do nothing before they have a second factor."""
    user = request.user
    return bool(user.is_active and user.is_staff and is_required() and not _has_authenticator(request))


def pending_secret(request: HttpRequest) -> bytes:
    """Return the secret that is offered to the signed-in person in this session, until its first code is right."""
    kept = request.session.get(_PENDING)
    if kept is not None:
        try:
            return sealing.unseal(bytes.fromhex(kept), purpose=_PENDING_PURPOSE, owner=request.user.pk)
        except (sealing.Unreadable, ValueError):
            pass  # offer another one
    secret = os.urandom(_SECRET_SIZE)
    request.session[_PENDING] = sealing.seal(secret, purpose=_PENDING_PURPOSE, owner=request.user.pk).hex()
    return secret


def enrol(request: HttpRequest, code: str) -> list[str] | None:
    """Take the offered secret as the person's authenticator, in place of an earlier one, if `code` is its code.

    Every other session of the person ends.

    Returns:
        Fresh recovery codes, which exist nowhere else, or None when the code is wrong.
    """
    user: Any = request.user
    secret = pending_secret(request)
    step = matching_step(secret, _plain(code))
    if step is None:
        return None
    with transaction.atomic():
        authenticator, is_first = Authenticator.objects.update_or_create(
            user_id=user.pk,
            defaults={
                "name": "Authenticator app",
                "secret_sealed": sealing.seal(secret, purpose=PURPOSE, owner=user.pk),
                "last_step": step,
                "throttling_failure_count": 0,
                "throttling_failure_timestamp": None,
            },
        )
        codes = _issue_recovery_codes(user)
        note(request, "second_factor.enrolled", replaced=not is_first)
        sessions.end_all(user, but=request.session)
    del request.session[_PENDING]
    request.session[DEVICE_ID_SESSION_KEY] = authenticator.persistent_id
    request.session.cycle_key()
    user.otp_device = authenticator
    return codes


def verify(user: Any, code: str) -> Authenticator | None:
    """Use up a code of the authenticator or a recovery code.

    Returns:
        The authenticator, or None when the code is wrong, was used, or comes too soon after a wrong one.
    """
    code = _plain(code)
    with transaction.atomic():
        authenticator = Authenticator.objects.select_for_update().filter(user_id=user.pk).first()
        if authenticator is None or not authenticator.verify_is_allowed()[0]:
            return None
        if len(code) != _CODE_LENGTH:
            return authenticator if authenticator.verify_token(code) else None
        used, _ = RecoveryCode.objects.filter(user_id=user.pk, code_sha256=_hash(user, code)).delete()
        if not used:
            authenticator.throttle_increment()
            return None
        authenticator.note_success()
        return authenticator


def renew_recovery_codes(request: HttpRequest) -> list[str]:
    """Return fresh recovery codes for the signed-in person; the earlier ones are void."""
    with transaction.atomic():
        codes = _issue_recovery_codes(request.user)
        note(request, "second_factor.recovery_codes_issued")
    return codes


def recovery_codes_left(user: Any) -> int:
    """Return how many recovery codes a person has not used."""
    return RecoveryCode.objects.filter(user_id=user.pk).count()


def remove(user: Any, *, but: Any = None) -> bool:
    """Take the authenticator and the recovery codes from a person and end their sessions.

    Args:
        user: from whom.
        but: a session to be kept.

    Returns:
        Whether there was one.
    """
    with transaction.atomic():
        removed, _ = Authenticator.objects.filter(user_id=user.pk).delete()
        RecoveryCode.objects.filter(user_id=user.pk).delete()
        sessions.end_all(user, but=but)
    return bool(removed)


def _has_authenticator(request: HttpRequest) -> bool:
    kept = vars(request)
    if "_has_authenticator" not in kept:
        kept["_has_authenticator"] = Authenticator.objects.filter(user_id=request.user.pk or 0).exists()
    return bool(kept["_has_authenticator"])


def _issue_recovery_codes(user: Any) -> list[str]:
    RecoveryCode.objects.filter(user_id=user.pk).delete()
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH)) for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(RecoveryCode(user_id=user.pk, code_sha256=_hash(user, code)) for code in codes)
    return ["-".join(code[at : at + _GROUP] for at in range(0, _CODE_LENGTH, _GROUP)) for code in codes]


def _hash(user: Any, code: str) -> str:
    return hashlib.sha256(f"{user.pk}:{code}".encode()).hexdigest()


def _plain(code: str) -> str:
    """Return a code as it was meant: people copy spaces and hyphens, and telephones begin with a capital letter."""
    return "".join(code.split()).replace("-", "").lower()
