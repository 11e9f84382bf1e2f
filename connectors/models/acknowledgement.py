"""The answers of the ERPs, as they were read."""

from __future__ import annotations

import uuid
from typing import Final, Self

from django.db import models
from django.utils import timezone

from connectors.models.connection import ERPConnection
from connectors.models.export import ERPExport
from tenants.models import Organization, OrganizationScopedQuerySet


class AckOutcome(models.TextChoices):
    """What became of an answer."""

    APPLIED = "APPLIED", "applied"  #: the export took its status
    REPEATED = "REPEATED", "repeated"  #: the export had this status already
    CONTRADICTS = "CONTRADICTS", "contradicts"  #: the export had ended otherwise, and stays so
    SUPERSEDED = "SUPERSEDED", "superseded"  #: for an export in whose place another one was sent
    UNMATCHED = "UNMATCHED", "unmatched"  #: nothing that it could answer was sent
    MALFORMED = "MALFORMED", "malformed"  #: it cannot be read


_OPEN: Final = models.Q(resolved_at=None) & (
    models.Q(outcome__in=("UNMATCHED", "MALFORMED", "CONTRADICTS"))
    # Accepted, although it was sent once more: the ERP may have the order twice.
    | models.Q(outcome="SUPERSEDED", status="ACKED")
)


class AcknowledgementQuerySet(OrganizationScopedQuerySet):
    """Acknowledgements of one or all organisations."""

    def open(self) -> Self:
        """Return those that wait for a person."""
        return self.filter(_OPEN)


class AcknowledgementRecord(models.Model):
    """One answer of an ERP; the same content under the same name is one row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    connection = models.ForeignKey(
        ERPConnection, on_delete=models.CASCADE, related_name="acknowledgements", db_index=False
    )
    export = models.ForeignKey(ERPExport, null=True, on_delete=models.CASCADE, related_name="acknowledgements")
    """The one that it names; null when there is none."""
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

    objects = AcknowledgementQuerySet.as_manager()

    class Meta:
        db_table = "erp_acknowledgement"
        verbose_name = "acknowledgement"
        ordering = ("-received_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "name", "fingerprint"), name="erp_acknowledgement_once_per_content"
            ),
        )
        indexes = (
            models.Index(fields=("org", "-received_at", "-id"), name="erp_acknowledgement_by_org"),
            models.Index(fields=("org", "-received_at", "-id"), condition=_OPEN, name="erp_acknowledgement_open"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.get_outcome_display()})"

    @property
    def is_open(self) -> bool:
        """Whether it waits for a person; says the same as `AcknowledgementQuerySet.open`."""
        if self.resolved_at is not None:
            return False
        if self.outcome == AckOutcome.SUPERSEDED:
            return self.status == "ACKED"
        return self.outcome in (AckOutcome.UNMATCHED, AckOutcome.MALFORMED, AckOutcome.CONTRADICTS)
