"""What came to nothing or may have, by its cause; and sending or putting aside many of them at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, F, Max, Min, QuerySet, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from connectors import codes
from connectors.codes import Code
from connectors.models import ERPExport, ExportStatus
from connectors.models.export import RETRYABLE, ExportQuerySet
from connectors.services import exports
from connectors.services.errors import NotConfirmed, Refused
from tenants.actors import Actor
from tenants.models import Organization

AT_ONCE: Final = 1_000
"""How many one request may send again or put aside."""
SECONDS_AT_ONCE: Final = 20.0
"""How long one request may take for it; what is not reached by then is left as it is."""

_LOOK_FIRST: Final = "Look for each order in the ERP. What is there, put aside; what is not, send again."
_CODE: Final = Coalesce(KeyTextTransform("code", "error"), Value(""), output_field=TextField())
_ENDED: Final = Coalesce("finished_at", "created_at")


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The exports of one connection that ended in the same state for the same reason."""

    org_id: UUID
    org_name: str
    connection_id: UUID
    connection_name: str
    status: str
    code: str
    """Of the error; empty where none was recorded."""
    count: int
    oldest: datetime
    newest: datetime
    message: str
    hint: str


@dataclass(kw_only=True)
class Tally:
    """What became of each of many exports."""

    done: list[tuple[ERPExport, ERPExport]] = field(default_factory=list)
    """Each export with the one that is the result: a new one, or itself."""
    refused: list[tuple[ERPExport, Refused]] = field(default_factory=list)
    left: int = 0
    """How many were not reached in time."""


def causes(orgs: QuerySet[Organization]) -> list[Cause]:
    """Return what waits for a person in these organisations, by cause, the largest group first."""
    message, hint = KeyTextTransform("message", "error"), KeyTextTransform("hint", "error")
    rows = (
        ERPExport.objects.filter(org__in=orgs)
        .unresolved()
        .order_by()
        .values(
            "org_id",
            "connection_id",
            "status",
            org_name=F("org__name"),
            connection_name=F("connection__name"),
            code=_CODE,
        )
        .annotate(
            count=Count("id"),
            oldest=Min(_ENDED),
            newest=Max(_ENDED),
            messages=Count(message, distinct=True),
            hints=Count(hint, distinct=True),
            one_message=Min(message),
            one_hint=Min(hint),
        )
        .order_by("-count", "oldest")
    )
    return [_cause(row) for row in rows]


def select(
    rows: ExportQuerySet,
    *,
    code: str | None = None,
    connection_id: UUID | None = None,
    statuses: Collection[str] = RETRYABLE,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ExportQuerySet:
    """Return those of `rows` that wait for a person and have all that is named, in the sequence of submission.

    Args:
        rows: the exports of those organisations in which the caller may do something about them.
        code: why they are where they are; an empty one for those that do not say.
        connection_id: through which connection they went.
        statuses: how they ended.
        since: when at the earliest they ended.
        until: when at the latest they ended.
    """
    chosen = rows.unresolved().filter(status__in=statuses)
    if code is not None:
        chosen = chosen.alias(_code=_CODE).filter(_code=code)
    if connection_id is not None:
        chosen = chosen.filter(connection=connection_id)
    chosen = chosen.alias(_ended=_ENDED)
    if since is not None:
        chosen = chosen.filter(_ended__gte=since)
    if until is not None:
        chosen = chosen.filter(_ended__lte=until)
    return chosen.order_by("created_at", "id")


def retry_all(chosen: Iterable[ERPExport], actor: Actor, *, even_unconfirmed: bool, seconds: float = math.inf) -> Tally:
    """Send many orders again, each for itself: what is refused keeps no other.

    Args:
        chosen: which.
        actor: who wants it.
        even_unconfirmed: also those that may have arrived, so that the ERP may have them twice.
        seconds: how long it may take.
    """

    def retry(export: ERPExport) -> ERPExport:
        if export.status == ExportStatus.UNCONFIRMED and not even_unconfirmed:
            raise NotConfirmed(status=export.status)
        return exports.retry(export, actor)

    return _each(chosen, retry, seconds)


def dismiss_all(chosen: Iterable[ERPExport], actor: Actor, *, reason: str, seconds: float = math.inf) -> Tally:
    """Put many exports aside, each for itself, within so many seconds."""
    return _each(chosen, lambda export: exports.dismiss(export, actor, reason=reason), seconds)


def _each(chosen: Iterable[ERPExport], verb: Callable[[ERPExport], ERPExport], seconds: float) -> Tally:
    tally, until = Tally(), time.monotonic() + seconds
    for export in chosen:
        if time.monotonic() > until:
            tally.left += 1
            continue
        try:
            tally.done.append((export, verb(export)))
        except Refused as refusal:
            tally.refused.append((export, refusal))
    return tally


def _cause(row: dict[str, Any]) -> Cause:
    """Return a group; where its members say different things, the catalogue speaks for them all."""
    messages, hints = row.pop("messages"), row.pop("hints")
    message, hint = row.pop("one_message") or "", row.pop("one_hint") or ""
    if row["code"] in codes.CATALOGUE and (messages != 1 or hints != 1):
        text = codes.describe(Code(row["code"]))
        message, hint = text.message, text.hint
    if row["status"] == ExportStatus.UNCONFIRMED:
        hint = _LOOK_FIRST
    return Cause(**row, message=message, hint=hint)
