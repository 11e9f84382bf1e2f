"""Writes the audit trail of an organisation as JSON lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from tenants import audit_export
from tenants.management.base import USAGE, OperatorCommand, find_organization
from tenants.models import record


class Command(OperatorCommand):
    help = "Write the audit trail of an organisation to stdout, one JSON object per line, the oldest event first."
    examples = ("acme > trail.jsonl", "acme --since 2026-01-01T00:00:00Z")
    exit_codes = ((0, "written"), (USAGE, "no such organisation, or no such time"))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("org", metavar="ORG", help="the organisation's slug")
        parser.add_argument("--since", metavar="TIME", help="leave out what was recorded before, as in ISO 8601")

    def handle(self, *, org: str, since: str | None, **_: Any) -> None:
        organization, start = find_organization(org), _time(since) if since else None
        record(self.actor, "audit.exported", org=organization, since=start)
        for line in audit_export.lines(organization, since=start):
            self.stdout.write(line.decode(), ending="")


def _time(text: str) -> datetime:
    try:
        if time := parse_datetime(text):
            return (time if timezone.is_aware(time) else timezone.make_aware(time)).astimezone(UTC)
    except (ValueError, OverflowError):  # in the right form, but there is no such time
        pass
    raise CommandError(f"{text!r} is no time such as 2026-01-01T00:00:00Z.", returncode=USAGE)
