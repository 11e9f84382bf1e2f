"""Shows what each master key is still needed for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from connectors.exceptions import ConfigurationError
from connectors.services import keys
from connectors.services.keys import KeyStatus
from tenants.management.base import USAGE, OperatorCommand, table

UNREADABLE = 3


class Command(OperatorCommand):
    help = "Open every stored configuration and show how many rows each master key is needed for. Keys by public id."
    examples = ("", "--json")
    exit_codes = (
        (0, "every row can be opened"),
        (2, "the keys or the database are not usable"),
        (UNREADABLE, "some rows cannot be opened"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write JSON")

    def handle(self, *, json: bool = False, **_: Any) -> None:
        try:
            status = keys.status()
        except (ConfigurationError, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=USAGE) from None
        if json:
            self.write_json({"active_key_id": status.active_key_id, **asdict(status)})
        else:
            self._show(status)
        if status.unreadable:
            raise CommandError(
                f"{len(status.unreadable)} rows cannot be opened. Add their master key to ENCRYPTION_PREVIOUS_KEYS, "
                "or enter their configuration again.",
                returncode=UNREADABLE,
            )

    def _show(self, status: KeyStatus) -> None:
        rows = [("KEY ID", "STATE", "CONFIGURED", "ROWS")]
        rows += [
            (f"{key.key_id[:16]}…", key.state.label, "yes" if key.configured else "no", str(key.rows))
            for key in status.keys
        ]
        for line in table(rows):
            self.stdout.write(line)
        for row in status.unreadable:
            self.note(f"unreadable: {row}")
