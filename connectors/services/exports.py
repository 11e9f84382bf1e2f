"""The verbs of an export: submit, preview, approve, cancel, put aside, retry, resend."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from uuid import uuid4

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from connectors import approval
from connectors.exceptions import ConfigurationError, EncryptionError, OutcomeUnknown, UnknownConnector
from connectors.models import ConnectionStatus, ERPConnection, ERPExport, ExportStatus, Health
from connectors.models.export import RETRYABLE
from connectors.order import Order
from connectors.port import ExportContext
from connectors.results import Document
from connectors.services import configurations, jobs, tracing
from connectors.services.contexts import make_context
from connectors.services.errors import (
    ExportExists,
    IdempotencyKeyReused,
    NoActiveConnector,
    NotCancellable,
    NotDismissible,
    NotHeld,
    NotResendable,
    NotRetryable,
    Refused,
)
from connectors.services.verdicts import error_of
from tenants.actors import Actor
from tenants.models import Organization, record

log = structlog.get_logger(__name__)

PREVIEW_SECONDS: Final = 30.0

RESENDABLE: Final = (ExportStatus.SENT, ExportStatus.ACKED, *RETRYABLE)
"""From these states a person may send the order once more, and says why."""

_UNTRIED: Final = {
    "attempts": 0,
    "next_attempt_at": None,
    "error": None,
    "filename": "",
    "document_name": "",
    "document_sha256": "",
    "document_size": None,
    "document_media_type": "",
}
"""What an export has before its first attempt."""

_UNIQUE: Final = ("erp_export_idempotency_key", "erp_export_one_live_per_order")


@tracing.traced("export.submit")
def submit(org: Organization, actor: Actor, order: Order, *, idempotency_key: str) -> tuple[ERPExport, bool]:
    """Accept an order: commit its export and the job that sends it in one transaction.

    Args:
        org: whose order it is.
        actor: who submits it.
        order: what to send through the organisation's active connection.
        idempotency_key: chosen by the caller; repeating a request with it has no further effect.

    Returns:
        The export, and whether it was created now.

    Raises:
        IdempotencyKeyReused: the key came with another order before.
        NoActiveConnector: there is no way to send it.
        ExportExists: another export stands for this order.
    """
    fingerprint = order.fingerprint()
    while True:
        connection = _find_active(org)
        if connection is not None:
            export = _accept(org, actor, connection, order, fingerprint=fingerprint, idempotency_key=idempotency_key)
            if export is not None:
                _log("export.submitted", export)
                tracing.note(org_id=org.pk, export_id=export.pk, connection_id=export.connection_id)
                return export, True
        # A repeated request is answered, whatever stands in its way by now.
        if (earlier := _submitted_before(org, fingerprint, idempotency_key)) is not None:
            return earlier, False
        if connection is None:
            raise NoActiveConnector
        _refuse_second(org, order.order_id)


def preview(org: Organization, order: Order) -> Document:
    """Return the exact document that would be sent; nothing is stored or sent.

    Raises:
        NoActiveConnector: there is no connection to render for.
        UnsupportedFeature, DocumentError: the connector cannot render at all, or not this order.
        UnknownConnector, EncryptionError, ConfigurationError: the connection cannot be used.
    """
    connector, config = configurations.load(_active_connection(org))
    export_id = uuid4()
    context = ExportContext(
        **make_context(org, seconds=PREVIEW_SECONDS),
        org_slug=org.slug,
        export_id=export_id,
        created_at=timezone.now(),
        attempt=1,
        idempotency_key=str(export_id),
    )
    return connector.render(order, config, context)


def approve(export: ERPExport, actor: Actor) -> ERPExport:
    """Let an export go that waits for approval.

    Raises:
        NotHeld: it does not wait for approval.
    """
    with transaction.atomic():
        approved = ERPExport.objects.filter(pk=export.pk, status=ExportStatus.PENDING, held=True).update(
            held=False, updated_at=timezone.now()
        )
        export.refresh_from_db()
        if not approved:
            raise NotHeld(status=export.status)
        jobs.wake(export.connection_id)
        record(actor, "export.approved", org=export.org, target=export, order_id=export.order_id)
    _log("export.approved", export)
    return export


def cancel(export: ERPExport, actor: Actor) -> ERPExport:
    """Withdraw an export of which nothing can have arrived.

    Raises:
        NotCancellable: it is being sent, may have arrived, or is finished.
    """
    now = timezone.now()
    with transaction.atomic():
        withdrawn = ERPExport.objects.filter(pk=export.pk, status=ExportStatus.PENDING, outcome_unknown=False).update(
            status=ExportStatus.CANCELLED, held=False, next_attempt_at=None, finished_at=now, updated_at=now
        )
        export.refresh_from_db()
        if not withdrawn:
            raise NotCancellable(status=export.status)
        record(actor, "export.cancelled", org=export.org, target=export, order_id=export.order_id)
    _log("export.cancelled", export)
    return export


def dismiss(export: ERPExport, actor: Actor, *, reason: str) -> ERPExport:
    """Put an export aside that came to nothing, or may have: nobody is reminded of it any more, all else stays.

    Raises:
        NotDismissible: it is not failed, rejected or unconfirmed, was retried, or was put aside before.
    """
    now = timezone.now()
    with transaction.atomic():
        dismissed = ERPExport.objects.filter(
            pk=export.pk, status__in=RETRYABLE, superseded_at=None, dismissed_at=None
        ).update(dismissed_at=now, updated_at=now)
        export.refresh_from_db()
        if not dismissed:
            raise NotDismissible(status=export.status)
        record(actor, "export.dismissed", org=export.org, target=export, order_id=export.order_id, reason=reason)
    _log("export.dismissed", export)
    return export


def retry(export: ERPExport, actor: Actor) -> ERPExport:
    """Send the order of an export that came to nothing again, as a new export through the active connection.

    Raises:
        NotRetryable: it is not failed, rejected or unconfirmed, or was retried before.
        NoActiveConnector: there is no way to send it.
        ExportExists: the order was submitted anew in the meantime.
    """
    return _send_anew(export, actor, "export.retried", allowed=RETRYABLE, otherwise=NotRetryable)


def resend(export: ERPExport, actor: Actor, *, reason: str) -> ERPExport:
    """Send an order once more although it was delivered; the ERP may then have it twice.

    The document gets another name, so that no far end takes it for the one it has.

    Raises:
        NotResendable: it is on its way or was cancelled, or another export took its place.
        NoActiveConnector: there is no way to send it.
        ExportExists: the order was submitted anew in the meantime.
    """
    return _send_anew(export, actor, "export.resent", allowed=RESENDABLE, otherwise=NotResendable, reason=reason)


def _send_anew(
    export: ERPExport,
    actor: Actor,
    action: str,
    *,
    allowed: Collection[ExportStatus],
    otherwise: type[Refused],
    reason: str = "",
) -> ERPExport:
    """Let a new export take the place of this one.

    Args:
        export: the one that has ended.
        actor: who wants it.
        action: what the audit trail calls it.
        allowed: the states from which it may be done.
        otherwise: the refusal in all others.
        reason: why it is done.
    """
    told: dict[str, Any] = {"reason": reason} if reason else {}
    try:
        with transaction.atomic():
            old = ERPExport.objects.select_for_update(of=("self",)).select_related("org").get(pk=export.pk)
            if old.status not in allowed or old.superseded_at is not None:
                raise otherwise(status=old.status)
            connection = _active_connection(old.org)
            old.superseded_at = timezone.now()
            old.save(update_fields=["superseded_at", "updated_at"])
            new = _insert(
                old.org,
                actor,
                connection,
                order_id=old.order_id,
                order=old.order,
                order_fingerprint=old.order_fingerprint,
                retry_of=old,
                reason=reason,
            )
            record(actor, action, org=old.org, target=new, order_id=old.order_id, retry_of=str(old.pk), **told)
    except IntegrityError as error:
        _only_expected(error)
        _refuse_second(export.org, export.order_id)
        raise
    _log(action, new, retry_of=str(old.pk))
    return new


def move_waiting(org: Organization | None = None) -> int:
    """Give the exports that wait at a replaced connection to the one that is active now.

    Nothing of them has arrived, so the new connection may render them in its own format. Those that may have arrived
    are looked up at the old one first; where that is no longer possible a person decides.

    Args:
        org: whose exports; None for everybody's.

    Returns:
        How many were moved.
    """
    left_behind = Exists(
        ERPExport.objects.filter(
            org=OuterRef("pk"), status=ExportStatus.PENDING, connection__status=ConnectionStatus.DISABLED
        )
    )
    concerned = Organization.objects.filter(left_behind, **({"pk": org.pk} if org else {}))
    return sum(_move_waiting_of(each) for each in list(concerned))


def _move_waiting_of(org: Organization) -> int:
    moved = undecided = 0
    with transaction.atomic():
        # The lock of a switch-over: which connection is active stays so until this commits.
        Organization.objects.select_for_update(no_key=True).get(pk=org.pk)
        active = ERPConnection.objects.of(org).active().first()
        if active is None:
            return 0
        disabled = ERPConnection.objects.of(org).filter(status=ConnectionStatus.DISABLED)
        for old in disabled.select_for_update(no_key=True).order_by("pk"):  # before a claim's rows, as everybody does
            # The database looks at each row again once it has its lock, so a row that was claimed meanwhile stays.
            waiting = ERPExport.objects.filter(connection=old, status=ExportStatus.PENDING)
            unsent = waiting.filter(outcome_unknown=False)
            moved += unsent.update(connection=active, **_UNTRIED, updated_at=timezone.now())
            in_doubt = waiting.filter(outcome_unknown=True)
            if in_doubt.exists() and not _can_look_up(old):
                undecided += in_doubt.update(**_undecided())
        if moved:
            jobs.wake(active.pk)
    if moved or undecided:
        log.info("export.moved", connection_id=str(active.pk), count=moved, unconfirmed=undecided)
    return moved


def _can_look_up(connection: ERPConnection) -> bool:
    """Return whether a worker can find out what has arrived through a connection that was replaced."""
    if connection.health == Health.AUTH_FAILED or connection.retry_at is not None:
        return False
    try:
        connector, _ = configurations.load(connection)
    except (EncryptionError, ConfigurationError, UnknownConnector):
        return False
    return connector.supports_find_export


def _undecided() -> dict[str, Any]:
    now = timezone.now()
    return {
        "status": ExportStatus.UNCONFIRMED,
        "error": error_of(OutcomeUnknown()),
        "next_attempt_at": None,
        "finished_at": now,
        "updated_at": now,
    }


def _accept(
    org: Organization,
    actor: Actor,
    connection: ERPConnection,
    order: Order,
    *,
    fingerprint: str,
    idempotency_key: str,
) -> ERPExport | None:
    """Create the export of a new order; return None if a unique index has another one.

    Nearly every order is new, so nobody looks beforehand.
    """
    held = approval.is_needed(order, approval.parse(connection.approval_limits))
    try:
        with transaction.atomic():
            export = _insert(
                org,
                actor,
                connection,
                order_id=order.order_id,
                order=order.as_json(),
                order_fingerprint=fingerprint,
                idempotency_key=idempotency_key,
                held=held,
            )
            told: dict[str, Any] = {"held": True} if held else {}
            record(actor, "export.submitted", org=org, target=export, order_id=order.order_id, **told)
    except IntegrityError as error:
        _only_expected(error)
        return None
    return export


def _submitted_before(org: Organization, fingerprint: str, idempotency_key: str) -> ERPExport | None:
    export = ERPExport.objects.of(org).filter(idempotency_key=idempotency_key).first()
    if export is not None and export.order_fingerprint != fingerprint:
        raise IdempotencyKeyReused(export_id=str(export.pk))
    return export


def _find_active(org: Organization) -> ERPConnection | None:
    connection: ERPConnection | None = ERPConnection.objects.of(org).active().first()
    return connection


def _active_connection(org: Organization) -> ERPConnection:
    connection = _find_active(org)
    if connection is None:
        raise NoActiveConnector
    return connection


def _insert(org: Organization, actor: Actor, connection: ERPConnection, **columns: Any) -> ERPExport:
    """Create the export and its job in the caller's transaction."""
    export = ERPExport.objects.create(
        org=org,
        connection=connection,
        actor_kind=actor.kind,
        actor_label=actor.label,
        request_id=actor.request_id,
        **columns,
    )
    jobs.wake(connection.pk)
    return export


def _only_expected(error: IntegrityError) -> None:
    """Raise `error` again unless it is one of the two unique indexes that are there to refuse."""
    if getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) not in _UNIQUE:
        raise error


def _refuse_second(org: Organization, order_id: str) -> None:
    """Raise ExportExists, unless the export that stood in the way is no longer live."""
    live = ERPExport.objects.of(org).live().filter(order_id=order_id).values_list("pk", flat=True).first()
    if live is not None:
        raise ExportExists(export_id=str(live))


def _log(event: str, export: ERPExport, **details: Any) -> None:
    log.info(event, export_id=str(export.pk), connection_id=str(export.connection_id), **details)
