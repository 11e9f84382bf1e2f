"""What a person decides about exports beyond retry and cancel: approve, resend, put aside, retry many."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import shapes
from connectors.api.exports import ACCEPTED, located, of_organization, show
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, found
from connectors.models import ERPExport
from connectors.models.export import RETRYABLE, ExportStatus
from connectors.services import dead_letters, exports
from connectors.services.dead_letters import AT_ONCE, SECONDS_AT_ONCE
from tenants.roles import Scope

_NOT_FOUND: Final = {"code": "NOT_FOUND", "message": "There is no such export.", "hint": ""}


class ApprovalView(ApiView):
    """The approval of one export."""

    scopes = {"POST": Scope.EXPORTS_APPROVE}

    @describe(
        "approve_export",
        "Approve an export",
        request=shapes.EmptyInput,
        is_body_required=False,
        answers={200: Answer(description="It is on its way.", model=shapes.ExportDetail)},
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        """Let an order go that waits for approval (`held`), because it is above the limit of its connection."""
        export = found(of_organization(self.org), export_id)
        shapes.EmptyInput.parse(request.data)
        return Response(show(exports.approve(export, self.actor)))


class ResendView(ApiView):
    """The sending of an order once more."""

    scopes = {"POST": Scope.EXPORTS_MANAGE}

    @describe(
        "resend_export",
        "Resend an export",
        request=shapes.ReasonInput,
        request_examples={"Lost in the ERP": {"reason": "The ERP was restored from a backup of yesterday"}},
        answers={202: ACCEPTED},
        problems={409: ("EXPORT_EXISTS", "NO_ACTIVE_CONNECTOR", "CONFLICT")},
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        """Send an order once more, as a new export, although it was delivered: the ERP may then have it twice.

        The document gets a new file name. An answer to the earlier one changes nothing any more.
        """
        export = found(of_organization(self.org), export_id)
        wanted = shapes.ReasonInput.parse(request.data)
        return located(exports.resend(export, self.actor, reason=wanted.reason), HTTPStatus.ACCEPTED)


class DismissalView(ApiView):
    """The putting aside of one export."""

    scopes = {"POST": Scope.EXPORTS_MANAGE}

    @describe(
        "dismiss_export",
        "Put an export aside",
        request=shapes.ReasonInput,
        request_examples={"Settled otherwise": {"reason": "Entered by hand"}},
        answers={200: Answer(description="Nobody is reminded of it any more.", model=shapes.ExportDetail)},
        problems={409: ("CONFLICT",)},
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        """Take a failed, rejected or unconfirmed export off the list of what needs a person.

        Nothing else changes: it can still be retried, and an unconfirmed one still stands for its order.
        """
        export = found(of_organization(self.org), export_id)
        wanted = shapes.ReasonInput.parse(request.data)
        return Response(show(exports.dismiss(export, self.actor, reason=wanted.reason)))


class BulkRetryView(ApiView):
    """The retry of many exports."""

    scopes = {"POST": Scope.EXPORTS_MANAGE}

    @describe(
        "retry_exports",
        "Retry many exports",
        request=shapes.BulkRetryInput,
        request_examples={
            "All that one cause has stopped": {"code": "NO_SPACE", "since": "2026-11-25T06:00:00Z"},
            "Also what may have arrived": {"code": "CONNECTION_LOST", "include_unconfirmed": True},
        },
        answers={200: Answer(description="What became of each.", model=shapes.BulkRetryResult)},
    )
    def post(self, request: Request) -> Response:
        """Send failed and rejected orders again, each for itself, at most 1,000 at once and for at most 20 seconds.

        What was put aside, retried or submitted anew is not among those that a cause, connection, status or time names.
        Orders that may have arrived go only with `include_unconfirmed`.
        """
        wanted = shapes.BulkRetryInput.parse(request.data)
        ours = of_organization(self.org)
        if wanted.ids is not None:
            by_id: dict[UUID, ERPExport] = ours.select_related("org").in_bulk(wanted.ids)
            ids = list(dict.fromkeys(wanted.ids))
            chosen, missing = [by_id[pk] for pk in ids if pk in by_id], [pk for pk in ids if pk not in by_id]
            remaining = 0
        else:
            named = dead_letters.select(
                ours.select_related("org"),
                code=wanted.code,
                connection_id=wanted.connector,
                statuses=wanted.status or _statuses(wanted),
                since=wanted.since,
            )
            chosen, missing = list(named[:AT_ONCE]), []
            remaining = named.count() - len(chosen)
        tally = dead_letters.retry_all(
            chosen, self.actor, even_unconfirmed=wanted.include_unconfirmed, seconds=SECONDS_AT_ONCE
        )
        return Response(_show(tally, missing, remaining + tally.left))


def _statuses(wanted: shapes.BulkRetryInput) -> tuple[ExportStatus, ...]:
    if wanted.include_unconfirmed:
        return RETRYABLE
    return tuple(status for status in RETRYABLE if status != ExportStatus.UNCONFIRMED)


def _show(tally: dead_letters.Tally, missing: list[UUID], remaining: int) -> shapes.BulkRetryResult:
    refused = [
        {"id": export.pk, "code": refusal.code, "message": refusal.message, "hint": refusal.hint}
        for export, refusal in tally.refused
    ]
    return shapes.BulkRetryResult(
        retried=[{"id": old.pk, "retried_as": new.pk} for old, new in tally.done],
        refused=[*refused, *({"id": pk} | _NOT_FOUND for pk in missing)],
        remaining=remaining,
    )
