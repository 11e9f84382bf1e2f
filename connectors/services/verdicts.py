"""What an attempt comes to: the port's results and errors, turned into the next state of the export."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, ConnectorError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.models import ERPExport, ExportStatus, Outcome
from connectors.results import ExportResult
from connectors.retry import RetryPolicy

FINAL: Final = (ExportStatus.ACKED, ExportStatus.REJECTED, ExportStatus.UNCONFIRMED, ExportStatus.FAILED)
"""In these states nothing more happens by itself."""

STORAGE_RETRY: Final = timedelta(seconds=30)
"""How long an order waits for our own document storage."""

_OUTCOMES: Final[dict[type[ConnectorError], Outcome]] = {
    AuthenticationFailed: Outcome.AUTH_FAILED,
    OutcomeUnknown: Outcome.UNKNOWN,
    RejectedByERP: Outcome.REJECTED,
    TemporaryError: Outcome.TEMPORARY,
}

_MAX_ERP_ORDER_ID: Final = ERPExport._meta.get_field("erp_order_id").max_length


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How an attempt ended, and where that leaves the export."""

    outcome: Outcome
    status: ExportStatus
    error: dict[str, Any] | None = None
    next_attempt_at: datetime | None = None
    in_doubt: bool = False
    """It may have arrived: to be looked up before anything is sent."""
    counts: bool = True
    """Whether the attempt is one of those that are limited in number."""
    result: ExportResult | None = None

    @property
    def receipt(self) -> dict[str, Any] | None:
        """The transport's proof, when there is one."""
        return self.result.receipt.as_json() if self.result else None

    def columns(self) -> dict[str, Any]:
        """Return what changes in the row of the export."""
        now = timezone.now()
        columns: dict[str, Any] = {
            "status": self.status,
            "error": self.error,
            "next_attempt_at": self.next_attempt_at,
            "outcome_unknown": self.in_doubt,
            "claim": None,
            "leased_until": None,
            "finished_at": now if self.status in FINAL else None,
            "updated_at": now,
        }
        if self.result:
            columns |= {
                "receipt": self.receipt,
                "erp_order_id": as_erp_order_id(self.result.erp_order_id),
                "warnings": list(self.result.warnings),
                "sent_at": now,
            }
        return columns


def delivered(result: ExportResult, *, found: bool) -> Verdict:
    """Judge a success.

    Args:
        result: what the connector returned.
        found: whether a look-up showed that an earlier attempt had delivered it.
    """
    return Verdict(
        outcome=Outcome.FOUND if found else Outcome.SENT,
        status=ExportStatus.ACKED if result.acknowledged else ExportStatus.SENT,
        result=result,
    )


def failed(error: ConnectorError, *, attempt: int, in_doubt: bool, can_look_up: bool) -> Verdict:
    """Judge a failure.

    Args:
        error: what the connector raised.
        attempt: the number of the attempt, from 1.
        in_doubt: whether an earlier attempt may have arrived and no look-up has settled that yet.
        can_look_up: whether the connector can find an export at the far end.
    """
    verdict = Verdict(outcome=_outcome(error), status=ExportStatus.PENDING, error=error_of(error), in_doubt=in_doubt)
    if isinstance(error, AuthenticationFailed):
        return replace(verdict, counts=False)
    if error.code is Code.DOCUMENT_STORAGE_FAILED:  # our own trouble: no order is given up for it
        return replace(verdict, counts=False, next_attempt_at=timezone.now() + STORAGE_RETRY)
    look_up_said_nothing = in_doubt and isinstance(error, OutcomeUnknown)
    in_doubt = in_doubt or isinstance(error, OutcomeUnknown)
    decision = _policy().decide(error, attempt=attempt, jitter=random.random())  # noqa: S311  # nosec B311  # spreads load
    if decision.again and not look_up_said_nothing and (can_look_up or not in_doubt):
        next_attempt_at = timezone.now() + timedelta(seconds=decision.delay_s)
        return replace(verdict, in_doubt=in_doubt, next_attempt_at=next_attempt_at)
    if in_doubt:
        # FAILED would claim that nothing arrived, and let the order be submitted anew.
        return replace(verdict, status=ExportStatus.UNCONFIRMED, in_doubt=True)
    return replace(verdict, status=ExportStatus.REJECTED if isinstance(error, RejectedByERP) else ExportStatus.FAILED)


def not_there() -> Verdict:
    """Judge a look-up which showed that nothing has arrived, at a connection through which nothing is sent any more."""
    return Verdict(outcome=Outcome.TEMPORARY, status=ExportStatus.PENDING, counts=False)


def worker_lost(*, attempt: int, may_have_arrived: bool, can_look_up: bool) -> Verdict:
    """Judge an attempt whose worker never came back."""
    error = OutcomeUnknown(Code.WORKER_LOST) if may_have_arrived else TemporaryError(Code.WORKER_LOST)
    verdict = failed(error, attempt=attempt, in_doubt=False, can_look_up=can_look_up)
    # The lease was wait enough.
    return replace(verdict, outcome=Outcome.WORKER_LOST, next_attempt_at=None)


def error_of(error: ConnectorError) -> dict[str, Any]:
    """Return an error as it is stored: in the words of the catalogue, and what the ERP said in its own."""
    stored = {"code": str(error.code), "message": error.message, "hint": error.hint}
    return stored | {"erp": asdict(error.said)} if error.said else stored


def as_erp_order_id(number: str | None) -> str:
    """Return the ERP's number for the order as its column can hold it."""
    return (number or "")[:_MAX_ERP_ORDER_ID]


def _outcome(error: ConnectorError) -> Outcome:
    return next((outcome for kind, outcome in _OUTCOMES.items() if isinstance(error, kind)), Outcome.FAILED)


def _policy() -> RetryPolicy:
    return RetryPolicy(max_attempts=settings.EXPORT_MAX_ATTEMPTS)
