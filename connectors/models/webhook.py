"""Where an organisation is told what became of its orders, and what it was told."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from connectors.fields import EncryptedConfigField
from connectors.models.export import ERPExport
from tenants.models import Organization, OrganizationScopedQuerySet


class Webhook(models.Model):
    """One address that is told of state changes; URL and signing secret are sealed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=100)
    config_encrypted = EncryptedConfigField()
    """`url` and `secret`."""
    host = models.CharField(max_length=253)
    """Of the URL, to show."""
    events = ArrayField(models.CharField(max_length=32), default=list)
    """The event types it wants, such as export.sent; empty: all."""
    enabled = models.BooleanField(default=True)
    failures_in_a_row = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_webhook"
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return self.name

    def read_config(self) -> dict[str, Any]:
        """Return URL and secret in clear.

        Raises:
            EncryptionError: the row cannot be decrypted here.
        """
        return EncryptedConfigField.of(self).open(self)

    def write_config(self, config: dict[str, Any]) -> None:
        """Seal URL and secret into this row, without saving it."""
        self.config_encrypted = EncryptedConfigField.of(self).seal(self, config)


class WebhookState(models.TextChoices):
    """Where a message is."""

    PENDING = "PENDING", "pending"  #: waits for its turn, or for `next_attempt_at`
    SENDING = "SENDING", "sending"  #: a worker holds it until `leased_until`
    DELIVERED = "DELIVERED", "delivered"  #: answered with 2xx
    FAILED = "FAILED", "failed"  #: we gave up


class WebhookDelivery(models.Model):
    """One message to one address. A trigger writes it with the state change that it tells of."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    """Also the message id of every attempt (`webhook-id` of Standard Webhooks)."""
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    export = models.ForeignKey(ERPExport, on_delete=models.CASCADE, related_name="+")
    event = models.CharField(max_length=32)
    occurred_at = models.DateTimeField()
    body = models.TextField(blank=True)
    """What is sent, rendered once: every attempt sends the same."""
    state = models.CharField(max_length=16, choices=WebhookState, default=WebhookState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    leased_until = models.DateTimeField(null=True)
    answers = models.JSONField(default=list)
    """Of each attempt: when, how long, and the HTTP status or our error code."""
    finished_at = models.DateTimeField(null=True)

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_webhook_delivery"
        ordering = ("-occurred_at", "-id")
        indexes = (
            models.Index(fields=("webhook", "-occurred_at"), name="erp_webhook_delivery_log"),
            models.Index(
                fields=("next_attempt_at",),
                condition=models.Q(state__in=("PENDING", "SENDING")),
                name="erp_webhook_delivery_due",
            ),
        )

    def __str__(self) -> str:
        return f"{self.event} ({self.get_state_display()})"
