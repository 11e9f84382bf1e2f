"""The pages of exports: where an order is, how it got there, and the two verbs."""

import pytest

from connectors.models import ERPExport
from connectors.services import connections, documents
from connectors.tests.admin.conftest import text, url
from tenants.models import AuditEvent

PAGE = "connectors_erpexport_change"
LIST = "connectors_erpexport_changelist"


class TestLooking:
    def test_the_page_tells_the_story(self, root, sent):
        page = text(root.get(url(PAGE, sent)))

        for said in ("Order accepted", "Attempt 1", sent.filename, "INT-1", "12345678901234.5678"):
            assert said in page

    def test_nothing_is_edited(self, root, sent):
        assert root.get(url("connectors_erpexport_delete", sent)).status_code == 403
        assert root.get("/admin/connectors/erpexport/add/").status_code == 403
        root.post(url(PAGE, sent), {"status": "ACKED"})
        assert ERPExport.objects.get().status == "SENT"

    def test_the_document_is_shown_and_handed_out_as_it_is(self, root, sent):
        shown = text(root.get(url("connectors_erpexport_document", sent)))
        handed_out = root.get(url("connectors_erpexport_download", sent))

        assert "&quot;draft_order_id&quot;" in shown
        assert handed_out.content == documents.load(sent).content
        assert handed_out["Content-Disposition"] == f'attachment; filename="{sent.filename}"'

    def test_what_an_order_says_is_not_markup(self, root, mock, submit):
        export = submit("<b>SO</b>")

        assert "<b>SO</b>" not in text(root.get(url(PAGE, export))) + text(root.get(url(LIST)))

    def test_a_list_of_many_costs_no_more_queries(self, root, mock, submit, django_assert_max_num_queries):
        root.get(url(LIST))
        for number in range(20):
            submit(f"SO-{number}")

        with django_assert_max_num_queries(16):
            root.get(url(LIST))


class TestVerbs:
    def test_are_post_only(self, root, mock, submit):
        export = submit()

        for verb in ("retry", "cancel"):
            assert root.get(url(f"connectors_erpexport_{verb}", export)).status_code == 405

    def test_cancel(self, root, acme, mock, submit):
        export = submit()

        root.post(url("connectors_erpexport_cancel", export))

        export.refresh_from_db()
        assert export.status == "CANCELLED"
        assert AuditEvent.objects.of(acme).first().actor_label == "root"

    def test_retry_leads_to_the_new_export(self, root, mock, submit):
        export = submit()
        ERPExport.objects.update(status="FAILED")

        answer = root.post(url("connectors_erpexport_retry", export))

        new = ERPExport.objects.get(retry_of=export)
        assert answer.url == url(PAGE, new)

    def test_retrying_what_may_have_arrived_asks_first(self, root, mock, submit):
        export = submit()
        ERPExport.objects.update(status="UNCONFIRMED")
        page = url("connectors_erpexport_retry", export)

        assert "may have arrived" in text(root.post(page))
        assert ERPExport.objects.count() == 1
        root.post(page, {"confirmed": "yes"})
        assert ERPExport.objects.count() == 2

    def test_what_is_refused_is_explained(self, root, sent):
        answer = root.post(url("connectors_erpexport_retry", sent), follow=True)

        assert "can be retried" in text(answer)

    @pytest.mark.parametrize(("action", "status"), [("cancel_selected", "CANCELLED"), ("retry_selected", "PENDING")])
    def test_in_bulk_after_asking(self, root, mock, submit, action, status):
        submit("SO-1"), submit("SO-2")
        if action == "retry_selected":
            ERPExport.objects.update(status="FAILED")
        chosen = {
            "action": action,
            "_selected_action": [str(pk) for pk in ERPExport.objects.values_list("pk", flat=True)],
        }

        before = ERPExport.objects.count()
        root.post(url(LIST), chosen)
        assert ERPExport.objects.filter(status=status).count() == 0 if action == "cancel_selected" else before == 2
        root.post(url(LIST), chosen | {"confirmed": "yes"})
        assert ERPExport.objects.filter(status=status).count() == 2


def test_an_export_of_a_disabled_connection_can_still_be_read(root, sent, mock, actor):
    connections.disable(mock, actor)

    assert root.get(url(PAGE, sent)).status_code == 200
