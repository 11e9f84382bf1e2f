"""The commands about connectors, connections and exports: outcome, exit code, and what they print where."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection as database

from connectors.models import ERPConnection, ERPExport, ExportStatus
from connectors.registry import registry
from connectors.services import delivery, exports
from connectors.testing import sample_orders
from connectors.tests.commands.conftest import run
from erpconfig.paths import BASE_DIR
from tenants import scope
from tenants.actors import Actor
from tenants.models import Organization

pytestmark = pytest.mark.django_db

ORDER = BASE_DIR / "docs" / "examples" / "order.json"
Connect = Callable[..., ERPConnection]


def test_lists_every_connector_with_what_it_can() -> None:
    listed = {entry["connector_type"]: entry for entry in run("list_connectors", "--json").json}

    assert set(listed) == set(registry.connectors)
    assert listed["DROPZONE_JSON_V1"]["capabilities"]["render"] is True
    assert listed["DROPZONE_JSON_V1"]["guarantee"] == "hard"
    assert "DROPZONE_JSON_V1" in run("list_connectors").out


# test_connections


def test_tests_the_active_connections_and_shows_the_steps(acme: Organization, connect: Connect) -> None:
    connection = connect(acme)
    connect(acme, status="DISABLED")

    outcome = run("test_connections")

    assert outcome.code == 0
    assert outcome.out.count("=> passed") == 1
    assert str(connection.pk) in outcome.out
    connection.refresh_from_db()
    assert connection.health == "HEALTHY"


def test_one_failed_test_decides_the_exit_code(
    acme: Organization, globex: Organization, connect: Connect, dropzone: Path
) -> None:
    connect(acme)
    broken = connect(globex, export_path="missing")

    outcome = run("test_connections", "--json")

    assert outcome.code == 1
    assert "1 of 2" in outcome.err
    by_id = {report["connection_id"]: report for report in outcome.json}
    assert by_id[str(broken.pk)]["code"] == "PATH_NOT_FOUND"
    assert by_id[str(broken.pk)]["organization"] == "globex"
    assert [report["success"] for report in outcome.json] == [True, False]


def test_a_failed_step_is_shown_with_its_hint(acme: Organization, connect: Connect) -> None:
    connect(acme, export_path="missing")

    outcome = run("test_connections")

    assert "FAIL" in outcome.out
    assert "PATH_NOT_FOUND: Create it" in outcome.out


def test_org_and_all_choose_the_connections(acme: Organization, globex: Organization, connect: Connect) -> None:
    connect(acme, status="DISABLED")
    connect(globex)

    assert [report["organization"] for report in run("test_connections", "--json").json] == ["globex"]
    assert len(run("test_connections", "--all", "--json").json) == 2
    assert run("test_connections", "--org", "acme", "--json").json == []
    assert [report["status"] for report in run("test_connections", "--org", "acme", "--all", "--json").json] == [
        "DISABLED"
    ]


def test_an_unreadable_connection_fails_its_test_and_not_the_command(
    acme: Organization, connect: Connect, settings: Any
) -> None:
    connect(acme)
    settings.ENCRYPTION_MASTER_KEY = "1f" * 16 + "2e" * 16

    outcome = run("test_connections", "--json")

    assert outcome.code == 1
    assert outcome.json[0]["code"] == "UNREADABLE_CONFIG"


# push_order


def test_pushes_the_example_order(acme: Organization, connect: Connect) -> None:
    connection = connect(acme)

    outcome = run("push_order", str(ORDER), "--org", "acme", "--json")

    assert outcome.code == 0
    export = ERPExport.objects.get(pk=outcome.json["id"])
    assert (export.connection, export.order_id, export.status) == (connection, "SO-2025-0042", "PENDING")
    assert outcome.json["status"] == "PENDING"


def test_reads_the_order_from_stdin(acme: Organization, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(acme)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(ORDER.read_bytes())))

    assert run("push_order", "-", "--org", "acme").code == 0
    assert ERPExport.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "line 1, column 2"),
        (b"[]", "must be an object"),
        (b"{}", "order_id: is required"),
        (b'{"order_id": NaN}', "NaN is not JSON (line 1, column 14)"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_an_unusable_order_is_refused_on_one_line(
    acme: Organization, connect: Connect, tmp_path: Path, content: bytes, message: str
) -> None:
    connect(acme)
    file = tmp_path / "order.json"
    file.write_bytes(content)

    outcome = run("push_order", str(file), "--org", "acme")

    assert outcome.code == 2
    assert message in outcome.err
    assert "\n" not in outcome.err
    assert not ERPExport.objects.exists()


def test_a_missing_file_is_refused(acme: Organization) -> None:
    outcome = run("push_order", "/nowhere/order.json", "--org", "acme")

    assert (outcome.code, outcome.err) == (2, "/nowhere/order.json cannot be read (No such file or directory).")


def test_an_unknown_organization_is_refused(acme: Organization) -> None:
    outcome = run("push_order", str(ORDER), "--org", "acne")

    assert outcome.code == 2
    assert "There are: acme." in outcome.err


def test_without_an_active_connection_the_order_is_refused(acme: Organization) -> None:
    outcome = run("push_order", str(ORDER), "--org", "acme")

    assert outcome.code == 1
    assert "no active connection" in outcome.err


def test_a_live_order_is_refused_with_the_id_of_its_export(acme: Organization, connect: Connect) -> None:
    connect(acme)
    first = run("push_order", str(ORDER), "--org", "acme", "--json").json

    outcome = run("push_order", str(ORDER), "--org", "acme")

    assert outcome.code == 1
    assert first["id"] in outcome.err


def test_the_same_idempotency_key_submits_once(acme: Organization, connect: Connect, tmp_path: Path) -> None:
    connect(acme)
    command = ("push_order", str(ORDER), "--org", "acme", "--idempotency-key", "PO-1", "--json")
    first, second = run(*command), run(*command)

    assert first.json["id"] == second.json["id"]
    assert (second.code, "submitted before" in second.err) == (0, True)

    other = tmp_path / "other.json"
    other.write_text(json.dumps(json.loads(ORDER.read_bytes()) | {"order_id": "SO-2"}), "utf-8")
    assert run("push_order", str(other), *command[2:]).code == 2


@pytest.mark.django_db(transaction=True)
def test_wait_ends_when_the_order_is_delivered(acme: Organization, connect: Connect, dropzone: Path) -> None:
    connection = connect(acme)
    thread = threading.Thread(target=scope.everything()(_deliver_when_submitted), args=(connection.pk,))
    thread.start()
    outcome = run("push_order", str(ORDER), "--org", "acme", "--wait", "20", "--json")
    thread.join()

    assert (outcome.code, outcome.json["status"]) == (0, "SENT")
    assert (dropzone / "outbox" / outcome.json["filename"]).is_file()


def _deliver_when_submitted(connection_id: Any) -> None:
    try:
        while not ERPExport.objects.filter(connection=connection_id).exists():
            threading.Event().wait(0.05)
        delivery.drain(connection_id)
    finally:
        database.close()


def test_wait_says_when_the_order_is_still_on_its_way(acme: Organization, connect: Connect) -> None:
    connect(acme)

    outcome = run("push_order", str(ORDER), "--org", "acme", "--wait", "0.3", "--json")

    assert (outcome.code, outcome.json["status"]) == (3, "PENDING")
    assert "manage.py run" in outcome.err


@pytest.mark.parametrize("status", ["REJECTED", "FAILED", "UNCONFIRMED", "CANCELLED"])
def test_an_order_that_came_to_nothing_is_a_failure(acme: Organization, connect: Connect, status: str) -> None:
    connect(acme)
    command = ("push_order", str(ORDER), "--org", "acme", "--idempotency-key", "PO-1", "--wait", "--json")
    export_id = run(*command[:-2], "--json").json["id"]
    error = {"message": "The ERP rejected the order.", "hint": "Correct it."}
    ERPExport.objects.filter(pk=export_id).update(status=status, error=error)

    outcome = run(*command)

    assert (outcome.code, outcome.json["status"]) == (1, status)
    assert "The ERP rejected the order. Correct it." in outcome.err


# poll_acks


def test_polls_the_answers_of_one_organization(
    acme: Organization, globex: Organization, connect: Connect, actor: Actor, dropzone: Path
) -> None:
    connection = connect(acme)
    connect(globex, ack_path=None)
    export, _ = exports.submit(acme, actor, sample_orders.minimal(), idempotency_key="1")
    delivery.drain(connection.pk)
    export.refresh_from_db()
    (dropzone / "acks" / f"ack_{export.filename}").write_text('{"status": "ACKED", "erp_order_id": "SO-7"}')

    assert "acme" not in run("poll_acks", "--org", "globex").out
    outcome = run("poll_acks", "--org", "acme")

    export.refresh_from_db()
    assert (outcome.code, export.status, export.erp_order_id) == (0, ExportStatus.ACKED, "SO-7")
    assert outcome.out.split() == ["acme", *connection.name.split(), "1"]


def test_polling_fails_when_an_erp_cannot_be_asked_and_asks_the_others(
    acme: Organization, globex: Organization, connect: Connect, dropzone: Path
) -> None:
    here, away = connect(acme), connect(globex, ack_path="nowhere")
    (dropzone / "acks" / "ack_other.json").write_text('{"status": "ACKED"}')
    (dropzone / "acks" / "error_broken.json").write_text("{")

    outcome = run("poll_acks", "--json")

    assert (outcome.code, [row["connection_id"] for row in outcome.json]) == (1, [str(here.pk), str(away.pk)])
    assert [row["code"] for row in outcome.json] == [None, "PATH_NOT_FOUND"]
    counts = {name: outcome.json[0][name] for name in ("applied", "repeated", "unmatched", "malformed")}
    assert counts == {"applied": 0, "repeated": 0, "unmatched": 1, "malformed": 1}
    ERPConnection.objects.filter(pk=away.pk).update(health="AUTH_FAILED")
    plain = run("poll_acks")
    assert (plain.code, plain.out) == (1, f"acme  {here.name}  0\n")
    assert f"globex  {away.name}: NOT_ASKED" in plain.err
