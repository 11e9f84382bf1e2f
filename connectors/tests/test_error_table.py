"""docs/errors.md says exactly what the catalogue says. To write it anew: ERRORS_MD=write with this test."""

from __future__ import annotations

import os

from connectors.codes import CATALOGUE
from erpconfig.paths import BASE_DIR

PAGE = BASE_DIR / "docs" / "errors.md"


def page() -> str:
    rows = [f"| `{code}` | {text.message} | {text.hint} |" for code, text in CATALOGUE.items()]
    head = [
        "# Errors",
        "",
        "Words in braces are filled in.",
        "",
        "| Code | What happened | What to do |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def test_the_error_table_agrees_with_the_catalogue() -> None:
    if os.environ.get("ERRORS_MD") == "write":
        PAGE.write_text(page(), "utf-8")

    assert PAGE.read_text("utf-8") == page()
