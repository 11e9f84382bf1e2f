"""Fetches acknowledgements now."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from connectors.models import AckOutcome, ERPConnection
from connectors.services import acknowledgements
from connectors.services.acknowledgements import Report
from tenants.management.base import FAILED, OperatorCommand, find_organization

_NOT_ASKED: Final = "NOT_ASKED"
"""Its sign-in was refused, or it is given time after troubles in a row, or this installation is not armed."""


class Command(OperatorCommand):
    help = (
        "Fetch the ERPs' answers now, ACK_POLLS_AT_ONCE at once; a running worker does so by itself every "
        "ACK_POLL_SECONDS. Trouble at one ERP is logged and keeps no other waiting."
    )
    examples = ("", "--org acme", "--json")
    exit_codes = (
        (0, "every ERP was asked; the number of settled answers is on stdout"),
        (1, "an ERP could not be asked, or not to the end"),
        (2, "no such organisation"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only the connections of this organisation")
        parser.add_argument("--json", action="store_true", help="write JSON when all are done")

    def handle(self, *, org: str | None = None, json: bool = False, **_: Any) -> None:
        chosen = acknowledgements.answering().select_related("org").order_by("org__slug", "created_at")
        if org:
            chosen = chosen.of(find_organization(org))
        asked = list(chosen.usable())
        reports = dict(zip(asked, acknowledgements.fetch_all(asked), strict=True))
        if json:
            self.write_json([_as_json(connection, reports.get(connection)) for connection in chosen])
        else:
            for connection, report in reports.items():
                self.stdout.write(f"{_named(connection)}  {report.settled}")
        failed = 0
        for connection in chosen:
            report = reports.get(connection)
            if besides := _besides(report):
                self.note(f"{_named(connection)}: {besides}")
            failed += report is None or report.code is not None
        if failed:
            raise CommandError(f"{failed} of {len(chosen)} ERPs could not be asked to the end.", returncode=FAILED)


def _named(connection: ERPConnection) -> str:
    return f"{connection.org.slug}  {connection.name}"


def _as_json(connection: ERPConnection, report: Report | None) -> dict[str, Any]:
    return {
        "organization": connection.org.slug,
        "connection_id": str(connection.pk),
        "name": connection.name,
        "code": report.code if report else _NOT_ASKED,
        **{outcome.lower(): report.outcomes[outcome] if report else 0 for outcome in AckOutcome},
    }


def _besides(report: Report | None) -> str:
    """Return what there is to tell beside the number of settled answers."""
    if report is None:
        return _NOT_ASKED
    counts = ((report.outcomes[outcome], outcome.label) for outcome in AckOutcome if outcome != AckOutcome.APPLIED)
    told = [f"{number} {label}" for number, label in counts if number]
    return ", ".join([*told, *([report.code] if report.code else [])])
