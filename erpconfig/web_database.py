"""Ends what a web request does in the database when it takes too long.

Only the entry points of the web server call this: workers, migrations and other commands may take as long as they need.
"""

from __future__ import annotations

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections


def limit_time() -> None:
    """Give every connection that this process opens from now on its timeouts, once, when it is opened."""
    timeouts = {
        "statement_timeout": settings.DATABASE_STATEMENT_SECONDS,
        "lock_timeout": settings.DATABASE_LOCK_SECONDS,
        "idle_in_transaction_session_timeout": settings.DATABASE_IDLE_SECONDS,
    }
    options = connections.settings[DEFAULT_DB_ALIAS]["OPTIONS"]
    given = [options["options"]] if "options" in options else []  # those of DATABASE_URL
    options["options"] = " ".join([*given, *(f"-c {name}={seconds}s" for name, seconds in timeouts.items())])
