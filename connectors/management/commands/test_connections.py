"""Tests connections."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from connectors.management.base import step_line
from connectors.models import ConnectionTest, ERPConnection
from connectors.results import TestStep
from connectors.services import diagnosis
from tenants.management.base import FAILED, OperatorCommand, find_organization


class Command(OperatorCommand):
    help = "Test connections without a live export: reach, log in, write and remove a test file. Active ones only."
    examples = ("", "--org acme", "--all --json")
    exit_codes = (
        (0, "every test succeeded, or there is nothing to test"),
        (1, "a test failed"),
        (2, "no such organisation"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only the connections of this organisation")
        parser.add_argument("--all", action="store_true", help="also the disabled ones")
        parser.add_argument("--json", action="store_true", help="write JSON when all are done")

    def handle(self, *, org: str | None = None, all: bool = False, json: bool = False, **_: Any) -> None:
        chosen = ERPConnection.objects.select_related("org").order_by("org__slug", "created_at")
        if org:
            chosen = chosen.of(find_organization(org))
        if not all:
            chosen = chosen.active()
        reports = [self._test(connection, quiet=json) for connection in chosen]
        if json:
            self.write_json([_as_json(report) for report in reports])
        if not reports:
            self.note("There is no connection to test." + ("" if all else " Add --all for the disabled ones."))
        failed = sum(not report.success for report in reports)
        if failed:
            raise CommandError(f"{failed} of {len(reports)} connections failed their test.", returncode=FAILED)

    def _test(self, connection: ERPConnection, *, quiet: bool) -> ConnectionTest:
        def show(step: TestStep) -> None:
            self.stdout.write(step_line(step))

        if quiet:
            return diagnosis.test(connection, self.actor)
        self.stdout.write(f"{connection.org.slug}  {connection.name}  ({connection.connector_type}, {connection.pk})")
        report = diagnosis.test(connection, self.actor, on_step=show)
        self.stdout.write(f"  => {report} in {report.latency_ms} ms\n")
        return report


def _as_json(report: ConnectionTest) -> dict[str, Any]:
    connection = report.connection
    assert connection is not None
    return {
        "organization": connection.org.slug,
        "connection_id": str(connection.pk),
        "name": connection.name,
        "connector_type": connection.connector_type,
        "status": connection.status,
        "code": report.code or None,
        **report.result,
    }
