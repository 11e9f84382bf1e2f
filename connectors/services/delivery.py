"""Brings exports to their ERP: one connection at a time, each export claimed, attempted and settled on its own.

Nothing here holds a transaction while it talks to a far end. Between the claim and the settlement only the lease says
who may act; whoever has lost it can neither store a document nor settle.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectorError,
    DocumentError,
    EncryptionError,
    InvalidOrder,
    OutcomeUnknown,
    RejectedByERP,
    TemporaryError,
    UnknownConnector,
    UnsupportedFeature,
)
from connectors.models import ConnectionStatus, ERPConnection, ERPExport, ExportAttempt, ExportStatus, Outcome
from connectors.order import Order
from connectors.port import ExportContext, ExportSession
from connectors.registry import registry
from connectors.results import Document, ExportResult, TestStep
from connectors.services import configurations, documents, exports, health, installation, jobs
from connectors.services.contexts import make_context
from connectors.services.verdicts import Verdict, delivered, failed, not_there, worker_lost

log = structlog.get_logger(__name__)

DRAIN_EXPORTS: Final = 50
DRAIN_SECONDS: Final = 30.0
"""After so many exports or so long a drain goes back to the end of the queue, so that other connections get a turn."""

USABLE_LEASE: Final = 0.8
"""The share of the lease after which an attempt has to be over; the rest is for settling it."""

_UNDERSTOOD: Final = (
    TemporaryError,
    OutcomeUnknown,
    AuthenticationFailed,
    RejectedByERP,
    DocumentError,
    UnsupportedFeature,
)
_EVENTS: Final = {
    ExportStatus.SENT: "export.sent",
    ExportStatus.ACKED: "export.acknowledged",
    ExportStatus.REJECTED: "export.rejected",
    ExportStatus.UNCONFIRMED: "export.unconfirmed",
    ExportStatus.FAILED: "export.failed",
}


class LeaseLost(Exception):
    """Another worker has this export now."""


def drain(connection_id: UUID | str) -> int:
    """Send what is due through one connection, in the order of submission.

    Through a disabled connection nothing is sent: what may have arrived there is looked up, no more.

    Returns:
        How many attempts were made.
    """
    attempts, until = 0, time.monotonic() + DRAIN_SECONDS
    with ExitStack() as cleanup:
        line: _Line | None = None
        while attempts < DRAIN_EXPORTS and time.monotonic() < until:
            connection = ERPConnection.objects.usable().select_related("org").filter(pk=connection_id).first()
            if connection is None:
                return attempts
            if line is None or line.connection.revision != connection.revision:
                cleanup.close()
                if (line := _line(connection)) is None:
                    return attempts
                cleanup.callback(line.hang_up)
            if (export := _claim(connection)) is None:
                return attempts
            _deliver(line, export)
            attempts += 1
    if ERPExport.objects.startable().filter(connection=connection_id).exists():
        jobs.wake(connection_id)
    return attempts


def sweep() -> None:
    """Pick up what was left lying: expired leases, exports at disabled connections, due exports without a job."""
    if not installation.is_armed():
        log.warning("installation.quarantined")
        return
    while _recover_one():
        pass
    exports.move_waiting()
    jobs.wake_due()


# The way out


class _Line:
    """A connection that is ready for use, and its session while that lasts."""

    def __init__(self, connection: ERPConnection) -> None:
        self.connection = connection
        self.connector, self.config = configurations.load(connection)
        self._session: ExportSession | None = None
        self._login = ExitStack()

    def connect(self, context: ExportContext) -> None:
        """Log in, if this connector logs in once for many exports and has not done so yet."""
        if self.connector.supports_session and self._session is None:
            self._session = self._login.enter_context(self.connector.open_session(self.config, context))

    def send(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""
        if self._session is None:
            return self.connector.export(order, self.config, context)
        return self._session.export(order, context)

    def hang_up(self) -> None:
        """End the session; the next export logs in anew."""
        self._session = None
        try:
            self._login.close()
        except Exception as error:  # whatever an adapter raises here, the exports are settled already
            log.warning("connection.hang_up_failed", connection_id=str(self.connection.pk), error=type(error).__name__)


def _line(connection: ERPConnection) -> _Line | None:
    """Return the connection ready for use; None leaves its exports waiting until it is."""
    try:
        return _Line(connection)
    except EncryptionError as error:
        health.note_unreadable(connection)
        reason = error.code
    except (ConfigurationError, UnknownConnector) as error:
        reason = error.code
    log.error("connection.unusable", connection_id=str(connection.pk), code=reason)
    return None


# One export


def _claim(connection: ERPConnection) -> ERPExport | None:
    """Take the next due export, unless another worker is busy with this connection: that one goes on until all is sent.

    Should two workers start in the same instant, each gets an export of its own.
    """
    now = timezone.now()
    of_connection = ERPExport.objects.filter(connection=connection)
    # A new revision takes effect at once, and the same statement tells whether the connection still sends.
    usable = ERPConnection.objects.usable().filter(pk=connection.pk, revision=connection.revision)
    startable = of_connection.startable().filter(connection__in=usable).select_related("connection__org")
    with transaction.atomic():
        if of_connection.filter(status=ExportStatus.SENDING, leased_until__gt=now).exists():
            return None
        locked = startable.select_for_update(of=("self",), skip_locked=True)
        export = locked.order_by("created_at", "id").first()
        if export is None:
            return None
        export.status = ExportStatus.SENDING
        export.attempts += 1
        export.claim = uuid4()
        export.leased_until = now + timedelta(seconds=settings.EXPORT_LEASE_SECONDS)
        export.save(update_fields=["status", "attempts", "claim", "leased_until", "updated_at"])
    export.org = export.connection.org
    claimed: ERPExport = export
    return claimed


def _deliver(line: _Line, export: ERPExport) -> None:
    """Make one attempt and settle it."""
    started_at = timezone.now()
    with structlog.contextvars.bound_contextvars(
        export_id=str(export.pk),
        connection_id=str(export.connection_id),
        attempt=export.attempts,
        **({"request_id": export.request_id} if export.request_id else {}),
    ):
        context = _context(export)
        try:
            verdict = _attempt(line, export, context)
        except LeaseLost:
            log.warning("export.lease_lost")
            return
        if verdict.error:
            line.hang_up()
        _settle(export, verdict, started_at=started_at, steps=context.steps.steps)
        if verdict.error is None:
            health.note_success(line.connection)
            if verdict.result is None:
                exports.move_waiting(export.org)


def _context(export: ERPExport) -> ExportContext:
    return ExportContext(
        **make_context(
            export.org,
            seconds=settings.EXPORT_LEASE_SECONDS * USABLE_LEASE,
            connection=export.connection,
        ),
        org_slug=export.org.slug,
        export_id=export.pk,
        created_at=export.created_at,
        attempt=export.attempts,
        idempotency_key=str(export.pk),
    )


def _attempt(line: _Line, export: ERPExport, context: ExportContext) -> Verdict:
    in_doubt = export.outcome_unknown
    try:
        order = _order(export)
        context = replace(context, document=_document(line, export, order, context))
        if in_doubt:
            if (found := _look_up(line, order, context)) is not None:
                return delivered(found, found=True)
            in_doubt = False
            if export.connection.status != ConnectionStatus.ACTIVE:
                return not_there()
        with _any_fault_is(TemporaryError):
            line.connect(context)
        with _any_fault_is(OutcomeUnknown):
            return delivered(line.send(order, context), found=False)
    except ConnectorError as error:
        # Before the export is free again: nobody shall try the next one at a connection that is paused now.
        health.note_failure(line.connection, error, is_first=export.attempts == 1)
        return failed(
            error,
            attempt=export.attempts,
            in_doubt=in_doubt,
            can_look_up=line.connector.supports_find_export,
        )


def _order(export: ERPExport) -> Order:
    try:
        return Order.parse(export.order)
    except InvalidOrder:
        raise DocumentError from None


def _document(line: _Line, export: ERPExport, order: Order, context: ExportContext) -> Document | None:
    """Return the frozen document, rendered and stored now if this is the first attempt that gets so far."""
    with _any_fault_is(TemporaryError):
        stored = documents.load(export)
    if stored is not None or not line.connector.supports_render:
        return stored
    with _any_fault_is(DocumentError):
        rendered = line.connector.render(order, line.config, context)
    with _any_fault_is(TemporaryError):
        export.document_name = documents.store(export.org_id, rendered)
    held = _held(export).update(
        filename=rendered.filename,
        document_name=export.document_name,
        document_sha256=rendered.sha256,
        document_size=rendered.size,
        document_media_type=rendered.media_type,
        updated_at=timezone.now(),
    )
    if not held:
        raise LeaseLost
    return rendered


def _look_up(line: _Line, order: Order, context: ExportContext) -> ExportResult | None:
    if not line.connector.supports_find_export:
        raise OutcomeUnknown
    with _any_fault_is(TemporaryError):
        return line.connector.find_export(order, line.config, context)


@contextmanager
def _any_fault_is(safe: type[ConnectorError]) -> Iterator[None]:
    """Let an error that the port does not know end as `safe`, which says what may follow where it happened."""
    try:
        yield
    except _UNDERSTOOD:
        raise
    except ConnectorError as error:
        raise safe(error.code, **error.params) from None
    except Exception as error:  # an adapter's fault must neither stop the queue nor lose an order
        log.error("export.adapter_fault", exc_info=error)
    else:
        return
    raise safe(Code.INTERNAL_ERROR)


# Settling


def _settle(export: ERPExport, verdict: Verdict, *, started_at: datetime, steps: tuple[TestStep, ...]) -> None:
    """Record the attempt, and where it leaves the export if that is still ours."""
    with transaction.atomic():
        columns = verdict.columns()
        if not verdict.counts:
            columns["attempts"] = export.attempts - 1
        held = _held(export).update(**columns)
        if verdict.concerns_all:
            # The others would only find out the same, and use up their attempts on it.
            # Those that somebody has locked right now are left out, so that this never waits for anybody.
            waiting = ERPExport.objects.due().filter(connection=export.connection_id)
            free = waiting.select_for_update(skip_locked=True).values("pk")
            waiting.filter(pk__in=free).update(next_attempt_at=verdict.next_attempt_at)
        # Whoever lost his lease still tells what he did: that is how a person finds out about a late success.
        _log_attempt(export, verdict, started_at=started_at, steps=[step.as_json() for step in steps])
    log.info(
        _event(verdict) if held else "export.lease_lost",
        outcome=str(verdict.outcome),
        code=verdict.error["code"] if verdict.error else None,
        latency_ms=round((timezone.now() - started_at).total_seconds() * 1000),
    )


def _held(export: ERPExport) -> Any:
    """Return the row as long as it is ours: the lease has not been given to anybody else."""
    return ERPExport.objects.filter(pk=export.pk, status=ExportStatus.SENDING, claim=export.claim)


def _log_attempt(export: ERPExport, verdict: Verdict, *, started_at: datetime, steps: list[dict[str, Any]]) -> None:
    ExportAttempt.objects.create(
        org_id=export.org_id,
        export=export,
        number=export.attempts,
        started_at=started_at,
        outcome=verdict.outcome,
        error=verdict.error,
        receipt=verdict.receipt,
        steps=steps,
        next_attempt_at=verdict.next_attempt_at,
    )


def _event(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.AUTH_FAILED:
        return "export.held"
    return _EVENTS.get(verdict.status, "export.retry_scheduled")


# Workers that did not come back


def _recover_one() -> bool:
    """Settle one export whose lease has run out; return False when there is none."""
    with transaction.atomic():
        expired = ERPExport.objects.expired().select_related("connection")
        export = expired.select_for_update(skip_locked=True, of=("self",)).first()
        if export is None:
            return False
        connector = registry.connectors.get(export.connection.connector_type)
        verdict = worker_lost(
            attempt=export.attempts,
            may_have_arrived=bool(export.document_name)
            or export.outcome_unknown
            or connector is None
            or not connector.supports_render,
            # A connector that is not installed right now is asked when it is back.
            can_look_up=connector is None or connector.supports_find_export,
        )
        _held(export).update(**verdict.columns())
        started_at = export.leased_until - timedelta(seconds=settings.EXPORT_LEASE_SECONDS)
        _log_attempt(export, verdict, started_at=started_at, steps=[])
    log.warning(
        "export.worker_lost",
        export_id=str(export.pk),
        connection_id=str(export.connection_id),
        attempt=export.attempts,
        status=str(verdict.status),
    )
    return True
