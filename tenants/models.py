"""Organisations, their members and API keys, and the trail of what was done."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from datetime import datetime
from ipaddress import ip_network
from typing import Any, Final, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import connections, models
from django.utils import timezone

from tenants.actors import Actor, ActorKind

_SLUG: Final = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z", "Use lower-case letters, digits and hyphens, at most 63 characters."
)
_TOKEN: Final = re.compile(r"erpk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_KEY_ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_KEY_COLUMNS: Final = ("id", "org_id", "name", "role", "secret_sha256", "expires_at", "revoked_at", "last_used_at")
_KEY_WITH_ORGANIZATION: Final = f"""
    SELECT {", ".join(f"api_key.{column}" for column in _KEY_COLUMNS)}, organization.id, slug, organization.name
      FROM api_key JOIN organization ON organization.id = org_id
     WHERE api_key.id = %s
"""  # noqa: S608  # nosec B608  # names of columns, from two lines above


def _networks(texts: list[str]) -> None:
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            raise ValidationError(f"{text} is no network such as 10.20.0.0/16.", code="network") from None


class Role(models.TextChoices):
    """What a member or an API key may do in its organisation."""

    ADMIN = "ADMIN", "Administrator"
    INTEGRATOR = "INTEGRATOR", "Integrator"
    OPS = "OPS", "Operations"
    VIEWER = "VIEWER", "Viewer"


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


class OrganizationScopedQuerySet(models.QuerySet[Any]):
    """A queryset of rows that belong to one organisation each."""

    def of(self, org: Organization) -> Self:
        """Return only the rows of `org`."""
        return self.filter(org=org)


class Membership(models.Model):
    """A person's role in an organisation."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "membership"
        constraints = (models.UniqueConstraint(fields=("user", "org"), name="membership_once_per_user_and_org"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.org} as {self.get_role_display()}"


class ApiKeyQuerySet(OrganizationScopedQuerySet):
    """API keys: issued once in clear, known by their hash from then on."""

    def issue(
        self, *, org: Organization, role: str, name: str, expires_at: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key.

        Returns:
            The row and the token `erpk_<id>_<secret>`, which exists nowhere else.
        """
        key_id = "".join(secrets.choice(_KEY_ID_ALPHABET) for _ in range(12))
        secret = secrets.token_urlsafe(32)
        key = self.create(id=key_id, org=org, role=role, name=name, expires_at=expires_at, secret_sha256=_hash(secret))
        return key, f"erpk_{key_id}_{secret}"

    def authenticate(self, token: str) -> ApiKey | None:
        """Return the valid key that `token` belongs to, or None; takes the same time for every wrong secret."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        key_id, secret = match.groups()
        key = self._with_organization(key_id)
        expected = key.secret_sha256 if key else "0" * 64
        if not hmac.compare_digest(expected, _hash(secret)) or key is None or not key.is_valid:
            return None
        return key

    def _with_organization(self, key_id: str) -> ApiKey | None:
        # As SQL, because every request comes by: putting this query together costs more than running it.
        with connections[self.db].cursor() as cursor:
            cursor.execute(_KEY_WITH_ORGANIZATION, [key_id])
            row = cursor.fetchone()
        if row is None:
            return None
        key = ApiKey.from_db(self.db, _KEY_COLUMNS, row[: len(_KEY_COLUMNS)])
        key.org = Organization.from_db(self.db, ("id", "slug", "name"), row[len(_KEY_COLUMNS) :])
        return key


class ApiKey(models.Model):
    """A credential of one organisation with one role; only the SHA-256 of its secret is stored.

    The secret has 256 random bits, so a plain hash is as good as a slow one.
    """

    id = models.CharField(primary_key=True, max_length=12, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=16, choices=Role)
    secret_sha256 = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        db_table = "api_key"
        verbose_name = "API key"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} (erpk_{self.pk}_…)"

    @property
    def is_valid(self) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class AuditEvent(models.Model):
    """One thing that was done. A database trigger refuses to change or delete a row."""

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT, related_name="audit_events")
    created_at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=16, choices=ActorKind)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_label = models.CharField(max_length=150)
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=64)
    target_type = models.CharField(max_length=64, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict)

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "audit_event"
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("org", "-id"), name="audit_event_by_org"),
            models.Index(fields=("target_id", "-id"), name="audit_event_by_target"),
        )

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action}"


def record(
    actor: Actor, action: str, *, org: Organization | None, target: models.Model | None = None, **details: Any
) -> AuditEvent:
    """Append one event to the audit trail, in the caller's transaction.

    Args:
        actor: who did it.
        action: what, as `noun.verb` in the past tense, such as `connection.changed`.
        org: whose trail it belongs to; None for the installation's own.
        target: the row it was done to.
        details: plain JSON values; never a secret.
    """
    return AuditEvent.objects.create(
        org=org,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label,
        address=actor.address,
        request_id=actor.request_id,
        action=action,
        target_type=(target._meta.model_name or "") if target else "",
        target_id=str(target.pk) if target else "",
        details=details,
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
