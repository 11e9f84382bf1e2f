"""Shows what each master key is still needed for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

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
        except keys.REFUSALS as error:
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
        keys = [
            (_short(key.key_id), key.state.label, "yes" if key.configured else "no", str(key.rows))
            for key in status.keys
        ]
        self._write_table(("KEY ID", "STATE", "CONFIGURED", "ROWS"), *keys)
        if status.tables:
            self.stdout.write("")
            uses = [(use.table, _short(use.key_id), str(use.rows), str(use.unreadable)) for use in status.tables]
            self._write_table(("TABLE", "KEY ID", "ROWS", "UNREADABLE"), *uses)
        since = {(row.table, row.id): row.since for row in status.quarantined}
        for row in status.unreadable:
            known = since.get((row.table, row.id))
            self.note(f"unreadable: {row}" + (f", quarantined since {known:%Y-%m-%d %H:%M}" if known else ""))

    def _write_table(self, *rows: tuple[str, ...]) -> None:
        for line in table(rows):
            self.stdout.write(line)


def _short(key_id: str) -> str:
    return f"{key_id[:16]}…"
