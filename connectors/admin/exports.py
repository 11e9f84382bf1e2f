"""Exports: look, approve, cancel, put aside, send again. Nothing of them is edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString

from connectors.admin.acknowledgements import OverdueFilter
from connectors.admin.badges import waiting_badge
from connectors.admin.dead_letters import PUT_ASIDE, CauseFilter, DeadLetters, reason_in
from connectors.admin.live_tests import RefusalsSaid
from connectors.admin.timeline import moments, present
from connectors.exceptions import DocumentError, TemporaryError
from connectors.models import ERPExport, ExportStatus
from connectors.results import Document
from connectors.services import documents, exports
from connectors.services.errors import Refused
from tenants.actors import Actor
from tenants.admin import OccurringFilter, OrganizationFilter, actor_of, has_role, organizations_of
from tenants.roles import ALL, APPROVE, CONFIGURE, OPERATE
from tenants.sign_in.confirmation import recently_confirmed

_SHOWN_LINES: Final = 200
_SHOWN_BYTES: Final = 256 * 1024
_DELIVERED: Final = (ExportStatus.SENT, ExportStatus.ACKED)


@admin.register(ERPExport)
class ExportAdmin(DeadLetters):
    """Every order and where it is."""

    may_view = ALL
    list_display = (
        "order_id",
        "status_shown",
        "organization",
        "connection",
        "attempts",
        "next_attempt_at",
        "created_at",
    )
    list_filter = (
        "status",
        "held",
        OverdueFilter,
        CauseFilter,
        ("connection", OccurringFilter),
        ("org", OrganizationFilter),
        "created_at",
    )
    list_select_related = ("org", "connection")
    search_fields = ("order_id", "filename", "erp_order_id")
    search_help_text = "Order id, file name or the ERP's order number"
    show_full_result_count = False
    actions = ("retry_selected", "cancel_selected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ERPExport]:
        """Return the exports without their orders, which may be large and no list shows."""
        return super().get_queryset(request).defer("order")

    @admin.display(description="status", ordering="status")
    def status_shown(self, export: ERPExport) -> SafeString:
        """Return where it is."""
        return waiting_badge(export)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may retry and cancel anywhere."""
        return self.allows(request, OPERATE)

    # -- One export --------------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show where an order is and how it got there."""
        export = self.find(request, object_id, ALL)
        may_operate = has_role(request, OPERATE, export.org_id)
        lines = export.order["lines"]
        return self.render(
            request,
            "admin/connectors/erpexport/page.html",
            title=f"Order {export.order_id}",
            original=export,
            export=export,
            status=waiting_badge(export),
            timeline=list(moments(export)),
            error_facts=_beyond_text(export.error),
            retries=list(export.retries.all()),
            lines=lines[:_SHOWN_LINES],
            hidden_lines=max(0, len(lines) - _SHOWN_LINES),
            may_approve=export.held and has_role(request, APPROVE, export.org_id),
            may_retry=may_operate and export.is_retryable,
            may_resend=may_operate and export.status in _DELIVERED and export.superseded_at is None,
            may_dismiss=may_operate and export.is_retryable and export.dismissed_at is None,
            may_cancel=may_operate and export.status == ExportStatus.PENDING and not export.outcome_unknown,
            may_see_connection=has_role(request, CONFIGURE, export.org_id),
        )

    def get_urls(self) -> list[Any]:
        """Add the document and the verbs."""
        return [
            *self.dead_letter_urls(),
            self.post_only("approve", self.approve),
            self.post_only("retry", self.retry),
            self.post_only("resend", self.resend),
            self.post_only("dismiss", self.dismiss),
            self.post_only("cancel", self.cancel),
            self.page("<path:object_id>/document/", recently_confirmed()(self.document), "document"),
            self.page("<path:object_id>/document/download/", recently_confirmed()(self.download), "download"),
            *super().get_urls(),
        ]

    def document(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the rendered document, exactly as it is sent."""
        export = self.find(request, object_id, ALL)
        document, problem = _read(export, actor_of(request))
        return self.render(
            request,
            "admin/connectors/erpexport/document.html",
            title=f"Document of order {export.order_id}",
            original=export,
            document=document,
            problem=problem,
            text=document.content[:_SHOWN_BYTES].decode(errors="replace") if document else "",
            is_cut=document is not None and document.size > _SHOWN_BYTES,
        )

    def download(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Hand out the rendered document as a file."""
        document, _ = _read(self.find(request, object_id, ALL), actor_of(request))
        if document is None:
            raise Http404
        response = HttpResponse(document.content, content_type=document.media_type)
        response["Content-Disposition"] = content_disposition_header(True, document.filename)
        response["X-Content-Type-Options"] = "nosniff"
        return response

    # -- The verbs ---------------------------------------------------------------------------------------------------

    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let an order go that waits for approval."""
        export = self.find(request, object_id, APPROVE)
        with RefusalsSaid(request):
            exports.approve(export, actor_of(request))
            messages.success(request, "The order is approved and on its way.")
        return self.to("change", export.pk)

    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the order again; ask first when it may have arrived."""
        export = self.find(request, object_id, OPERATE)
        if export.status == ExportStatus.UNCONFIRMED and request.POST.get("confirmed") != "yes":
            return self.confirm(
                request,
                title=f"Retry order {export.order_id}",
                question="This order may have arrived. Look for it in the ERP before you send it again.",
                button="It is not there: send it again",
                original=export,
            )
        with RefusalsSaid(request):
            new = exports.retry(export, actor_of(request))
            messages.success(request, "The order is on its way again, as this new export.")
            return self.to("change", new.pk)
        return self.to("change", export.pk)

    def resend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send an order once more that was delivered, after asking why."""
        export = self.find(request, object_id, OPERATE)
        if not (reason := reason_in(request)):
            return self.confirm(
                request,
                title=f"Send order {export.order_id} again",
                question="This order was delivered. Send it once more?",
                button="Send it again",
                consequences=[
                    "The ERP may then have it twice: look there first.",
                    "The document gets a new file name, so the far end takes it for another one.",
                    "What the ERP still says to the first one changes nothing any more.",
                ],
                asks_why=True,
                original=export,
            )
        with RefusalsSaid(request):
            new = exports.resend(export, actor_of(request), reason=reason)
            messages.success(request, "The order is on its way once more, as this new export.")
            return self.to("change", new.pk)
        return self.to("change", export.pk)

    def dismiss(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put an order aside that came to nothing, or may have, after asking why."""
        export = self.find(request, object_id, OPERATE)
        if not (reason := reason_in(request)):
            return self.confirm(
                request,
                title=f"Put order {export.order_id} aside",
                question="Let nobody be reminded of this order any more?",
                button="Put it aside",
                consequences=PUT_ASIDE,
                asks_why=True,
                original=export,
            )
        with RefusalsSaid(request):
            exports.dismiss(export, actor_of(request), reason=reason)
            messages.success(request, "The order is put aside.")
        return self.to("change", export.pk)

    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Withdraw an order that was not sent."""
        export = self.find(request, object_id, OPERATE)
        with RefusalsSaid(request):
            exports.cancel(export, actor_of(request))
            messages.success(request, "The export is cancelled: nothing is sent.")
        return self.to("change", export.pk)

    @admin.action(description="Retry selected exports", permissions=["operate"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[ERPExport]) -> HttpResponse | None:
        """Send several orders again, after asking."""
        question = "Send these orders again? Look for unconfirmed ones in the ERP first: they may have arrived."
        return self._on_all(request, queryset, exports.retry, "retry_selected", "Retry", question)

    @admin.action(description="Cancel selected exports", permissions=["operate"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[ERPExport]) -> HttpResponse | None:
        """Withdraw several orders, after asking."""
        question = "Withdraw these orders? Only those of which nothing was sent can be cancelled."
        return self._on_all(request, queryset, exports.cancel, "cancel_selected", "Cancel", question)

    def _on_all(
        self,
        request: HttpRequest,
        queryset: QuerySet[ERPExport],
        verb: Callable[[ERPExport, Actor], ERPExport],
        action: str,
        word: str,
        question: str,
    ) -> HttpResponse | None:
        chosen = list(queryset.filter(org__in=organizations_of(request, OPERATE)))
        if request.POST.get("confirmed") != "yes":
            return self.confirm(
                request,
                title=f"{word} exports",
                question=question,
                button=f"{word} {len(chosen)}",
                objects=chosen,
                hidden=[("action", action), *(("_selected_action", export.pk) for export in chosen)],
            )
        done = 0
        for export in chosen:
            try:
                verb(export, actor_of(request))
            except Refused as refusal:
                messages.warning(request, f"{export.order_id}: {refusal.message} {refusal.hint}")
            else:
                done += 1
        if done:
            messages.success(request, f"{word}: done for {done} of {len(chosen)}.")
        return HttpResponseRedirect(request.get_full_path())


def _read(export: ERPExport, actor: Actor) -> tuple[Document | None, str]:
    """Return the document, or why there is none."""
    try:
        document = documents.read(export, actor)
    except (DocumentError, TemporaryError) as error:
        return None, f"{error.message} {error.hint}"
    return document, "" if document else "The document is rendered when the order is sent for the first time."


def _beyond_text(error: dict[str, Any] | None) -> dict[str, Any]:
    """Return what an error says besides its code, message and hint."""
    return present({name: value for name, value in (error or {}).items() if name not in ("code", "message", "hint")})
