"""One organisation's configured connector."""

from __future__ import annotations

import uuid
from typing import Self

from django.db import models
from django.utils import timezone

from connectors.exceptions import EncryptionError
from connectors.fields import EncryptedConfigField
from connectors.models.installation import Installation
from connectors.models.sealed import SealedConfig
from tenants.models import Organization, OrganizationScopedQuerySet


class ConnectionStatus(models.TextChoices):
    """Whether a connection takes orders."""

    ACTIVE = "ACTIVE", "active"  #: the one connection that takes the organisation's orders
    DISABLED = "DISABLED", "disabled"  #: configured, but nothing is sent through it


class Health(models.TextChoices):
    """What the last contact with the far end showed."""

    UNTESTED = "UNTESTED", "not tested"  #: no test of this configuration yet
    HEALTHY = "HEALTHY", "healthy"  #: the last test or delivery worked
    FAILING = "FAILING", "failing"  #: the last test failed
    AUTH_FAILED = "AUTH_FAILED", "sign-in refused"  #: paused until the credentials change or a test succeeds
    UNREADABLE = "UNREADABLE", "unreadable"  #: the configuration cannot be decrypted


class ConnectionQuerySet(OrganizationScopedQuerySet):
    """Connections of one or all organisations."""

    def active(self) -> Self:
        """Return the connections that take orders."""
        return self.filter(status=ConnectionStatus.ACTIVE)

    def usable(self) -> Self:
        """Return the connections at whose far end the system may log in by itself right now.

        Not where the sign-in was refused, nor while the breaker is open, nor in a database that was restored under
        another installation and not armed again.
        """
        return self.filter(models.Exists(Installation.objects.here()), retry_at=None).exclude(health=Health.AUTH_FAILED)

    def sendable(self) -> Self:
        """Return the connections through which orders may be sent right now."""
        return self.active().usable()


class ERPConnection(SealedConfig):
    """One organisation's way to its ERP; the configuration is encrypted and bound to this row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="connections")
    connector_type = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    status = models.CharField(max_length=16, choices=ConnectionStatus, default=ConnectionStatus.ACTIVE)
    health = models.CharField(max_length=16, choices=Health, default=Health.UNTESTED)
    config_encrypted = EncryptedConfigField()
    secrets_updated_at = models.JSONField(default=dict)
    """Which secrets are set, each with the time it was last entered (ISO 8601)."""
    revision = models.PositiveIntegerField(default=1)
    """Counts the changes of the configuration."""
    tested_revision = models.PositiveIntegerField(null=True)
    """The revision that a test last succeeded with."""
    last_test_at = models.DateTimeField(null=True)
    pinned_identity = models.JSONField(null=True)
    """Who the far end was on activation; another one gets no orders."""
    failures_in_a_row = models.PositiveIntegerField(default=0, db_default=0)
    """Passing troubles of the connection since it last worked; the fifth opens the breaker."""
    retry_at = models.DateTimeField(null=True)
    """While the breaker is open: when a check finds out whether the far end is back. Null: the breaker is closed."""
    check_minutes = models.PositiveIntegerField(default=60, db_default=60)
    """How often the connection is checked without being asked; 0 is never."""
    next_check_at = models.DateTimeField(null=True)
    expiries = models.JSONField(default=list, db_default=[])
    """When its credentials expire: `field`, `kind` and `expires_at` (ISO 8601) of each."""
    credentials_expire_on = models.DateField(null=True)
    """The last day of the credentials, entered by hand where nothing in them tells."""
    expiries_announced = models.JSONField(default=dict, db_default={})
    """Of which expiry was warned how many days before, each by its field and its time."""
    acks_polled_at = models.DateTimeField(null=True)
    acks_leased_until = models.DateTimeField(null=True)
    """So long the worker that fetches its answers now may take."""
    ack_expected_within = models.PositiveIntegerField(null=True)
    """Minutes after which a sent order without an answer is overdue; null: no answer is expected."""
    overdue_told_until = models.DateTimeField(null=True)
    """Of the missing answers to what was sent up to this time was told."""
    paused_at = models.DateTimeField(null=True)
    """Since when a person has kept orders from leaving; null: they leave."""
    pause_reason = models.CharField(max_length=200, default="", db_default="", blank=True)
    window = models.PositiveSmallIntegerField(default=16, db_default=16)
    """How many orders may be under way at once; 1 for partners that insist."""
    max_per_minute = models.PositiveIntegerField(null=True)
    """How many orders may leave in a minute; null: as many as the far end takes."""
    taken_lately = models.JSONField(default=list, db_default=[])
    """Of the last minute, where there is a limit: when orders were taken (seconds since 1970), and how many."""
    maintenance_windows = models.JSONField(default=list, db_default=[])
    """When nothing is sent (`connectors.maintenance` says how it is written)."""
    approval_limits = models.JSONField(default=dict, db_default={})
    """Currency to amount, as text: an order above its currency's amount, or in another currency, waits for a person.
    Empty: none waits."""
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        db_table = "erp_connection"
        verbose_name = "ERP connection"
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("org",), condition=models.Q(status="ACTIVE"), name="erp_connection_one_active_per_org"
            ),
            models.UniqueConstraint(fields=("org", "id"), name="erp_connection_org_id"),
        )
        indexes = (
            models.Index(fields=("org", "-created_at", "-id"), name="erp_connection_by_org"),
            models.Index(
                fields=("next_check_at",), condition=models.Q(status="ACTIVE"), name="erp_connection_next_check"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_tested(self) -> bool:
        """Whether a test has succeeded with the present configuration."""
        return self.tested_revision == self.revision

    @property
    def is_readable(self) -> bool:
        """Whether the configuration can be decrypted here."""
        try:
            self.read_config()
        except EncryptionError:
            return False
        return True
