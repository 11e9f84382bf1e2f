"""What the manual names exists: metrics, alerts, commands, log events, settings, pages."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from django.test import Client

from connectors.tests.rows import a_connection
from erpconfig.paths import BASE_DIR
from tenants.models import Organization

DOCS = BASE_DIR / "docs"
RUNBOOKS = sorted((DOCS / "runbooks").glob("*.md"))
PAGES = [BASE_DIR / "README.md", *sorted(DOCS.rglob("*.md"))]
RULES = [
    rule for group in yaml.safe_load((DOCS / "operate/alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((DOCS / "operate/grafana.json").read_text())


@pytest.fixture
def scraped(db: Any, client: Client) -> str:
    a_connection(Organization.objects.create(slug="acme"), credentials_expire_on=date(2999, 1, 1))
    return client.get("/metrics").content.decode()


def test_every_metric_of_the_manual_is_scraped_with_these_labels(scraped: str) -> None:
    known = set(re.findall(r"^(erp_\w+)", scraped, re.MULTILINE))
    expressions = [rule["expr"] for rule in RULES]
    expressions += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    named = set(re.findall(r"\berp_\w+", " ".join(expressions)))
    named |= {name for page in [*RUNBOOKS, DOCS / "operate.md"] for name in re.findall(r"`(erp_\w+)", page.read_text())}

    assert named <= known
    assert known - named <= {"erp_export_delivery_seconds_gsum", "erp_export_delivery_seconds_gcount"}, "nobody looks"
    for metric, label, value in re.findall(r'(erp_\w+)\{(\w+)=~?"([^"]+)"', " ".join(expressions)):
        if label != "configured":
            assert all(f'{metric}{{{label}="{each}"' in scraped for each in value.split("|")), (metric, label, value)
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        page = BASE_DIR / rule["annotations"]["runbook"]
        assert f"`{rule['alert']}`" in page.read_text()
    in_runbooks = {name for page in RUNBOOKS for name in re.findall(r"`(Erp[A-Z]\w+)`", page.read_text())}
    assert in_runbooks == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(BASE_DIR)))
def test_a_page_names_only_commands_and_pages_that_exist(page: Any) -> None:
    text = page.read_text()

    assert set(re.findall(r"manage\.py ([a-z_]{3,})", text)) <= set(get_commands())
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_names_only_what_there_is(page: Any) -> None:
    text = page.read_text()
    places = ("connectors", "erpconfig", "tenants")
    source = "".join(file.read_text() for place in places for file in (BASE_DIR / place).rglob("*.py"))

    if page.stem != "README":
        parts = ["**You see.**", "**It means.**", "**Do.**", "**Do not**"]
        assert [text.count(part) for part in parts] == [1] * 4
    for event in re.findall(r"`([a-z]+(?:_[a-z]+)*\.[a-z_]+)`", text):
        assert f'"{event}"' in source, event
    for name in re.findall(r"`([A-Z][A-Z_]{4,})`", text):
        assert re.search(rf'["\']{name}["\']', source), name
