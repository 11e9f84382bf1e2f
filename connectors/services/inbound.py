"""Messages that far ends send of their own accord: whose they are, and what becomes of them.

Nobody has signed in. Only the connector can tell who has sent a message, and until it has done so nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog

from connectors.exceptions import (
    ConfigurationError,
    ConnectorError,
    EncryptionError,
    UnknownConnector,
    UnsupportedFeature,
)
from connectors.models import ERPConnection, ERPExport
from connectors.port import Context
from connectors.results import Acknowledgement, Document, Inbound, Reply, Settlement
from connectors.services import configurations, documents, health
from connectors.services.acknowledgements import Ledger
from connectors.services.contexts import make_context
from connectors.services.pooling import give_back
from connectors.services.scoping import organization_of

log = structlog.get_logger(__name__)

RECEIVE_SECONDS: Final = 30.0
"""How long taking one message may last."""

PATIENCE_SECONDS: Final = 5.0
"""An answer may be faster than the worker that is just noting that the order left."""

_PAUSE_SECONDS: Final = 0.1


def receive(connection_id: UUID, message: Inbound) -> Reply | None:
    """Take a message.

    Args:
        connection_id: to whose address it was sent.
        message: as it arrived.

    Returns:
        What the sender is answered; None where there is no such address.
    """
    with organization_of(connection_id):
        connection = ERPConnection.objects.select_related("org").filter(pk=connection_id).first()
        reply = _receive(connection, message) if connection else None
        if connection is None or reply is None:
            return None
        if not reply.refused:
            health.note_contact(connection)
            log.info("inbound.taken", connection_id=str(connection_id))
        else:
            log.warning("inbound.refused", connection_id=str(connection_id), reason=reply.refused)
        return reply


def _receive(connection: ERPConnection, message: Inbound) -> Reply | None:
    ledger = Ledger(connection)
    try:
        connector, config = configurations.load(connection)
        context = Context(
            **make_context(connection.org, seconds=RECEIVE_SECONDS, connection=connection),
            report_malformed=ledger.note_malformed,
            sent=lambda export_id: _sent(connection, export_id),
        )
        return connector.receive(message, config, context, _patiently(ledger.settle))
    except UnsupportedFeature:
        return None
    except (ConnectorError, EncryptionError, ConfigurationError, UnknownConnector) as error:
        return Reply(status=503, refused=str(error.code))
    except Exception as error:  # an adapter's fault is no reason to tell strangers of it
        log.error("inbound.adapter_fault", connection_id=str(connection.pk), exc_info=error)
        return Reply(status=500, refused="INTERNAL_ERROR")


def _sent(connection: ERPConnection, export_id: UUID) -> Document | None:
    """Return the document of an export through this connection; of those that are lost or purged there is none."""
    export = ERPExport.objects.filter(org=connection.org_id, connection=connection.pk, pk=export_id).first()
    found = documents.load_many([export])[0] if export else None
    return found if isinstance(found, Document) else None


def _patiently(settle: Callable[[Acknowledgement], Settlement]) -> Callable[[Acknowledgement], Settlement]:
    """Wait a moment for an order that is just being sent: whoever brings the answer may not bring it twice."""
    until = time.monotonic() + PATIENCE_SECONDS

    def wait_and_settle(answer: Acknowledgement) -> Settlement:
        while (settled := settle(answer)) is Settlement.LATER and time.monotonic() < until:
            give_back()
            time.sleep(_PAUSE_SECONDS)
        return settled

    return wait_and_settle
