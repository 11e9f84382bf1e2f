"""One try to deliver an export: what it is given, and how the faults of an adapter end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    DocumentError,
    InvalidOrder,
    OutcomeUnknown,
    RejectedByERP,
    TemporaryError,
    UnsupportedFeature,
)
from connectors.models import ConnectionRevision, ERPExport, Outcome
from connectors.order import Order
from connectors.port import ExportContext
from connectors.results import Document, ExportResult, NumberRange
from connectors.services import claims, documents, numbers
from connectors.services.contexts import make_context
from connectors.services.lines import Line
from connectors.services.pooling import give_back

log = structlog.get_logger(__name__)

USABLE_LEASE: Final = 0.8
"""The share of the lease after which an attempt has to be over; the rest is for settling it."""

PASSING: Final = (TemporaryError, OutcomeUnknown, AuthenticationFailed)
"""After these the export comes again, and those behind it wait."""

_UNDERSTOOD: Final = (*PASSING, RejectedByERP, DocumentError, UnsupportedFeature)


@dataclass
class Attempt:
    """An export that is claimed, and what belongs to this try."""

    export: ERPExport
    context: ExportContext
    started_at: datetime = field(default_factory=timezone.now)
    order: Order | None = None
    error: ConnectorError | None = None
    """Why it cannot be sent."""
    is_ours: bool = True
    """False once somebody else has the export."""

    @classmethod
    def at(cls, export: ERPExport) -> Attempt:
        """Return the attempt that begins with a claim."""
        assert export.leased_until is not None  # it is claimed
        # Where the claim had to wait, part of the lease is gone.
        left = (export.leased_until - timezone.now()).total_seconds()
        for_settling = settings.EXPORT_LEASE_SECONDS * (1 - USABLE_LEASE)
        context = ExportContext(
            **make_context(export.org, seconds=left - for_settling, connection=export.connection),
            org_slug=export.org.slug,
            export_id=export.pk,
            created_at=export.created_at,
            attempt=export.attempts,
            idempotency_key=str(export.pk),
        )
        return cls(export, context)

    @property
    def document(self) -> Document | None:
        """The frozen bytes, where the connector has any to show."""
        return self.context.document

    @document.setter
    def document(self, document: Document | None) -> None:
        self.context = replace(self.context, document=document)


def prepare(line: Line, attempts: Sequence[Attempt]) -> None:
    """Give each attempt its order and its frozen document, which is rendered and stored now if it was not before.

    What goes wrong is noted in the attempt.
    """
    for attempt in attempts:
        with _noted(attempt):
            attempt.order = _order(attempt.export)
    _load([attempt for attempt in attempts if attempt.error is None])
    fresh = [attempt for attempt in attempts if attempt.error is None and attempt.document is None]
    if not line.connector.supports_render:
        return
    if number_range := line.connector.number_range(line.config):
        _render_numbered(line, fresh, number_range)
    else:
        _freeze([attempt for attempt in fresh if _render(line, attempt)])


def look_up(line: Line, attempt: Attempt) -> ExportResult | None:
    """Find out whether an export has arrived.

    Raises:
        ConnectorError: nobody can tell, now or at all.
    """
    prepare(line, [attempt])
    if attempt.error is not None:
        raise attempt.error
    if attempt.order is None or not attempt.is_ours or not line.connector.supports_find_export:
        raise OutcomeUnknown
    context = replace(attempt.context, doubt=_doubt(attempt.export), landmark=_landmark(attempt.export))
    give_back()
    with any_fault_is(TemporaryError):
        line.connect(context)
        return line.find(attempt.order, context)


def understood(error: ConnectorError, *, otherwise: type[ConnectorError]) -> ConnectorError:
    """Return an error as the port knows it; `otherwise` says what may follow after one that it does not."""
    return error if isinstance(error, _UNDERSTOOD) else otherwise(error.code, said=error.said, **error.params)


@contextmanager
def any_fault_is(safe: type[ConnectorError]) -> Iterator[None]:
    """Let an error that the port does not know end as `safe`, which says what may follow where it happened."""
    try:
        yield
    except ConnectorError as error:
        raise understood(error, otherwise=safe) from None
    except Exception as error:  # an adapter's fault must neither stop the queue nor lose an order
        log.error("export.adapter_fault", exc_info=error)
    else:
        return
    raise safe(Code.INTERNAL_ERROR)


@contextmanager
def _noted(*attempts: Attempt) -> Iterator[None]:
    try:
        yield
    except ConnectorError as error:
        for attempt in attempts:
            attempt.error = error


def _order(export: ERPExport) -> Order:
    try:
        return Order.parse(export.order)
    except InvalidOrder:
        raise DocumentError from None


def _load(attempts: Sequence[Attempt]) -> None:
    """Fetch the documents that were stored by earlier attempts."""
    with _noted(*attempts):
        stored = documents.load_many([attempt.export for attempt in attempts])
        for attempt, document in zip(attempts, stored, strict=True):
            if isinstance(document, DocumentError):
                attempt.error = document
            else:
                attempt.document = document


def _render(line: Line, attempt: Attempt, *, number: int | None = None) -> bool:
    """Render the document of an attempt; return whether that was possible."""
    attempt.context = replace(attempt.context, number=number)
    with _noted(attempt), any_fault_is(DocumentError):
        assert attempt.order is not None
        attempt.document = line.connector.render(attempt.order, line.config, attempt.context)
    return attempt.error is None


def _render_numbered(line: Line, attempts: Sequence[Attempt], number_range: NumberRange) -> None:
    """Render documents with the next numbers, which are taken only as the documents are frozen.

    So what cannot be rendered uses up no number. Where somebody else was faster, all of it is done anew.
    """
    left, org_id = attempts, line.connection.org_id
    while left:
        last = numbers.last(org_id, number_range)
        rendered: list[Attempt] = []
        for attempt in left:
            number = last + len(rendered) + 1
            if number > number_range.last:
                attempt.error = DocumentError(where=": its range of control numbers is used up")
            elif _render(line, attempt, number=number):
                rendered.append(attempt)
        frozen = numbers.Taking(org_id, number_range, after=last, exports=_references(rendered))
        left = [] if _freeze(rendered, frozen) else [each for each in rendered if each.is_ours and each.error is None]


def _references(attempts: Sequence[Attempt]) -> list[tuple[UUID, str]]:
    return [(attempt.export.pk, attempt.document.reference) for attempt in attempts if attempt.document]


def _freeze(attempts: Sequence[Attempt], taking: numbers.Taking | None = None) -> bool:
    """Store the documents that were rendered now; from here on every attempt sends these bytes.

    Args:
        attempts: with their documents.
        taking: takes the numbers that stand in them.

    Returns:
        False when nothing was frozen because not all of the numbers could be taken, or not all exports are ours.
    """
    if not attempts:
        return True
    rendered = [attempt.document for attempt in attempts if attempt.document is not None]
    ours: set[UUID] = set()
    with _noted(*attempts):
        names = documents.store_many(attempts[0].export.org_id, rendered)
        rows = [(each.export, document, name) for each, document, name in zip(attempts, rendered, names, strict=True)]
        if taking is None:
            ours = claims.freeze(rows)
        else:
            with transaction.atomic():
                if not taking.take():
                    return False
                ours = claims.freeze(rows)
                if len(ours) < len(rows):  # the number of one that is no longer ours would be missing
                    transaction.set_rollback(True)
        for attempt in attempts:
            attempt.is_ours = attempt.export.pk in ours
    return taking is None or len(ours) == len(attempts)


def _doubt(export: ERPExport) -> Code:
    """Return why the outcome is unknown: a lost last answer says more than a worker that never came back."""
    in_doubt = export.attempt_log.filter(outcome__in=(Outcome.UNKNOWN, Outcome.WORKER_LOST))
    attempts = list(in_doubt.order_by("started_at").values_list("error__code", "started_at"))
    codes = {code for code, _ in attempts}
    for code in (Code.FILE_VANISHED, Code.RECEIPT_MISMATCH):  # that nothing is found says nothing then
        if str(code) in codes:
            return code
    if codes != {str(Code.OUTCOME_UNKNOWN)} or _was_configured_since(export, attempts[0][1]):
        return Code.WORKER_LOST
    return Code.OUTCOME_UNKNOWN


def _was_configured_since(export: ERPExport, moment: datetime) -> bool:
    """Return whether an attempt may have left its traces elsewhere than the present configuration looks for them."""
    replaced = ConnectionRevision.objects.filter(connection=export.connection_id, number__isnull=False)
    return bool(replaced.filter(created_at__gt=moment).exists())


def _landmark(export: ERPExport) -> str | None:
    """Return the name of a document that arrived lately through the same connection."""
    arrived = ERPExport.objects.filter(
        org=export.org_id, connection=export.connection_id, sent_at__isnull=False, document_purged_at=None
    ).exclude(filename="")
    return arrived.order_by(Coalesce("finished_at", "sent_at").desc()).values_list("filename", flat=True).first()
