"""docs/connectors.md shows exactly what is installed here. To write it anew: CONNECTORS_MD=write with this test."""

from __future__ import annotations

import os

from connectors.port import Guarantee
from connectors.tests.commands.conftest import run
from erpconfig.paths import BASE_DIR

PAGE = BASE_DIR / "docs" / "connectors.md"

HEAD = """# Connectors
What `manage.py list_connectors --matrix` says of a new installation. A connector that you add shows up by itself.

What keeps an order from arriving twice when nobody knows how an attempt ended:

| Guarantee | |
|---|---|
| `hard` | the far end itself refuses the second one: a rename onto a new name, an external id, an idempotency key |
| `lookup` | we find out whether it arrived before anything is sent again |
| `at_most_once` | neither: it is never sent again by itself, a person decides |

"""


def test_the_page_agrees_with_the_command() -> None:
    page = HEAD + run("list_connectors", "--matrix").out
    if os.environ.get("CONNECTORS_MD") == "write":
        PAGE.write_text(page, "utf-8")

    assert PAGE.read_text("utf-8") == page
    assert all(f"| `{guarantee}` |" in page for guarantee in Guarantee)
