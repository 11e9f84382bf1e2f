"""Sends the digest now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from connectors.services import digest
from tenants.management.base import FAILED, USAGE, OperatorCommand, find_organization
from tenants.models import Organization


class Command(OperatorCommand):
    help = (
        "Tell organisations by e-mail now what needs a person; a running worker does so by itself once a day. "
        "Only those with an address for it, and only where something does."
    )
    examples = ("--dry-run", "--org acme")
    exit_codes = (
        (0, "sent, or there was nothing to say"),
        (1, "the mail server refused, or could not be reached"),
        (2, "no such organisation, it has no address, or EMAIL_URL is not set"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only to this organisation")
        parser.add_argument("--dry-run", action="store_true", help="write the mails to stdout and send nothing")

    def handle(self, *, org: str | None = None, dry_run: bool = False, **_: Any) -> None:
        told = self._organizations(org)
        if dry_run:
            for each in told:
                self._show(each)
            return
        if not digest.is_configured():
            raise CommandError("EMAIL_URL is not set, so no mail leaves from here.", returncode=USAGE)
        refused = [each for each in told if not self._send(each)]
        if refused:
            raise CommandError(f"{len(refused)} of {len(told)} digests could not be sent.", returncode=FAILED)

    def _organizations(self, slug: str | None) -> list[Organization]:
        if slug is None:
            return list(Organization.objects.exclude(digest_email=""))
        org = find_organization(slug)
        if not org.digest_email:
            raise CommandError(f"{slug} has no address for the digest.", returncode=USAGE)
        return [org]

    def _show(self, org: Organization) -> None:
        message = digest.compose(org)
        if message is None:
            self.note(f"{org.slug}: nothing needs a person.")
            return
        self.stdout.write(f"To: {org.digest_email}\nSubject: {message.subject}\n\n{message.body}")

    def _send(self, org: Organization) -> bool:
        try:
            self.stdout.write(f"{org.slug}  {'sent' if digest.send(org) else 'nothing needs a person'}")
        except OSError as error:  # its text is the mail server's
            self.note(f"{org.slug}: {type(error).__name__}")
            return False
        return True
