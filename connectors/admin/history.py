"""The history of connection tests."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from connectors.models import ConnectionTest
from tenants.admin import OrganizationFilter, OrganizationScopedAdmin, badge
from tenants.permissions import CONFIGURE


def outcome_badge(test: ConnectionTest) -> SafeString:
    """Return how a test ended."""
    return badge("good", "passed") if test.success else badge("bad", test.code or "failed")


@admin.register(ConnectionTest)
class ConnectionTestAdmin(OrganizationScopedAdmin):
    """Every test that was run, with its steps."""

    may_view = CONFIGURE
    list_display = ("started_at", "connection", "organization", "outcome", "latency", "revision", "actor_label")
    list_filter = (
        "success",
        "code",
        ("connection", admin.RelatedOnlyFieldListFilter),
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
            request, "admin/connectors/connectiontest/page.html", title="Connection test", original=test, test=test
        )
