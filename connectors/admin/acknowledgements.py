"""Acknowledgements: what the ERPs answered, and which answers wait for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from connectors.admin.live_tests import RefusalsSaid
from connectors.models import AcknowledgementRecord, AckOutcome
from connectors.models.acknowledgement import AcknowledgementQuerySet
from connectors.models.export import ExportQuerySet
from connectors.services import acknowledgements
from connectors.services.errors import NotOpen
from tenants.admin import (
    OccurringFilter,
    OrganizationFilter,
    OrganizationScopedAdmin,
    actor_of,
    badge,
    has_role,
    organizations_of,
)
from tenants.roles import ALL, CONFIGURE, OPERATE

_KIND: Final = {
    AckOutcome.APPLIED: "good",
    AckOutcome.REPEATED: "off",
    AckOutcome.CONTRADICTS: "bad",
    AckOutcome.SUPERSEDED: "warn",
    AckOutcome.UNMATCHED: "warn",
    AckOutcome.MALFORMED: "bad",
}


def outcome_badge(outcome: str) -> SafeString:
    """Return what became of an acknowledgement."""
    return badge(_KIND[AckOutcome(outcome)], AckOutcome(outcome).label)


class OpenFilter(admin.SimpleListFilter):
    """Narrows the list down to what waits for a person."""

    title = "attention"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        """Offer the one choice there is."""
        yield "yes", "waits for a person"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that are left."""
        return cast(AcknowledgementQuerySet, queryset).open() if self.value() == "yes" else queryset


class OverdueFilter(admin.SimpleListFilter):
    """Narrows the list of exports down to those that the ERP should have acknowledged."""

    title = "acknowledgement"
    parameter_name = "overdue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        """Offer the one choice there is."""
        yield "yes", "overdue"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that are left."""
        return cast(ExportQuerySet, queryset).overdue() if self.value() == "yes" else queryset


@admin.register(AcknowledgementRecord)
class AcknowledgementAdmin(OrganizationScopedAdmin):
    """Every answer of an ERP; those that nobody knows what to do with are put aside here."""

    may_view = ALL
    list_display = ("name", "outcome_shown", "waits", "organization", "connection", "status", "received_at")
    list_filter = (
        OpenFilter,
        "outcome",
        ("connection", OccurringFilter),
        ("org", OrganizationFilter),
        "received_at",
    )
    list_select_related = ("org", "connection")
    search_fields = ("name", "erp_order_id", "export__order_id")
    search_help_text = "File name, order id or the ERP's order number"
    show_full_result_count = False
    actions = ("resolve_selected",)

    @admin.display(description="outcome", ordering="outcome")
    def outcome_shown(self, acknowledgement: AcknowledgementRecord) -> SafeString:
        """Return what became of it."""
        return outcome_badge(acknowledgement.outcome)

    @admin.display(description="waits for a person", boolean=True)
    def waits(self, acknowledgement: AcknowledgementRecord) -> bool:
        """Return whether somebody has to look after it."""
        return acknowledgement.is_open

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may put anything aside."""
        return self.allows(request, OPERATE)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Let the acknowledgements of one export be linked to."""
        return lookup == "export__id__exact" or super().lookup_allowed(lookup, value, request)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one acknowledgement, and what to do about it."""
        acknowledgement = self.find(request, object_id, ALL)
        return self.render(
            request,
            "admin/connectors/acknowledgementrecord/page.html",
            title=f"Acknowledgement {acknowledgement.name}",
            original=acknowledgement,
            acknowledgement=acknowledgement,
            outcome=outcome_badge(acknowledgement.outcome),
            problem=acknowledgements.problem_of(acknowledgement),
            refusal=(acknowledgement.error or {}).get("erp"),
            may_resolve=acknowledgement.is_open and has_role(request, OPERATE, acknowledgement.org_id),
            may_see_connection=has_role(request, CONFIGURE, acknowledgement.org_id),
        )

    def get_urls(self) -> list[Any]:
        """Add the verb."""
        return [self.post_only("resolve", self.resolve), *super().get_urls()]

    def resolve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put one aside."""
        acknowledgement = self.find(request, object_id, OPERATE)
        with RefusalsSaid(request):
            acknowledgements.resolve(acknowledgement, actor_of(request))
            messages.success(request, "It is put aside; neither it nor its order changed by that.")
        return self.to("change", acknowledgement.pk)

    @admin.action(description="Put selected acknowledgements aside", permissions=["operate"])
    def resolve_selected(self, request: HttpRequest, queryset: QuerySet[AcknowledgementRecord]) -> None:
        """Put several aside; those that do not wait stay as they are."""
        chosen, done = list(queryset.filter(org__in=organizations_of(request, OPERATE))), 0
        for acknowledgement in chosen:
            try:
                acknowledgements.resolve(acknowledgement, actor_of(request))
            except NotOpen:
                continue
            done += 1
        messages.success(request, f"Put aside: {done} of {len(chosen)}.")
