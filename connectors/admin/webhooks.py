"""Webhooks: who is told, what became of each message. A secret is shown in the one answer that issues it."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from connectors.admin.live_tests import RefusalsSaid
from connectors.exceptions import InvalidInput
from connectors.models import Webhook, WebhookDelivery, WebhookEvent, WebhookState
from connectors.services import webhooks
from connectors.standard_webhooks import MAX_URL
from tenants.admin import OrganizationFilter, OrganizationScopedAdmin, actor_of, badge, organizations_of
from tenants.roles import CONFIGURE
from tenants.sign_in.confirmation import recently_confirmed

_SHOWN_MESSAGES: Final = 100
_STATE_KIND: Final = {WebhookState.PENDING: "wait", WebhookState.DELIVERED: "good", WebhookState.FAILED: "bad"}


def state_badge(webhook: Webhook) -> SafeString:
    """Return whether messages are sent there."""
    if webhook.disabled_because:
        return badge("bad", "disabled by us")
    if not webhook.enabled:
        return badge("off", "disabled")
    return badge("warn", "failing") if webhook.failures_in_a_row else badge("good", "enabled")


def message_badge(delivery: WebhookDelivery) -> SafeString:
    """Return where a message is."""
    return badge(_STATE_KIND[WebhookState(delivery.state)], delivery.get_state_display())


class WebhookForm(forms.ModelForm):
    """A new webhook."""

    url = forms.CharField(
        max_length=MAX_URL,
        label="URL",
        widget=forms.URLInput(attrs={"class": "vURLField", "autocomplete": "off"}),
        help_text="https://, without user and password. It is not shown again: it may hold a token.",
    )
    events = forms.MultipleChoiceField(
        choices=[(event.value, event.value) for event in WebhookEvent],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None: all of them.",
    )

    class Meta:
        model = Webhook
        fields = ("org", "name", "events")

    def clean_url(self) -> str:
        """Refuse a URL to which nothing can be sent."""
        url: str = self.cleaned_data["url"]
        try:
            webhooks.host_of(url)
            return url
        except InvalidInput as refusal:
            (fault,) = refusal.faults
        raise forms.ValidationError(fault.message.capitalize(), code="url")


@admin.register(Webhook)
class WebhookAdmin(OrganizationScopedAdmin):
    """Who is told, and what was answered."""

    may_view = may_add = CONFIGURE
    gives_access = True  # the secret lets a message pass for ours
    form = WebhookForm
    fields = ("org", "name", "url", "events")
    list_display = ("name", "host", "organization", "state", "failures_in_a_row", "attempted_at", "created_at")
    list_filter = ("enabled", "disabled_because", ("org", OrganizationFilter))
    list_select_related = ("org",)
    search_fields = ("name", "host")
    actions = None

    @admin.display(description="state", ordering="enabled")
    def state(self, webhook: Webhook) -> SafeString:
        """Return whether messages are sent there."""
        return state_badge(webhook)

    # -- A new one ---------------------------------------------------------------------------------------------------

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer only the organisations whose webhooks this person may configure."""
        if db_field.name == "org":
            kwargs |= {"queryset": organizations_of(request, CONFIGURE), "label": "Organisation"}
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Take away the links that add an organisation from within."""
        form = super().get_form(request, obj, change, **kwargs)
        for verb in ("add", "change", "delete", "view"):
            setattr(form.base_fields["org"].widget, f"can_{verb}_related", False)
        return form

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> Any:
        """Ask for a webhook and create it."""
        with RefusalsSaid(request):
            return super().add_view(request, form_url, extra_context)
        return self.to("changelist")

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        """Create the webhook."""
        about = {name: form.cleaned_data[name] for name in ("name", "url", "events")}
        created, obj.secret = webhooks.create(obj.org, actor_of(request), **about)
        obj.pk = created.pk

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret."""
        return self._issued(request, obj, obj.secret)

    # -- One webhook -------------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a webhook and the log of its messages."""
        webhook = self.find(request, object_id, self.may_view)
        log = webhook.deliveries.select_related("export").defer("export__order")[:_SHOWN_MESSAGES]
        return self.render(
            request,
            "admin/connectors/webhook/page.html",
            title=f"Webhook {webhook}",
            original=webhook,
            webhook=webhook,
            state=state_badge(webhook),
            events=webhook.events or ["all"],
            log=[(message, message_badge(message)) for message in log],
        )

    def get_urls(self) -> list[Any]:
        """Add the verbs."""
        return [
            self.post_only("test", self.test),
            self.post_only("redeliver", self.redeliver),
            self.post_only("enable", self.enable),
            self.post_only("disable", self.disable),
            self.post_only("rotate-secret", recently_confirmed()(self.rotate_secret)),
            self.post_only("remove", self.remove),
            *super().get_urls(),
        ]

    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a message that tells nothing, now."""
        webhook = self.find(request, object_id, CONFIGURE)
        with RefusalsSaid(request):
            delivery = webhooks.test(webhook, actor_of(request))
            (answer,) = delivery.answers
            if delivery.state == WebhookState.DELIVERED:
                messages.success(request, f"It was taken after {answer['latency_ms']} ms (HTTP {answer['status']}).")
            else:
                messages.error(request, answer["message"] or f"It was not taken (HTTP {answer['status']}).")
        return self.to("change", webhook.pk)

    def redeliver(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send one message again."""
        webhook = self.find(request, object_id, CONFIGURE)
        with RefusalsSaid(request):
            webhooks.redeliver(_message(webhook, request.POST.get("delivery", "")), actor_of(request))
            messages.success(request, "The message is sent again within seconds.")
        return self.to("change", webhook.pk)

    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let it be told again."""
        return self._switch(request, object_id, enabled=True, said="It is told from now on; what waits is sent.")

    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Tell it nothing more."""
        return self._switch(request, object_id, enabled=False, said="Nothing is sent there any more.")

    def rotate_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Issue a new secret and show it."""
        webhook = self.find(request, object_id, CONFIGURE)
        with RefusalsSaid(request):
            return self._issued(request, webhook, webhooks.rotate_secret(webhook, actor_of(request)))
        return self.to("change", webhook.pk)

    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Delete a webhook, after asking."""
        webhook = self.find(request, object_id, CONFIGURE)
        if request.POST.get("confirmed") != "yes":
            return self.confirm(
                request,
                title=f"Delete webhook {webhook}",
                question="It is told nothing more, and the log of its messages goes with it.",
                button="Delete",
                original=webhook,
            )
        with RefusalsSaid(request):
            webhooks.delete(webhook, actor_of(request))
            messages.success(request, "The webhook is deleted.")
        return self.to("changelist")

    def _switch(self, request: HttpRequest, object_id: str, *, enabled: bool, said: str) -> HttpResponse:
        webhook = self.find(request, object_id, CONFIGURE)
        with RefusalsSaid(request):
            webhooks.change(webhook, actor_of(request), enabled=enabled)
            messages.success(request, said)
        return self.to("change", webhook.pk)

    def _issued(self, request: HttpRequest, webhook: Webhook, secret: str) -> HttpResponse:
        """Show a secret in this one answer: it goes into no message, no session and no cache."""
        response = self.render(
            request,
            "admin/connectors/webhook/issued.html",
            title="The secret of the webhook",
            webhook=webhook,
            secret=secret,
        )
        response["Cache-Control"] = "no-store"
        return response


def _message(webhook: Webhook, delivery_id: str) -> WebhookDelivery:
    try:
        return WebhookDelivery.objects.select_related("webhook").get(webhook=webhook, pk=delivery_id)
    except (WebhookDelivery.DoesNotExist, forms.ValidationError):  # the latter: this is no id
        raise Http404 from None
