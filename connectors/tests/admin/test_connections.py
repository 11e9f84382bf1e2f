"""Connections: the generated form, what happens to secrets, tests, switch-overs, and rows that nobody can read."""

from __future__ import annotations

import re

import pytest
from django.contrib.messages import get_messages
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from connectors.admin.connections import MAX_TESTS_AT_ONCE
from connectors.encryption import envelope
from connectors.models import ConnectionTest, ERPConnection
from connectors.services import connections, diagnosis, exports
from connectors.testing import sample_orders
from connectors.tests.admin.conftest import SECRET
from connectors.tests.admin.pages import at, text
from connectors.tests.rows import things_done
from tenants.models import AuditEvent, Organization

OK, REDIRECT = 200, 302
SFTP = {
    "mode": "sftp",
    "host": "sftp.example.com",
    "username": "acme",
    "password": SECRET,
    "export_path": "/orders/in",
    "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
}


def form_of(page):
    """Return what a browser would send if the form were submitted as it was shown."""
    form = page.context["form"]
    return {name: value for name in form.fields if (value := form[name].value()) not in (None, False)}


def add_address(org, connector_type):
    return f"{at('erpconnection', 'add')}?org={org.pk}&connector_type={connector_type}"


@pytest.fixture
def sftp(acme, actor):
    return connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=SFTP)


@pytest.fixture
def unreadable(mock):
    tampered = bytearray(mock.config_encrypted)
    tampered[-1] ^= 1
    ERPConnection.objects.filter(pk=mock.pk).update(config_encrypted=bytes(tampered))
    return mock


class TestAdding:
    def test_begins_with_organization_and_type(self, integrator, acme, globex):
        page = text(integrator.get(at("erpconnection", "add")))

        assert "DROPZONE_JSON_V1" in page
        assert "MOCK" in page
        assert "Acme GmbH" in page
        assert "Globex AG" not in page

    def test_shows_a_form_made_from_the_configuration_class(self, integrator, acme):
        page = integrator.get(add_address(acme, "DROPZONE_JSON_V1"))

        shown = text(page)
        assert re.search(
            r'<select name="config-mode".*?value="sftp">sftp.*?value="filesystem">filesystem', shown, re.DOTALL
        )
        assert re.search(r'<input type="number" name="config-port" value="22"[^>]*min="1"[^>]*max="65535"', shown)
        assert re.search(r'<input type="checkbox" name="config-atomic_write"[^>]*checked', shown)
        assert re.search(r'<input type="password" name="config-password"', shown)
        assert re.search(r'<textarea name="config-private_key"', shown)
        assert "The server's public key (ssh-ed25519 AAAA...)" in shown
        assert shown.count("not set") == 3

    def test_creates_the_connection_with_its_secret_sealed(self, integrator, acme):
        page = integrator.get(add_address(acme, "MOCK"))

        answer = integrator.post(add_address(acme, "MOCK"), form_of(page) | {"name": "", "config-api_key": SECRET})

        created = ERPConnection.objects.get()
        assert answer.url == at("erpconnection", "change", created.pk)
        assert (created.org, created.name, created.status) == (acme, "Mock ERP", "ACTIVE")
        assert created.read_config()["api_key"] == SECRET
        event = things_done().get()
        assert (event.action, event.actor_kind, event.address) == ("connection.created", "USER", "127.0.0.1")
        assert event.request_id

    def test_proposes_disabled_when_another_one_is_active(self, integrator, acme, mock):
        assert form_of(integrator.get(add_address(acme, "MOCK")))["status"] == "DISABLED"

    def test_a_second_active_one_is_refused_in_words(self, integrator, acme, mock):
        form = form_of(integrator.get(add_address(acme, "MOCK"))) | {"status": "ACTIVE"}

        answer = integrator.post(add_address(acme, "MOCK"), form)

        assert "already has an active connection" in text(answer)
        assert ERPConnection.objects.count() == 1

    def test_each_fault_stands_on_its_field(self, integrator, acme):
        form = form_of(integrator.get(add_address(acme, "DROPZONE_JSON_V1")))

        answer = integrator.post(
            add_address(acme, "DROPZONE_JSON_V1"),
            form | {"config-mode": "sftp", "config-export_path": "/in/../out", "config-passphrase": SECRET},
        )

        assert answer.context["form"].errors == {"config-export_path": ["Must not contain ..."]}
        answer = integrator.post(
            add_address(acme, "DROPZONE_JSON_V1"),
            form | {"config-mode": "sftp", "config-export_path": "/in", "config-passphrase": SECRET},
        )
        assert answer.context["form"].errors == {
            "config-host": ["Is required for mode sftp."],
            "config-username": ["Is required for mode sftp."],
            "config-password": ["A password or a private key is required."],
            "config-passphrase": ["Is only for a private key."],
        }
        assert SECRET not in text(answer)
        assert not ERPConnection.objects.exists()

    def test_fields_of_another_mode_are_left_empty(self, integrator, acme):
        form = form_of(integrator.get(add_address(acme, "DROPZONE_JSON_V1")))
        filesystem = form | {"config-mode": "filesystem", "config-export_path": "in"}

        refused = integrator.post(add_address(acme, "DROPZONE_JSON_V1"), filesystem | {"config-host": "h"})
        accepted = integrator.post(add_address(acme, "DROPZONE_JSON_V1"), filesystem)

        assert refused.context["form"].errors == {"config-host": ["Is only for mode sftp; leave it empty."]}
        assert accepted.status_code == REDIRECT


class TestChanging:
    def test_a_stored_secret_is_never_shown(self, integrator, sftp):
        page = integrator.get(at("erpconnection", "change", sftp.pk))

        shown = text(page)
        assert SECRET not in shown
        assert "leave empty to keep" in shown
        assert 'name="clear-config-password"' not in shown
        assert 'name="clear-password"' in shown

    def test_an_untouched_form_changes_nothing(self, integrator, sftp):
        page = integrator.get(at("erpconnection", "change", sftp.pk))
        before = things_done().count()

        answer = integrator.post(at("erpconnection", "change", sftp.pk), form_of(page))

        assert answer.status_code == REDIRECT
        sftp.refresh_from_db()
        assert sftp.revision == 1
        assert sftp.read_config()["password"] == SECRET
        assert things_done().count() == before

    def test_an_empty_secret_is_kept(self, integrator, sftp):
        form = form_of(integrator.get(at("erpconnection", "change", sftp.pk))) | {"config-timeout_s": 30}

        integrator.post(at("erpconnection", "change", sftp.pk), form)

        stored = ERPConnection.objects.get().read_config()
        assert (stored["timeout_s"], stored["password"]) == (30, SECRET)

    def test_a_new_secret_replaces_the_stored_one(self, integrator, sftp):
        form = form_of(integrator.get(at("erpconnection", "change", sftp.pk))) | {"config-password": " other "}

        integrator.post(at("erpconnection", "change", sftp.pk), form)

        assert ERPConnection.objects.get().read_config()["password"] == " other "

    def test_a_secret_is_cleared_when_asked(self, integrator, mock):
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk))) | {"clear-api_key": "on"}

        integrator.post(at("erpconnection", "change", mock.pk), form)

        assert ERPConnection.objects.get().read_config()["api_key"] is None

    def test_a_secret_is_not_replaced_and_cleared_at_once(self, integrator, mock):
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk)))

        answer = integrator.post(
            at("erpconnection", "change", mock.pk), form | {"clear-api_key": "on", "config-api_key": "new"}
        )

        assert "config-api_key" in answer.context["form"].errors
        assert ERPConnection.objects.get().read_config()["api_key"] == SECRET

    def test_another_destination_asks_for_the_secret(self, integrator, sftp):
        form = form_of(integrator.get(at("erpconnection", "change", sftp.pk))) | {"config-host": "evil.example.com"}

        refused = integrator.post(at("erpconnection", "change", sftp.pk), form)

        assert refused.context["form"].errors == {
            "config-password": ["Enter it again: the destination changed."]
        }  # fmt: skip
        assert ERPConnection.objects.get().read_config()["host"] == "sftp.example.com"
        accepted = integrator.post(at("erpconnection", "change", sftp.pk), form | {"config-password": "entered"})
        assert accepted.status_code == REDIRECT
        assert ERPConnection.objects.get().read_config()["password"] == "entered"

    def test_leaving_sftp_takes_its_secrets_away(self, integrator, sftp):
        filesystem = {"config-mode": "filesystem", "config-export_path": "in"}
        form = form_of(integrator.get(at("erpconnection", "change", sftp.pk)))
        for name in ("host", "port", "username", "host_key"):
            form.pop(f"config-{name}", None)

        answer = integrator.post(at("erpconnection", "change", sftp.pk), form | filesystem)

        assert answer.status_code == REDIRECT
        assert ERPConnection.objects.get().read_config()["password"] is None

    def test_an_edit_of_an_old_revision_is_refused(self, integrator, mock, actor):
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk)))
        connections.change(mock, actor, config={"latency_ms": 7})

        answer = integrator.post(at("erpconnection", "change", mock.pk), form | {"config-latency_ms": 9})

        assert "Somebody else changed this connection" in text(answer)
        assert ERPConnection.objects.get().read_config()["latency_ms"] == 7

    def test_key_lines_end_as_they_do_in_a_file(self, integrator, acme):
        """Browsers send CRLF, and some SSH libraries stumble over it."""
        form = form_of(integrator.get(add_address(acme, "DROPZONE_JSON_V1")))

        page = integrator.post(
            add_address(acme, "DROPZONE_JSON_V1"), form | {"config-mode": "sftp", "config-private_key": "a\r\nb"}
        )

        assert page.context["form"].cleaned_data["config-private_key"] == "a\nb"
        assert "a\nb" not in text(page)


class TestUnreadable:
    def test_the_list_and_the_page_say_so(self, integrator, unreadable):
        assert "unreadable" in text(integrator.get(at("erpconnection", "changelist")))
        page = text(integrator.get(at("erpconnection", "change", unreadable.pk)))

        assert "cannot be decrypted" in page
        assert "ENCRYPTION_PREVIOUS_KEYS" in page

    def test_its_configuration_can_be_replaced(self, integrator, unreadable):
        form = form_of(integrator.get(at("erpconnection", "change", unreadable.pk)))

        answer = integrator.post(at("erpconnection", "change", unreadable.pk), form | {"config-account": "new"})

        assert answer.status_code == REDIRECT
        assert ERPConnection.objects.get().read_config()["account"] == "new"

    def test_a_test_fails_with_its_code(self, integrator, unreadable):
        integrator.post(at("erpconnection", "test", unreadable.pk))

        assert ConnectionTest.objects.get().code == "UNREADABLE_CONFIG"

    def test_a_connector_that_was_uninstalled_leaves_the_name_to_edit(self, integrator, mock):
        ERPConnection.objects.update(connector_type="GONE")

        page = integrator.get(at("erpconnection", "change", mock.pk))
        answer = integrator.post(at("erpconnection", "change", mock.pk), form_of(page) | {"name": "Old one"})

        assert "GONE is not installed here" in text(page)
        assert SECRET not in text(page)
        assert answer.status_code == REDIRECT
        assert ERPConnection.objects.get().name == "Old one"


class TestTesting:
    def test_a_passed_test_stands_on_the_page(self, integrator, mock):
        answer = integrator.post(at("erpconnection", "test", mock.pk), follow=True)

        page = text(answer)
        assert answer.redirect_chain[0][0] == at("erpconnection", "change", mock.pk) + "#last-test"
        assert page.index("<strong>connect</strong>") < page.index("<strong>log in</strong>")
        assert "there is no ERP behind this connection" in page
        assert "tested" in page

    def test_a_failed_test_says_what_to_do(self, integrator, acme, actor):
        refused = connections.create(
            acme, actor, connector_type="MOCK", config={"fail_with": "AuthenticationFailed", "api_key": SECRET}
        )

        page = text(integrator.post(at("erpconnection", "test", refused.pk), follow=True))

        assert "AUTHENTICATION_FAILED" in page
        assert "What to do:" in page
        assert "Paused: the far end refused the sign-in." in page
        assert SECRET not in page

    def test_a_change_makes_the_test_outdated(self, integrator, mock, actor):
        diagnosis.test(mock, actor)
        connections.change(mock, actor, config={"latency_ms": 1})

        assert "changed since its last test" in text(integrator.get(at("erpconnection", "change", mock.pk)))

    def test_the_button_of_a_row_comes_back_to_the_same_list(self, integrator, mock):
        listed = integrator.get(at("erpconnection", "changelist"), {"status__exact": "ACTIVE"})
        assert f'formaction="{at("erpconnection", "test", mock.pk)}"' in text(listed)

        answer = integrator.post(at("erpconnection", "test", mock.pk), {"from_list": "?status__exact=ACTIVE"})

        assert answer.url == at("erpconnection", "changelist") + "?status__exact=ACTIVE"
        assert "the test passed" in str(next(iter(get_messages(answer.wsgi_request))))

    @pytest.mark.parametrize("elsewhere", ["https://evil.example.com/", "//evil.example.com", "@evil.example.com"])
    def test_the_button_leads_nowhere_else(self, integrator, mock, elsewhere):
        answer = integrator.post(at("erpconnection", "test", mock.pk), {"from_list": elsewhere})

        assert answer.url == at("erpconnection", "changelist")

    def test_several_are_tested_at_once(self, superuser, mock, foreign):
        superuser.post(
            at("erpconnection", "changelist"),
            {"action": "test_selected", "_selected_action": [mock.pk, foreign.pk]},
        )

        assert set(ConnectionTest.objects.values_list("connection", flat=True)) == {mock.pk, foreign.pk}

    def test_but_not_more_than_a_person_waits_for(self, superuser, actor):
        orgs = [Organization.objects.create(slug=f"o{n}", name=f"O{n}") for n in range(MAX_TESTS_AT_ONCE + 1)]
        rows = [connections.create(org, actor, connector_type="MOCK", config={}) for org in orgs]

        superuser.post(
            at("erpconnection", "changelist"),
            {"action": "test_selected", "_selected_action": [row.pk for row in rows]},
        )

        assert not ConnectionTest.objects.exists()


class TestSwitchingOver:
    @pytest.fixture
    def spare(self, acme, mock, actor):
        return connections.create(acme, actor, connector_type="MOCK", config={}, name="Spare", status="DISABLED")

    def test_replacing_the_active_one_asks_first(self, integrator, mock, spare):
        asked = integrator.post(at("erpconnection", "activate", spare.pk))
        mock.refresh_from_db()
        assert "Replace it?" in text(asked)
        assert mock.status == "ACTIVE"

        integrator.post(at("erpconnection", "activate", spare.pk), {"confirmed": "yes", "replace": "yes"})

        mock.refresh_from_db()
        spare.refresh_from_db()
        assert (mock.status, spare.status) == ("DISABLED", "ACTIVE")

    def test_disabling_asks_first(self, integrator, mock):
        asked = integrator.post(at("erpconnection", "disable", mock.pk))
        mock.refresh_from_db()
        assert "Disable this connection?" in text(asked)
        assert mock.status == "ACTIVE"

        integrator.post(at("erpconnection", "disable", mock.pk), {"confirmed": "yes"})

        mock.refresh_from_db()
        assert mock.status == "DISABLED"

    def test_one_without_exports_is_deleted_after_asking(self, integrator, mock):
        asked = integrator.get(at("erpconnection", "delete", mock.pk))
        assert "Delete this connection" in text(asked)

        integrator.post(at("erpconnection", "delete", mock.pk), {"confirmed": "yes"})

        assert not ERPConnection.objects.exists()
        assert AuditEvent.objects.first().action == "connection.deleted"

    def test_one_with_exports_stays(self, integrator, acme, mock, actor):
        exports.submit(acme, actor, sample_orders.minimal(), idempotency_key="k")

        page = integrator.get(at("erpconnection", "change", mock.pk))
        answer = integrator.post(at("erpconnection", "delete", mock.pk), {"confirmed": "yes"}, follow=True)

        assert at("erpconnection", "delete", mock.pk) not in text(page)
        assert "Disable it instead." in text(answer)
        assert ERPConnection.objects.exists()


def test_the_list_asks_as_much_for_many_rows_as_for_one(superuser, mock, actor):
    def queries():
        with CaptureQueriesContext(database) as captured:
            superuser.get(at("erpconnection", "changelist"))
        return len(captured)

    superuser.get(at("erpconnection", "changelist"))
    one = queries()
    for number in range(5):
        org = Organization.objects.create(slug=f"o{number}", name=f"O{number}")
        diagnosis.test(connections.create(org, actor, connector_type="MOCK", config={}), actor)

    assert queries() == one


def test_the_tampered_row_of_these_tests_is_an_envelope(unreadable):
    """Otherwise the tests of unreadable rows would prove something easier."""
    row = ERPConnection.objects.get()

    assert bytes(row.config_encrypted).startswith(envelope.MAGIC)
