"""The audit trail as JSON lines, which another program can verify."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.db.models import F, TextField
from django.db.models.functions import Cast

from tenants import scope
from tenants.audit import AuditEvent
from tenants.models import Organization

MEDIA_TYPE: Final = "application/x-ndjson"

_ROWS: Final = 1_000


def lines(org: Organization, *, since: datetime | None = None) -> Iterator[bytes]:
    """Yield each event of an organisation as one line, in the order of its chain.

    `details` stands last and exactly as the database has it, because that text is hashed. The rows are read page by
    page, so that whoever reads slowly holds no transaction open.

    Args:
        org: whose trail it is.
        since: leave out what was recorded before.
    """
    events = AuditEvent.objects.of(org).annotate(
        sequence=F("link__sequence"), hash=F("link__hash"), text=Cast("details", TextField())
    )
    if since is not None:
        events = events.filter(created_at__gte=since)
    last = 0
    while True:
        with scope.only(org.pk):  # the scope of the request has ended when its answer is read
            page = list(events.filter(sequence__gt=last).order_by("sequence").defer("details")[:_ROWS])
        for event in page:
            yield _line(event).encode()
        if len(page) < _ROWS:
            return
        last = page[-1].sequence


def _line(event: Any) -> str:
    members = {
        "sequence": event.sequence,
        "hash": bytes(event.hash).hex(),
        "id": event.pk,
        "organization_id": str(event.org_id),
        "created_at": event.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "label": event.actor_label},
        "address": event.address,
        "request_id": event.request_id,
        "action": event.action,
        "target": {"type": event.target_type, "id": event.target_id},
    }
    return f'{json.dumps(members, ensure_ascii=False)[:-1]}, "details": {event.text}}}\n'
