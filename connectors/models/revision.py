"""The configurations a connection had before the present one, and the one it may get next."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from connectors.fields import EncryptedConfigField
from connectors.models.connection import ERPConnection
from connectors.models.sealed import SealedConfig
from tenants.actors import ActorKind
from tenants.models import Organization, OrganizationScopedQuerySet


class ConnectionRevision(SealedConfig):
    """One configuration of a connection, encrypted like the one in use and bound to this row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(ERPConnection, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField(null=True)
    """The revision of the connection that it was; null for the staged one, which is not in use yet."""
    based_on = models.PositiveIntegerField(null=True)
    """The revision that a staged one was made from."""
    config_encrypted = EncryptedConfigField()
    secrets_updated_at = models.JSONField(default=dict)
    changed = models.JSONField(default=list)
    """The fields that its successor changed; those that the staged one will change."""
    actor_kind = models.CharField(max_length=16, choices=ActorKind)
    actor_label = models.CharField(max_length=150)
    """Who replaced or staged it."""
    created_at = models.DateTimeField(default=timezone.now)
    """When it was replaced or staged."""
    tested_at = models.DateTimeField(null=True)
    """When a test last succeeded with it."""

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_connection_revision"
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "number"), nulls_distinct=False, name="erp_connection_revision_number"
            ),
        )

    def __str__(self) -> str:
        return f"revision {self.number}" if self.number else "staged credentials"
