"""The answers of the ERPs, as they were read."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from connectors.models.connection import ERPConnection
from connectors.models.export import ERPExport
from tenants.models import Organization, OrganizationScopedQuerySet


class AckOutcome(models.TextChoices):
    """What became of an answer."""

    APPLIED = "APPLIED", "applied"  #: the export took its status
    REPEATED = "REPEATED", "repeated"  #: the export had this status already
    CONTRADICTS = "CONTRADICTS", "contradicts"  #: the export had been settled otherwise, and stays so
    SUPERSEDED = "SUPERSEDED", "superseded"  #: for an export in whose place another one was sent
    UNMATCHED = "UNMATCHED", "unmatched"  #: no export of this organisation has the name
    MALFORMED = "MALFORMED", "malformed"  #: it cannot be read


class AcknowledgementRecord(models.Model):
    """One answer of an ERP; the same content under the same name is one row."""

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    connection = models.ForeignKey(ERPConnection, on_delete=models.CASCADE, related_name="acknowledgements")
    export = models.ForeignKey(ERPExport, null=True, on_delete=models.CASCADE, related_name="acknowledgements")
    name = models.CharField(max_length=255)
    """The name of the file or message that brought it."""
    fingerprint = models.CharField(max_length=64)
    """The SHA-256 of what was read."""
    outcome = models.CharField(max_length=16, choices=AckOutcome)
    status = models.CharField(max_length=16, blank=True)
    """What it says: ACKED or REJECTED; empty when it cannot be read."""
    erp_order_id = models.CharField(max_length=128, blank=True)
    error = models.JSONField(null=True)
    """Why the ERP refused, or why it cannot be read."""
    processed_at = models.DateTimeField(null=True)
    """When the ERP says that it answered."""
    received_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True)
    """When a person put it aside."""

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_acknowledgement"
        verbose_name = "acknowledgement"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "name", "fingerprint"), name="erp_acknowledgement_once_per_content"
            ),
        )
        indexes = (
            models.Index(fields=("export", "id"), name="erp_acknowledgement_by_export"),
            models.Index(
                fields=("org", "-id"),
                condition=models.Q(resolved_at=None, outcome__in=("UNMATCHED", "MALFORMED", "CONTRADICTS")),
                name="erp_acknowledgement_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.get_outcome_display()})"
