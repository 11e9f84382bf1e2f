"""Removes what an organisation keeps no longer: the bytes of documents, whole exports, and what nobody names.

Each batch is a transaction of its own and leaves everything consistent, so it can end at any moment and go on later.
Whatever is unfinished stays, and so does an export as long as a later try for the same order does. Of the audit trail
only the oldest events go, and only from a chain that fits (docs/audit.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import islice
from typing import Final
from uuid import UUID

import structlog
from django.contrib.postgres.functions import TransactionNow
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from connectors.models import ERPConnection, ERPExport, ExportAttempt, ExportStatus
from connectors.models.export import DEAD, ExportQuerySet
from connectors.services import installation
from connectors.services.errors import Refused
from connectors.services.shelves import shelf
from tenants import audit, scope
from tenants.actors import Actor
from tenants.models import AuditEvent, Organization, record

log = structlog.get_logger(__name__)

BATCH: Final = 1000
ORPHAN_AGE: Final = timedelta(days=1)
"""A document is stored before its row names it; so long after that nobody will."""

_OBJECTS: Final = 100
"""So many documents at most are removed while the deliveries of their organisation wait."""

_FINISHED: Final = (
    Q(status__in=(ExportStatus.ACKED, *DEAD))
    | (Q(status=ExportStatus.UNCONFIRMED) & (Q(superseded_at__isnull=False) | Q(dismissed_at__isnull=False)))
    | Q(status=ExportStatus.SENT, connection__ack_expected_within=None)
)
"""Nothing happens to these any more. A sent order is one of them where no answer is expected."""


@dataclass(kw_only=True)
class Purged:
    """What was removed of one organisation, or would be."""

    organization: str
    documents: int = 0
    bytes: int = 0
    exports: int = 0
    orphans: int = 0
    """Stored objects that no row names."""
    events: int = 0
    """Of the audit trail."""

    def __bool__(self) -> bool:
        return self.has_objects or bool(self.events)

    @property
    def has_objects(self) -> bool:
        """Whether anything but events was removed."""
        return bool(self.documents or self.exports or self.orphans)


class NotArmed(Refused):
    """This installation is not armed: the documents it would remove may be those of another one."""

    hint = "If this is the real installation: manage.py arm_installation"


def purge(
    actor: Actor, *, org: Organization | None = None, orphans: bool = True, dry_run: bool = False, batch: int = BATCH
) -> Iterator[Purged]:
    """Remove what is kept no longer, one organisation after the other.

    Args:
        actor: whom the audit trail names.
        org: only what is of this one.
        orphans: also look for documents that no row names, which means to list the whole storage.
        dry_run: only count.
        batch: rows of one transaction.

    Yields:
        What was removed of each organisation.

    Raises:
        NotArmed: this database may be a copy.
    """
    if not installation.is_armed():
        raise NotArmed
    for each in [org] if org else list(Organization.objects.order_by("slug")):
        with scope.only(each.pk):
            purged = _purge(actor, each, orphans=orphans, dry_run=dry_run, batch=batch)
        yield purged


def _purge(actor: Actor, org: Organization, *, orphans: bool, dry_run: bool, batch: int) -> Purged:
    purged = Purged(organization=org.slug)
    if dry_run:
        _count(org, purged)
    else:
        _purge_documents(org, purged, batch=batch)
        _purge_exports(org, purged, batch=batch)
        _purge_trail(actor, org, purged, batch=batch)
    if orphans:
        _purge_orphans(org, purged, dry_run=dry_run)
    if purged and not dry_run:
        details = asdict(purged)
        if purged.has_objects:  # the removal of events is recorded with them
            record(actor, "retention.purged", org=org, **details)
        log.info("retention.purged", **details)
    return purged


# Documents


def _purge_documents(org: Organization, purged: Purged, *, batch: int) -> None:
    """Remove the bytes of finished exports; first those, then the row says so, and both or it is done again."""
    while True:
        with transaction.atomic(), _deliveries_wait(org):
            rows = list(_with_document(org).select_for_update(skip_locked=True, of=("self",))[: min(batch, _OBJECTS)])
            if not rows:
                return
            ids = [row.pk for row in rows]
            _remove(org, {row.document_name for row in rows}, no_longer_named_by=ids)
            ERPExport.objects.filter(pk__in=ids).update(document_purged_at=timezone.now())
        purged.documents += len(rows)
        purged.bytes += sum(row.document_size or 0 for row in rows)


def _with_document(org: Organization) -> ExportQuerySet:
    """Return the exports whose document is kept no longer; also those that are about to go themselves."""
    days = [days for days in (org.document_retention_days, org.export_retention_days) if days is not None]
    if not days:
        return ERPExport.objects.none()
    named = _finished(org, min(days)).filter(document_purged_at=None).exclude(document_name="")
    return named.order_by("done_at").only("pk", "document_name", "document_size", "order_fingerprint")


@contextmanager
def _deliveries_wait(org: Organization) -> Iterator[None]:
    """Let nobody claim an export of this organisation: who stores a document has claimed its export before."""
    list(ERPConnection.objects.of(org).select_for_update(no_key=True).order_by("pk").values_list("pk"))
    yield


def _remove(org: Organization, names: set[str], *, no_longer_named_by: Iterable[UUID] = ()) -> set[str]:
    """Remove the objects that nothing needs any more; return their names."""
    with connection.cursor() as cursor:
        cursor.execute(_NEEDED, [list(names), org.pk, list(no_longer_named_by), org.pk])
        doomed = names.difference(name for (name,) in cursor.fetchall())
    shelf().delete(doomed)
    return doomed


# The second reason is the same order once more: its bytes may be the same, stored a moment ago and not yet named.
_NEEDED: Final = """
    SELECT name FROM unnest(%s::text[]) AS name WHERE EXISTS (
        SELECT FROM erp_export WHERE org_id = %s AND document_name = name AND document_name <> ''
        AND ((document_purged_at IS NULL AND id <> ALL(%s::uuid[])) OR order_fingerprint IN (
            SELECT order_fingerprint FROM erp_export WHERE org_id = %s AND status = 'SENDING' AND document_name = ''
        ))
    )
"""


def _purge_orphans(org: Organization, purged: Purged, *, dry_run: bool) -> None:
    names = shelf().names(str(org.pk))
    oldest = timezone.now() - ORPHAN_AGE
    while some := set(islice(names, _OBJECTS)):
        named = ERPExport.objects.of(org).filter(document_name__in=some, document_purged_at=None)
        some.difference_update(named.values_list("document_name", flat=True))
        orphans = {name for name in some if (written_at := shelf().written_at(name)) and written_at < oldest}
        if orphans and not dry_run:
            with transaction.atomic(), _deliveries_wait(org):
                orphans = _remove(org, orphans)
        purged.orphans += len(orphans)


# Exports


def _purge_exports(org: Organization, purged: Purged, *, batch: int) -> None:
    """Delete finished exports with all that belongs to them, the last try for an order before those it followed."""
    while deleted := sum(_delete_batches(org, batch=batch)):
        purged.exports += deleted


def _delete_batches(org: Organization, *, batch: int) -> Iterator[int]:
    """Go once through the exports of the organisation, the oldest first; yield how many each batch has deleted."""
    if org.export_retention_days is None:
        return
    last: ERPExport | None = None
    while True:
        with transaction.atomic(), _purging():
            rows = _deletable(org).order_by("created_at", "id").only("pk", "created_at")
            if last is not None:
                rows = rows.filter(Q(created_at__gt=last.created_at) | Q(created_at=last.created_at, pk__gt=last.pk))
            page = list(rows.select_for_update(skip_locked=True, of=("self",))[:batch])
            if not page:
                return
            last = page[-1]
            ids = [row.pk for row in page]
            ExportAttempt.objects.filter(export__in=ids)._raw_delete(connection.alias)  # nothing hangs on them
            ERPExport.objects.filter(pk__in=ids).only("pk").delete()
        yield len(page)


def _deletable(org: Organization) -> ExportQuerySet:
    retries = ERPExport.objects.filter(retry_of=OuterRef("pk"))
    rows = _finished(org, org.export_retention_days or 0).filter(~Exists(retries))
    return rows.filter(Q(document_name="") | Q(document_purged_at__isnull=False))


@contextmanager
def _purging() -> Iterator[None]:
    """Tell the trigger that guards the attempts that this transaction purges."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('erp.purge', 'on', true)")
        yield
        cursor.execute("SELECT set_config('erp.purge', 'off', true)")


# The audit trail


def _purge_trail(actor: Actor, org: Organization, purged: Purged, *, batch: int) -> None:
    while org.audit_retention_days is not None and (removed := audit.purge(actor, org, batch=batch)):
        purged.events += removed.events


# What both ask


def _finished(org: Organization, days: int) -> ExportQuerySet:
    """Return the exports that have been finished for so many days, by the database's clock as the trigger has it."""
    rows: ExportQuerySet = ERPExport.objects.of(org).annotate(done_at=Coalesce("finished_at", "sent_at"))
    is_over = Q(finished_at__isnull=False) | Q(sent_at__isnull=False)  # as the index says it
    return rows.filter(_FINISHED, is_over, done_at__lt=TransactionNow() - timedelta(days=days))


def _count(org: Organization, purged: Purged) -> None:
    documents = _with_document(org).order_by()
    purged.documents = documents.count()
    purged.bytes = documents.aggregate(size=Sum("document_size"))["size"] or 0
    if org.export_retention_days is not None:
        expired = _finished(org, org.export_retention_days)
        surviving = ERPExport.objects.filter(retry_of=OuterRef("pk")).exclude(pk__in=expired.values("pk"))
        purged.exports = expired.filter(~Exists(surviving)).count()
    if org.audit_retention_days is not None:
        oldest = TransactionNow() - timedelta(days=org.audit_retention_days)
        purged.events = AuditEvent.objects.of(org).filter(created_at__lt=oldest).count()
