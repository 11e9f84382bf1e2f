"""The verbs of a webhook: create, change, rotate its secret, test, send a message again, delete.

The secret is shown once, when it is issued. It never follows to another URL: who changes the URL is given a new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from connectors import standard_webhooks
from connectors.exceptions import EncryptionError, Fault, InvalidInput
from connectors.models import Webhook, WebhookDelivery, WebhookEvent, WebhookState
from connectors.models.webhook import TEST_EVENT
from connectors.network import EgressPolicy
from connectors.services import webhook_sending
from connectors.services.connections import assign
from connectors.services.errors import TooManyTests, TooManyWebhooks, WebhookDisabled, WebhookGone
from connectors.services.locking import lock_organization
from tenants.actors import Actor
from tenants.models import Organization, record

log = structlog.get_logger(__name__)

MAX_WEBHOOKS: Final = 20
"""Of one organisation."""

TESTS_PER_MINUTE: Final = 10
"""Of one organisation: a test sends something anywhere on demand."""

OVERLAP: Final = timedelta(hours=24)
"""So long after a rotation the previous secret signs too."""


def create(
    org: Organization, actor: Actor, *, name: str, url: str, events: Iterable[str] = (), enabled: bool = True
) -> tuple[Webhook, str]:
    """Store a webhook.

    Args:
        org: whose exports it is told of.
        actor: who creates it.
        name: to show.
        url: where messages go.
        events: which it wants; none: all.
        enabled: whether it is told from now on.

    Returns:
        The webhook and its secret, which is shown this once.

    Raises:
        InvalidInput: the URL cannot be used.
        TooManyWebhooks: there are enough.
    """
    host, secret = host_of(url), standard_webhooks.new_secret()
    webhook = Webhook(id=uuid4(), org=org, name=name, host=host, events=_in_order(events), enabled=enabled)
    webhook.write_config({"url": url, "secret": secret})
    with transaction.atomic():
        lock_organization(org)
        if Webhook.objects.of(org).count() >= MAX_WEBHOOKS:
            raise TooManyWebhooks(limit=MAX_WEBHOOKS)
        webhook.save(force_insert=True)
        record(
            actor, "webhook.created", org=org, target=webhook, name=name, host=host, events=webhook.events,
            enabled=enabled,
        )  # fmt: skip
    log.info("webhook.created", webhook_id=str(webhook.pk))
    return webhook, secret


def change(
    webhook: Webhook,
    actor: Actor,
    *,
    name: str | None = None,
    url: str | None = None,
    events: Iterable[str] | None = None,
    enabled: bool | None = None,
) -> tuple[Webhook, str | None]:
    """Change a webhook; what is left out stays. What waits for it goes to the new URL.

    Returns:
        The webhook, and a new secret if the URL is another one.

    Raises:
        InvalidInput: the URL cannot be used.
        WebhookGone: it was deleted meanwhile.
    """
    host = host_of(url) if url is not None else None
    secret = None
    with transaction.atomic():
        row = _locked(webhook)
        wanted = {"name": name, "enabled": enabled, "events": None if events is None else _in_order(events)}
        changes = assign(row, {column: value for column, value in wanted.items() if value is not None})
        if enabled is not None:  # a person has seen why we disabled it
            changes |= assign(row, {"disabled_because": ""})
        if url is not None and host is not None and url != _stored(row).get("url"):
            secret = standard_webhooks.new_secret()
            row.write_config({"url": url, "secret": secret})
            changes |= {"host": (row.host, host)}
            row.host = host
            row.claim = row.leased_until = None  # what is being sent to the old one right now is sent to the new one
        if secret or enabled:
            row.failures_in_a_row, row.retry_at = 0, None
        if changes:
            row.save()
            record(actor, "webhook.changed", org=row.org, target=row, changes=changes)
            log.info("webhook.changed", webhook_id=str(row.pk), fields=sorted(changes))
    return row, secret


def rotate_secret(webhook: Webhook, actor: Actor) -> str:
    """Issue a new secret; for a day messages are signed with both.

    Raises:
        EncryptionError: the URL cannot be read; enter it again instead.
        WebhookGone: it was deleted meanwhile.
    """
    with transaction.atomic():
        row = _locked(webhook)
        config, secret = row.read_config(), standard_webhooks.new_secret()
        until = timezone.now() + OVERLAP
        row.write_config(
            {
                "url": config["url"],
                "secret": secret,
                "previous_secret": config["secret"],
                "previous_until": until.isoformat(),
            }
        )
        row.save(update_fields=["config_encrypted", "updated_at"])
        record(actor, "webhook.secret_rotated", org=row.org, target=row, previous_until=until.isoformat())
    log.info("webhook.secret_rotated", webhook_id=str(row.pk))
    return secret


def delete(webhook: Webhook, actor: Actor) -> None:
    """Remove a webhook and its log.

    Raises:
        WebhookGone: somebody else was faster.
    """
    with transaction.atomic():
        row = _locked(webhook)
        record(actor, "webhook.deleted", org=row.org, target=row, name=row.name, host=row.host)
        row.delete()
    log.info("webhook.deleted", webhook_id=str(webhook.pk))


def test(webhook: Webhook, actor: Actor) -> WebhookDelivery:
    """Send a message that tells nothing, now and once, also to a disabled webhook.

    Returns:
        The delivery with its one answer; DELIVERED or FAILED.

    Raises:
        TooManyTests: there were enough of them in the last minute.
    """
    now = timezone.now()
    with transaction.atomic():
        lock_organization(webhook.org)
        recent = WebhookDelivery.objects.of(webhook.org).filter(
            event=TEST_EVENT, occurred_at__gt=now - timedelta(minutes=1)
        )
        if recent.count() >= TESTS_PER_MINUTE:
            raise TooManyTests(retry_after=60, limit="organisation")
        delivery = WebhookDelivery.objects.create(
            org=webhook.org,
            webhook=webhook,
            event=TEST_EVENT,
            occurred_at=now,
            body=_test_body(webhook),
            state=WebhookState.FAILED,  # until it is known better: no worker is to send it as well
            attempts=1,
        )
    attempt = webhook_sending.attempt(webhook, delivery)
    delivery.state = WebhookState.DELIVERED if attempt.is_accepted else WebhookState.FAILED
    delivery.answers, delivery.finished_at = [attempt.as_json()], timezone.now()
    with transaction.atomic():
        delivery.save(update_fields=["state", "answers", "finished_at"])
        record(actor, "webhook.tested", org=webhook.org, target=webhook, success=attempt.is_accepted)
    return delivery


def redeliver(delivery: WebhookDelivery, actor: Actor) -> WebhookDelivery:
    """Send a message again with the same id and body, or at once if it waits for its next attempt.

    Raises:
        WebhookDisabled: nothing is sent there.
        WebhookGone: it was deleted meanwhile.
    """
    with transaction.atomic():
        webhook = _locked(delivery.webhook)
        if not webhook.enabled:
            raise WebhookDisabled
        row = WebhookDelivery.objects.select_for_update(of=("self",)).filter(pk=delivery.pk).first()
        if row is None:
            raise WebhookGone
        if row.state != WebhookState.PENDING:
            row.state, row.attempts, row.finished_at = WebhookState.PENDING, 0, None
        row.next_attempt_at = webhook.retry_at = None
        row.save(update_fields=["state", "attempts", "next_attempt_at", "finished_at"])
        webhook.save(update_fields=["retry_at"])
        record(actor, "webhook.redelivered", org=webhook.org, target=webhook, delivery_id=str(row.pk), event=row.event)
    return row


def host_of(url: str) -> str:
    """Return the host of a URL to which messages may be sent.

    Raises:
        InvalidInput: it cannot be used; the fault says why, without the URL.
    """
    policy = EgressPolicy(allowed_networks=tuple(settings.EGRESS_ALLOWED_NETWORKS))
    try:
        return standard_webhooks.check_url(url, policy)
    except ValueError as error:
        reason = str(error)
    raise InvalidInput([Fault(path="url", message=reason, code="url")])


def _locked(webhook: Webhook) -> Webhook:
    rows = Webhook.objects.select_for_update(of=("self",), no_key=True).select_related("org")
    row: Webhook | None = rows.filter(pk=webhook.pk).first()
    if row is None:
        raise WebhookGone
    return row


def _in_order(events: Iterable[str]) -> list[str]:
    wanted = set(events)
    return [event.value for event in WebhookEvent if event in wanted]


def _stored(webhook: Webhook) -> dict[str, Any]:
    """Return URL and secrets; nothing when they cannot be read, so that they can be replaced."""
    try:
        return webhook.read_config()
    except EncryptionError:
        return {}


def _test_body(webhook: Webhook) -> str:
    data = {"webhook_id": str(webhook.pk), "name": webhook.name}
    body = {"type": TEST_EVENT, "timestamp": timezone.now().isoformat().replace("+00:00", "Z"), "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
