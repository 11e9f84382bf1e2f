"""Connections: configure, test, switch over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from connectors.admin.config_form import ConfigForm
from connectors.config import ConnectorConfig
from connectors.exceptions import InvalidInput
from connectors.models import ConnectionStatus, ConnectionTest, ERPConnection, Health
from connectors.registry import registry
from connectors.services import configurations, connections, diagnosis
from connectors.services.errors import ActiveConnectorExists, ConnectorInUse, Refused
from tenants.admin import OrganizationFilter, OrganizationScopedAdmin, actor_of, badge, organizations_of
from tenants.models import Organization
from tenants.permissions import CONFIGURE

MAX_TESTS_AT_ONCE: Final = 10
"""Tests run one after the other while the person waits, and each may take a minute."""

_SHOWN_TESTS: Final = 10
_HEALTH_KIND: Final = {
    Health.UNTESTED: "wait",
    Health.HEALTHY: "good",
    Health.FAILING: "bad",
    Health.AUTH_FAILED: "bad",
    Health.UNREADABLE: "bad",
}


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


class ChangeConnectionForm(ConfigForm):
    """An edit of a connection, made on the revision that was shown."""

    revision = forms.IntegerField(widget=forms.HiddenInput)


def health_badge(health: str) -> SafeString:
    """Return what the last contact with the far end showed."""
    return badge(_HEALTH_KIND[Health(health)], Health(health).label)


def status_badge(status: str) -> SafeString:
    """Return whether a connection takes orders."""
    return badge("good" if status == ConnectionStatus.ACTIVE else "off", ConnectionStatus(status).label)


@admin.register(ERPConnection)
class ConnectionAdmin(OrganizationScopedAdmin):
    """Everything about a connection happens through `services.connections`."""

    may_view = may_add = may_change = may_delete = CONFIGURE
    list_display = ("name", "organization", "connector", "status_shown", "health_shown", "last_test_at")
    list_filter = ("status", "health", "connector_type", ("org", OrganizationFilter))
    list_select_related = ("org",)
    search_fields = ("name", "org__name", "org__slug")
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

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        """Add a button that tests the row and comes back to this very list."""
        query = request.GET.urlencode()

        @admin.display(description="test")
        def test_button(connection: ERPConnection) -> SafeString:
            # The button sits in the list's own form, and so does its CSRF token; formaction leads it elsewhere.
            return format_html(
                '<button type="submit" class="erp-row-button" formaction="{}" name="from_list" value="{}" '
                'aria-label="Test {}">Test</button>',
                self.url("test", connection.pk),
                f"?{query}",
                connection.name,
            )

        return (*self.list_display, test_button)

    @admin.action(description="Test selected connections", permissions=["change"])
    def test_selected(self, request: HttpRequest, queryset: QuerySet[ERPConnection]) -> None:
        """Test several connections, one after the other."""
        chosen = list(queryset.filter(org__in=organizations_of(request, CONFIGURE))[: MAX_TESTS_AT_ONCE + 1])
        if len(chosen) > MAX_TESTS_AT_ONCE:
            hint = "manage.py test_connections tests any number."
            messages.error(request, f"Select at most {MAX_TESTS_AT_ONCE} connections; {hint}")
            return
        for connection in chosen:
            _say(request, connection, diagnosis.test(connection, actor_of(request)))

    # -- Adding ------------------------------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for organisation and type, then for the configuration."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        is_chosen = "connector_type" in request.GET
        choose = ChooseForm(request.GET if is_chosen else None, organizations=organizations_of(request, CONFIGURE))
        if not choose.is_valid():
            if request.method == "POST" or "org" in choose.errors:
                raise Http404
            return self.render(
                request, "admin/connectors/erpconnection/choose.html", title="Add connection", form=choose
            )
        org, connector = choose.cleaned_data["org"], registry.get(choose.cleaned_data["connector_type"])
        form = NewConnectionForm(
            request.POST if request.method == "POST" else None,
            config_class=connector.Config,
            described={},
            name=connector.title,
        )
        has_active = ERPConnection.objects.of(org).active().exists()
        form.fields["status"].initial = ConnectionStatus.DISABLED if has_active else ConnectionStatus.ACTIVE
        if form.is_valid() and (created := self._create(request, org, connector.connector_type, form)):
            messages.success(request, f"{created.name} was created. Test it before orders depend on it.")
            return self.to("change", created.pk)
        return self._form_page(
            request,
            form,
            title=f"Add connection: {connector.title}",
            settings=("name", "status"),
            about=f"{connector.summary} For {org.name}.",
        )

    def _create(
        self, request: HttpRequest, org: Organization, connector_type: str, form: ConfigForm
    ) -> ERPConnection | None:
        connection = None
        with _faults_on(form):
            connection = connections.create(
                org,
                actor_of(request),
                connector_type=connector_type,
                config=form.patch(),
                name=form.cleaned_data["name"],
                status=form.cleaned_data["status"],
            )
        return connection

    # -- One connection ----------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a connection's state, and change its name and configuration."""
        connection = self.find(request, object_id, CONFIGURE)
        described = configurations.describe(connection)
        form = ChangeConnectionForm(
            request.POST if request.method == "POST" else None,
            config_class=_config_class(connection),
            described=described,
            name=connection.name,
        )
        form.fields["revision"].initial = connection.revision
        if form.is_valid() and self._change(request, connection, form):
            messages.success(request, f"{form.cleaned_data['name'] or connection.name} was saved.")
            return self.to("change", connection.pk)
        tests = list(connection.tests.all()[:_SHOWN_TESTS])
        return self._form_page(
            request,
            form,
            title=connection.name,
            settings=("name", "revision"),
            original=connection,
            connection=connection,
            connector=registry.connectors.get(connection.connector_type),
            status=status_badge(connection.status),
            health=health_badge(described["health"]),
            is_unreadable=described["health"] == Health.UNREADABLE,
            is_paused=described["health"] == Health.AUTH_FAILED,
            test=tests[0] if tests else None,
            earlier_tests=tests[1:],
            has_exports=connection.exports.exists(),
        )

    def _change(self, request: HttpRequest, connection: ERPConnection, form: ConfigForm) -> ERPConnection | None:
        changed = None
        with _faults_on(form):
            changed = connections.change(
                connection,
                actor_of(request),
                name=form.cleaned_data["name"] or None,
                config=form.patch() if form.config_field_names() else None,
                expected_revision=form.cleaned_data["revision"],
            )
        return changed

    def _form_page(
        self, request: HttpRequest, form: ConfigForm, *, title: str, settings: tuple[str, ...], **context: Any
    ) -> HttpResponse:
        fieldsets = [(None, settings), ("Configuration", form.config_field_names())]
        shown = [(heading, {"fields": names}) for heading, names in fieldsets if names]
        return self.render(
            request,
            "admin/connectors/erpconnection/form.html",
            title=title,
            form=form,
            adminform=AdminForm(form, shown, {}),  # type: ignore[arg-type]  # it needs no more than a Form
            **context,
        )

    # -- The verbs ---------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        """Add a page for each verb."""
        verbs = {"test": self.test, "activate": self.activate, "disable": self.disable}
        return [*(self.post_only(name, view) for name, view in verbs.items()), *super().get_urls()]

    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Test the stored configuration, and go back to where the button was."""
        connection = self.find(request, object_id, CONFIGURE)
        report = diagnosis.test(connection, actor_of(request))
        if "from_list" not in request.POST:
            return HttpResponseRedirect(f"{self.url('change', connection.pk)}#last-test")
        _say(request, connection, report)
        query = request.POST["from_list"]
        return HttpResponseRedirect(self.url("changelist") + (query if query.startswith("?") else ""))

    def activate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make this the organisation's active connection; ask first when another one is."""
        connection = self.find(request, object_id, CONFIGURE)
        is_confirmed = request.POST.get("confirmed") == "yes"
        try:
            connections.activate(connection, actor_of(request), replace=is_confirmed)
        except ActiveConnectorExists:
            other = ERPConnection.objects.of(connection.org).active().first()
            return self.confirm(
                request,
                title=f"Activate {connection.name}",
                question=f"{connection.org.name} already has an active connection. Replace it?",
                button="Replace and activate",
                objects=[other] if other else [],
                consequences=[
                    "New orders go through this connection from now on.",
                    "The other one is disabled; its waiting orders go through this one.",
                    "Orders that may have arrived through the other one become unconfirmed: you decide.",
                ],
                original=connection,
            )
        messages.success(request, f"{connection.name} is active.")
        return self.to("change", connection.pk)

    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop sending through this connection, after asking."""
        connection = self.find(request, object_id, CONFIGURE)
        if request.POST.get("confirmed") != "yes":
            return self.confirm(
                request,
                title=f"Disable {connection.name}",
                question="Disable this connection?",
                button="Disable",
                consequences=[
                    "New orders are refused until a connection is active.",
                    "Its waiting orders go through the connection that is activated next.",
                ],
                original=connection,
            )
        connections.disable(connection, actor_of(request))
        messages.success(request, f"{connection.name} is disabled.")
        return self.to("change", connection.pk)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Remove a connection that nothing was sent through, after asking."""
        connection = self.find(request, object_id, self.may_delete)
        if request.method != "POST" or request.POST.get("confirmed") != "yes":
            return self.confirm(
                request,
                title=f"Delete {connection.name}",
                question="Delete this connection, its configuration and the history of its tests?",
                button="Delete",
                original=connection,
            )
        try:
            connections.delete(connection, actor_of(request))
        except ConnectorInUse as refusal:
            messages.error(request, f"{refusal.message} {refusal.hint}")
            return self.to("change", object_id)
        messages.success(request, f"{connection.name} was deleted.")
        return self.to("changelist")


@contextmanager
def _faults_on(form: ConfigForm) -> Iterator[None]:
    """Show on the form why a service did not accept it."""
    try:
        yield
    except InvalidInput as error:
        form.show(error.faults)
    except Refused as refusal:
        form.add_error(None, f"{refusal.message} {refusal.hint}")


def _config_class(connection: ERPConnection) -> type[ConnectorConfig] | None:
    known = registry.connectors.get(connection.connector_type)
    return known.Config if known else None


def _say(request: HttpRequest, connection: ERPConnection, report: ConnectionTest) -> None:
    """Put the outcome of a test above the next page."""
    if report.success:
        messages.success(request, f"{connection.name}: the test passed in {report.latency_ms} ms.")
        return
    failed = next(step for step in report.result["steps"] if step["status"] == "failed")
    messages.error(request, f"{connection.name}: {failed['name']} failed. {failed['detail']} {failed['hint']}")
