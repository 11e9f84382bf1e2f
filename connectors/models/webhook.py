"""Where an organisation is told what became of its orders, and what it was told.

A trigger on `erp_export` writes one delivery for each webhook that wants to know, in the transaction of the change
itself: no code path can forget it, and what is rolled back was never told.
"""

from __future__ import annotations

import uuid
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils import timezone

from connectors.fields import EncryptedConfigField
from connectors.models.export import ERPExport
from connectors.models.sealed import SealedConfig
from tenants.models import Organization, OrganizationScopedQuerySet


class WebhookEvent(models.TextChoices):
    """What a webhook can be told."""

    ACCEPTED = "export.accepted"  #: an order was submitted, or sent anew by a person
    HELD = "export.held"  #: it waits for the approval of a person
    SENT = "export.sent"  #: the far end has it
    ACKNOWLEDGED = "export.acknowledged"  #: the ERP confirmed it
    REJECTED = "export.rejected"  #: the ERP said no
    FAILED = "export.failed"  #: we gave up, and nothing arrived
    UNCONFIRMED = "export.unconfirmed"  #: it may have arrived; a person decides
    CANCELLED = "export.cancelled"  #: a person withdrew it


TEST_EVENT = "webhook.test"
"""Tells nothing: somebody wants to see whether messages arrive."""


class DisabledBecause(models.TextChoices):
    """Why we ourselves stopped using a webhook."""

    GONE = "GONE", "the receiver answered 410 Gone"  #: it never wants another message
    FAILING = "FAILING", "a message was given up and none arrived since its first attempt"


class WebhookQuerySet(OrganizationScopedQuerySet):
    """Webhooks of one or all organisations."""

    def sendable(self) -> Self:
        """Return the webhooks that nobody is sending to and that may be sent to now."""
        now = timezone.now()
        return self.filter(
            models.Q(leased_until=None) | models.Q(leased_until__lt=now),
            models.Q(retry_at=None) | models.Q(retry_at__lte=now),
            enabled=True,
        )


class Webhook(SealedConfig):
    """One address that is told of state changes; URL and signing secret are sealed.

    Messages go out one at a time. Who sends one holds the lease; whoever lost it settles nothing.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="webhooks", db_index=False)
    name = models.CharField(max_length=100)
    config_encrypted = EncryptedConfigField(purpose="webhook.config")
    """`url` and `secret`; for a while after a rotation also `previous_secret` and `previous_until` (ISO 8601)."""
    host = models.CharField(max_length=253)
    """Of the URL, to show."""
    events = ArrayField(models.CharField(max_length=32, choices=WebhookEvent), default=list, blank=True)
    """Which it wants; empty: all."""
    enabled = models.BooleanField(default=True)
    disabled_because = models.CharField(max_length=16, choices=DisabledBecause, blank=True)
    """Empty when it is enabled, or when a person disabled it."""
    failures_in_a_row = models.PositiveIntegerField(default=0)
    """Attempts since a message last arrived."""
    retry_at = models.DateTimeField(null=True)
    """After a failure no message is sent before this time."""
    attempted_at = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    """Drawn for each lease."""
    leased_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        db_table = "erp_webhook"
        verbose_name = "webhook"
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=("org", "id"), name="erp_webhook_org_id"),)
        indexes = (
            # The trigger asks this one with every change of an export, so it has to answer alone.
            models.Index(
                fields=("org",),
                include=("id", "events"),
                condition=models.Q(enabled=True),
                name="erp_webhook_listening",
            ),
        )

    def __str__(self) -> str:
        return self.name


class WebhookState(models.TextChoices):
    """Where a message is."""

    PENDING = "PENDING", "pending"  #: waits for its turn, or for `next_attempt_at`
    DELIVERED = "DELIVERED", "delivered"  #: answered with 2xx
    FAILED = "FAILED", "failed"  #: we gave up


class WebhookDelivery(models.Model):
    """One message to one webhook."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    """Also the message id of every attempt (`webhook-id` of Standard Webhooks)."""
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+", db_index=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    export = models.ForeignKey(ERPExport, null=True, on_delete=models.CASCADE, related_name="+")
    """Null: it is a test."""
    event = models.CharField(max_length=32)
    occurred_at = models.DateTimeField()
    body = models.TextField()
    """What is sent: the state of the export as it was then. Every attempt sends the same bytes."""
    state = models.CharField(max_length=16, choices=WebhookState, default=WebhookState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    """Since the beginning, or since it was sent anew by hand."""
    next_attempt_at = models.DateTimeField(null=True)
    answers = models.JSONField(default=list)
    """Of each attempt: when, how long, and the HTTP status or our error code."""
    finished_at = models.DateTimeField(null=True)

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_webhook_delivery"
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        ordering = ("-occurred_at", "-id")
        indexes = (
            models.Index(fields=("webhook", "-occurred_at", "-id"), name="erp_webhook_delivery_log"),
            models.Index(
                fields=("webhook", "occurred_at", "id"),
                condition=models.Q(state="PENDING"),
                name="erp_webhook_delivery_pending",
            ),
            models.Index(
                fields=("finished_at",), condition=models.Q(state="FAILED"), name="erp_webhook_delivery_failed"
            ),
            BrinIndex(fields=("occurred_at",), name="erp_webhook_delivery_by_age"),  # to forget the old ones
        )

    def __str__(self) -> str:
        return f"{self.event} ({self.get_state_display()})"
