"""The list of acknowledgements, and the page of one."""

from __future__ import annotations

import pytest
from django.utils import timezone

from connectors.codes import Code, describe
from connectors.models import AcknowledgementRecord
from connectors.tests.admin.pages import at, text
from connectors.tests.rows import a_connection, an_acknowledgement, an_export
from tenants.models import AuditEvent, Role


@pytest.fixture
def link(acme):
    return a_connection(acme)


def test_the_page_says_what_it_is_and_what_to_do(superuser, link):
    export = an_export(link, "ACKED")
    said = {"code": "REJECTED_BY_ERP", "message": "", "hint": "", "erp": {"code": "E42", "message": "<b>No</b>"}}
    row = an_acknowledgement(link, export=export, outcome="CONTRADICTS", status="REJECTED", error=said)

    answer = superuser.get(at("acknowledgementrecord", "change", row.pk))

    page = text(answer)
    problem = describe(Code.ACKNOWLEDGEMENT_CONTRADICTS)
    for part in (problem.message, problem.hint, row.name, "E42", at("erpexport", "change", export.pk)):
        assert part in page
    assert "Put aside" in page
    assert b"&lt;b&gt;No" in answer.content


def test_putting_aside_is_for_operators_and_audited(person, sign_in, acme, link):
    rows = [an_acknowledgement(link), an_acknowledgement(link, outcome="MALFORMED", status="")]
    settled = an_acknowledgement(link, outcome="APPLIED")
    viewer, operator = sign_in(person(acme, Role.VIEWER)), sign_in(person(acme, Role.OPS))
    assert "Put aside" not in text(viewer.get(at("acknowledgementrecord", "change", rows[0].pk)))

    operator.post(at("acknowledgementrecord", "resolve", rows[0].pk))
    chosen = [row.pk for row in (*rows, settled)]
    answer = operator.post(
        at("acknowledgementrecord", "changelist"),
        {"action": "resolve_selected", "_selected_action": chosen},
        follow=True,
    )

    assert "Put aside: 1 of 3." in text(answer)
    assert not AcknowledgementRecord.objects.open().exists()
    assert AuditEvent.objects.filter(action="acknowledgement.resolved").count() == 2
    settled.refresh_from_db()
    assert settled.resolved_at is None


def test_the_list_is_narrowed_to_what_waits(superuser, link):
    row = an_acknowledgement(link)
    an_acknowledgement(link, outcome="REPEATED")
    an_acknowledgement(link, resolved_at=timezone.now())

    shown = superuser.get(f"{at('acknowledgementrecord', 'changelist')}?open=yes").context["cl"].result_list

    assert [each.pk for each in shown] == [row.pk]
