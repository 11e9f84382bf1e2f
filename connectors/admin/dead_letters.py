"""What came to nothing or may have, by cause, on one page; each cause is settled as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from connectors.admin.badges import export_badge
from connectors.models import ERPExport, ExportStatus
from connectors.models.export import RETRYABLE, ExportQuerySet
from connectors.services import dead_letters
from connectors.services.dead_letters import AT_ONCE, SECONDS_AT_ONCE, Cause, Tally
from connectors.validation import moment
from tenants.admin import OrganizationScopedAdmin, actor_of, has_role, organizations_of
from tenants.roles import ALL, OPERATE

MAX_REASON: Final = 200
PUT_ASIDE: Final = (
    "Nothing is sent, and nobody is reminded any more.",
    "Sending again stays possible, on the page of the order.",
    "An order that may have arrived still stands: it cannot be submitted anew.",
)

_SHOWN_CAUSES: Final = 100
_SHOWN_ORDERS: Final = 10
_SHOWN_REFUSALS: Final = 5


class CauseFilter(admin.SimpleListFilter):
    """Narrows the list of exports down to those that wait for a person for one reason; a link sets it."""

    title = "cause"
    parameter_name = "cause"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        """Offer the present choice, so that it can be seen and taken back."""
        if self.parameter_name in request.GET:
            code = request.GET[self.parameter_name]
            yield code, code or "not recorded"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that are left."""
        if self.value() is None:
            return queryset
        return dead_letters.select(cast(ExportQuerySet, queryset), code=self.value())


class DeadLetters(OrganizationScopedAdmin):
    """The page, and what its buttons do."""

    def dead_letter_urls(self) -> list[Any]:
        """Return the routes, which have to stand before those that take anything for an id."""
        return [
            self.page("dead-letters/", self.dead_letters, "dead-letters"),
            self.page("dead-letters/retry/", require_POST(self.retry_cause), "retry-cause"),
            self.page("dead-letters/dismiss/", require_POST(self.dismiss_cause), "dismiss-cause"),
        ]

    def dead_letters(self, request: HttpRequest) -> HttpResponse:
        """Show every cause with how many orders it has stopped, the largest first."""
        orgs = organizations_of(request, ALL)
        if chosen := _uuid(request.GET.get("org")):
            orgs = orgs.filter(pk=chosen)
        elif not has_role(request, ALL):
            raise Http404
        causes = dead_letters.causes(orgs)
        return self.render(
            request,
            "admin/connectors/erpexport/dead_letters.html",
            title="Dead letters",
            groups=[self._shown(request, cause) for cause in causes[:_SHOWN_CAUSES]],
            hidden_groups=max(0, len(causes) - _SHOWN_CAUSES),
            orders=sum(cause.count for cause in causes),
            only=orgs.first() if chosen else None,
        )

    def retry_cause(self, request: HttpRequest) -> HttpResponse:
        """Send all orders again that one cause has stopped, after asking."""
        rows, hidden = self._chosen(request)
        may_double = request.POST["status"] == ExportStatus.UNCONFIRMED
        count = rows.count()
        if count and request.POST.get("confirmed") != "yes":
            return self._ask(
                request,
                rows,
                hidden,
                title="Retry all of a cause",
                question="These orders may have arrived. Look for each of them in the ERP before you send it again."
                if may_double
                else "Send all of these orders again?",
                button=f"They are not there: send {_orders(count)} again"
                if may_double
                else f"Send {_orders(count)} again",
                consequences=["Whatever is in the ERP after all, it then has twice."] if may_double else [],
            )
        chosen = rows.select_related("org")[:AT_ONCE]
        tally = dead_letters.retry_all(chosen, actor_of(request), even_unconfirmed=may_double, seconds=SECONDS_AT_ONCE)
        return self._say(request, tally, "sent again", left=max(0, count - AT_ONCE) + tally.left)

    def dismiss_cause(self, request: HttpRequest) -> HttpResponse:
        """Put all orders aside that one cause has stopped, after asking why."""
        rows, hidden = self._chosen(request)
        count = rows.count()
        if count and not (request.POST.get("confirmed") == "yes" and reason_in(request)):
            return self._ask(
                request,
                rows,
                hidden,
                title="Put all of a cause aside",
                question="Let nobody be reminded of these orders any more?",
                button=f"Put {_orders(count)} aside",
                consequences=PUT_ASIDE,
                asks_why=True,
            )
        chosen = rows.select_related("org")[:AT_ONCE]
        tally = dead_letters.dismiss_all(chosen, actor_of(request), reason=reason_in(request), seconds=SECONDS_AT_ONCE)
        return self._say(request, tally, "put aside", left=max(0, count - AT_ONCE) + tally.left)

    # -- Common ------------------------------------------------------------------------------------------------------

    def _shown(self, request: HttpRequest, cause: Cause) -> tuple[Cause, SafeString, str, bool]:
        """Return a cause with its badge, the list of its orders, and whether the person may do something about it."""
        lookups: dict[str, Any] = {
            "org__id__exact": cause.org_id,
            "connection__id__exact": cause.connection_id,
            "status__exact": cause.status,
            CauseFilter.parameter_name: cause.code,
        }
        address = f"{self.url('changelist')}?{urlencode(lookups)}"
        return cause, export_badge(cause.status), address, has_role(request, OPERATE, cause.org_id)

    def _chosen(self, request: HttpRequest) -> tuple[ExportQuerySet, list[tuple[str, object]]]:
        """Return the orders of the cause that was posted, and what repeats the request.

        Raises:
            Http404: there is no such cause where this person may do something about it.
        """
        posted = {name: request.POST.get(name, "") for name in ("connection", "status", "code", "until")}
        connection_id, until = _uuid(posted["connection"]), moment(posted["until"])
        if connection_id is None or until is None or posted["status"] not in RETRYABLE:
            raise Http404
        ours = ERPExport.objects.filter(org__in=organizations_of(request, OPERATE))
        rows = dead_letters.select(
            ours,
            code=posted["code"],
            connection_id=connection_id,
            statuses=[posted["status"]],
            # Not what joined them while the person was thinking.
            until=until,
        )
        return rows, list(posted.items())

    def _ask(
        self, request: HttpRequest, rows: ExportQuerySet, hidden: list[tuple[str, object]], **about: Any
    ) -> HttpResponse:
        shown = [str(export) for export in rows.defer("order")[:_SHOWN_ORDERS]]
        if more := rows.count() - len(shown):
            shown.append(f"… and {more:,} more")
        consequences = [*about.pop("consequences"), *([f"At most {AT_ONCE:,} go at once."] if more > AT_ONCE else [])]
        return self.confirm(
            request,
            objects=shown,
            hidden=hidden,
            consequences=consequences,
            back=self.url("dead-letters"),
            **about,
        )

    def _say(self, request: HttpRequest, tally: Tally, what: str, *, left: int) -> HttpResponseRedirect:
        if tally.done:
            more = f"; {left:,} are left" if left else ""
            messages.success(request, f"{_orders(len(tally.done))} {what}{more}.")
        for export, refusal in tally.refused[:_SHOWN_REFUSALS]:
            messages.warning(request, f"{export.order_id}: {refusal.message} {refusal.hint}")
        if (unsaid := len(tally.refused) - _SHOWN_REFUSALS) > 0:
            messages.warning(request, f"And {unsaid:,} more were refused.")
        return self.to("dead-letters")


def reason_in(request: HttpRequest) -> str:
    """Return the reason that was given; empty when there is none, or none that can be kept."""
    reason = request.POST.get("reason", "").strip()
    return reason if len(reason) <= MAX_REASON and reason.isprintable() else ""


def _orders(count: int) -> str:
    return "1 order" if count == 1 else f"{count:,} orders"


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
