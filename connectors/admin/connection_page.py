"""The page of one connection: its state, its latest test, its configuration, its next credentials, its history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.admin import widgets
from django.contrib.admin.helpers import AdminForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase

from connectors.admin.badges import export_badge, outcome_badge
from connectors.admin.config_form import ConfigForm, SecretsForm
from connectors.admin.connection_state import State, describe_state
from connectors.admin.delivery_form import DeliveryForm
from connectors.admin.live_tests import (
    REFUSALS,
    is_stream_wanted,
    reason_of,
    say_result,
    stream_of,
)
from connectors.config import ConnectorConfig
from connectors.exceptions import InvalidInput
from connectors.models import ConnectionRevision, ConnectionTest, ERPConnection
from connectors.registry import registry
from connectors.services import connections, diagnosis, revisions, steering
from tenants.admin import OrganizationScopedAdmin, actor_of, has_role
from tenants.models import AuditEvent
from tenants.roles import CONFIGURE, TEST

TRY: Final = "_try"
"""The button that tests what stands in a form without saving it."""

SAVE_AND_TEST: Final = "_save_and_test"
LIVE: Final = "live"
"""Posted by a page that watches its tests, so that nobody has to wait for them here."""

_SHOWN: Final = 10
_MONITORING: Final = ("check_minutes", "credentials_expire_on")


class ChangeConnectionForm(ConfigForm):
    """An edit of a connection, made on the revision that was shown."""

    revision = forms.IntegerField(widget=forms.HiddenInput)
    check_minutes = forms.IntegerField(
        label="Check every (minutes)",
        min_value=0,
        max_value=10_080,
        widget=widgets.AdminIntegerFieldWidget,
        help_text="A check logs in and looks, and writes nothing at the far end. 0: never.",
    )
    credentials_expire_on = forms.DateField(
        label="Credentials expire on",
        required=False,
        widget=forms.DateInput(attrs={"type": "date", "class": "vTextField"}, format="%Y-%m-%d"),
        help_text="Their last day, where nothing in them tells. You are warned 30, 14 and 3 days before.",
    )


class ConnectionPage(OrganizationScopedAdmin):
    """Shows a connection and takes edits of it; the verbs are in `connection_verbs`."""

    may_view = may_add = may_change = may_delete = CONFIGURE

    def change_view(  # type: ignore[override]  # a test may be streamed
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Show a connection; save an edit of it, test one without saving it, or both save and test."""
        connection = self.find(request, object_id, CONFIGURE)
        if request.method != "POST":
            return self.show(request, connection)
        state, described = describe_state(connection)
        form = self._edit_form(connection, state, described, request.POST)
        if TRY in request.POST:
            return self.try_out(
                request,
                form,
                lambda: diagnosis.start(self._testable(request, connection), actor_of(request), patch=form.patch()),
                lambda test: self.show(request, connection, form=form, tried=test),
            )
        if not form.is_valid() or self._change(request, connection, form) is None:
            return self.show(request, connection, form=form)
        messages.success(request, f"{form.cleaned_data['name'] or connection.name} was saved.")
        if SAVE_AND_TEST in request.POST and has_role(request, TEST, connection.org_id):
            return self.run_test(request, connection)
        return self.to("change", connection.pk)

    def _change(self, request: HttpRequest, connection: ERPConnection, form: ConfigForm) -> ERPConnection | None:
        changed = None
        with faults_on(form):
            changed = connections.change(
                connection,
                actor_of(request),
                name=form.cleaned_data["name"] or None,
                config=form.patch() if form.config_field_names() else None,
                check_minutes=form.cleaned_data["check_minutes"],
                credentials_expire_on=form.cleaned_data["credentials_expire_on"],
                expected_revision=form.cleaned_data["revision"],
            )
        return changed

    # -- What is shown -----------------------------------------------------------------------------------------------

    def show(
        self,
        request: HttpRequest,
        connection: ERPConnection,
        *,
        form: ConfigForm | None = None,
        stage_form: SecretsForm | None = None,
        delivery_form: DeliveryForm | None = None,
        tried: ConnectionTest | None = None,
    ) -> HttpResponse:
        """Return the page.

        Args:
            request: of somebody who may configure this connection.
            connection: whose page it is.
            form: the edit that was not saved; by default what is stored.
            stage_form: the next credentials that were refused.
            delivery_form: the edit of how orders leave that was not saved.
            tried: the test of an edit that is not saved.
        """
        state, described = describe_state(connection)
        stage_form = stage_form or SecretsForm(config_class=config_class_of(connection), described=described)
        return self.form_page(
            request,
            form or self._edit_form(connection, state, described),
            title=connection.name,
            fieldsets=(("Connection", ("name", "revision")), ("Configuration", None), ("Monitoring", _MONITORING)),
            tried=tried,
            original=connection,
            connection=connection,
            state=state,
            may_test=has_role(request, TEST, connection.org_id),
            staged=revisions.staged(connection),
            stage_form=stage_form,
            delivery_form=delivery_form or DeliveryForm(connection=connection),
            **self._history(connection),
        )

    def _edit_form(
        self, connection: ERPConnection, state: State, described: dict[str, Any], data: Any = None
    ) -> ChangeConnectionForm:
        form = ChangeConnectionForm(
            data, config_class=config_class_of(connection), described=described, name=connection.name
        )
        for name in ("revision", *_MONITORING):
            form.fields[name].initial = getattr(connection, name)
        return form

    def _history(self, connection: ERPConnection) -> dict[str, Any]:
        """Return what was done with a connection, the newest of each kind first."""
        tests = connection.tests.all()[:_SHOWN]
        exports = connection.exports.filter(org=connection.org_id).defer("order")[:_SHOWN]
        events = AuditEvent.objects.of(connection.org).filter(target_type="erpconnection", target_id=connection.pk)
        return {
            "tests": [(test, outcome_badge(test)) for test in tests],
            "revisions": ConnectionRevision.objects.filter(connection=connection, number__isnull=False),
            "exports": [(export, export_badge(export.status)) for export in exports],
            "has_exports": connection.exports.exists(),
            "events": [(event, _about(event)) for event in events[:_SHOWN]],
        }

    def form_page(
        self,
        request: HttpRequest,
        form: ConfigForm,
        *,
        title: str,
        fieldsets: tuple[tuple[str, tuple[str, ...] | None], ...],
        **context: Any,
    ) -> HttpResponse:
        """Return a page with a form.

        Args:
            request: whose answer it is.
            form: what can be edited.
            title: what it is called.
            fieldsets: the names of the fields below each heading; None for those of the configuration.
            context: what else the page shows.
        """
        shown = [
            (heading, {"fields": names})
            for heading, wanted in fieldsets
            if (names := form.config_field_names() if wanted is None else wanted)
        ]
        return self.render(
            request,
            "admin/connectors/erpconnection/form.html",
            title=title,
            form=form,
            adminform=AdminForm(form, shown, {}),  # type: ignore[arg-type]  # it needs no more than a Form
            **context,
        )

    # -- Tests -------------------------------------------------------------------------------------------------------

    def run_test(
        self,
        request: HttpRequest,
        connection: ERPConnection,
        start: Callable[[], ConnectionTest] | None = None,
    ) -> HttpResponseBase:
        """Test a connection and show the test: as a stream, on a page that watches it, or when it has ended.

        Args:
            request: of somebody who may test.
            connection: what to test.
            start: asks for the test; by default for one of what is stored.
        """
        there = HttpResponseRedirect(f"{self.url('change', connection.pk)}#last-test")
        try:
            test = start() if start else diagnosis.start(connection, actor_of(request))
        except REFUSALS as refusal:
            if is_stream_wanted(request):
                return JsonResponse({"detail": reason_of(refusal)}, status=409)
            messages.error(request, reason_of(refusal))
            return there
        if is_stream_wanted(request):
            return stream_of(test)
        if LIVE not in request.POST:
            diagnosis.finish(test)
        return there

    def try_out(
        self,
        request: HttpRequest,
        form: ConfigForm,
        start: Callable[[], ConnectionTest],
        show: Callable[[ConnectionTest | None], HttpResponse],
    ) -> HttpResponseBase:
        """Test what stands in a form without saving it.

        Args:
            request: of somebody who may test.
            form: what was entered.
            start: asks for the test.
            show: returns the page with the form and the test.
        """
        test = None
        if form.is_valid():
            with faults_on(form):
                test = start()
        if test is None:
            return show(None)
        if is_stream_wanted(request):
            return stream_of(test)
        test = diagnosis.finish(test)
        say_result(request, "Not saved, only tried", test)
        return show(test)

    def _testable(self, request: HttpRequest, connection: ERPConnection) -> ERPConnection:
        """Return the connection, or refuse whoever may not test it."""
        found: ERPConnection = self.find(request, str(connection.pk), TEST)
        return found


@contextmanager
def faults_on(form: ConfigForm | SecretsForm | DeliveryForm) -> Iterator[None]:
    """Show on the form why a service did not accept it."""
    try:
        yield
    except InvalidInput as error:
        form.show(error.faults)
    except REFUSALS as refusal:
        form.add_error(None, reason_of(refusal))


def config_class_of(connection: ERPConnection) -> type[ConnectorConfig] | None:
    """Return the configuration class of a connection; None when its connector is no longer installed."""
    known = registry.connectors.get(connection.connector_type)
    return known.Config if known else None


def _about(event: AuditEvent) -> str:
    """Return what an event of the audit trail was about, in short."""
    details = event.details
    match details:
        case {"success": True}:
            return "passed"
        case {"success": False, "code": code}:
            return f"failed: {code}"
    changes = event.changes
    fields = [
        *(name for name in steering.SETTINGS if name in changes),
        *changes,
    ]  # the database has an order of its own
    changed = [name.removeprefix("config.") for name in dict.fromkeys(fields) if name != "status"]
    changed += details.get("secrets", ())
    parts = [", ".join(changed)] if changed else []
    if "status" in changes:
        parts.append(" → ".join(changes["status"]).lower())
    if details.get("reason"):
        parts.append(f"reason: {details['reason']}")
    return "; ".join(parts)
