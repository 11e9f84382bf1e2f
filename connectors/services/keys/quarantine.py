"""Rows that no configured key opens: remembered until one does, or until they are replaced; never deleted."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any
from uuid import UUID

import structlog
from django.db.models import QuerySet
from django.utils import timezone

from connectors.exceptions import EncryptionError
from connectors.fields import EncryptedConfigField
from connectors.models import ERPConnection, Health, QuarantinedRow
from connectors.services.keys.columns import UnreadableRow, encrypted_fields

log = structlog.get_logger(__name__)


def put(column: EncryptedConfigField, rows: Iterable[tuple[UUID, UUID, EncryptionError]]) -> None:
    """Remember rows of one column, by key and organisation, with the reason; connections show it as their health."""
    now = timezone.now()
    entries = [
        QuarantinedRow(
            org_id=org_id,
            table=column.model._meta.db_table,
            column=column.attname,
            row_id=pk,
            reason=type(error).__name__,
            tried_at=now,
        )
        for pk, org_id, error in rows
    ]
    QuarantinedRow.objects.bulk_create(
        entries,
        update_conflicts=True,
        unique_fields=("table", "column", "row_id"),
        update_fields=("reason", "tried_at"),
    )
    if column.model is ERPConnection:
        unreadable = ERPConnection.objects.filter(pk__in=[entry.row_id for entry in entries])
        unreadable.exclude(health=Health.AUTH_FAILED).update(health=Health.UNREADABLE)
    log.warning("encryption.quarantined", table=column.model._meta.db_table, rows=len(entries))


def review(just_found: Container[tuple[EncryptedConfigField, UUID]], *, dry_run: bool = False) -> list[UnreadableRow]:
    """Open the quarantined rows anew, and forget those that can be read again or are gone.

    Args:
        just_found: the rows of which we know that they are still unreadable.
        dry_run: forget none.

    Returns:
        The other rows that are still unreadable.
    """
    columns = {(field.model._meta.db_table, field.attname): field for field in encrypted_fields()}
    still: list[UnreadableRow] = []
    for entry in QuarantinedRow.objects.iterator():
        column = columns.get((entry.table, entry.column))
        if column and (column, entry.row_id) in just_found:
            continue
        error = _try(column, entry.row_id) if column else None
        if error and column:
            still.append(UnreadableRow.of(column, entry.row_id, error))
        elif not dry_run:
            _release(entry)
    return still


def _try(column: EncryptedConfigField, row_id: UUID) -> EncryptionError | None:
    """Return why a row cannot be opened; None when it can, or is gone, or holds nothing any more."""
    rows: QuerySet[Any] = column.model._base_manager.exclude(**{f"{column.attname}__isnull": True})
    row = rows.only("pk", "org_id", column.attname).filter(pk=row_id).first()
    try:
        if row is not None:
            column.open(row)
    except EncryptionError as error:
        return error
    return None


def _release(entry: QuarantinedRow) -> None:
    if entry.table == ERPConnection._meta.db_table:
        ERPConnection.objects.filter(pk=entry.row_id, health=Health.UNREADABLE).update(health=Health.UNTESTED)
    entry.delete()
    log.info("encryption.readable_again", table=entry.table, row_id=str(entry.row_id))
