"""How much the database is asked: a call that is made often makes do with few statements, each with its index."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from connectors.api import shapes
from connectors.models import ERPConnection, ERPExport
from connectors.services import claims, diagnosis
from connectors.testing import sample_orders

ORDER = json.loads(sample_orders.minimal().model_dump_json())


@pytest.fixture
def used(api):
    """A caller whose key has been used within the last minute, and who submitted something before."""
    api.get("me")
    return api


def statements(call):
    """Return what a call asks the database once it knows the caller, without the savepoints of a test's transaction."""
    with CaptureQueriesContext(database) as captured:
        answer = call()
    assert answer.status_code < 300, answer.content
    return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]


def test_submit_looks_for_nothing_beforehand(mock, used):
    connection, export, job, event = statements(lambda: used.submit(ORDER))

    assert 'FROM "erp_connection"' in connection
    assert export.startswith('INSERT INTO "erp_export"')
    assert "procrastinate_defer_jobs" in job
    assert "FROM audit_record(" in event


def test_a_page_of_connections_takes_one_statement_however_many_there_are(acme, actor, mock, used):
    diagnosis.test(ERPConnection.objects.get(), actor)
    for number in range(3):
        body = {
            "connector_type": "MOCK",
            "config": {"api_key": "correct horse battery staple"},
            "name": f"No. {number}",
            "status": "DISABLED",
        }
        assert used.post("connectors", body).status_code == 201

    assert len(statements(lambda: used.get("connectors"))) == 1
    page = used.get("connectors").json()["results"]
    assert [list(shown) for shown in page] == [list(shapes.Connection.model_fields)] * 4
    assert all(shapes.Connection.model_validate(shown) for shown in page)
    assert list(page[-1]["last_test"]) == list(shapes.TestReport.model_fields)
    assert page[0]["secrets"]["api_key"]["updated_at"].endswith("Z")
    newest = ERPConnection.objects.first()
    assert datetime.fromisoformat(page[0]["created_at"]) == newest.created_at
    assert datetime.fromisoformat(page[0]["updated_at"]) == newest.updated_at
    assert datetime.fromisoformat(page[-1]["last_test_at"]) == ERPConnection.objects.last().last_test_at


def test_connections_of_the_same_instant_are_each_on_one_page(acme, mock, used):
    for number in range(4):
        used.post("connectors", {"connector_type": "MOCK", "config": {}, "name": str(number), "status": "DISABLED"})
    ERPConnection.objects.update(created_at=datetime(2026, 1, 1, 12, tzinfo=UTC))
    everything = used.get("connectors").json()["results"]

    first = used.get("connectors?limit=2").json()
    second = used.get(first["next"]).json()
    last = used.get(second["next"]).json()

    assert first["results"] + second["results"] + last["results"] == everything
    assert last["next"] is None
    assert used.get(last["previous"]).json()["results"] == second["results"]
    assert used.get(second["previous"]).json() == first


def test_a_claim_reads_its_line_from_the_index(acme, api, mock):
    api.submit(ORDER)
    row = ERPConnection.objects.select_related("org").get()
    waiting = ERPExport.objects.get()
    columns = {field.attname: getattr(waiting, field.attname) for field in ERPExport._meta.concrete_fields}
    done = columns | {"status": "ACKED", "idempotency_key": None, "document_name": ""}
    ERPExport.objects.bulk_create(
        ERPExport(**done | {"id": uuid4(), "order_id": f"SO-old-{number}"}) for number in range(2000)
    )
    database.cursor().execute("ANALYZE erp_export")

    with CaptureQueriesContext(database) as captured:
        assert len(claims.claim(row, turn=uuid4(), most=10).exports) == 1

    [claim] = [query["sql"] for query in captured if "line AS" in query["sql"]]
    with database.cursor() as cursor:
        cursor.execute("EXPLAIN " + claim)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "erp_export_in_line" in plan
    assert "Seq Scan on erp_export" not in plan
