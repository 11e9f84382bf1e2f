"""Whether this installation may send what stands in its database.

The first installation that uses a database arms it. A copy of the database that is restored under another installation
finds itself not armed: it shows everything and takes orders, but it sends, polls and checks nothing until somebody says
that it is the real one now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from connectors.models import ERPConnection, ERPExport, ExportStatus, Installation
from connectors.models.installation import this_installation
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Standstill:
    """Whose database it is, and what begins to move here when it is armed."""

    armed_for: str
    """The installation that may send; empty when none was ever armed."""
    active_connections: int
    waiting_exports: int


def is_armed() -> bool:
    """Return whether orders may leave from here."""
    return Installation.objects.here().exists()


def standstill() -> Standstill:
    """Return what is held back as long as this installation is not armed."""
    return Standstill(
        armed_for=Installation.objects.values_list("name", flat=True).first() or "",
        active_connections=ERPConnection.objects.active().count(),
        waiting_exports=ERPExport.objects.filter(status__in=(ExportStatus.PENDING, ExportStatus.SENDING)).count(),
    )


def register(**_: Any) -> None:
    """Arm a database that was never used before; a handler of `post_migrate`."""
    Installation.objects.get_or_create(id=1, defaults={"name": this_installation()})
    if not is_armed():
        log.warning("installation.quarantined")


def arm(actor: Actor) -> bool:
    """Declare that this installation sends from now on, and no other; return False when it did already."""
    with transaction.atomic():
        row = Installation.objects.select_for_update().filter(pk=1).first()
        if is_armed():
            return False
        before = row.name if row else None
        Installation.objects.update_or_create(id=1, defaults={"name": this_installation(), "armed_at": timezone.now()})
        after = Installation.objects.get(pk=1).name
        record(actor, "installation.armed", org=None, changes={"installation": (before, after)})
    log.warning("installation.armed", before=before, after=after)
    return True
