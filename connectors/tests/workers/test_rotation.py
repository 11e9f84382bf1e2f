"""A rotation that is killed again and again while people work: nothing is lost, and the old key opens nothing more."""

from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError

from connectors.fields import key_ring
from connectors.models import ConnectionRevision, ERPConnection
from connectors.services import keys
from connectors.tests.workers.processes import settings_of
from connectors.tests.workers.rotating import EDITORS, KILLS
from erpconfig.paths import BASE_DIR
from tenants.models import Organization

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROWS = 10_000
CONFIG = {"mode": "sftp", "host": "erp.example.com", "username": "u", "password": "", "export_path": "in"}


@pytest.fixture
def connections() -> list[ERPConnection]:
    organizations = [Organization(slug=f"org-{number}", name=f"Organisation {number}") for number in range(100)]
    Organization.objects.bulk_create(organizations)
    rows = [
        ERPConnection(org=organizations[number % 100], connector_type="DROPZONE_JSON_V1", status="DISABLED")
        for number in range(ROWS)
    ]
    for number, row in enumerate(rows):
        row.write_config(CONFIG | {"password": f"first-{number}"})
    return ERPConnection.objects.bulk_create(rows, batch_size=1000)


@pytest.fixture
def new_key(settings: Any) -> str:
    """Make a fresh key the active one, and return the one before it."""
    before = settings.ENCRYPTION_MASTER_KEY
    keys.admit()
    settings.ENCRYPTION_MASTER_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = secrets.token_hex(32), [before]
    return before


def test_ten_thousand_rows_four_editors_and_twenty_kills(
    connections: list[ERPConnection], new_key: str, settings: Any, tmp_path: Path
) -> None:
    seed, report = random.randrange(10**6), tmp_path / "report"
    expected = {str(row.pk): f"first-{number}" for number, row in enumerate(connections)}
    old_envelope = connections[0].config_encrypted

    subprocess.run(
        [sys.executable, "-m", "connectors.tests.workers.rotating", str(seed), str(report)],
        cwd=BASE_DIR,
        env=settings_of(
            tmp_path, ENCRYPTION_MASTER_KEY=settings.ENCRYPTION_MASTER_KEY, ENCRYPTION_PREVIOUS_KEYS=new_key
        )
        | {"DJANGO_SETTINGS_MODULE": "erpconfig.settings", "LOG_LEVEL": "ERROR"},
        check=True,
        timeout=100,
    )

    ends = json.loads(report.read_text())
    assert ends["rotations"][:KILLS].count(-9) == KILLS, seed
    assert ends["rotations"][KILLS:] == [0, 0], seed
    assert ends["editors"] == [0] * EDITORS, seed
    edits = [json.loads(report.with_suffix(f".{number}").read_text()) for number in range(EDITORS)]
    for editor in edits:
        assert editor["edits"] > 0
        expected |= editor["passwords"]
    settings.ENCRYPTION_PREVIOUS_KEYS = []
    assert {str(row.pk): row.read_config()["password"] for row in ERPConnection.objects.all()} == expected, seed
    assert ConnectionRevision.objects.count() == edits[0]["edits"]
    assert keys.status().unreadable == ()
    assert keys.rows_by_key().keys() == {key_ring().active_key_id}
    with pytest.raises(IntegrityError, match="retired"):
        ERPConnection.objects.filter(pk=connections[0].pk).update(config_encrypted=old_envelope)
