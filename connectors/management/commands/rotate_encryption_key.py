"""Seals all stored configurations anew with the active master key."""

from __future__ import annotations

import argparse
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from connectors.management.progress import ProgressBar
from connectors.services import keys
from connectors.services.keys import RotationReport
from tenants.management.base import USAGE, OperatorCommand

UNREADABLE: Final = 3
REMAINING: Final = 4

_LISTED: Final = 20


class Command(OperatorCommand):
    help = (
        "Seal every stored configuration anew with ENCRYPTION_MASTER_KEY, while everyone works, and retire the keys "
        "that nothing needs then. docs/encryption.md says how the keys get to all machines first."
    )
    examples = ("--dry-run", "", "--batch 200", "--back", "--lost 3ce72068a93a3549")
    exit_codes = (
        (0, "every row is under the active key"),
        (2, "the keys or the database are not usable"),
        (UNREADABLE, "some rows cannot be opened; they are quarantined as they are"),
        (REMAINING, "some rows are still under another key, or it could not be retired: run it again"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="open everything, write nothing")
        parser.add_argument("--batch", type=_size, default=1000, help="rows per transaction (default: %(default)s)")
        parser.add_argument("--back", action="store_true", help="make a key active again that was replaced already")
        parser.add_argument(
            "--lost", default="", metavar="KEY_ID", help="the active key is lost for good, with its rows"
        )

    def handle(self, *, dry_run: bool, batch: int, back: bool, lost: str, **_: Any) -> None:
        bar = ProgressBar(self.stderr, "opening" if dry_run else "sealing anew")  # type: ignore[arg-type]  # writes alike
        try:
            report = keys.rotate(dry_run=dry_run, batch=batch, back=back, lost=lost, progress=bar)
        except keys.REFUSALS as error:
            raise CommandError(str(error), returncode=USAGE) from None
        finally:
            bar.close()
        self._show(report)
        _end(report)

    def _show(self, report: RotationReport) -> None:
        self.stdout.write(f"{'to seal anew' if report.dry_run else 'sealed anew':<22} {report.rotated}")
        self.stdout.write(f"{'already up to date':<22} {report.already_active}")
        self.stdout.write(f"{'held or edited':<22} {report.contended}")
        self.stdout.write(f"{'unreadable':<22} {len(report.unreadable)}")
        for key_id in report.retired:
            self.stdout.write(f"{'retired':<22} {key_id[:16]}…")
        for row in report.unreadable[:_LISTED]:
            self.note(f"unreadable: {row}")
        if len(report.unreadable) > _LISTED:
            self.note("… manage.py encryption_status lists them all.")


def _end(report: RotationReport) -> None:
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
    if report.unfenced:
        raise CommandError(
            "Every row is under the active key, but an earlier one could not be retired: something holds the tables, "
            "such as a backup. Run this again when it has ended.",
            returncode=REMAINING,
        )


def _size(text: str) -> int:
    size = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= size <= 10_000:
        raise argparse.ArgumentTypeError("must be a number from 1 to 10000")
    return size
