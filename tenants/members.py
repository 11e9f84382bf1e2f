"""Members of an organisation: invite by e-mail, accept, change roles, remove.

An invitation says nothing about whom the installation knows: it goes to any address, and only who reads the mail there
learns whether to sign in or to choose a password.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from datetime import timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import connections, router, transaction
from django.urls import reverse
from django.utils import timezone

from tenants import scope
from tenants.actors import Actor
from tenants.api_keys import demand_role
from tenants.audit import record
from tenants.errors import (
    AlreadyMember,
    InvitationIsOver,
    LastAdministrator,
    MailNotConfigured,
    MailRefused,
    Vanished,
)
from tenants.models import ApiKey, Invitation, InvitationState, Membership, Organization
from tenants.roles import Role

VALID_FOR: Final = timedelta(days=7)

_TOKEN: Final = re.compile(r"erpi_[A-Za-z0-9_-]{43}", re.ASCII)
_NOWHERE: Final = "django.core.mail.backends.dummy.EmailBackend"
_INVITATION_COLUMNS: Final = ("id", "org_id", "email", "role", "expires_at", "accepted_at", "revoked_at")
_BODY: Final = """\
{inviter} invites you to {organization} in the ERP connector, as: {role}.

Open this address and follow the page, at the latest on {until} (UTC):

{address}

If it asks for the invitation code, it is:

{token}

Whoever has this mail can accept it. If you do not know what it is about, do nothing.
"""

log = structlog.get_logger(__name__)


def invite(org: Organization, actor: Actor, *, email: str, role: str, by: ApiKey | None = None) -> Invitation:
    """Send an invitation; an open one to the same address is replaced.

    Args:
        org: to what.
        actor: who invites.
        email: whom.
        role: what they will be.
        by: the key the actor uses.

    Raises:
        Forbidden: the role has more than `by`.
        AlreadyMember: the address is a member's.
        MailNotConfigured, MailRefused: no mail left, and there is no invitation.
    """
    demand_role(role, by)
    if settings.EMAIL_BACKEND == _NOWHERE or not settings.PUBLIC_URL:
        raise MailNotConfigured
    email = email.lower()
    token = f"erpi_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        lock(org)
        if Membership.objects.of(org).filter(user__email__iexact=email).exists():
            raise AlreadyMember
        for open_one in Invitation.objects.of(org).filter(email=email, accepted_at=None, revoked_at=None):
            _revoke(open_one, actor)
        invitation: Invitation = Invitation.objects.create(
            org=org,
            email=email,
            role=role,
            token_sha256=_hash(token),
            invited_by=actor.label[:150],
            expires_at=timezone.now() + VALID_FOR,
        )
        record(actor, "invitation.created", org=org, target=invitation, email=email, role=role)
    _send(invitation, token, actor)
    return invitation


def revoke(invitation: Invitation, actor: Actor) -> None:
    """Take an invitation back.

    Raises:
        InvitationIsOver: it was accepted or revoked.
    """
    with transaction.atomic():
        row = Invitation.objects.select_for_update(of=("self",)).select_related("org").get(pk=invitation.pk)
        if row.accepted_at or row.revoked_at:
            raise InvitationIsOver
        _revoke(row, actor)


def find(token: str) -> Invitation | None:
    """Return the open invitation of a token; whose it is need not be known."""
    return find_by_hash(_hash(token)) if _TOKEN.fullmatch(token) else None


def find_by_hash(token_sha256: str) -> Invitation | None:
    """Return the open invitation whose token has this hash."""
    using = router.db_for_read(Invitation)
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT * FROM invitation_with_organization(%s)", [token_sha256])
        row = cursor.fetchone()
    if row is None:
        return None
    own = len(_INVITATION_COLUMNS)
    invitation = Invitation.from_db(using, _INVITATION_COLUMNS, row[:own])
    invitation.org = Organization.from_db(using, ("id", "slug", "name"), row[own:])
    invitation.token_sha256 = token_sha256
    return invitation if invitation.state == InvitationState.OPEN else None


def has_account(invitation: Invitation) -> bool:
    """Return whether there is an account with the address: for the page of whom it was sent to, and nobody else."""
    return bool(get_user_model().objects.filter(email__iexact=invitation.email).exists())


def is_for(invitation: Invitation, user: Any) -> bool:
    """Return whether a signed-in person has the address it was sent to."""
    return bool(user.email) and user.email.lower() == invitation.email


def user_name_for(invitation: Invitation) -> str:
    """Return the name of an account to be: the address, or a random name where that cannot be one or is taken."""
    users = get_user_model().objects
    try:
        UnicodeUsernameValidator()(invitation.email)
    except ValidationError:
        return f"user-{uuid.uuid4()}"
    is_free = len(invitation.email) <= 150 and not users.filter(username__iexact=invitation.email).exists()
    return invitation.email if is_free else f"user-{uuid.uuid4()}"


def accept(invitation: Invitation, actor: Actor, user: Any) -> Membership:
    """Make a person a member; who is one already keeps the role.

    Args:
        invitation: as `find` returned it.
        actor: the person, as the audit trail records them.
        user: their account, or an account that is not saved yet.

    Raises:
        InvitationIsOver: it was accepted or revoked meanwhile, or is not for this person.
    """
    with scope.only(invitation.org_id), transaction.atomic():
        row = Invitation.objects.select_for_update(of=("self",)).select_related("org").get(pk=invitation.pk)
        if row.state != InvitationState.OPEN or not is_for(row, user):
            raise InvitationIsOver
        if user.pk is None:
            if has_account(row):
                raise InvitationIsOver
            user.save()
            actor = Actor.user(user, address=actor.address, request_id=actor.request_id)
        row.accepted_at = timezone.now()
        row.save(update_fields=["accepted_at"])
        member, is_new = Membership.objects.get_or_create(org=row.org, user=user, defaults={"role": row.role})
        record(actor, "invitation.accepted", org=row.org, target=row, email=row.email, role=member.role)
        if is_new:
            record(actor, "membership.created", org=row.org, target=member, user=user.get_username(), role=member.role)
    return member


def change_role(member: Membership, actor: Actor, role: str, *, by: ApiKey | None = None) -> Membership:
    """Give a member another role.

    Raises:
        Forbidden: the role has more than `by`.
        LastAdministrator: nobody else is one.
    """
    demand_role(role, by)
    with transaction.atomic():
        row = _locked(member)
        if row.role == role:
            return row
        if row.role == Role.ADMIN:
            demand_another_administrator(row)
        changes = {"role": (row.role, role)}
        row.role = role
        row.save(update_fields=["role"])
        record(actor, "membership.changed", org=row.org, target=row, user=row.user.get_username(), changes=changes)
    return row


def remove(member: Membership, actor: Actor) -> None:
    """End a membership; the account stays.

    Raises:
        LastAdministrator: nobody else is one.
    """
    with transaction.atomic():
        row = _locked(member)
        if row.role == Role.ADMIN:
            demand_another_administrator(row)
        record(actor, "membership.deleted", org=row.org, target=row, user=row.user.get_username(), role=row.role)
        row.delete()


def demand_another_administrator(member: Membership) -> None:
    """Check that the organisation has an administrator beside this one who can sign in; its members are locked.

    Raises:
        LastAdministrator: it has none.
    """
    if not administrators(member.org) - {member.pk}:
        raise LastAdministrator


def administrators(org: Organization) -> set[uuid.UUID]:
    """Return the keys of the memberships of those administrators who can sign in."""
    able = Membership.objects.of(org).filter(role=Role.ADMIN, user__is_active=True, user__is_staff=True)
    return set(able.values_list("pk", flat=True))


def lock(org: Organization) -> None:
    """Let nobody else change the members of an organisation until the transaction ends; orders still come in."""
    Organization.objects.select_for_update(no_key=True).get(pk=org.pk)


def _locked(member: Membership) -> Membership:
    lock(member.org)
    rows = Membership.objects.select_for_update(of=("self",)).select_related("org", "user")
    row: Membership | None = rows.filter(pk=member.pk).first()
    if row is None:
        raise Vanished
    return row


def _revoke(invitation: Invitation, actor: Actor) -> None:
    invitation.revoked_at = timezone.now()
    invitation.save(update_fields=["revoked_at"])
    record(actor, "invitation.revoked", org=invitation.org, target=invitation, email=invitation.email)


def _send(invitation: Invitation, token: str, actor: Actor) -> None:
    """Send the mail, outside of any transaction; take the invitation back if it does not leave."""
    name = " ".join(invitation.org.name.split())  # a subject is one line
    # Behind the hash sign, a token is sent to no server, and so stands in nobody's log.
    address = f"{settings.PUBLIC_URL}{reverse('invitation')}#{token}"
    body = _BODY.format(
        inviter=invitation.invited_by,
        organization=name,
        role=invitation.get_role_display(),
        until=f"{invitation.expires_at:%Y-%m-%d %H:%M}",
        address=address,
        token=token,
    )
    try:
        EmailMessage(subject=f"Invitation to {name}", body=body, to=[invitation.email]).send()
    except Exception as error:  # whatever a mail backend raises
        log.error("invitation.not_sent", invitation=str(invitation.pk), reason=type(error).__name__)
    else:
        return
    revoke(invitation, actor)
    raise MailRefused


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
