"""The history of connection tests."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString

from connectors.admin.badges import outcome_badge
from connectors.admin.live_tests import RefusalsSaid, stream_of
from connectors.models import ConnectionTest
from connectors.services import diagnosis
from tenants.admin import OccurringFilter, OrganizationFilter, OrganizationScopedAdmin, actor_of, has_role
from tenants.roles import CONFIGURE, TEST


@admin.register(ConnectionTest)
class ConnectionTestAdmin(OrganizationScopedAdmin):
    """Every test that was run, with its steps."""

    may_view = CONFIGURE
    list_display = (
        "started_at",
        "connection",
        "organization",
        "subject",
        "outcome",
        "code",
        "latency",
        "revision",
        "actor_label",
    )
    list_filter = (
        "success",
        "subject",
        "code",
        ("connection", OccurringFilter),
        ("org", OrganizationFilter),
    )
    list_select_related = ("connection", "org")
    date_hierarchy = "started_at"
    show_full_result_count = False
    actions = None

    @admin.display(description="result", ordering="success")
    def outcome(self, test: ConnectionTest) -> SafeString:
        """Return how the test ended."""
        return outcome_badge(test)

    @admin.display(description="took", ordering="latency_ms")
    def latency(self, test: ConnectionTest) -> str:
        """Return how long the whole test took."""
        return f"{test.latency_ms} ms"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one test."""
        test = self.find(request, object_id, self.may_view)
        return self.render(
            request,
            "admin/connectors/connectiontest/page.html",
            title=f"Test of {test.connection or test.get_subject_display()}",
            original=test,
            test=test,
            may_cancel=not test.has_ended and has_role(request, TEST, test.org_id),
        )

    def get_urls(self) -> list[Any]:
        """Add watching a test, and cancelling it."""
        return [
            self.page("<path:object_id>/events/", self.events, "events"),
            self.post_only("cancel", self.cancel),
            *super().get_urls(),
        ]

    def events(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Stream the steps of a test as they end."""
        return stream_of(self.find(request, object_id, self.may_view))

    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End a test before its next step."""
        test = self.find(request, object_id, TEST)
        with RefusalsSaid(request):
            diagnosis.cancel(test, actor_of(request))
            messages.success(request, "The test is cancelled.")
        if test.connection_id is None:
            return self.to("change", test.pk)
        page = reverse("admin:connectors_erpconnection_change", args=[test.connection_id])
        return HttpResponseRedirect(f"{page}#last-test")
