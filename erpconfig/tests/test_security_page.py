"""SECURITY.md promises nothing that no test shows."""

from __future__ import annotations

import re

import pytest

from erpconfig.paths import BASE_DIR

PAGE = (BASE_DIR / "SECURITY.md").read_text()
THREATS = {
    "Reads the database", "Writes to the database", "Reads the logs", "Steals a backup", "Sees the environment",
    "Malicious tenant", "Malicious adapter", "Staff with a session", "On the network, towards us", "Malicious far end",
}  # fmt: skip


def rows() -> dict[str, list[str]]:
    """Return the cells behind each threat."""
    lines = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| **")]
    return {cells[0].strip(" *"): [cell.strip(" |") for cell in cells[1:]] for cells in lines}


def test_every_threat_has_a_promise_a_limit_and_a_test() -> None:
    assert set(rows()) == THREATS
    for threat, cells in rows().items():
        promised, not_promised, shown = cells
        assert promised, threat
        assert not_promised, threat
        assert re.fullmatch(r"(`[\w/]+\.py::test_\w+` ?)+", shown), threat


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.py::\w+)`", PAGE))))
def test_the_test_exists(name: str) -> None:
    file, _, test = name.partition("::")

    assert re.search(rf"^ *def {test}\(", (BASE_DIR / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", PAGE))))
def test_the_linked_file_exists(link: str) -> None:
    assert (BASE_DIR / link).is_file()
