"""What stands between a web server that has been loaded and its first request."""

from __future__ import annotations

from typing import Final

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from connectors.services import keys

log: Final = structlog.get_logger(__name__)


def refuse_with_other_keys() -> None:
    """Let this process serve only with the master keys of its database.

    Raises:
        ImproperlyConfigured: says which key is missing; the log has the same line.
    """
    try:
        keys.admit()
        return
    except keys.REFUSALS as error:
        reason = str(error)
    finally:
        connection.close()
    log.critical("start.refused", reason=reason)
    raise ImproperlyConfigured(reason)
