"""procrastinate's own command; its worker starts only with the master keys of the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.db import connection
from procrastinate.contrib.django.management.commands import procrastinate

from connectors.services import keys
from tenants.management.base import USAGE


class Command(procrastinate.Command):
    """As it is, with a check before the worker."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command of procrastinate that was asked for."""
        if options.get("command") == "worker":
            try:
                keys.admit()
            except keys.REFUSALS as error:
                raise CommandError(str(error), returncode=USAGE) from None
            finally:
                connection.close()
        super().handle(*args, **options)
