"""Lists the installed connectors."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from connectors.registry import ENTRY_POINT_GROUP, registry
from tenants.management.base import OperatorCommand, table


class Command(OperatorCommand):
    help = "List the connector types of this installation and what each can do beyond export and test."
    examples = ("", "--json")
    exit_codes = ((0, "listed"),)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write JSON")

    def handle(self, *, json: bool = False, **_: Any) -> None:
        connectors = [connector for _, connector in sorted(registry.connectors.items())]
        if json:
            self.write_json(
                [
                    {
                        "connector_type": connector.connector_type,
                        "title": connector.title,
                        "summary": connector.summary,
                        "capabilities": connector.capabilities(),
                    }
                    for connector in connectors
                ]
            )
        else:
            rows = [("TYPE", "TITLE", "CAN ALSO")]
            for connector in connectors:
                able = ", ".join(verb for verb, has in connector.capabilities().items() if has)
                rows.append((connector.connector_type, connector.title, able or "-"))
            for line in table(rows):
                self.stdout.write(line)
        for name, kind in registry.broken.items():
            self.note(f"The entry point {name!r} of {ENTRY_POINT_GROUP} could not be registered ({kind}).")
