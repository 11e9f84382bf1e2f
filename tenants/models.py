"""Organisations, their members and API keys, and the trail of what was done."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from itertools import islice
from typing import Any, Final, cast

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import connections, models
from django.utils import timezone

from tenants.audit import LEAST_RETENTION_DAYS, AuditEvent, record
from tenants.networks import is_within, parse
from tenants.postgresql.base import DatabaseWrapper
from tenants.querysets import OrganizationScopedQuerySet
from tenants.roles import Role, Scope, beyond, held_by
from tenants.sign_in.models import Authenticator, RecoveryCode, StaffSession

__all__ = [
    "ApiKey",
    "AuditEvent",
    "Authenticator",
    "Invitation",
    "InvitationState",
    "Membership",
    "Organization",
    "OrganizationScopedQuerySet",
    "RecoveryCode",
    "Role",
    "ServiceAccount",
    "StaffSession",
    "record",
]

_SLUG: Final = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z", "Use lower-case letters, digits and hyphens, at most 63 characters."
)
_TOKEN: Final = re.compile(r"erpk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_KEY_ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_KEY_COLUMNS: Final = (
    "id",
    "org_id",
    "account_id",
    "name",
    "role",
    "scopes",
    "networks",
    "secret_sha256",
    "expires_at",
    "revoked_at",
    "last_used_at",
)  # in the order of the model's fields
_ACCOUNT_COLUMNS: Final = ("id", "org_id", "name", "role", "disabled_at")
_ORGANIZATION_COLUMNS: Final = ("id", "slug", "name")


def _networks(texts: list[str]) -> None:
    for text in texts:
        try:
            parse(text)
        except ValueError:
            raise ValidationError(f"{text} is no network such as 10.20.0.0/16.", code="network") from None


def _scopes(names: list[str]) -> None:
    for name in names:
        if name not in Scope:
            raise ValidationError(f"{name} is no scope.", code="scope")


class Organization(models.Model):
    """One company: the owner of connections, exports and keys."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[_SLUG])
    name = models.CharField(max_length=200)
    egress_networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        db_default=[],
        blank=True,
        validators=[_networks],
        verbose_name="networks it may reach",
        help_text="As 10.20.0.0/16, separated by commas: its connections go nowhere else. Empty: wherever the "
        "installation allows. Never more than that.",
    )
    document_retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        verbose_name="days that documents are kept",
        help_text="After an export is finished. Empty: for ever.",
    )
    export_retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        verbose_name="days that exports are kept",
        help_text="After an export is finished, with its attempts and document. Empty: for ever.",
    )
    audit_retention_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(LEAST_RETENTION_DAYS)],
        verbose_name="days that the audit trail is kept",
        help_text=f"At least {LEAST_RETENTION_DAYS}. Empty: for ever.",
    )
    digest_email = models.EmailField(
        blank=True,
        default="",
        db_default="",
        verbose_name="address for the daily digest",
        help_text="Is told once a day what needs a person. Empty: nobody.",
    )
    digest_sent_on = models.DateField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "organization"
        verbose_name = "organisation"
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class MembershipQuerySet(OrganizationScopedQuerySet):
    """Memberships: who belongs to which organisation."""

    def roles_of(self, user_id: int) -> dict[uuid.UUID, str]:
        """Return a person's role in each organisation, whatever the scope: this is what a scope is made of."""
        with connections[self.db].cursor() as cursor:
            cursor.execute("SELECT id, role FROM organizations_of_member(%s)", [user_id])
            return dict(cursor.fetchall())


class Membership(models.Model):
    """A person's role in an organisation."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        db_table = "membership"
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=("user", "org"), name="membership_once_per_user_and_org"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.org} as {self.get_role_display()}"


class InvitationState(models.TextChoices):
    """What became of an invitation."""

    OPEN = "OPEN", "open"
    ACCEPTED = "ACCEPTED", "accepted"
    REVOKED = "REVOKED", "revoked"
    EXPIRED = "EXPIRED", "expired"


class Invitation(models.Model):
    """An offer to become a member, sent to an e-mail address; only the SHA-256 of its token is stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    """In lower case."""
    role = models.CharField(max_length=16, choices=Role)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.CharField(max_length=150, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    accepted_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "invitation"
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("org", "email"),
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="invitation_open_once_per_org_and_email",
            ),
        )

    def __str__(self) -> str:
        return f"{self.email} as {self.get_role_display()}"

    @property
    def state(self) -> InvitationState:
        """What became of it."""
        if self.accepted_at:
            return InvitationState.ACCEPTED
        if self.revoked_at:
            return InvitationState.REVOKED
        return InvitationState.OPEN if self.expires_at > timezone.now() else InvitationState.EXPIRED


class ServiceAccount(models.Model):
    """A program of an organisation that acts under a name of its own, with as many API keys as it needs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="service_accounts")
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=16, choices=Role, help_text="None of its keys may do more.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "service_account"
        verbose_name = "service account"
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(fields=("org", "name"), name="service_account_name_once_per_org"),
            models.UniqueConstraint(fields=("org", "id"), name="service_account_of_org"),
        )

    def __str__(self) -> str:
        return self.name


class ApiKeyQuerySet(OrganizationScopedQuerySet):
    """API keys: issued once in clear, known by their hash from then on."""

    def issue(self, *, org: Organization, role: str, name: str, **more: Any) -> tuple[ApiKey, str]:
        """Create a key.

        Args:
            org: whose key it is.
            role: what it may do at most.
            name: who or what uses it.
            more: further columns of the row.

        Returns:
            The row and the token `erpk_<id>_<secret>`, which exists nowhere else.
        """
        key_id = "".join(secrets.choice(_KEY_ID_ALPHABET) for _ in range(12))
        secret = secrets.token_urlsafe(32)
        key = self.create(id=key_id, org=org, role=role, name=name, secret_sha256=_hash(secret), **more)
        return key, f"erpk_{key_id}_{secret}"

    def authenticate(self, token: str, address: str | None = None) -> ApiKey | None:
        """Return the key that `token` belongs to if it opens anything from this address.

        Takes the same time for every wrong secret.

        Args:
            token: as it was issued.
            address: where the request comes from.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        key_id, secret = match.groups()
        key = self._with_organization(key_id)
        expected = key.secret_sha256 if key else "0" * 64
        if not hmac.compare_digest(expected, _hash(secret)) or key is None:
            return None
        return key if key.is_valid and key.is_valid_from(address) else None

    def _with_organization(self, key_id: str) -> ApiKey | None:
        # A function of the database, because whose rows may be seen is not known before; and SQL, because every
        # request comes by: putting this query together costs more than running it.
        row = cast(DatabaseWrapper, connections[self.db]).find_scope("api_key_with_organization", key_id)
        if row is None:
            return None
        values = iter(row)
        key = ApiKey.from_db(self.db, _KEY_COLUMNS, tuple(islice(values, len(_KEY_COLUMNS))))
        account = ServiceAccount.from_db(self.db, _ACCOUNT_COLUMNS, tuple(islice(values, len(_ACCOUNT_COLUMNS))))
        key.account = account if key.account_id else None
        key.org = Organization.from_db(self.db, _ORGANIZATION_COLUMNS, tuple(values))
        return key


class ApiKey(models.Model):
    """A credential of one organisation with one role; only the SHA-256 of its secret is stored.

    The secret has 256 random bits, so a plain hash is as good as a slow one.
    """

    id = models.CharField(primary_key=True, max_length=12, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    account = models.ForeignKey(
        ServiceAccount,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="api_keys",
        verbose_name="service account",
        help_text="Whose key it is: disabling the account stops it. Empty: it stands for itself.",
    )
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=16, choices=Role)
    scopes = ArrayField(
        models.CharField(max_length=40),
        default=list,
        db_default=[],
        blank=True,
        validators=[_scopes],
        help_text="What of its role it may do. None: all of it.",
    )
    networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        db_default=[],
        blank=True,
        validators=[_networks],
        verbose_name="source networks",
        help_text="As 10.20.0.0/16 or 2001:db8::/32, separated by commas: it is refused elsewhere. Empty: anywhere.",
    )
    succeeds = models.ForeignKey(
        "self", null=True, editable=False, on_delete=models.SET_NULL, related_name="successors", db_index=False
    )
    """The key it was issued in the place of."""
    secret_sha256 = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_from = models.GenericIPAddressField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        db_table = "api_key"
        verbose_name = "API key"
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=("org", "id"), name="api_key_of_org"),)

    def __str__(self) -> str:
        return f"{self.name} (erpk_{self.pk}_…)"

    def clean(self) -> None:
        """Refuse scopes that the role does not hold."""
        if self.role and (too_much := beyond(self.role, self.scopes)):
            raise ValidationError({"scopes": f"The role {self.role} does not hold: {', '.join(too_much)}."})

    @property
    def is_valid(self) -> bool:
        """Whether the key is neither revoked nor expired, and its account not disabled."""
        is_stopped = self.account is not None and self.account.disabled_at is not None
        return self.revoked_at is None and not self.is_expired and not is_stopped

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def is_valid_from(self, address: str | None) -> bool:
        """Return whether the key may be used from this address."""
        return not self.networks or is_within(address, self.networks)

    @property
    def rights(self) -> frozenset[Scope]:
        """What it may do: of its role, of its account's role, of its scopes."""
        own = held_by(self.role, self.scopes)
        return own & held_by(self.account.role) if self.account else own


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
