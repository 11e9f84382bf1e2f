"""Sends orders again that came to nothing."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from connectors.codes import CATALOGUE
from connectors.models import ERPExport, ExportStatus
from connectors.models.export import RETRYABLE
from connectors.services import dead_letters
from tenants.management.base import FAILED, USAGE, OperatorCommand, find_organization

_SURE: Final = tuple(status for status in RETRYABLE if status != ExportStatus.UNCONFIRMED)

_AT_A_TIME: Final = 500


class Command(OperatorCommand):
    help = (
        "Send the failed and rejected orders again that wait for a person, oldest first. Those that may have arrived "
        "go only with --include-unconfirmed: look for them in the ERP first, or it has them twice."
    )
    examples = ("--org acme --code NO_SPACE --dry-run", "--org acme --code NO_SPACE --yes")
    exit_codes = (
        (0, "all were sent again; the new exports are on stdout"),
        (FAILED, "some were refused; stderr says which and why"),
        (USAGE, "neither --yes nor --dry-run, or no such organisation or code"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only those of this organisation")
        parser.add_argument("--code", metavar="CODE", help="only those with this error, such as NO_SPACE")
        parser.add_argument("--include-unconfirmed", action="store_true", help="also those that may have arrived")
        parser.add_argument("--dry-run", action="store_true", help="only say which")
        parser.add_argument("--yes", action="store_true", help="do it")

    def handle(
        self,
        *,
        org: str | None = None,
        code: str | None = None,
        include_unconfirmed: bool = False,
        dry_run: bool = False,
        yes: bool = False,
        **_: Any,
    ) -> None:
        if code is not None and code not in CATALOGUE:
            raise CommandError(f"There is no code {code!r}; docs/errors.md lists them.", returncode=USAGE)
        rows = ERPExport.objects.of(find_organization(org)) if org else ERPExport.objects.all()
        statuses = RETRYABLE if include_unconfirmed else _SURE
        named = dead_letters.select(rows, code=code, statuses=statuses)
        if dry_run:
            for export in named.select_related("org").defer("order"):
                self.stdout.write(f"{export.org.slug}  {export.order_id}  {export.status}  {export.pk}")
        elif yes:
            self._retry(list(named.values_list("pk", flat=True)), even_unconfirmed=include_unconfirmed)
        else:
            count = named.count()
            raise CommandError(f"This concerns {count} exports. Add --dry-run to see them, or --yes.", returncode=USAGE)

    def _retry(self, ids: list[UUID], *, even_unconfirmed: bool) -> None:
        """Send them again, so many at a time that memory does not grow with their number."""
        refused = 0
        for start in range(0, len(ids), _AT_A_TIME):
            chosen = ERPExport.objects.filter(pk__in=ids[start : start + _AT_A_TIME]).select_related("org")
            tally = dead_letters.retry_all(
                chosen.order_by("created_at", "id"), self.actor, even_unconfirmed=even_unconfirmed
            )
            for old, new in tally.done:
                self.stdout.write(f"{old.org.slug}  {old.order_id}  {new.pk}")
            for export, refusal in tally.refused:
                self.note(f"{export.org.slug}  {export.order_id}  {refusal.code}: {refusal.message}")
            refused += len(tally.refused)
        if refused:
            raise CommandError(f"{refused} of {len(ids)} were refused.", returncode=FAILED)
