"""Orders on their way to an ERP.

PENDING ──claim──> SENDING ──> SENT ──acknowledgement──> ACKED | REJECTED
   ^                  ├─ TemporaryError, AuthenticationFailed, OutcomeUnknown that can be looked up ──> PENDING
   │                  ├─ OutcomeUnknown that cannot be settled ──> UNCONFIRMED
   └──────────────────┤
                      ├─ attempts spent, DocumentError, UnsupportedFeature ──> FAILED
                      └─ RejectedByERP ──> REJECTED
PENDING ──a person──> CANCELLED
FAILED, REJECTED, UNCONFIRMED ──a person retries──> a new export with `retry_of`
SENT, ACKED ──a person sends it again──> a new export with `retry_of` and `reason`
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Self

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from connectors.models.connection import ERPConnection
from tenants.actors import ActorKind
from tenants.models import Organization, OrganizationScopedQuerySet


class ExportStatus(models.TextChoices):
    """Where an order is."""

    PENDING = "PENDING", "pending"  #: waits for its turn, or for `next_attempt_at`
    SENDING = "SENDING", "sending"  #: a worker holds it until `leased_until`
    SENT = "SENT", "sent"  #: the far end has it; there is a receipt
    ACKED = "ACKED", "acknowledged"  #: the ERP confirmed it
    REJECTED = "REJECTED", "rejected"  #: the ERP said no
    UNCONFIRMED = "UNCONFIRMED", "unconfirmed"  #: it may have arrived; a person decides
    FAILED = "FAILED", "failed"  #: we gave up, and nothing arrived
    CANCELLED = "CANCELLED", "cancelled"  #: a person withdrew it before it was sent


DEAD = (ExportStatus.FAILED, ExportStatus.REJECTED, ExportStatus.CANCELLED)
"""In these states the order did not and will not reach the ERP, so it may be submitted anew."""

RETRYABLE = (ExportStatus.FAILED, ExportStatus.REJECTED, ExportStatus.UNCONFIRMED)
"""From these states a person may retry."""


class ExportQuerySet(OrganizationScopedQuerySet):
    """Exports of one or all organisations."""

    def live(self) -> Self:
        """Return the exports that stand for their order: no second one may be submitted beside them."""
        return self.filter(superseded_at=None).exclude(status__in=DEAD)

    def unresolved(self) -> Self:
        """Return what came to nothing or may have, and waits for a person: neither submitted anew nor put aside."""
        anew = ERPExport.objects.live().filter(org=models.OuterRef("org"), order_id=models.OuterRef("order_id"))
        left = self.filter(status__in=RETRYABLE, superseded_at=None, dismissed_at=None)
        return left.filter(models.Q(status=ExportStatus.UNCONFIRMED) | ~models.Exists(anew))

    def in_line(self, *, only_look_ups: bool = False) -> Self:
        """Return what waits for a worker and not for a person, in the sequence of submission.

        Args:
            only_look_ups: only what may have arrived.
        """
        waiting = self.filter(status=ExportStatus.PENDING, held=False)
        return (waiting.filter(outcome_unknown=True) if only_look_ups else waiting).order_by("created_at", "id")

    def overdue(self) -> Self:
        """Return the sent exports that the ERP has not answered within the time in which the connection expects it."""
        minutes = models.F("connection__ack_expected_within")
        patience = models.ExpressionWrapper(minutes * timedelta(minutes=1), models.DurationField())
        latest = models.ExpressionWrapper(models.Value(timezone.now()) - patience, models.DateTimeField())
        unanswered = self.filter(status=ExportStatus.SENT, superseded_at=None)
        return unanswered.filter(connection__ack_expected_within__isnull=False, sent_at__lt=latest)

    def expired(self) -> Self:
        """Return the exports whose worker did not come back in time."""
        return self.filter(status=ExportStatus.SENDING, leased_until__lt=timezone.now())


class ERPExport(models.Model):
    """One order on its way to one connection."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Neither needs an index of its own: each begins one of those below.
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="exports", db_index=False)
    connection = models.ForeignKey(ERPConnection, on_delete=models.PROTECT, related_name="exports", db_index=False)
    status = models.CharField(max_length=16, choices=ExportStatus, default=ExportStatus.PENDING)

    order_id = models.CharField(max_length=64)
    order = models.JSONField()
    """The canonical order; amounts are strings, so that no digit is lost."""
    order_fingerprint = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=255, null=True)  # NULL: not unique among themselves
    retry_of = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="retries")
    superseded_at = models.DateTimeField(null=True)
    """When a retry took this export's place."""

    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    """Not before this time; null is at once."""
    leased_until = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    """Drawn anew for each claim: who has lost his lease can no longer settle."""
    outcome_unknown = models.BooleanField(default=False)
    """An earlier attempt may have arrived: look it up before anything is sent."""

    held = models.BooleanField(default=False, db_default=False)
    """It waits for a person's approval."""
    reason = models.CharField(max_length=200, default="", db_default="", blank=True)
    """Why a person sent the order once more, when it had been delivered."""
    dismissed_at = models.DateTimeField(null=True)
    """When a person put it aside: it came to nothing, or may have, and nothing shall follow."""

    filename = models.CharField(max_length=255, blank=True)
    document_name = models.CharField(max_length=255, blank=True)
    """Where the rendered bytes lie in the document storage."""
    document_sha256 = models.CharField(max_length=64, blank=True)
    document_size = models.PositiveIntegerField(null=True)
    document_media_type = models.CharField(max_length=100, blank=True)
    document_purged_at = models.DateTimeField(null=True)
    """When the bytes were removed, because the organisation keeps documents no longer."""

    receipt = models.JSONField(null=True)
    erp_order_id = models.CharField(max_length=128, blank=True)
    error = models.JSONField(null=True)
    """Why it is where it is: code, message, hint, and what the ERP said."""
    warnings = models.JSONField(default=list)

    actor_kind = models.CharField(max_length=16, choices=ActorKind)
    actor_label = models.CharField(max_length=150)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    sent_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    """When it reached a state that only a person can leave."""

    objects = ExportQuerySet.as_manager()

    class Meta:
        db_table = "erp_export"
        verbose_name = "export"
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("org", "order_id"),
                condition=models.Q(superseded_at=None) & ~models.Q(status__in=("FAILED", "REJECTED", "CANCELLED")),
                name="erp_export_one_live_per_order",
            ),
            models.UniqueConstraint(fields=("org", "idempotency_key"), name="erp_export_idempotency_key"),
            models.UniqueConstraint(fields=("org", "id"), name="erp_export_org_id"),
        )
        indexes = (
            models.Index(fields=("org", "-created_at", "-id"), name="erp_export_by_org"),
            models.Index(fields=("status", "org", "-created_at", "-id"), name="erp_export_by_status"),
            models.Index(fields=("org", "order_id"), name="erp_export_by_order"),
            models.Index(fields=("connection", "-created_at", "-id"), name="erp_export_by_connection"),
            models.Index(fields=("-created_at", "-id"), name="erp_export_by_time"),
            models.Index(
                fields=("connection", "created_at", "id"),
                condition=models.Q(status="PENDING", held=False),
                name="erp_export_in_line",
            ),
            models.Index(fields=("org", "-created_at", "-id"), condition=models.Q(held=True), name="erp_export_held"),
            models.Index(
                fields=("org", "-created_at", "-id"),
                condition=models.Q(dismissed_at__isnull=False),
                name="erp_export_dismissed",
            ),
            models.Index(
                fields=("org", "status"),
                condition=models.Q(
                    superseded_at=None, dismissed_at=None, status__in=("FAILED", "REJECTED", "UNCONFIRMED")
                ),
                name="erp_export_unresolved",
            ),
            models.Index(fields=("leased_until",), condition=models.Q(status="SENDING"), name="erp_export_leased"),
            models.Index(fields=("org", "filename"), name="erp_export_by_filename"),
            models.Index(
                fields=("connection", "sent_at"),
                condition=models.Q(status__in=("SENT", "UNCONFIRMED")),
                name="erp_export_unanswered",
            ),
            models.Index(
                models.F("org"),
                Coalesce("finished_at", "sent_at"),
                condition=models.Q(document_purged_at=None)
                & (models.Q(finished_at__isnull=False) | models.Q(sent_at__isnull=False)),
                name="erp_export_finished",
            ),
            HashIndex(fields=("document_name",), condition=~models.Q(document_name=""), name="erp_export_by_document"),
        )

    def __str__(self) -> str:
        return f"{self.order_id} ({self.get_status_display()})"

    @property
    def is_retryable(self) -> bool:
        """Whether a person may send the order again with a new export."""
        return self.status in RETRYABLE and self.superseded_at is None


class Outcome(models.TextChoices):
    """How one attempt ended."""

    SENT = "SENT", "sent"  #: delivered, with a receipt
    FOUND = "FOUND", "found"  #: an earlier attempt had delivered it
    TEMPORARY = "TEMPORARY", "temporary error"  #: nothing arrived; tried again
    UNKNOWN = "UNKNOWN", "outcome unknown"  #: it may have arrived
    AUTH_FAILED = "AUTH_FAILED", "sign-in refused"  #: nothing arrived; the connection is paused
    REJECTED = "REJECTED", "rejected"  #: the far end said no
    FAILED = "FAILED", "failed"  #: it cannot be said in this format
    WORKER_LOST = "WORKER_LOST", "worker lost"  #: the lease ran out before a result was recorded


class ExportAttempt(models.Model):
    """One try to deliver an export. Written once, when the try is over; a trigger refuses to change it.

    It goes with its export, when the organisation keeps that no longer; the trigger looks whether the time is over.
    """

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    export = models.ForeignKey(ERPExport, on_delete=models.PROTECT, related_name="attempt_log", db_index=False)
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=16, choices=Outcome)
    error = models.JSONField(null=True)
    receipt = models.JSONField(null=True)
    steps = models.JSONField(default=list)
    next_attempt_at = models.DateTimeField(null=True)

    objects = OrganizationScopedQuerySet.as_manager()

    privileges = "SELECT, INSERT, DELETE"

    class Meta:
        db_table = "erp_export_attempt"
        verbose_name = "attempt"
        ordering = ("id",)
        indexes = (
            models.Index(fields=("export", "id"), name="erp_export_attempt_by_export"),
            models.Index(fields=("finished_at", "outcome"), name="erp_export_attempt_by_time"),
        )

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.get_outcome_display()}"
