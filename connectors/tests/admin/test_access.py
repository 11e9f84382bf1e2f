"""Who sees what: a member of staff has the admin of his own organisations, and no more than his role allows."""

import pytest
from django.contrib import admin

from connectors.models import ERPExport
from connectors.services import connections
from connectors.tests.admin.conftest import SECRET, text, url
from tenants.models import ApiKey


@pytest.fixture
def theirs(globex, actor):
    return connections.create(globex, actor, connector_type="MOCK", config={}, name="Globex ERP")


def status_of(client, name, row=None):
    return client.get(url(name, row)).status_code


def test_every_page_opens(root, acme, mock, sent, actor):
    connections.test(mock, actor)
    ApiKey.objects.issue(org=acme, role="OPS", name="shop")
    opened = 0
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label not in ("connectors", "tenants"):
            continue
        base = f"{model._meta.app_label}_{model._meta.model_name}"
        assert status_of(root, f"{base}_changelist") == 200, base
        for row in model_admin.get_queryset(root.get("/admin/").wsgi_request)[:1]:
            page = root.get(url(f"{base}_change", row))
            assert page.status_code == 200, base
            assert SECRET not in text(page)
            opened += 1
    assert opened >= 6


ROLES = ["ADMIN", "INTEGRATOR", "OPS", "VIEWER", None]
MAY_CONFIGURE = ("ADMIN", "INTEGRATOR")
MAY_OPERATE = ("ADMIN", "INTEGRATOR", "OPS")


@pytest.mark.parametrize("role", ROLES)
class TestOwnOrganisation:
    @pytest.fixture
    def member(self, sign_in, acme, role):
        return sign_in("member", **({"one": (acme, role)} if role else {}))

    def test_connections(self, member, role, mock):
        allowed = 200 if role in MAY_CONFIGURE else 403
        assert status_of(member, "connectors_erpconnection_changelist") == allowed
        page = status_of(member, "connectors_erpconnection_change", mock)
        assert page == 200 if role in MAY_CONFIGURE else page in (403, 404)

    def test_testing(self, member, role, mock):
        answer = member.post(url("connectors_erpconnection_test", mock))

        assert answer.status_code == 302 if role in MAY_CONFIGURE else answer.status_code in (403, 404)
        assert mock.tests.count() == (1 if role in MAY_CONFIGURE else 0)

    def test_looking_at_exports(self, member, role, sent):
        page = status_of(member, "connectors_erpexport_change", sent)

        assert page == 200 if role else page in (403, 404)

    def test_cancelling(self, member, role, mock, submit):
        export = submit()

        member.post(url("connectors_erpexport_cancel", export))

        export.refresh_from_db()
        assert export.status == ("CANCELLED" if role in MAY_OPERATE else "PENDING")

    def test_keys(self, member, role):
        assert status_of(member, "tenants_apikey_changelist") == (200 if role == "ADMIN" else 403)


@pytest.mark.parametrize("role", ["ADMIN", "OPS"])
class TestForeignOrganisation:
    @pytest.fixture
    def stranger(self, sign_in, acme, role):
        return sign_in("stranger", one=(acme, role))

    def test_is_not_listed(self, stranger, theirs, role):
        if role == "ADMIN":
            assert "Globex ERP" not in text(stranger.get(url("connectors_erpconnection_changelist")))
        assert "Globex" not in text(stranger.get(url("connectors_erpexport_changelist")))

    def test_does_not_exist(self, stranger, theirs, globex, submit):
        export = submit("SO-9", org=globex)
        key, _ = ApiKey.objects.issue(org=globex, role="OPS", name="shop")

        for name, row in (
            ("connectors_erpconnection_change", theirs),
            ("connectors_erpconnection_history", theirs),
            ("connectors_erpconnection_delete", theirs),
            ("connectors_erpexport_change", export),
            ("connectors_erpexport_document", export),
            ("connectors_erpexport_download", export),
            ("tenants_apikey_change", key),
            ("tenants_organization_change", globex),
        ):
            assert status_of(stranger, name, row) in (403, 404), name

    def test_is_not_touched(self, stranger, theirs, globex, submit):
        export = submit("SO-9", org=globex)

        for name, row in (
            ("connectors_erpconnection_test", theirs),
            ("connectors_erpconnection_disable", theirs),
            ("connectors_erpconnection_delete", theirs),
            ("connectors_erpexport_cancel", export),
        ):
            assert stranger.post(url(name, row), {"confirmed": "yes"}).status_code in (403, 404), name
        chosen = {"action": "cancel_selected", "_selected_action": [str(export.pk)], "confirmed": "yes"}
        stranger.post(url("connectors_erpexport_changelist"), chosen)

        assert ERPExport.objects.get(pk=export.pk).status == "PENDING"
        assert theirs.tests.count() == 0
        theirs.refresh_from_db()
        assert theirs.status == "ACTIVE"

    def test_gets_no_connection(self, stranger, globex, role):
        answer = stranger.get(f"{url('connectors_erpconnection_add')}?org={globex.pk}&connector_type=MOCK")

        assert answer.status_code in (403, 404)
