"""Lists the installed connectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from connectors.port import OPTIONAL_VERBS, ERPConnectorPort
from connectors.quality import tier_of, unmet
from connectors.registry import ENTRY_POINT_GROUP, registry
from tenants.management.base import OperatorCommand, table


class Command(OperatorCommand):
    help = (
        "List the connector types of this installation, how far each can be relied upon, what keeps an order from "
        "arriving twice, and what each can do beyond export and test."
    )
    examples = ("", "--json", "--matrix")
    exit_codes = ((0, "listed"),)

    def add_arguments(self, parser: CommandParser) -> None:
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="write JSON")
        form.add_argument("--matrix", action="store_true", help="write a Markdown table with a column for each verb")

    def handle(self, *, json: bool = False, matrix: bool = False, **_: Any) -> None:
        connectors = [connector for _, connector in sorted(registry.connectors.items())]
        if json:
            self.write_json([_plain(connector) for connector in connectors])
        else:
            for line in as_matrix(connectors) if matrix else table(_rows(connectors)):
                self.stdout.write(line)
        for name, kind in registry.broken.items():
            self.note(f"The entry point {name!r} of {ENTRY_POINT_GROUP} could not be registered ({kind}).")


Connectors = Sequence[ERPConnectorPort[Any]]


def as_matrix(connectors: Connectors) -> list[str]:
    """Return the lines of a Markdown table: tier and guarantee of each connector, and each verb it has."""
    lines = [
        f"| Type | Title | Tier | Guarantee | {' | '.join(f'`{verb}`' for verb in OPTIONAL_VERBS)} |",
        "|" + "---|" * (4 + len(OPTIONAL_VERBS)),
    ]
    for connector in connectors:
        verbs = " | ".join("yes" if has else "-" for has in connector.capabilities().values())
        name, tier = connector.connector_type, tier_of(connector)
        lines.append(f"| `{name}` | {connector.title} | {tier} | `{connector.guarantee}` | {verbs} |")
    return lines


def _rows(connectors: Connectors) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("TYPE", "TITLE", "TIER", "GUARANTEE", "CAN ALSO")]
    for connector in connectors:
        able = ", ".join(verb for verb, has in connector.capabilities().items() if has)
        rows.append((connector.connector_type, connector.title, tier_of(connector), connector.guarantee, able or "-"))
    return rows


def _plain(connector: ERPConnectorPort[Any]) -> dict[str, Any]:
    return {
        "connector_type": connector.connector_type,
        "title": connector.title,
        "summary": connector.summary,
        "tier": tier_of(connector),
        "lacks_for_gold": [criterion.demand for criterion in unmet(connector)],
        "guarantee": connector.guarantee,
        "capabilities": connector.capabilities(),
    }
