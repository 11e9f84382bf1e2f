"""The list of connections, and adding one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from connectors.admin.badges import health_badge, status_badge, tested_badge
from connectors.admin.config_form import ConfigForm
from connectors.admin.connection_page import SAVE_AND_TEST, TRY, faults_on
from connectors.admin.connection_verbs import ConnectionVerbs
from connectors.admin.live_tests import RefusalsSaid, say_result
from connectors.models import ConnectionStatus, ERPConnection
from connectors.registry import registry
from connectors.services import checks, configurations, connections, diagnosis
from tenants.admin import OrganizationFilter, actor_of, has_role, organizations_of
from tenants.models import Organization
from tenants.roles import CONFIGURE, TEST

MAX_TESTS_AT_ONCE: Final = 10
"""The person waits for all of them, and each may take a minute."""


class ChooseForm(forms.Form):
    """The first step of adding a connection: whose, and of which type."""

    org = forms.ModelChoiceField(queryset=Organization.objects.none(), label="Organisation")
    connector_type = forms.ChoiceField(label="Connector type", widget=forms.RadioSelect)

    def __init__(self, data: Any = None, *, organizations: QuerySet[Organization]) -> None:
        """Offer these organisations, and every connector that is installed."""
        super().__init__(data)
        self.fields["org"].queryset = organizations  # type: ignore[attr-defined]
        if len(organizations) == 1:
            self.fields["org"].initial = organizations[0].pk
        self.fields["connector_type"].choices = [  # type: ignore[attr-defined]
            (name, format_html("<strong>{}</strong> <code>{}</code><br>{}", title, name, registry.get(name).summary))
            for name, title in registry.choices()
        ]


class NewConnectionForm(ConfigForm):
    """The second step: its configuration, and whether it takes over at once."""

    status = forms.ChoiceField(
        choices=ConnectionStatus.choices,
        help_text="One connection of an organisation is active: it takes the orders.",
    )


class ExpiryFilter(admin.SimpleListFilter):
    """Narrows the list down to the connections whose credentials expire soon, or have expired."""

    title = "credentials"
    parameter_name = "expiring"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        """Offer the one choice there is."""
        yield "soon", f"expire within {checks.EXPIRY_DAYS[0]} days"

    def queryset(self, request: HttpRequest, queryset: QuerySet[ERPConnection]) -> QuerySet[ERPConnection]:
        """Return the rows that are left; few have credentials of which anybody knows the last day."""
        if self.value() != "soon":
            return queryset
        dated = queryset.filter(~Q(expiries=[]) | Q(credentials_expire_on__isnull=False))
        return queryset.filter(pk__in=[row.pk for row in dated if checks.expires_soon(row)])


@admin.register(ERPConnection)
class ConnectionAdmin(ConnectionVerbs):
    """Everything about a connection happens through `connectors.services`."""

    list_display = ("name", "organization", "connector", "status_shown", "health_shown", "tested", "last_tested")
    list_filter = ("status", "health", "connector_type", ExpiryFilter, ("org", OrganizationFilter))
    list_select_related = ("org",)
    search_fields = ("name", "org__name", "org__slug", "connector_type")
    search_help_text = "Name, organisation or connector type"
    actions = ("test_selected",)

    # -- The list ----------------------------------------------------------------------------------------------------

    @admin.display(description="connector", ordering="connector_type")
    def connector(self, connection: ERPConnection) -> str:
        """Return the adapter's title."""
        known = registry.connectors.get(connection.connector_type)
        return known.title if known else f"{connection.connector_type} (not installed)"

    @admin.display(description="status", ordering="status")
    def status_shown(self, connection: ERPConnection) -> SafeString:
        """Return whether it takes orders."""
        return status_badge(connection.status)

    @admin.display(description="health", ordering="health")
    def health_shown(self, connection: ERPConnection) -> SafeString:
        """Return the health, which for an unreadable row only a look at the row tells."""
        return health_badge(configurations.describe(connection)["health"])

    @admin.display(description="tested")
    def tested(self, connection: ERPConnection) -> SafeString:
        """Return whether what is stored was tested."""
        return tested_badge(connection, changed="changed")

    @admin.display(description="last test", ordering="last_test_at", empty_value="never")
    def last_tested(self, connection: ERPConnection) -> str | None:
        """Return when it was last tested or checked."""
        at = connection.last_test_at
        return date_format(localtime(at), "Y-m-d H:i") if at else None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list under its name."""
        return super().changelist_view(request, {"title": "ERP connections", **(extra_context or {})})

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        """Add a button that tests the row and comes back to this very list, for those who may test."""
        query = request.GET.urlencode()

        @admin.display(description="test")
        def test_button(connection: ERPConnection) -> SafeString | str:
            if not has_role(request, TEST, connection.org_id):
                return ""
            # The button sits in the list's own form, and so does its CSRF token; formaction leads it elsewhere.
            return format_html(
                '<button type="submit" class="erp-row-button" formaction="{}" name="from_list" value="{}" '
                'aria-label="Test {}">Test</button>',
                self.url("test", connection.pk),
                f"?{query}",
                connection.name,
            )

        return (*self.list_display, test_button)

    def has_test_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may test anywhere."""
        return self.allows(request, TEST)

    @admin.action(description="Test selected connections", permissions=["test"])
    def test_selected(self, request: HttpRequest, queryset: QuerySet[ERPConnection]) -> None:
        """Test several connections side by side."""
        chosen = list(queryset.filter(org__in=organizations_of(request, TEST))[: MAX_TESTS_AT_ONCE + 1])
        if len(chosen) > MAX_TESTS_AT_ONCE:
            hint = "manage.py test_connections tests any number."
            messages.error(request, f"Select at most {MAX_TESTS_AT_ONCE} connections; {hint}")
            return
        started = []
        for connection in chosen:
            with RefusalsSaid(request):
                started.append((connection, diagnosis.start(connection, actor_of(request))))
        for connection, test in started:
            say_result(request, connection.name, diagnosis.finish(test))

    # -- Adding ------------------------------------------------------------------------------------------------------

    def add_view(  # type: ignore[override]  # a test may be streamed
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Ask for organisation and type, then for the configuration."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        is_chosen = "connector_type" in request.GET
        choose = ChooseForm(request.GET if is_chosen else None, organizations=organizations_of(request, CONFIGURE))
        if choose.is_valid():
            return self._configure(request, choose.cleaned_data["org"], choose.cleaned_data["connector_type"])
        if request.method == "POST" or "org" in choose.errors:
            raise Http404
        return self.render(request, "admin/connectors/erpconnection/choose.html", title="Add connection", form=choose)

    def _configure(self, request: HttpRequest, org: Organization, connector_type: str) -> HttpResponseBase:
        """Ask for the configuration; try it, or store it."""
        connector = registry.get(connector_type)
        form = NewConnectionForm(
            request.POST if request.method == "POST" else None,
            config_class=connector.Config,
            described={},
            name=connector.title,
        )
        has_active = ERPConnection.objects.of(org).active().exists()
        form.fields["status"].initial = ConnectionStatus.DISABLED if has_active else ConnectionStatus.ACTIVE

        def show(tried: Any) -> Any:
            return self.form_page(
                request,
                form,
                title=f"Add connection: {connector.title}",
                fieldsets=(("Connection", ("name", "status")), ("Configuration", None)),
                about=f"{connector.summary} For {org.name}.",
                may_test=has_role(request, TEST, org.pk),
                tried=tried,
            )

        if TRY in request.POST:
            if not has_role(request, TEST, org.pk):
                raise PermissionDenied
            new = {"connector_type": connector_type}
            return self.try_out(
                request,
                form,
                lambda: diagnosis.start_new(org, actor_of(request), config=form.patch(), **new),
                show,
            )
        if not form.is_valid() or (created := self._create(request, org, connector_type, form)) is None:
            return show(None)
        if SAVE_AND_TEST in request.POST and has_role(request, TEST, org.pk):
            messages.success(request, f"{created.name} was created.")
            return self.run_test(request, created)
        messages.success(request, f"{created.name} was created. Test it before orders depend on it.")
        return self.to("change", created.pk)

    def _create(
        self, request: HttpRequest, org: Organization, connector_type: str, form: ConfigForm
    ) -> ERPConnection | None:
        connection = None
        with faults_on(form):
            connection = connections.create(
                org,
                actor_of(request),
                connector_type=connector_type,
                config=form.patch(),
                name=form.cleaned_data["name"],
                status=form.cleaned_data["status"],
            )
        return connection
