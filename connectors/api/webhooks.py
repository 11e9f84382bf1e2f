"""Webhooks: who is told what becomes of the organisation's exports. The secret is answered once, when it is issued."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import examples, shapes
from connectors.api.filters import WebhookDeliveryFilter
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from connectors.models import Webhook, WebhookDelivery
from connectors.services import webhooks
from tenants.roles import Scope

_WEBHOOK: Final = Answer(description="The webhook as it is now.", model=shapes.Webhook)
_ISSUED: Final = Answer(description="The webhook, with its secret if that is new.", model=shapes.WebhookWithSecret)


class WebhooksView(ListView):
    """The organisation's webhooks."""

    scopes = {"GET": Scope.WEBHOOKS_READ, "POST": Scope.WEBHOOKS_WRITE}
    reveals = ("POST",)

    @describe(
        "list_webhooks",
        "List webhooks",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.Webhook])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's webhooks."""
        return self.page(Webhook.objects.of(self.org), _show)

    @describe(
        "create_webhook",
        "Create a webhook",
        request=shapes.WebhookInput,
        request_examples={"What a shop wants to know": examples.WEBHOOK_INPUT},
        answers={
            201: Answer(
                description="Created, with its secret, which is never shown again.",
                model=shapes.WebhookWithSecret,
                headers={"Location": "Where the webhook is."},
            )
        },
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request) -> Response:
        """Let an address be told from now on, signed by Standard Webhooks (standardwebhooks.com)."""
        wanted = shapes.WebhookInput.parse(request.data)
        webhook, secret = webhooks.create(
            self.org, self.actor, name=wanted.name, url=wanted.url, events=wanted.events, enabled=wanted.enabled
        )
        location = reverse("api:webhook", args=[webhook.pk])
        return Response(_issue(webhook, secret), status=HTTPStatus.CREATED, headers={"Location": location})


class WebhookView(ApiView):
    """One webhook."""

    scopes = {"GET": Scope.WEBHOOKS_READ, "PATCH": Scope.WEBHOOKS_WRITE, "DELETE": Scope.WEBHOOKS_WRITE}

    @describe("get_webhook", "Show a webhook", answers={200: _WEBHOOK})
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """Show a webhook without its URL and secret."""
        return Response(_show(_found(self, webhook_id)))

    @describe(
        "change_webhook",
        "Change a webhook",
        request=shapes.WebhookPatch,
        is_body_required=False,
        request_examples={"Disable it": {"enabled": False}},
        answers={200: _ISSUED},
    )
    def patch(self, request: Request, webhook_id: UUID) -> Response:
        """Change what is given. A secret never follows to another URL: with that comes a new one."""
        webhook = _found(self, webhook_id)
        patch = shapes.WebhookPatch.parse(request.data)
        changed, secret = webhooks.change(
            webhook, self.actor, name=patch.name, url=patch.url, events=patch.events, enabled=patch.enabled
        )
        return Response(_issue(changed, secret))

    @describe("delete_webhook", "Delete a webhook", answers={204: Answer(description="It is gone, with its log.")})
    def delete(self, request: Request, webhook_id: UUID) -> Response:
        """Delete a webhook, what waits for it, and its log."""
        webhooks.delete(_found(self, webhook_id), self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


class SecretView(ApiView):
    """The secret of one webhook."""

    scopes = {"POST": Scope.WEBHOOKS_WRITE}
    reveals = ("POST",)

    @describe(
        "rotate_webhook_secret",
        "Issue a new secret",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={200: _ISSUED},
        problems={409: ("UNREADABLE_CONFIG",)},
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Issue a new secret; for 24 hours messages are signed with the previous one as well."""
        webhook = _found(self, webhook_id)
        shapes.EmptyInput.parse(request.data)
        secret = webhooks.rotate_secret(webhook, self.actor)
        return Response(_issue(_found(self, webhook_id), secret))


class WebhookTestView(ApiView):
    """A test of one webhook."""

    scopes = {"POST": Scope.WEBHOOKS_WRITE}

    @describe(
        "test_webhook",
        "Test a webhook",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={
            200: Answer(description="What happened; `state` says whether it arrived.", model=shapes.WebhookMessage)
        },
    )
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Send a signed `webhook.test` at once, also to a disabled webhook; it is tried once."""
        webhook = _found(self, webhook_id)
        shapes.EmptyInput.parse(request.data)
        return Response(_show_message(webhooks.test(webhook, self.actor)))


class DeliveriesView(ListView):
    """The messages to one webhook."""

    scopes = {"GET": Scope.WEBHOOKS_READ}
    filterset_class = WebhookDeliveryFilter

    @describe(
        "list_webhook_deliveries",
        "List the messages to a webhook",
        answers={200: Answer(description="Newest first.", model=shapes.Page[shapes.WebhookMessage])},
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """List the messages of the last 30 days, each with what was answered."""
        return self.page(WebhookDelivery.objects.of(self.org).filter(webhook=_found(self, webhook_id)), _show_message)


class RedeliveryView(ApiView):
    """One message, once more."""

    scopes = {"POST": Scope.WEBHOOKS_WRITE}

    @describe(
        "redeliver_webhook_message",
        "Send a message again",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={202: Answer(description="It is sent within seconds.", model=shapes.WebhookMessage)},
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request, webhook_id: UUID, delivery_id: UUID) -> Response:
        """Send a message again with the same id and body, or at once if it waits for its next attempt."""
        messages = WebhookDelivery.objects.of(self.org).filter(webhook=webhook_id).select_related("webhook__org")
        delivery = found(messages, delivery_id)
        shapes.EmptyInput.parse(request.data)
        sent = webhooks.redeliver(delivery, self.actor)
        return Response(_show_message(sent), status=HTTPStatus.ACCEPTED)


def _found(view: ApiView, webhook_id: UUID) -> Webhook:
    return found(Webhook.objects.of(view.org).select_related("org"), webhook_id)


def _show(webhook: Webhook) -> dict[str, Any]:
    return shapes.Webhook(**_columns(webhook)).as_json()


def _issue(webhook: Webhook, secret: str | None) -> dict[str, Any]:
    return shapes.WebhookWithSecret(**_columns(webhook), secret=secret).as_json()


def _columns(webhook: Webhook) -> dict[str, Any]:
    shown = {name: getattr(webhook, name) for name in shapes.Webhook.model_fields}
    return shown | {"disabled_because": webhook.disabled_because or None}


def _show_message(delivery: WebhookDelivery) -> dict[str, Any]:
    return shapes.WebhookMessage(
        **{name: getattr(delivery, name) for name in shapes.WebhookMessage.model_fields}
    ).as_json()
