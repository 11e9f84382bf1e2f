"""Django's own command, as the owner of the tables."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate

from tenants import scope


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with scope.as_owner():
            super().handle(*args, **options)
