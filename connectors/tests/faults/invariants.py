"""What must hold at every moment, whatever breaks: an accepted order is there exactly once, or visibly waiting.

Judged from outside, by what lies at the far end and what stands in the database. The database is read before and after
the far end, so that this may run while everything is at work: what it said before has to be there, and what it says
afterwards is not there must not have been seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from connectors.models import ERPExport, ExportAttempt, ExportStatus, Outcome
from connectors.services import documents

HAS_ARRIVED = (ExportStatus.SENT, ExportStatus.ACKED)
HAS_NOT_ARRIVED = (ExportStatus.FAILED, ExportStatus.CANCELLED)
NOBODY_KNOWS = (Outcome.UNKNOWN, Outcome.WORKER_LOST)
WAITS_FOR_A_PERSON = (
    ExportStatus.UNCONFIRMED,
    ExportStatus.FAILED,
    ExportStatus.REJECTED,
    ExportStatus.CANCELLED,
)


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A file that carries a final name, wherever the partner has put it since."""

    name: str
    sha256: str
    size: int
    published_at: float
    """When it got that name, in seconds since 1970."""


@dataclass(frozen=True)
class Seen:
    """All exports of one organisation in the sequence of submission, with their attempts, at one moment."""

    exports: dict[UUID, ERPExport]
    attempts: dict[UUID, list[ExportAttempt]]

    @classmethod
    def now(cls, org_id: UUID) -> Seen:
        """Read them; attempts first, so that whatever these say the exports know."""
        attempts: dict[UUID, list[ExportAttempt]] = defaultdict(list)
        for attempt in ExportAttempt.objects.filter(org=org_id).order_by("id"):
            attempts[attempt.export_id].append(attempt)
        exports = ERPExport.objects.filter(org=org_id).select_related("retry_of").order_by("created_at", "id")
        return cls({export.pk: export for export in exports}, attempts)


def violations(org_id: UUID, arrived: Callable[[], Iterable[Arrived]], *, overtaking: int = 0) -> list[str]:
    """Return everything that is not as it has to be, each as one sentence.

    Args:
        org_id: whose orders.
        arrived: lists what lies at the far end, when it is called.
        overtaking: by how many orders behind it an order may be overtaken that was refused while these were under way.
    """
    before = Seen.now(org_id)
    found: dict[str, list[Arrived]] = defaultdict(list)
    for file in arrived():
        found[file.name].append(file)
    after = Seen.now(org_id)
    return [
        *_strangers(found, after),
        *_incomplete(found, after),
        *_doubles(found, after),
        *_missing(found, before),
        *_unexpected(found, after),
        *_false_attempts(found, before),
        *_overtaken(found, after, overtaking),
    ]


def _strangers(found: dict[str, list[Arrived]], after: Seen) -> Iterator[str]:
    known = {export.filename for export in after.exports.values()}
    yield from (f"{name} belongs to no export" for name in found if name not in known)


def _incomplete(found: dict[str, list[Arrived]], after: Seen) -> Iterator[str]:
    for export in after.exports.values():
        for file in found.get(export.filename, ()):
            if (file.sha256, file.size) != (export.document_sha256, export.document_size):
                yield f"{_name(export)}: {file.size} bytes arrived of {export.document_size}, or others"
            elif (stored := documents.load(export)) is None or stored.sha256 != file.sha256:
                yield f"{_name(export)}: what was sent is not what is stored"


def _doubles(found: dict[str, list[Arrived]], after: Seen) -> Iterator[str]:
    of_order: dict[str, int] = defaultdict(int)
    for export in after.exports.values():
        copies = len(found.get(export.filename, ())) if export.filename else 0
        if copies > 1:
            history = ", ".join(
                f"{attempt.outcome} {(attempt.error or {}).get('code', '')}" for attempt in after.attempts[export.pk]
            )
            yield f"{_name(export)}: arrived {copies} times ({history})"
        sent_anew = [attempt for attempt in after.attempts[export.pk] if _has_sent(attempt)]
        if len(sent_anew) > 1:
            yield f"{_name(export)}: sent by {len(sent_anew)} attempts"
        # A person who sends an order again that may have arrived, or was rejected, has decided to do so.
        decided = export.superseded_at is not None and export.status not in HAS_NOT_ARRIVED
        of_order[export.order_id] += bool(copies) and not decided
    yield from (f"order {order_id}: arrived as {count} exports" for order_id, count in of_order.items() if count > 1)


def _has_sent(attempt: ExportAttempt) -> bool:
    return attempt.receipt is not None and not attempt.receipt["already_delivered"]


def _missing(found: dict[str, list[Arrived]], before: Seen) -> Iterator[str]:
    for export in before.exports.values():
        if export.status not in HAS_ARRIVED:
            continue
        if export.filename not in found:
            yield f"{_name(export)}: is not there"
        receipt = export.receipt or {}
        if (receipt.get("sha256"), receipt.get("size")) != (export.document_sha256, export.document_size):
            yield f"{_name(export)}: the receipt is for something else"


def _unexpected(found: dict[str, list[Arrived]], after: Seen) -> Iterator[str]:
    for export in after.exports.values():
        says_no = (
            export.status in HAS_NOT_ARRIVED
            or (export.status == ExportStatus.PENDING and not export.outcome_unknown)
            or (export.status == ExportStatus.REJECTED and export.sent_at is None)
        )
        if says_no and export.filename and export.filename in found:
            yield f"{_name(export)}: has arrived"


def _false_attempts(found: dict[str, list[Arrived]], before: Seen) -> Iterator[str]:
    for export in before.exports.values():
        files = found.get(export.filename, ()) if export.filename else ()
        for attempt in before.attempts[export.pk]:
            if attempt.outcome in (Outcome.SENT, Outcome.FOUND) and not files:
                yield f"{_name(export)}: attempt {attempt.number} says {attempt.outcome}, and it is not there"
        for attempt in before.attempts[export.pk]:
            if attempt.outcome in (*NOBODY_KNOWS, Outcome.SENT, Outcome.FOUND):
                break  # whoever comes after this one need not say anything of what was before him
            if any(file.published_at < attempt.finished_at.timestamp() for file in files):
                yield f"{_name(export)}: attempt {attempt.number} says {attempt.outcome}, and it was there already"


def _overtaken(found: dict[str, list[Arrived]], after: Seen, overtaking: int) -> Iterator[str]:
    of_connection: dict[UUID, list[ERPExport]] = defaultdict(list)
    for export in after.exports.values():
        of_connection[export.connection_id].append(export)
    for exports in of_connection.values():
        in_line = [export for export in exports if not _has_waited_for_a_person(export, after)]
        published = [_published_at(export, found) for export in in_line]
        for position, export in enumerate(in_line):
            earlier = [at for at in published[position + 1 :] if at < published[position]]
            if len(earlier) > overtaking:
                yield f"{_name(export)}: overtaken by {len(earlier)} orders"


def _has_waited_for_a_person(export: ERPExport, after: Seen) -> bool:
    retried = export.retry_of_id is not None
    cancelled_or_finished = export.status in WAITS_FOR_A_PERSON
    return retried or cancelled_or_finished or export.held


def _published_at(export: ERPExport, found: dict[str, list[Arrived]]) -> float:
    """Return when it arrived; what has not arrived yet comes after everything that has."""
    files = found.get(export.filename, ()) if export.filename else ()
    return min((file.published_at for file in files), default=float("inf"))


def _name(export: ERPExport) -> str:
    doubt = " (in doubt)" if export.outcome_unknown else ""
    return f"order {export.order_id}, {export.status}{doubt}, {export.filename or 'without a name'}"
