"""Fetches the answers of the ERPs and records each with its export."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from connectors.codes import Code
from connectors.exceptions import (
    ConfigurationError,
    ConnectorError,
    EncryptionError,
    RejectedByERP,
    UnknownConnector,
)
from connectors.models import ConnectionStatus, ERPConnection, ERPExport, ExportStatus
from connectors.port import Context
from connectors.registry import registry
from connectors.results import Acknowledgement, AckStatus, Settlement
from connectors.services import configurations, health
from connectors.services.contexts import make_context
from connectors.services.verdicts import as_erp_order_id, error_of

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 60.0
"""How long one look at one ERP may take."""


def pollable() -> QuerySet[ERPConnection]:
    """Return the connections whose ERP may have an answer for us, and that we may log in to right now."""
    answering = [name for name, connector in registry.connectors.items() if connector.supports_acknowledgements]
    unanswered = ERPExport.objects.filter(connection=OuterRef("pk"), status=ExportStatus.SENT)
    return ERPConnection.objects.usable().filter(
        Q(status=ConnectionStatus.ACTIVE) | Exists(unanswered), connector_type__in=answering
    )


def poll_all() -> int:
    """Fetch the answers of every ERP, one after the other.

    Returns:
        How many answers were applied.
    """
    return sum(poll(pk) for pk in pollable().values_list("pk", flat=True))


def poll(connection_id: UUID | str) -> int:
    """Fetch the answers of one ERP. Trouble at the far end is logged, not raised: the next poll comes anyway.

    Returns:
        How many answers were applied.
    """
    connection = pollable().select_related("org").filter(pk=connection_id).first()
    if connection is None:
        return 0
    ledger = _Ledger(connection)
    code = _poll(connection, ledger)
    ERPConnection.objects.filter(pk=connection.pk).update(acks_polled_at=timezone.now())
    details = {"connection_id": str(connection.pk), "applied": ledger.applied, "unmatched": ledger.unmatched}
    if code is None:
        log.info("acknowledgements.polled", **details)
    else:
        log.warning("acknowledgements.poll_failed", code=str(code), **details)
    return ledger.applied


def _poll(connection: ERPConnection, ledger: _Ledger) -> Code | None:
    """Let the connector fetch and the ledger record; return what went wrong."""
    try:
        connector, config = configurations.load(connection)
        context = Context(**make_context(connection.org, seconds=POLL_SECONDS, connection=connection))
        connector.poll_acknowledgements(config, context, ledger.settle)
    except EncryptionError as error:
        health.note_unreadable(connection)
        return error.code
    except ConnectorError as error:
        # One answer that cannot be read must not stop the orders; a far end that cannot be reached shall.
        health.note_failure(connection, error, is_first=False)
        return error.code
    except (ConfigurationError, UnknownConnector) as error:
        return error.code
    except Exception as error:  # an adapter's fault must not keep the other connections waiting
        log.error("acknowledgements.adapter_fault", connection_id=str(connection.pk), exc_info=error)
        return Code.INTERNAL_ERROR
    if context.steps.steps:  # not every poll has to ask the far end
        health.note_contact(connection)
    return None


class _Ledger:
    """Records the answers found through one connection."""

    def __init__(self, connection: ERPConnection) -> None:
        self._org_id = connection.org_id
        self.applied = 0
        self.unmatched = 0

    def settle(self, answer: Acknowledgement) -> Settlement:
        """Record one answer with the export it belongs to."""
        with transaction.atomic():
            of_that_name = ERPExport.objects.filter(org_id=self._org_id, filename=answer.filename)
            export = of_that_name.select_for_update().order_by("-created_at").first()
            settlement = Settlement.UNMATCHED if export is None else _apply(export, answer)
        self.applied += settlement is Settlement.APPLIED
        self.unmatched += settlement is Settlement.UNMATCHED
        return settlement


def _apply(export: ERPExport, answer: Acknowledgement) -> Settlement:
    match export.status:
        case ExportStatus.SENT | ExportStatus.UNCONFIRMED:
            return _record(export, answer)
        case ExportStatus.PENDING if export.outcome_unknown:
            return _record(export, answer)
        case ExportStatus.ACKED | ExportStatus.REJECTED:
            if export.status != answer.status:
                log.warning("acknowledgement.contradicts", **_named(export), status=export.status)
            return Settlement.APPLIED
        case ExportStatus.SENDING:
            return Settlement.LATER
    return Settlement.UNMATCHED


def _record(export: ERPExport, answer: Acknowledgement) -> Settlement:
    now = timezone.now()
    accepted = answer.status is AckStatus.ACKED
    ERPExport.objects.filter(pk=export.pk).update(
        status=ExportStatus.ACKED if accepted else ExportStatus.REJECTED,
        erp_order_id=as_erp_order_id(answer.erp_order_id) or export.erp_order_id,
        error=None if accepted else _refusal(answer),
        outcome_unknown=False,
        next_attempt_at=None,
        finished_at=now,
        updated_at=now,
    )
    log.info("export.acknowledged" if accepted else "export.rejected", **_named(export))
    return Settlement.APPLIED


def _refusal(answer: Acknowledgement) -> dict[str, Any]:
    return error_of(RejectedByERP()) | {"erp": {"code": answer.error_code, "message": answer.message}}


def _named(export: ERPExport) -> dict[str, str]:
    return {"export_id": str(export.pk), "connection_id": str(export.connection_id)}
