"""`retry_exports`: what came to nothing is sent again, and nothing that may have arrived unless that is said."""

from __future__ import annotations

import pytest

from connectors.models import ERPConnection, ERPExport
from connectors.tests.commands.conftest import run
from connectors.tests.rows import a_connection, an_export

FULL = {"code": "NO_SPACE", "message": "Full.", "hint": ""}


@pytest.fixture
def dead(acme, globex):
    connection, foreign = a_connection(acme), a_connection(globex)
    for number in range(3):
        an_export(connection, "FAILED", order_id=f"SO-{number}", error=FULL)
    an_export(connection, "REJECTED", order_id="SO-rejected")
    an_export(connection, "UNCONFIRMED", order_id="SO-doubtful", error=FULL)
    an_export(foreign, "FAILED", order_id="SO-foreign", error=FULL)


def retried():
    return sorted(ERPExport.objects.filter(retry_of__isnull=False).values_list("order_id", flat=True))


def test_it_only_looks_unless_it_is_told_to_act(dead):
    listed = run("retry_exports", "--org", "acme", "--dry-run")
    refused = run("retry_exports")

    assert [line.split()[1] for line in listed.out.splitlines()] == ["SO-0", "SO-1", "SO-2", "SO-rejected"]
    assert (listed.code, refused.code) == (0, 2)
    assert "5 exports" in refused.err
    assert retried() == []


def test_by_organisation_and_code(dead):
    done = run("retry_exports", "--org", "acme", "--code", "NO_SPACE", "--yes")

    assert done.code == 0
    assert retried() == ["SO-0", "SO-1", "SO-2"]
    assert len(done.out.splitlines()) == 3
    assert run("retry_exports", "--org", "acme", "--code", "NO_SPACE", "--yes").out == ""


def test_what_may_have_arrived_goes_only_when_that_is_said(dead):
    assert run("retry_exports", "--yes").code == 0
    assert "SO-doubtful" not in retried()

    run("retry_exports", "--yes", "--include-unconfirmed")

    assert len(retried()) == 6


def test_what_is_refused_is_said_and_keeps_no_other(dead, acme):
    ERPConnection.objects.filter(org=acme).update(status="DISABLED")

    outcome = run("retry_exports", "--yes")

    assert (outcome.code, retried()) == (1, ["SO-foreign"])
    assert outcome.err.count("NO_ACTIVE_CONNECTOR") == 4


@pytest.mark.parametrize("wrong", [("--code", "NONE"), ("--org", "nobody")])
def test_what_does_not_exist_is_unusable(dead, wrong):
    assert run("retry_exports", "--yes", *wrong).code == 2
