"""Sends what the outbox holds: one message at a time to each webhook, in the sequence in which things happened.

As with exports, nothing here holds a transaction while it talks to a far end, and a message whose sender did not come
back is sent again with the same id: receivers are told at least once.

A message that failed waits for its next attempt. After a failure the whole webhook pauses as long, though for minutes
at most: then the next message has its turn, so that one which a receiver cannot take does not keep the others back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from connectors import standard_webhooks
from connectors.codes import Code, describe
from connectors.exceptions import ConnectorError, EncryptionError
from connectors.models import DisabledBecause, Webhook, WebhookDelivery, WebhookState
from connectors.port import Context
from connectors.services import installation
from connectors.services.contexts import make_context
from connectors.services.crews import Crew
from connectors.services.pooling import give_back
from connectors.standard_webhooks import Message, Reply
from tenants import scope
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)

LEASE: Final = timedelta(seconds=4 * standard_webhooks.TIMEOUT_S)

AT_ONCE: Final = 2
"""So many webhooks of one organisation are sent to at once: those that never answer take no thread from the others."""

_LONGEST_PAUSE: Final = timedelta(minutes=5)
_KEPT_ANSWERS: Final = 50
_KEPT: Final = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What became of one attempt: a reply, or the code of why there is none."""

    started_at: datetime
    latency_ms: int
    reply: Reply | None = None
    code: Code | None = None
    message: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has taken the message."""
        return self.reply is not None and self.reply.is_accepted

    def as_json(self) -> dict[str, Any]:
        """Return what the log of the delivery keeps; nothing of what the receiver wrote."""
        return {
            "at": self.started_at.isoformat(),
            "latency_ms": self.latency_ms,
            "status": self.reply.status if self.reply else None,
            "code": self.code,
            "message": self.message,
        }


def run_next() -> bool:
    """Send one message whose time has come; return False when there is none."""
    if not installation.is_armed() or (claimed := _claim()) is None:
        return False
    webhook, delivery = claimed
    names = {"webhook_id": str(webhook.pk), "delivery_id": str(delivery.pk)}
    with scope.only(webhook.org_id), structlog.contextvars.bound_contextvars(**names):
        _settle(webhook, delivery, attempt(webhook, delivery))
    return True


def attempt(webhook: Webhook, delivery: WebhookDelivery) -> Attempt:
    """Send a message once; whatever goes wrong is part of the result."""
    started_at = timezone.now()
    outcome: dict[str, Any]
    try:
        outcome = {"reply": _post(webhook, delivery)}
    except ConnectorError as error:
        outcome = {"code": error.code, "message": error.message}
    except EncryptionError as error:
        outcome = {"code": error.code, "message": describe(error.code).message}
    except ValueError:  # the URL could be used when it was entered
        outcome = {"code": Code.CONFIGURATION_INVALID, "message": describe(Code.CONFIGURATION_INVALID).message}
    except Exception as error:  # a fault of ours must not stop the queue
        log.error("webhook.fault", exc_info=error)
        outcome = {"code": Code.INTERNAL_ERROR, "message": describe(Code.INTERNAL_ERROR).message}
    latency_ms = round((timezone.now() - started_at).total_seconds() * 1000)
    return Attempt(started_at=started_at, latency_ms=latency_ms, **outcome)


def is_due() -> Q:
    """Return the condition under which the time of a delivery has come."""
    return Q(state=WebhookState.PENDING) & (Q(next_attempt_at=None) | Q(next_attempt_at__lte=timezone.now()))


def forget_old() -> int:
    """Delete the messages that are older than they are kept; return how many."""
    return int(WebhookDelivery.objects.filter(occurred_at__lt=timezone.now() - _KEPT).delete()[0])


def valid_secrets(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the secrets that sign a message now, the present one first."""
    until = config.get("previous_until")
    has_two = until is not None and timezone.now() < datetime.fromisoformat(until)
    return (config["secret"], config["previous_secret"]) if has_two else (config["secret"],)


def _claim() -> tuple[Webhook, WebhookDelivery] | None:
    """Take the lease of the webhook that was served longest ago, and its oldest message."""
    due = WebhookDelivery.objects.filter(is_due())
    with transaction.atomic():
        webhooks = Webhook.objects.sendable().filter(Exists(due.filter(webhook=OuterRef("pk"))))
        webhooks = webhooks.annotate(at_work=_at_work()).filter(at_work__lt=AT_ONCE).select_related("org")
        webhooks = webhooks.order_by(F("attempted_at").asc(nulls_first=True))
        webhook = webhooks.select_for_update(skip_locked=True, no_key=True, of=("self",)).first()
        delivery = due.filter(webhook=webhook).order_by("occurred_at", "id").first() if webhook else None
        if webhook is None or delivery is None:
            return None
        now = timezone.now()
        webhook.claim, webhook.attempted_at, webhook.leased_until = uuid4(), now, now + LEASE
        webhook.save(update_fields=["claim", "attempted_at", "leased_until"])
        # Counted before it is made: a message that kills its sender has no endless number of them.
        delivery.attempts += 1
        delivery.save(update_fields=["attempts"])
    return webhook, delivery


def _at_work() -> Coalesce:
    """Return how many webhooks of the same organisation are being sent to."""
    leased = Webhook.objects.filter(org=OuterRef("org"), leased_until__gte=timezone.now()).order_by()
    return Coalesce(Subquery(leased.values("org").annotate(count=Count("pk")).values("count")), 0)


def _post(webhook: Webhook, delivery: WebhookDelivery) -> Reply:
    config = webhook.read_config()
    message = Message(id=str(delivery.pk), body=delivery.body, secrets=valid_secrets(config))
    context = Context(**make_context(webhook.org, seconds=standard_webhooks.TIMEOUT_S))
    give_back()
    return standard_webhooks.post(config["url"], message, context)


def _settle(webhook: Webhook, delivery: WebhookDelivery, attempt: Attempt) -> None:
    """Write down what became of an attempt, provided the lease is still ours."""
    now = timezone.now()
    with transaction.atomic():
        rows: QuerySet[Webhook] = Webhook.objects.select_for_update(no_key=True, of=("self",)).select_related("org")
        row = rows.filter(pk=webhook.pk, claim=webhook.claim).first()
        if row is None:
            log.warning("webhook.lease_lost")
            return
        row.claim = row.leased_until = None
        columns: dict[str, Any] = {"answers": [*delivery.answers, attempt.as_json()][-_KEPT_ANSWERS:]}
        if attempt.is_accepted:
            row.failures_in_a_row, row.retry_at = 0, None
            columns |= {"state": WebhookState.DELIVERED, "next_attempt_at": None, "finished_at": now}
        else:
            columns |= _after_failure(row, delivery, attempt, now)
        WebhookDelivery.objects.filter(pk=delivery.pk).update(**columns)
        row.save(
            update_fields=[
                "claim",
                "leased_until",
                "failures_in_a_row",
                "retry_at",
                "enabled",
                "disabled_because",
            ]
        )
    log.info(
        "webhook.delivered" if attempt.is_accepted else "webhook.attempt_failed",
        event_type=delivery.event,
        status=attempt.reply.status if attempt.reply else None,
        code=attempt.code,
        latency_ms=attempt.latency_ms,
    )


def _after_failure(row: Webhook, delivery: WebhookDelivery, attempt: Attempt, now: datetime) -> dict[str, Any]:
    """Let the webhook pause, or disable it; return what changes in the delivery."""
    row.failures_in_a_row += 1
    asked_s = attempt.reply.retry_after_s if attempt.reply else None
    delay_s = standard_webhooks.delay_s(
        delivery.attempts,
        asked_s=asked_s,
        jitter=random.random(),  # noqa: S311  # nosec B311  # spreads load
    )
    if attempt.reply is not None and attempt.reply.is_farewell:
        _disable(row, DisabledBecause.GONE)
        delay_s = None
    elif delay_s is None and row.failures_in_a_row >= delivery.attempts:
        _disable(row, DisabledBecause.FAILING)
    if delay_s is None:
        row.retry_at = now + _LONGEST_PAUSE
        return {"state": WebhookState.FAILED, "next_attempt_at": None, "finished_at": now}
    next_attempt_at = now + timedelta(seconds=delay_s)
    # Whoever asks to be left alone means all messages, not this one.
    row.retry_at = next_attempt_at if asked_s else min(next_attempt_at, now + _LONGEST_PAUSE)
    return {"next_attempt_at": next_attempt_at}


def _disable(row: Webhook, reason: DisabledBecause) -> None:
    row.enabled, row.disabled_because = False, reason
    record(Actor.system("webhooks"), "webhook.disabled", org=row.org, target=row, reason=str(reason))
    log.warning("webhook.disabled", reason=str(reason))


senders: Final = Crew("webhook sender", settings.WEBHOOK_THREADS, run_next)
"""Those of this process."""
