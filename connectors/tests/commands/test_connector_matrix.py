"""docs/connectors.md shows exactly what is installed here. To write it anew: CONNECTORS_MD=write with this test."""

from __future__ import annotations

import os

import pytest

from connectors.adapters.mock import MockConnector
from connectors.port import ERPConnectorPort, Guarantee
from connectors.quality import Tier, tier_of, unmet
from connectors.tests.commands.conftest import run
from erpconfig.paths import BASE_DIR

PAGE = BASE_DIR / "docs" / "connectors.md"

TABLE = "| Type |"


def test_the_page_agrees_with_the_command() -> None:
    introduction = PAGE.read_text("utf-8").partition(TABLE)[0]
    page = introduction + run("list_connectors", "--matrix").out
    if os.environ.get("CONNECTORS_MD") == "write":
        PAGE.write_text(page, "utf-8")

    assert PAGE.read_text("utf-8") == page
    assert all(f"| `{guarantee}` |" in introduction for guarantee in Guarantee)
    assert all(f"| {tier} |" in introduction for tier in Tier)


class Hopeful(MockConnector):
    connector_type = "HOPEFUL"
    guarantee = Guarantee.AT_MOST_ONCE


class Reticent(MockConnector):
    connector_type = "RETICENT"
    supports_identify = False
    identify = ERPConnectorPort.identify


@pytest.mark.parametrize(
    ("connector", "tier", "lacking"),
    [(MockConnector, "gold", 0), (Reticent, "silver", 1), (Hopeful, "bronze", 1)],
)
def test_a_tier_follows_from_what_a_connector_does(connector, tier, lacking) -> None:
    assert (tier_of(connector()), len(unmet(connector()))) == (tier, lacking)
