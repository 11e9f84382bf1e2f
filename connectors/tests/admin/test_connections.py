"""The pages of connections: a form made from the adapter, tests, and secrets that go in and never come out."""

import pytest
from django.db import connection as database

from connectors.models import ConnectionTest, ERPConnection
from connectors.services import connections
from connectors.tests.admin.conftest import SECRET, text, url
from tenants.models import AuditEvent

ADD = "connectors_erpconnection_add"
CHANGE = "connectors_erpconnection_change"
LIST = "connectors_erpconnection_changelist"


def add_page(org, connector_type):
    return f"{url(ADD)}?org={org.pk}&connector_type={connector_type}"


def edit(connection, **config):
    stored = connections.describe(connection)["config"]
    shown = {name: value for name, value in stored.items() if value not in (None, False)}
    return {"name": connection.name, "revision": connection.revision} | {
        f"config-{name}" if not name.startswith("clear-") else name: value for name, value in (shown | config).items()
    }


class TestAdding:
    def test_begins_with_organisation_and_type(self, root, acme):
        page = text(root.get(url(ADD)))

        assert "JSON dropzone" in page
        assert "Acme GmbH" in page

    def test_the_form_is_made_from_the_configuration(self, root, acme):
        page = text(root.get(add_page(acme, "DROPZONE_JSON_V1")))

        for name, kind in (("host", 'type="text"'), ("password", 'type="password"'), ("timeout_s", 'type="number"')):
            assert (
                kind
                in page.split(f'name="config-{name}"')[0].rsplit("<", 1)[1]
                + page.split(f'name="config-{name}"')[1].split(">")[0]
            )
        assert '<textarea name="config-private_key"' in page

    def test_stores_the_connection(self, root, acme):
        answer = root.post(
            add_page(acme, "MOCK"),
            {"name": "Test ERP", "status": "ACTIVE", "config-account": "demo", "config-api_key": SECRET}
            | {"config-latency_ms": 0, "config-fail_times": 1, "config-acknowledgement": "none"},
        )

        connection = ERPConnection.objects.get()
        assert answer.url == url(CHANGE, connection)
        assert (connection.name, connection.read_config()["api_key"]) == ("Test ERP", SECRET)
        event = AuditEvent.objects.of(acme).first()
        assert (event.action, event.actor_label, event.address) == ("connection.created", "root", "127.0.0.1")

    def test_shows_each_fault_on_its_field_and_no_secret(self, root, acme):
        answer = root.post(
            add_page(acme, "DROPZONE_JSON_V1"),
            {"status": "ACTIVE", "config-mode": "sftp", "config-export_path": "/in", "config-password": SECRET}
            | {"config-port": 22, "config-timeout_s": 10, "config-temp_suffix": ".tmp"},
        )

        assert {"config-host", "config-username"} <= set(answer.context["form"].errors)
        assert SECRET not in text(answer)
        assert not ERPConnection.objects.exists()


class TestEditing:
    def test_a_secret_is_never_shown(self, root, mock):
        page = text(root.get(url(CHANGE, mock)))

        assert SECRET not in page
        assert "leave empty to keep" in page

    def test_an_empty_secret_is_kept(self, root, mock):
        assert root.post(url(CHANGE, mock), edit(mock, latency_ms=7)).status_code == 302

        mock.refresh_from_db()
        assert mock.read_config()["latency_ms"] == 7
        assert mock.read_config()["api_key"] == SECRET

    def test_a_secret_can_be_replaced_and_cleared(self, root, mock):
        root.post(url(CHANGE, mock), edit(mock, api_key="other"))
        mock.refresh_from_db()
        assert mock.read_config()["api_key"] == "other"

        root.post(url(CHANGE, mock), edit(mock) | {"clear-api_key": "on"})
        mock.refresh_from_db()
        assert mock.read_config()["api_key"] is None

    def test_a_new_destination_asks_for_the_secret(self, root, mock):
        answer = root.post(url(CHANGE, mock), edit(mock, account="elsewhere"))

        assert list(answer.context["form"].errors) == ["config-api_key"]
        mock.refresh_from_db()
        assert mock.read_config()["account"] == "demo"

    def test_somebody_elses_edit_is_not_overwritten(self, root, mock, actor):
        stale = edit(mock, latency_ms=7)
        connections.change(mock, actor, config={"latency_ms": 3})

        assert "Somebody else changed" in text(root.post(url(CHANGE, mock), stale))

    def test_an_unreadable_row_opens_and_can_be_replaced(self, root, mock):
        with database.cursor() as cursor:
            cursor.execute("UPDATE erp_connection SET config_encrypted = 'not an envelope'")

        assert "unreadable" in text(root.get(url(LIST)))
        page = root.get(url(CHANGE, mock))
        assert page.status_code == 200
        answer = root.post(
            url(CHANGE, mock), edit(mock, account="new", latency_ms=0, fail_times=1, acknowledgement="none")
        )
        assert answer.status_code == 302
        mock.refresh_from_db()
        assert mock.read_config()["account"] == "new"


class TestTesting:
    @pytest.fixture
    def failing(self, acme, actor):
        return connections.create(acme, actor, connector_type="MOCK", config={"fail_with": "AuthenticationFailed"})

    def test_is_post_only(self, root, mock):
        for verb in ("test", "activate", "disable"):
            assert root.get(url(f"connectors_erpconnection_{verb}", mock)).status_code == 405

    def test_shows_the_steps_and_what_to_do(self, root, failing):
        answer = root.post(url("connectors_erpconnection_test", failing), follow=True)

        step = next(step for step in ConnectionTest.objects.get().result["steps"] if step["status"] == "failed")
        assert step["name"] in text(answer)
        assert step["hint"].split(";")[0] in text(answer)
        assert "sign-in refused" in text(answer)

    def test_from_the_list_comes_back_to_the_list(self, root, mock):
        assert f'formaction="{url("connectors_erpconnection_test", mock)}"' in text(root.get(url(LIST)))

        answer = root.post(url("connectors_erpconnection_test", mock), {"from_list": "?q=x"})

        assert answer.url == f"{url(LIST)}?q=x"

    def test_leads_nowhere_else(self, root, mock):
        answer = root.post(url("connectors_erpconnection_test", mock), {"from_list": "//evil.example"})

        assert answer.url == url(LIST)

    def test_in_bulk(self, root, mock):
        root.post(url(LIST), {"action": "test_selected", "_selected_action": [str(mock.pk)]})

        assert ConnectionTest.objects.count() == 1


class TestSwitchingOver:
    @pytest.fixture
    def spare(self, acme, actor):
        return connections.create(acme, actor, connector_type="MOCK", config={}, name="spare", status="DISABLED")

    def test_replacing_asks_first(self, root, mock, spare):
        page = url("connectors_erpconnection_activate", spare)

        assert "Replace it?" in text(root.post(page))
        assert ERPConnection.objects.active().get() == mock

        root.post(page, {"confirmed": "yes"})
        assert ERPConnection.objects.active().get() == spare

    def test_disabling_asks_first(self, root, mock):
        page = url("connectors_erpconnection_disable", mock)

        assert "Disable this connection?" in text(root.post(page))
        root.post(page, {"confirmed": "yes"})
        assert not ERPConnection.objects.active().exists()

    def test_one_with_exports_is_not_deleted(self, root, mock, sent):
        root.post(url("connectors_erpconnection_delete", mock), {"confirmed": "yes"})

        assert ERPConnection.objects.filter(pk=mock.pk).exists()

    def test_an_unused_one_is(self, root, mock):
        page = url("connectors_erpconnection_delete", mock)

        root.post(page)
        assert ERPConnection.objects.exists()
        root.post(page, {"confirmed": "yes"})
        assert not ERPConnection.objects.exists()
