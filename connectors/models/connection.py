"""One organisation's configured connector, and the tests that were run on it."""

from __future__ import annotations

import uuid
from typing import Any, Self, cast

from django.db import models
from django.utils import timezone

from connectors.exceptions import EncryptionError
from connectors.fields import EncryptedConfigField
from tenants.actors import ActorKind
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

    def sendable(self) -> Self:
        """Return the connections through which something may be sent right now."""
        return self.active().exclude(health=Health.AUTH_FAILED)


class ERPConnection(models.Model):
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
    acks_polled_at = models.DateTimeField(null=True)
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
        indexes = (models.Index(fields=("org", "-created_at", "-id"), name="erp_connection_by_org"),)

    def __str__(self) -> str:
        return self.name

    def read_config(self) -> dict[str, Any]:
        """Return the configuration in clear.

        Raises:
            EncryptionError: the row cannot be decrypted here.
        """
        return self._config_field().open(self)

    def write_config(self, config: dict[str, Any]) -> None:
        """Seal the configuration into this row, without saving it."""
        self.config_encrypted = self._config_field().seal(self, config)

    @classmethod
    def _config_field(cls) -> EncryptedConfigField:
        return cast("EncryptedConfigField", cls._meta.get_field("config_encrypted"))

    @property
    def is_readable(self) -> bool:
        """Whether the configuration can be decrypted here."""
        try:
            self.read_config()
        except EncryptionError:
            return False
        return True


class ConnectionTest(models.Model):
    """One run of a connection test: who, on which revision, and the whole report."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(ERPConnection, on_delete=models.CASCADE, related_name="tests")
    revision = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=16, choices=ActorKind)
    actor_label = models.CharField(max_length=150)
    success = models.BooleanField()
    code = models.CharField(max_length=64, blank=True)
    """The code of the step that failed."""
    latency_ms = models.PositiveIntegerField()
    result = models.JSONField()

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_connection_test"
        ordering = ("-started_at", "-id")
        indexes = (models.Index(fields=("connection", "-started_at", "-id"), name="erp_connection_test_recent"),)

    def __str__(self) -> str:
        return "passed" if self.success else f"failed: {self.code}"
