"""Removes what organisations keep no longer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from connectors.services import retention
from tenants.management.base import FAILED, OperatorCommand, find_organization, table


class Command(OperatorCommand):
    help = (
        "Remove the documents, exports and audit events that organisations keep no longer, and documents that no "
        "export names. A running worker does so by itself. It can be ended at any moment; the next run goes on."
    )
    examples = ("--dry-run", "--org acme", "--batch 200 --json")
    exit_codes = (
        (0, "done; what was removed is on stdout"),
        (FAILED, "not armed, or the document storage does not work"),
        (2, "no such organisation"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only what is of this organisation")
        parser.add_argument("--dry-run", action="store_true", help="count, and remove nothing")
        parser.add_argument(
            "--batch", type=int, choices=range(1, 10_001), metavar="N", default=retention.BATCH,
            help="rows of one transaction, 1 to 10000 (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="write one JSON document")

    def handle(self, *, org: str | None, dry_run: bool, batch: int, json: bool, **_: Any) -> None:
        only = find_organization(org) if org else None
        try:
            purged = list(retention.purge(self.actor, org=only, dry_run=dry_run, batch=batch))
        except retention.NotArmed as refusal:
            raise CommandError(f"{refusal.message} {refusal.hint}", returncode=FAILED) from None
        if json:
            self.write_json([asdict(each) for each in purged])
            return
        head = ("organisation", "documents", "bytes", "exports", "orphans", "events")
        rows = [(each.organization, *map(str, list(asdict(each).values())[1:])) for each in purged]
        for line in table([head, *rows]):
            self.stdout.write(line)
