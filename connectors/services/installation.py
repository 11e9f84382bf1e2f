"""Whether this installation may send what stands in its database.

The first installation that uses a database arms it. A copy of the database that is restored under another installation
finds itself not armed: it shows everything and sends nothing, until somebody says that it is the real one now.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.db import transaction

from connectors.models import Installation
from connectors.models.installation import this_installation
from tenants.actors import Actor
from tenants.models import record

log = structlog.get_logger(__name__)


def is_armed() -> bool:
    """Return whether orders may leave from here."""
    return Installation.objects.here().exists()


def register(**_: Any) -> None:
    """Arm a database that was never used before; a handler of `post_migrate`."""
    Installation.objects.get_or_create(id=1, defaults={"name": this_installation()})
    if not is_armed():
        log.warning("installation.quarantined")


def arm(actor: Actor) -> bool:
    """Declare that this installation sends from now on; return False when it did already."""
    with transaction.atomic():
        row = Installation.objects.select_for_update().filter(pk=1).first()
        if is_armed():
            return False
        before = row.name if row else None
        Installation.objects.update_or_create(id=1, defaults={"name": this_installation()})
        after = Installation.objects.get(pk=1).name
        record(actor, "installation.armed", org=None, before=before, after=after)
    log.warning("installation.armed")
    return True
