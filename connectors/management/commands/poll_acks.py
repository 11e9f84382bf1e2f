"""Fetches acknowledgements now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from connectors.services import acknowledgements
from tenants.management.base import OperatorCommand, find_organization


class Command(OperatorCommand):
    help = (
        "Fetch the ERPs' answers now; a running worker does so by itself every ACK_POLL_SECONDS. "
        "Trouble at one ERP is logged and keeps no other waiting."
    )
    examples = ("", "--org acme")
    exit_codes = ((0, "polled; the number of recorded answers is on stdout"), (2, "no such organisation"))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only the connections of this organisation")

    def handle(self, *, org: str | None = None, **_: Any) -> None:
        connections = acknowledgements.pollable().select_related("org").order_by("org__slug", "created_at")
        if org:
            connections = connections.filter(org=find_organization(org))
        for connection in connections:
            applied = acknowledgements.poll(connection.pk)
            self.stdout.write(f"{connection.org.slug}  {connection.name}  {applied}")
