"""What the ERPs answered, as the API tells it, and the end of what waits for a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from connectors.codes import Code, describe
from connectors.models import ERPConnection
from connectors.tests.api.conftest import paths, problem
from connectors.tests.rows import a_connection, an_acknowledgement, an_export
from tenants.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def connection(acme):
    return a_connection(acme)


def found(api, **filters):
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return [each["name"] for each in api.get(f"acknowledgements?{query}").json()["results"]]


def test_the_list_is_narrowed_by_export_outcome_and_what_is_open(api, connection):
    export = an_export(connection, "ACKED")
    an_acknowledgement(connection, name="applied", export=export, outcome="APPLIED", erp_order_id="4711")
    an_acknowledgement(connection, name="unmatched")
    an_acknowledgement(connection, name="twice", export=export, outcome="SUPERSEDED")
    an_acknowledgement(connection, name="never", outcome="SUPERSEDED", status="REJECTED")
    an_acknowledgement(connection, name="done", outcome="CONTRADICTS", resolved_at=timezone.now())

    assert found(api) == ["done", "never", "twice", "unmatched", "applied"]
    assert found(api, open="true") == ["twice", "unmatched"]
    assert found(api, open="false") == ["done", "never", "applied"]
    assert found(api, export=export.pk) == ["twice", "applied"]
    assert found(api, outcome="APPLIED&outcome=CONTRADICTS", connector=connection.pk) == ["done", "applied"]
    assert paths(api.get("acknowledgements?open=yes")) == ["open"]
    first = api.get("acknowledgements?limit=2").json()
    assert [each["name"] for each in api.get(first["next"]).json()["results"]] == ["twice", "unmatched"]


def test_one_that_is_put_aside_is_audited_and_not_put_aside_twice(api, connection):
    row = an_acknowledgement(connection)

    answer = api.post(f"acknowledgements/{row.pk}/resolve").json()

    row.refresh_from_db()
    text = describe(Code.ACKNOWLEDGEMENT_UNMATCHED)
    assert (answer["open"], bool(answer["resolved_at"]), bool(row.resolved_at)) == (False, True, True)
    assert answer["problem"] == {"code": "ACKNOWLEDGEMENT_UNMATCHED", "message": text.message, "hint": text.hint}
    event = AuditEvent.objects.get(action="acknowledgement.resolved")
    assert (event.target_id, event.details) == (str(row.pk), {"name": row.name, "outcome": "UNMATCHED"})
    problem(api.post(f"acknowledgements/{row.pk}/resolve"), 409, "CONFLICT")
    assert AuditEvent.objects.filter(action="acknowledgement.resolved").count() == 1


def test_exports_whose_answer_is_overdue(api, connection):
    late = an_export(connection, "SENT", sent_at=timezone.now() - timedelta(minutes=31))
    in_time = an_export(connection, "SENT", sent_at=timezone.now() - timedelta(minutes=29))
    answered = an_export(connection, "ACKED", sent_at=timezone.now() - timedelta(minutes=31))

    def listed(overdue):
        return {each["id"] for each in api.get(f"exports?overdue={overdue}").json()["results"]}

    assert listed("true") == set()  # nobody expects an answer
    ERPConnection.objects.update(ack_expected_within=30)
    assert listed("true") == {str(late.pk)}
    assert listed("false") == {str(in_time.pk), str(answered.pk)}
