"""The pages of exports: where an order is, how it got there, and the two verbs."""

import pytest

from connectors.models import ERPExport
from connectors.services import connections, documents
from connectors.tests.admin.pages import at, text
from tenants.models import AuditEvent

LIST = "/admin/connectors/erpexport/"


class TestLooking:
    def test_the_page_tells_the_story(self, superuser, sent):
        page = text(superuser.get(at("erpexport", "change", sent.pk)))

        for said in ("Order accepted", "Attempt 1", sent.filename, "INT-1", "12345678901234.5678"):
            assert said in page

    def test_nothing_is_edited(self, superuser, sent):
        assert superuser.get(at("erpexport", "delete", sent.pk)).status_code == 403
        assert superuser.get("/admin/connectors/erpexport/add/").status_code == 403
        superuser.post(at("erpexport", "change", sent.pk), {"status": "ACKED"})
        assert ERPExport.objects.get().status == "SENT"

    def test_the_document_is_shown_and_handed_out_as_it_is(self, superuser, sent):
        shown = text(superuser.get(at("erpexport", "document", sent.pk)))
        handed_out = superuser.get(at("erpexport", "download", sent.pk))

        assert '"draft_order_id"' in shown
        assert handed_out.content == documents.load(sent).content
        assert handed_out["Content-Disposition"] == f'attachment; filename="{sent.filename}"'

    def test_what_an_order_says_is_not_markup(self, superuser, mock, submit):
        export = submit("<b>SO</b>")

        for page in (at("erpexport", "change", export.pk), LIST):
            assert b"<b>SO</b>" not in superuser.get(page).content

    def test_a_list_of_many_costs_no_more_queries(self, superuser, mock, submit, django_assert_max_num_queries):
        superuser.get(LIST)
        for number in range(20):
            submit(f"SO-{number}")

        with django_assert_max_num_queries(16):
            superuser.get(LIST)


class TestVerbs:
    def test_are_post_only(self, superuser, mock, submit):
        export = submit()

        for verb in ("retry", "cancel"):
            assert superuser.get(at("erpexport", verb, export.pk)).status_code == 405

    def test_cancel(self, superuser, acme, mock, submit):
        export = submit()

        superuser.post(at("erpexport", "cancel", export.pk))

        export.refresh_from_db()
        assert export.status == "CANCELLED"
        assert AuditEvent.objects.of(acme).first().actor_kind == "USER"

    def test_retry_leads_to_the_new_export(self, superuser, mock, submit):
        export = submit()
        ERPExport.objects.update(status="FAILED")

        answer = superuser.post(at("erpexport", "retry", export.pk))

        new = ERPExport.objects.get(retry_of=export)
        assert answer.url == at("erpexport", "change", new.pk)

    def test_retrying_what_may_have_arrived_asks_first(self, superuser, mock, submit):
        export = submit()
        ERPExport.objects.update(status="UNCONFIRMED")
        page = at("erpexport", "retry", export.pk)

        assert "may have arrived" in text(superuser.post(page))
        assert ERPExport.objects.count() == 1
        superuser.post(page, {"confirmed": "yes"})
        assert ERPExport.objects.count() == 2

    def test_what_is_refused_is_explained(self, superuser, sent):
        answer = superuser.post(at("erpexport", "retry", sent.pk), follow=True)

        assert "can be retried" in text(answer)

    @pytest.mark.parametrize(("action", "status"), [("cancel_selected", "CANCELLED"), ("retry_selected", "PENDING")])
    def test_in_bulk_after_asking(self, superuser, mock, submit, action, status):
        submit("SO-1"), submit("SO-2")
        if action == "retry_selected":
            ERPExport.objects.update(status="FAILED")
        chosen = {
            "action": action,
            "_selected_action": [str(pk) for pk in ERPExport.objects.values_list("pk", flat=True)],
        }

        before = ERPExport.objects.count()
        superuser.post(LIST, chosen)
        assert ERPExport.objects.filter(status=status).count() == 0 if action == "cancel_selected" else before == 2
        superuser.post(LIST, chosen | {"confirmed": "yes"})
        assert ERPExport.objects.filter(status=status).count() == 2


def test_an_export_of_a_disabled_connection_can_still_be_read(superuser, sent, mock, actor):
    connections.disable(mock, actor)

    assert superuser.get(at("erpexport", "change", sent.pk)).status_code == 200
