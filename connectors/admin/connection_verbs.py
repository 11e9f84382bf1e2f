"""What can be done with a connection beyond editing it. Every verb is a POST; what cannot be undone asks first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase

from connectors.admin.config_form import SecretsForm
from connectors.admin.connection_page import ConnectionPage, config_class_of, faults_on
from connectors.admin.dead_letters import reason_in
from connectors.admin.delivery_form import DeliveryForm
from connectors.admin.live_tests import RefusalsSaid, say_result
from connectors.models import ERPConnection
from connectors.services import configurations, connections, diagnosis, revisions, steering
from connectors.services.errors import ActiveConnectorExists, NothingStaged, UntestedRevision
from tenants.admin import actor_of, has_role
from tenants.roles import CONFIGURE, TEST

Verb = Callable[[HttpRequest, str], HttpResponseBase]


class ConnectionVerbs(ConnectionPage):
    """The verbs of a connection, each of which goes through `connectors.services`."""

    def get_urls(self) -> list[Any]:
        """Add an address for each verb."""
        verbs: dict[str, Verb] = {
            "test": self.test,
            "activate": self.activate,
            "disable": self.disable,
            "pause": self.pause,
            "resume": self.resume,
            "delivery": self.deliver,
            "pin-host-key": self.pin_host_key,
            "accept-identity": self.accept_identity,
            "revert": self.revert,
            "stage": self.stage,
            "test-staged": self.test_staged,
            "promote": self.promote,
            "discard": self.discard,
        }
        return [*(self.post_only(name, view) for name, view in verbs.items()), *super().get_urls()]

    def test(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Test the stored configuration, and go back to where the button was."""
        connection = self.find(request, object_id, TEST)
        if "from_list" not in request.POST:
            return self.run_test(request, connection)
        with RefusalsSaid(request):
            say_result(request, connection.name, diagnosis.test(connection, actor_of(request)))
        query = request.POST["from_list"]
        return HttpResponseRedirect(self.url("changelist") + (query if query.startswith("?") else ""))

    # -- On and off --------------------------------------------------------------------------------------------------

    def activate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make this the organisation's active connection, after asking; untested only with a reason."""
        connection = self.find(request, object_id, CONFIGURE)
        if not _is_confirmed(request):
            return self._ask_to_activate(request, connection)
        activate = partial(
            connections.activate,
            connection,
            actor_of(request),
            replace="replace" in request.POST,
            reason=_reason(request),
        )
        try:
            with RefusalsSaid(request, but=(ActiveConnectorExists, UntestedRevision)):
                if has_role(request, TEST, connection.org_id) and "untested" not in request.POST:
                    diagnosis.proving(connection, actor_of(request), activate)
                else:
                    activate()
                messages.success(request, f"{connection.name} is active.")
        except ActiveConnectorExists:
            return self._ask_to_activate(request, connection)
        except UntestedRevision as refusal:
            if "test" not in refusal.details:
                return self._ask_to_activate(request, connection, is_reason_missing=True)
            messages.error(request, f"{connection.name} was not activated: its test failed.")
            return self._to_last_test(connection)
        return self.to("change", connection.pk)

    def _ask_to_activate(self, request: HttpRequest, connection: ERPConnection, **more: Any) -> HttpResponse:
        other = ERPConnection.objects.of(connection.org).active().exclude(pk=connection.pk).first()
        replacing = [
            "New orders go through this connection from now on.",
            "The other one is disabled; its waiting orders go through this one.",
            "Orders that may have arrived through the other one become unconfirmed: you decide.",
        ]
        return self._ask(
            request,
            connection,
            title=f"Activate {connection.name}",
            question=f"{connection.org.name} already has an active connection. Replace it?"
            if other
            else f"Let {connection.name} take the orders of {connection.org.name}?",
            verb="replace" if other else "activate",
            is_proven=connection.is_tested,
            unproven="No test has succeeded with this configuration.",
            objects=[other] if other else [],
            consequences=replacing if other else replacing[:1],
            hidden=[("replace", "yes")] if other else [],
            **more,
        )

    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop sending through this connection, after asking."""
        connection = self.find(request, object_id, CONFIGURE)
        if not _is_confirmed(request):
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
        with RefusalsSaid(request):
            connections.disable(connection, actor_of(request))
            messages.success(request, f"{connection.name} is disabled.")
        return self.to("change", connection.pk)

    # -- How orders leave --------------------------------------------------------------------------------------------

    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Keep orders from leaving, after asking why."""
        connection = self.find(request, object_id, CONFIGURE)
        if not (reason := reason_in(request)):
            return self.confirm(
                request,
                title=f"Pause {connection.name}",
                question="Keep orders from leaving through this connection until somebody resumes it?",
                button="Pause",
                consequences=[
                    "New orders are accepted and wait.",
                    "What is under way is finished, and what may have arrived is looked up.",
                ],
                asks_why=True,
                original=connection,
            )
        with RefusalsSaid(request):
            steering.pause(connection, actor_of(request), reason=reason)
            messages.success(request, f"{connection.name} is paused.")
        return self.to("change", connection.pk)

    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let orders leave again."""
        connection = self.find(request, object_id, CONFIGURE)
        with RefusalsSaid(request):
            steering.resume(connection, actor_of(request))
            messages.success(request, f"{connection.name} is no longer paused: what waits is sent.")
        return self.to("change", connection.pk)

    def deliver(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Change how orders leave."""
        connection = self.find(request, object_id, CONFIGURE)
        form = DeliveryForm(request.POST, connection=connection)
        if form.is_valid():
            with faults_on(form):
                steering.configure(connection, actor_of(request), form.cleaned_data)
        if form.errors:
            return self.show(request, connection, delivery_form=form)
        messages.success(request, f"How orders leave through {connection.name} was saved.")
        return HttpResponseRedirect(f"{self.url('change', connection.pk)}#delivery")

    # -- Gone --------------------------------------------------------------------------------------------------------

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Remove a connection that nothing was sent through, after asking."""
        connection = self.find(request, object_id, self.may_delete)
        if request.method != "POST" or not _is_confirmed(request):
            return self.confirm(
                request,
                title=f"Delete {connection.name}",
                question="Delete this connection, its configuration and the history of its tests?",
                button="Delete",
                original=connection,
            )
        name = connection.name
        with RefusalsSaid(request):
            connections.delete(connection, actor_of(request))
            messages.success(request, f"{name} was deleted.")
            return self.to("changelist")
        return self.to("change", object_id)

    # -- Whom we believe ---------------------------------------------------------------------------------------------

    def pin_host_key(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Trust the host key that the latest test showed, and test again."""
        connection = self.find(request, object_id, CONFIGURE)
        with RefusalsSaid(request):
            fingerprint = request.POST.get("fingerprint", "")
            connection = revisions.pin_host_key(connection, actor_of(request), fingerprint=fingerprint)
            messages.success(request, f"The host key {fingerprint} is pinned.")
            return self._test_again(request, connection)
        return self._to_last_test(connection)

    def accept_identity(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Forget who the far end was, and test: whoever answers is the right one if the test succeeds."""
        connection = self.find(request, object_id, CONFIGURE)
        with RefusalsSaid(request):
            connections.accept_identity(connection, actor_of(request))
            messages.success(request, "The new identity is accepted as soon as a test succeeds.")
            return self._test_again(request, connection)
        return self.to("change", connection.pk)

    # -- The way back ------------------------------------------------------------------------------------------------

    def revert(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Bring back an earlier revision, secrets included, after asking; then test it."""
        connection = self.find(request, object_id, CONFIGURE)
        text = request.POST.get("revision", "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if not _is_confirmed(request):
            return self.confirm(
                request,
                title=f"Go back to revision {number}",
                question=f"Bring back revision {number} of {connection.name}, with the secrets it had?",
                button=f"Go back to revision {number}",
                consequences=["What is stored now is kept as an earlier revision."],
                hidden=[("revision", number)],
                original=connection,
            )
        with RefusalsSaid(request):
            connection = revisions.revert(connection, actor_of(request), number=number)
            messages.success(request, f"Revision {number} is back, as revision {connection.revision}.")
            return self._test_again(request, connection)
        return self.to("change", connection.pk)

    # -- The next credentials ----------------------------------------------------------------------------------------

    def stage(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put the next credentials beside those in use."""
        connection = self.find(request, object_id, CONFIGURE)
        form = SecretsForm(
            request.POST, config_class=config_class_of(connection), described=configurations.describe(connection)
        )
        if form.is_valid():
            with faults_on(form):
                revisions.stage(connection, actor_of(request), form.patch())
        if form.errors:
            return self.show(request, connection, stage_form=form)
        messages.success(
            request, "The next credentials are stored. Those in use go on working until you promote these."
        )
        return self._to_staged(connection)

    def test_staged(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Test the connection with the credentials that wait."""
        connection = self.find(request, object_id, TEST)
        return self.run_test(request, connection, lambda: diagnosis.start_staged(connection, actor_of(request)))

    def promote(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let the next credentials take over, after asking; untested only with a reason."""
        connection = self.find(request, object_id, CONFIGURE)
        if not _is_confirmed(request):
            return self._ask_to_promote(request, connection)
        actor = actor_of(request)
        promote = partial(revisions.promote, connection, actor, reason=_reason(request))
        try:
            with RefusalsSaid(request, but=(UntestedRevision,)):
                slot = revisions.staged(connection)
                is_test_wanted = slot is not None and slot.tested_at is None and "untested" not in request.POST
                if is_test_wanted and has_role(request, TEST, connection.org_id):
                    report = diagnosis.finish(diagnosis.start_staged(connection, actor))
                    if not report.success:
                        messages.error(request, "The next credentials were not promoted: their test failed.")
                        return self._to_last_test(connection)
                promote()
                messages.success(request, "The next credentials are in use now.")
        except UntestedRevision:
            return self._ask_to_promote(request, connection, is_reason_missing=True)
        return self.to("change", connection.pk)

    def _ask_to_promote(self, request: HttpRequest, connection: ERPConnection, **more: Any) -> HttpResponse:
        slot = revisions.staged(connection)
        with RefusalsSaid(request):
            if slot is None:
                raise NothingStaged
            return self._ask(
                request,
                connection,
                title="Promote the next credentials",
                question=f"Let the next credentials of {connection.name} take the place of those in use?",
                verb="promote",
                is_proven=slot.tested_at is not None,
                unproven="No test has succeeded with them.",
                consequences=["Those in use are kept as an earlier revision, so there is a way back."],
                **more,
            )
        return self.to("change", connection.pk)

    def discard(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Forget the next credentials, after asking."""
        connection = self.find(request, object_id, CONFIGURE)
        if not _is_confirmed(request):
            return self.confirm(
                request,
                title="Discard the next credentials",
                question=f"Forget the next credentials of {connection.name}? Those in use stay.",
                button="Discard",
                original=connection,
            )
        with RefusalsSaid(request):
            revisions.discard(connection, actor_of(request))
            messages.success(request, "The next credentials are discarded; those in use stay.")
        return self.to("change", connection.pk)

    # -- Common ------------------------------------------------------------------------------------------------------

    def _ask(
        self,
        request: HttpRequest,
        connection: ERPConnection,
        *,
        title: str,
        question: str,
        verb: str,
        is_proven: bool,
        unproven: str,
        **context: Any,
    ) -> HttpResponse:
        """Return a page that asks; without a proof it offers to test first, or to say why not."""
        return self.render(
            request,
            "admin/connectors/erpconnection/ask.html",
            title=title,
            question=question,
            verb=verb,
            is_proven=is_proven,
            unproven=unproven,
            may_test=has_role(request, TEST, connection.org_id),
            original=connection,
            back=self.url("change", connection.pk),
            **context,
        )

    def _test_again(self, request: HttpRequest, connection: ERPConnection) -> HttpResponseBase:
        if has_role(request, TEST, connection.org_id):
            return self.run_test(request, connection)
        return self.to("change", connection.pk)

    def _to_last_test(self, connection: ERPConnection) -> HttpResponseRedirect:
        return HttpResponseRedirect(f"{self.url('change', connection.pk)}#last-test")

    def _to_staged(self, connection: ERPConnection) -> HttpResponseRedirect:
        return HttpResponseRedirect(f"{self.url('change', connection.pk)}#next-credentials")


def _is_confirmed(request: HttpRequest) -> bool:
    return request.POST.get("confirmed") == "yes"


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip() if "untested" in request.POST else ""
