"""Seals all stored configurations anew with the active master key."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from connectors.exceptions import ConfigurationError
from connectors.services import keys
from tenants.management.base import USAGE, OperatorCommand

UNREADABLE = 3
REMAINING = 4


class Command(OperatorCommand):
    help = (
        "Seal every stored configuration anew with ENCRYPTION_MASTER_KEY. Put the old key into "
        "ENCRYPTION_PREVIOUS_KEYS first and restart all processes; when this ends with 0, take it out again."
    )
    examples = ("--dry-run", "")
    exit_codes = (
        (0, "every row is under the active key"),
        (2, "the keys or the database are not usable"),
        (UNREADABLE, "some rows cannot be opened and were left as they are"),
        (REMAINING, "some rows are still under another key: a dry run, or edits at the same moment; run it again"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="open everything, write nothing")

    def handle(self, *, dry_run: bool = False, **_: Any) -> None:
        try:
            report = keys.rotate(dry_run=dry_run)
        except (ConfigurationError, ImproperlyConfigured) as error:
            raise CommandError(str(error), returncode=USAGE) from None
        self.stdout.write(f"{'to seal anew' if dry_run else 'sealed anew':<22} {report.rotated}")
        self.stdout.write(f"{'already up to date':<22} {report.already_active}")
        self.stdout.write(f"{'edited meanwhile':<22} {report.contended}")
        self.stdout.write(f"{'unreadable':<22} {len(report.unreadable)}")
        for row in report.unreadable:
            self.note(f"unreadable: {row}")
        if report.remaining:
            raise CommandError(
                f"{report.remaining} rows are still under another key. Run: manage.py rotate_encryption_key",
                returncode=REMAINING,
            )
        if report.unreadable:
            raise CommandError(
                f"{len(report.unreadable)} rows cannot be opened. Add their master key to ENCRYPTION_PREVIOUS_KEYS, "
                "or enter their configuration again.",
                returncode=UNREADABLE,
            )
