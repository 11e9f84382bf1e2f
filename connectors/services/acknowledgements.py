"""Fetches the answers of the ERPs, records each with its export, and knows which of them need a person."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from connectors.codes import Code, describe
from connectors.exceptions import (
    ConfigurationError,
    ConnectorError,
    EncryptionError,
    InvalidOrder,
    RejectedByERP,
    UnknownConnector,
)
from connectors.models import (
    AcknowledgementRecord,
    AckOutcome,
    ConnectionStatus,
    ERPConnection,
    ERPExport,
    ExportStatus,
)
from connectors.models.connection import ConnectionQuerySet
from connectors.models.export import RETRYABLE, ExportQuerySet
from connectors.order import Order
from connectors.port import Awaited, Context
from connectors.registry import registry
from connectors.results import Acknowledgement, AckStatus, MalformedAcknowledgement, Numbered, Settlement
from connectors.services import configurations, health, numbers
from connectors.services.contexts import make_context
from connectors.services.crews import Crew
from connectors.services.errors import NotOpen
from connectors.services.pooling import give_back
from connectors.services.verdicts import as_erp_order_id, error_of
from tenants import scope
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 60.0
"""How long one look at one ERP may take."""

_SLOW_SECONDS: Final = 0.05
_LEASE: Final = timedelta(seconds=POLL_SECONDS + 30)
_IN_DOUBT_FOR: Final = timedelta(days=30)
"""So long a disabled connection is asked about an order that may have arrived."""

_ASKED_ABOUT: Final = 500
"""Of so many exports an ERP is asked in one look, where it has to be asked about each."""

_ENDS: Final = {
    AckStatus.RECEIVED: (ExportStatus.SENT, "export.received"),
    AckStatus.ACKED: (ExportStatus.ACKED, "export.acknowledged"),
    AckStatus.REJECTED: (ExportStatus.REJECTED, "export.rejected"),
}
"""What becomes of an export that was sent, or may have been, and what the log calls that."""

_NEVER_ARRIVED: Final = (ExportStatus.FAILED, ExportStatus.CANCELLED)
_CODES: Final = {
    AckOutcome.UNMATCHED: Code.ACKNOWLEDGEMENT_UNMATCHED,
    AckOutcome.MALFORMED: Code.ACKNOWLEDGEMENT_MALFORMED,
    AckOutcome.CONTRADICTS: Code.ACKNOWLEDGEMENT_CONTRADICTS,
    AckOutcome.SUPERSEDED: Code.ACKNOWLEDGEMENT_SUPERSEDED,
}
"""What is to be said of an acknowledgement that waits for a person."""


_NEEDED: Final = ("connection_id", "status", "outcome_unknown", "superseded_at", "erp_order_id", "warnings")
"""What has to be known of an export, which may be large."""

_MAY_CHANGE: Final = [AckOutcome.UNMATCHED, AckOutcome.MALFORMED, AckOutcome.CONTRADICTS]
"""What is no last word: once its order is sent, or sent anew, something else becomes of the same answer."""

_FIELDS: Final = AcknowledgementRecord._meta.concrete_fields
_NOTE: Final = " ".join(
    (
        "INSERT INTO erp_acknowledgement AS known (",
        ", ".join(str(field.column) for field in _FIELDS),
        ") VALUES (",
        ", ".join("%s" for _ in _FIELDS),
        ") ON CONFLICT (connection_id, name, fingerprint) DO UPDATE",
        "SET export_id = EXCLUDED.export_id, outcome = EXCLUDED.outcome",
        "WHERE known.outcome <> EXCLUDED.outcome AND known.outcome = ANY(%s)",
        "RETURNING known.id, known.resolved_at",
    )
)
"""Answers with nothing when the same is written there already."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one look at one ERP brought."""

    settled: int = 0
    """How many answers have their place with an export, now or from an earlier look."""
    outcomes: Counter[AckOutcome] = field(default_factory=Counter)
    """What became of those that were found."""
    code: Code | None = None
    """Why the look came to an end too early."""


# Asking


def answering() -> ConnectionQuerySet:
    """Return the connections whose ERP may have an answer for us."""
    types = [name for name, connector in registry.connectors.items() if connector.supports_acknowledgements]
    in_doubt = Q(status=ExportStatus.UNCONFIRMED, finished_at__gt=timezone.now() - _IN_DOUBT_FOR)
    unanswered = ERPExport.objects.filter(Q(status=ExportStatus.SENT) | in_doubt, connection=OuterRef("pk"))
    rows: ConnectionQuerySet = ERPConnection.objects.alias(
        first_unanswered=_first(unanswered.order_by("sent_at"), "pk")
    ).filter(Q(status=ConnectionStatus.ACTIVE) | Q(first_unanswered__isnull=False), connector_type__in=types)
    return rows


def pollable() -> ConnectionQuerySet:
    """Return those of them that we may log in to right now."""
    return answering().usable()


def due() -> ConnectionQuerySet:
    """Return the connections that nobody asks now and that were not asked in this round, the longest unasked first."""
    now = timezone.now()
    this_round = now - timedelta(seconds=settings.ACK_POLL_SECONDS / 2)
    return (
        pollable()
        .filter(Q(acks_polled_at=None) | Q(acks_polled_at__lt=this_round))
        .filter(Q(acks_leased_until=None) | Q(acks_leased_until__lt=now))
        .order_by(F("acks_polled_at").asc(nulls_first=True))
    )


def poll_next() -> bool:
    """Fetch the answers of the ERP that was not asked for the longest time; return whether there was one to ask."""
    now = timezone.now()
    with transaction.atomic():
        free = due().select_for_update(of=("self",), skip_locked=True, no_key=True)
        connection = free.select_related("org").first()
        if connection is None:
            return False
        row = ERPConnection.objects.filter(pk=connection.pk)
        row.update(acks_polled_at=now, acks_leased_until=now + _LEASE)
    fetch(connection)
    return True


pollers: Final = Crew("poller", settings.ACK_POLLS_AT_ONCE, poll_next)
"""Those of this process."""


def poll(connection_id: UUID | str) -> int:
    """Fetch the answers of one ERP. Trouble at the far end is logged, not raised: the next poll comes anyway.

    Returns:
        How many answers have their place with an export.
    """
    connection = pollable().select_related("org").filter(pk=connection_id).first()
    return fetch(connection).settled if connection else 0


def poll_all() -> int:
    """Fetch the answers of every ERP; see `poll`."""
    return sum(report.settled for report in fetch_all(list(pollable().select_related("org"))))


def fetch_all(connections: list[ERPConnection]) -> list[Report]:
    """Fetch the answers of several ERPs, some at once, and return what each look brought."""
    if database.in_atomic_block:  # threads have database connections of their own, which would not see its rows
        return [fetch(connection) for connection in connections]

    def fetch_here(connection: ERPConnection) -> Report:
        try:
            return fetch(connection)
        finally:
            give_back()

    with ThreadPoolExecutor(settings.ACK_POLLS_AT_ONCE) as pool:
        return list(pool.map(fetch_here, connections))


def fetch(connection: ERPConnection) -> Report:
    """Fetch the answers of one ERP and record them.

    Args:
        connection: with its organisation.
    """
    started_at, ledger = timezone.now(), Ledger(connection)
    with scope.only(connection.org_id):
        code = _ask(connection, ledger)
        row = ERPConnection.objects.filter(pk=connection.pk)
        row.update(acks_polled_at=started_at, acks_leased_until=None)
    found = {str(outcome).lower(): number for outcome, number in ledger.outcomes.items()}
    details = {"connection_id": str(connection.pk), "settled": ledger.settled, **found}
    if code is None:
        log.info("acknowledgements.polled", **details)
    else:
        log.warning("acknowledgements.poll_failed", code=str(code), **details)
    return Report(settled=ledger.settled, outcomes=ledger.outcomes, code=code)


def _ask(connection: ERPConnection, ledger: Ledger) -> Code | None:
    """Let the connector fetch and the ledger record; return what went wrong."""
    try:
        connector, config = configurations.load(connection)
        arguments = make_context(connection.org, seconds=POLL_SECONDS, connection=connection)
        context = Context(**arguments, report_malformed=ledger.note_malformed, awaited=lambda: _awaited(connection))
        give_back()
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


def _awaited(connection: ERPConnection) -> Iterator[Awaited]:
    """Yield the exports to ask about; where there are many, each look draws anew, so that all have their turn."""
    unanswered = ERPExport.objects.filter(
        Q(status=ExportStatus.SENT)
        | Q(status=ExportStatus.UNCONFIRMED, finished_at__gt=timezone.now() - _IN_DOUBT_FOR),
        connection=connection,
    ).exclude(filename="")
    for export in list(unanswered.order_by("?")[:_ASKED_ABOUT]):
        with suppress(InvalidOrder):  # written by another version; it waits for a person
            yield Awaited(
                export_id=export.pk,
                idempotency_key=str(export.pk),
                filename=export.filename,
                order=Order.parse(export.order),
                created_at=export.created_at,
                location=(export.receipt or {}).get("location"),
                erp_order_id=export.erp_order_id or None,
            )


def _first(exports: ExportQuerySet, column: str) -> Subquery:
    """Return a column of the first of them; unlike EXISTS it always goes by the index of what is unanswered."""
    return Subquery(exports.values(column)[:1])


# Recording


class Ledger:
    """Records the answers found through one connection."""

    def __init__(self, connection: ERPConnection) -> None:
        self._connection = connection
        self._rested_at = time.monotonic()
        self.settled = 0
        self.outcomes: Counter[AckOutcome] = Counter()

    def settle(self, answer: Acknowledgement) -> Settlement:
        """Record one answer with the export it belongs to."""
        with transaction.atomic():
            export = self._find(answer.filename, answer.numbered)
            if export is not None and export.status == ExportStatus.SENDING:
                return Settlement.LATER
            outcome = _outcome(export, answer)
            settlement = _settlement(export, outcome)
            if export is not None and settlement is Settlement.APPLIED:
                _settle(export, answer)
            self._note(
                export,
                outcome,
                name=answer.source or answer.filename or str(answer.numbered),
                fingerprint=answer.fingerprint or _fingerprint(answer),
                status=answer.status,
                erp_order_id=as_erp_order_id(_storable(answer.erp_order_id)),
                error=_refusal(answer) if answer.status is AckStatus.REJECTED else None,
                processed_at=_storable_moment(answer.processed_at),
            )
        self._rest()
        self.settled += settlement is Settlement.APPLIED
        self.outcomes[outcome] += 1
        return settlement

    def note_malformed(self, answer: MalformedAcknowledgement) -> None:
        """Record an answer that cannot be read; the export that it is meant for stays as it is."""
        with transaction.atomic():
            self._note(
                self._find(answer.filename) if answer.filename else None,
                AckOutcome.MALFORMED,
                name=answer.source,
                fingerprint=answer.fingerprint,
                error=_as_error(Code.ACKNOWLEDGEMENT_MALFORMED, reason=answer.reason),
            )
        self._rest()
        self.outcomes[AckOutcome.MALFORMED] += 1

    def _rest(self) -> None:
        """Give the database connection back where the far end takes its time between two answers."""
        now = time.monotonic()
        if now - self._rested_at > _SLOW_SECONDS:
            give_back()
        self._rested_at = now

    def _find(self, filename: str, numbered: Numbered | None = None) -> ERPExport | None:
        """Return the export that an answer names, locked: nobody else settles it meanwhile."""
        named = ERPExport.objects.filter(org_id=self._connection.org_id)
        if filename:
            named = named.filter(filename=_storable(filename))
        elif numbered and (pk := numbers.find(self._connection.org_id, numbered)):
            named = named.filter(pk=pk)
        else:
            return None
        export: ERPExport | None = named.only(*_NEEDED).select_for_update().order_by("-created_at").first()
        return export

    def _note(
        self, export: ERPExport | None, outcome: AckOutcome, *, name: str, fingerprint: str, **columns: Any
    ) -> None:
        """Write an answer down, or what has become of one that was written down before."""
        row = AcknowledgementRecord(
            org_id=self._connection.org_id,
            connection=self._connection,
            export=export,
            name=_storable(name)[:255],
            fingerprint=fingerprint[:64],
            outcome=outcome,
            **columns,
        )
        values = [field.get_db_prep_save(getattr(row, field.attname), database) for field in _FIELDS]
        with database.cursor() as cursor:
            cursor.execute(_NOTE, [*values, _MAY_CHANGE])
            noted: tuple[UUID, datetime | None] | None = cursor.fetchone()
        if noted is None:
            return
        row.pk, row.resolved_at = noted
        if row.is_open:
            names = _named(export) if export else {"connection_id": str(row.connection_id)}
            log.warning(f"acknowledgement.{outcome.lower()}", acknowledgement_id=str(row.pk), **names)


def _outcome(export: ERPExport | None, answer: Acknowledgement) -> AckOutcome:
    if export is None:
        return AckOutcome.UNMATCHED
    if export.superseded_at is not None and export.status in RETRYABLE:
        return AckOutcome.SUPERSEDED
    match export.status:
        case ExportStatus.SENT | ExportStatus.UNCONFIRMED:
            return AckOutcome.APPLIED
        case ExportStatus.PENDING if export.outcome_unknown:
            return AckOutcome.APPLIED
        case ExportStatus.ACKED | ExportStatus.REJECTED if answer.status is AckStatus.RECEIVED:
            return AckOutcome.REPEATED
        case ExportStatus.ACKED | ExportStatus.REJECTED if _says_the_same(export, answer):
            return AckOutcome.REPEATED
        case ExportStatus.PENDING:
            return AckOutcome.UNMATCHED
    return AckOutcome.CONTRADICTS


def _says_the_same(export: ERPExport, answer: Acknowledgement) -> bool:
    """Return whether an answer repeats how an export ended; another order number in the ERP is another order."""
    numbers = {export.erp_order_id, as_erp_order_id(answer.erp_order_id)} - {""}
    return export.status == answer.status and len(numbers) < 2


def _settlement(export: ERPExport | None, outcome: AckOutcome) -> Settlement:
    """Return what the connector does with the answer; where nothing was sent, a person looks at it as it lies there."""
    if export is None or outcome is AckOutcome.UNMATCHED:
        return Settlement.UNMATCHED
    if export.status in _NEVER_ARRIVED and outcome is not AckOutcome.SUPERSEDED:
        return Settlement.UNMATCHED
    return Settlement.APPLIED


def _settle(export: ERPExport, answer: Acknowledgement) -> None:
    """Let the export be what the ERP says; one that has ended already is at most given the number it had not yet."""
    now = timezone.now()
    row = ERPExport.objects.filter(pk=export.pk)
    said = {
        "erp_order_id": as_erp_order_id(_storable(answer.erp_order_id)) or export.erp_order_id,
        "warnings": [*export.warnings, *(text for text in answer.warnings if text not in export.warnings)],
        "updated_at": now,
    }
    if export.status not in (ExportStatus.SENT, ExportStatus.UNCONFIRMED, ExportStatus.PENDING):
        if answer.status is AckStatus.ACKED and export.status == ExportStatus.ACKED and not export.erp_order_id:
            row.update(**said)
        return
    status, event = _ENDS[answer.status]
    if status == ExportStatus.SENT:
        said["sent_at"] = Coalesce("sent_at", now)
    row.update(
        **said,
        status=status,
        error=_refusal(answer) if status == ExportStatus.REJECTED else None,
        outcome_unknown=False,
        next_attempt_at=None,
        finished_at=None if status == ExportStatus.SENT else now,
    )
    log.info(event, **_named(export))


def _refusal(answer: Acknowledgement) -> dict[str, Any]:
    said = {"code": answer.error_code, "message": answer.message}
    return error_of(RejectedByERP()) | {"erp": {name: text and _storable(text) for name, text in said.items()}}


def _as_error(code: Code, **params: Any) -> dict[str, Any]:
    text = describe(code, **params)
    return {"code": str(code), "message": text.message, "hint": text.hint}


def _fingerprint(answer: Acknowledgement) -> str:
    """Return what tells an answer from another where the connector does not; when it was given makes no difference."""
    said = {name: value for name, value in asdict(answer).items() if name != "processed_at"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _storable(text: str | None) -> str:
    """Return a text of the far end as the database can hold it: without NUL and lone surrogates."""
    return (text or "").replace("\0", "?").encode(errors="replace").decode()


def _storable_moment(moment: datetime | None) -> datetime | None:
    """Return a time of the far end as the database can hold it; None for one at the edge of the calendar."""
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC) if moment else None
    except OverflowError:
        return None


def _named(export: ERPExport) -> dict[str, str]:
    return {"export_id": str(export.pk), "connection_id": str(export.connection_id)}


# What needs a person


def problem_of(acknowledgement: AcknowledgementRecord) -> dict[str, Any] | None:
    """Return why an acknowledgement waits for a person, or has waited, with what to do; None for the others."""
    code = _CODES.get(AckOutcome(acknowledgement.outcome))
    if code is None or not (acknowledgement.is_open or acknowledgement.resolved_at):
        return None
    if code is Code.ACKNOWLEDGEMENT_MALFORMED:
        error: dict[str, Any] | None = acknowledgement.error
        return error
    return _as_error(code)


def resolve(acknowledgement: AcknowledgementRecord, actor: Actor) -> AcknowledgementRecord:
    """Put an acknowledgement aside that waits for a person.

    Raises:
        NotOpen: it does not wait, or somebody else was faster.
    """
    with transaction.atomic():
        row: AcknowledgementRecord | None = (
            AcknowledgementRecord.objects.select_for_update(of=("self",))
            .select_related("org", "connection", "export")
            .filter(pk=acknowledgement.pk)
            .first()
        )
        if row is None or not row.is_open:
            raise NotOpen
        row.resolved_at = timezone.now()
        row.save(update_fields=["resolved_at"])
        record(actor, "acknowledgement.resolved", org=row.org, target=row, name=row.name, outcome=row.outcome)
    log.info("acknowledgement.resolved", acknowledgement_id=str(row.pk), connection_id=str(row.connection_id))
    return row


def overdue_counts() -> dict[UUID, int]:
    """Return how many answers are overdue, for each connection that expects answers in a certain time."""
    overdue = ERPExport.objects.overdue().filter(connection=OuterRef("pk")).order_by().values("connection")
    expecting = ERPConnection.objects.filter(ack_expected_within__isnull=False)
    counted = expecting.annotate(overdue=Coalesce(Subquery(overdue.annotate(count=Count("pk")).values("count")), 0))
    return dict(counted.values_list("pk", "overdue"))


def announce_overdue() -> int:
    """Warn once of each order whose answer is overdue.

    Returns:
        How many warnings were given.
    """
    overdue = ERPExport.objects.overdue().filter(connection=OuterRef("pk"))
    expecting = ERPConnection.objects.filter(ack_expected_within__isnull=False)
    latest = expecting.alias(latest=_first(overdue.order_by("-sent_at"), "sent_at"))
    untold = Q(overdue_told_until=None, latest__isnull=False) | Q(latest__gt=F("overdue_told_until"))
    return sum(_announce(connection) for connection in latest.filter(untold))


def _announce(connection: ERPConnection) -> int:
    told_until = connection.overdue_told_until
    overdue = ERPExport.objects.overdue().filter(connection=connection)
    untold = overdue.filter(sent_at__gt=told_until) if told_until else overdue
    late = list(untold.order_by("sent_at").values_list("pk", "sent_at"))
    if not late:
        return 0
    # Unless another process was faster.
    row = ERPConnection.objects.filter(pk=connection.pk, overdue_told_until=told_until)
    if not row.update(overdue_told_until=late[-1][1]):
        return 0
    for export_id, sent_at in late:
        names = {"export_id": str(export_id), "connection_id": str(connection.pk)}
        log.warning("export.acknowledgement_overdue", sent_at=sent_at.isoformat(), **names)
    log.warning("connection.acknowledgements_overdue", connection_id=str(connection.pk), count=len(late))
    return len(late)
