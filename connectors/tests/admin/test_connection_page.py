"""The page of a connection without JavaScript: what it says, what each verb does, and for whom."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

import pytest
from django.utils import timezone

from connectors.admin import connection_page, connection_verbs, history
from connectors.admin.health_picture import BARS, draw
from connectors.models import ConnectionRevision, ConnectionTest, ERPConnection, Installation
from connectors.services import connections, diagnosis, revisions
from connectors.tests.admin.conftest import SECRET
from connectors.tests.admin.pages import at, text
from connectors.tests.admin.test_connections import add_address, form_of
from tenants.models import AuditEvent, Role

FORBIDDEN, REFUSED = 403, 409
NEXT = "the-n3xt-one"


def page_of(client, connection):
    return text(client.get(at("erpconnection", "change", connection.pk)))


def do(client, verb, connection, **data):
    return client.post(at("erpconnection", verb, connection.pk), data, follow=True)


def events_of(answer):
    """Return the names and data of a stream's events."""
    content = b"".join(answer.streaming_content).decode()
    return [(name, json.loads(data)) for name, data in re.findall(r"event: (\w+)\ndata: (.*)\n\n", content)]


class TestState:
    def test_what_is_tested_is_told_from_what_is_not(self, integrator, mock, actor):
        assert "never tested" in page_of(integrator, mock)
        diagnosis.test(mock, actor)
        assert "tested OK" in page_of(integrator, mock)
        connections.change(mock, actor, config={"latency_ms": 1})
        page = page_of(integrator, mock)
        assert "changed since its last test" in page
        assert "revision 1 was tested OK" in page

    def test_an_open_breaker_says_when_it_is_looked_after(self, integrator, mock):
        ERPConnection.objects.update(health="FAILING", failures_in_a_row=5, retry_at=timezone.now())

        page = page_of(integrator, mock)

        assert "5 troubles in a row" in page
        assert "looked after again at" in page

    def test_a_database_of_another_installation_says_so(self, integrator, mock):
        Installation.objects.update(name="elsewhere")

        assert "Nothing is sent from here." in page_of(integrator, mock)

    @pytest.mark.parametrize(
        ("days", "said", "kind"),
        [
            (31, "", ""),
            (30, "expires in 30 days", "erp-banner erp-banner-warn"),
            (3, "expires in 3 days", 'erp-banner"'),
            (0, "expires today", 'erp-banner"'),
            (-1, "Credentials expired on", 'erp-banner"'),
        ],
    )
    def test_credentials_that_end_are_announced(self, integrator, mock, actor, days, said, kind):
        day = timezone.now().date() + timedelta(days=days)
        connections.change(mock, actor, credentials_expire_on=day)

        page = page_of(integrator, mock)

        assert (said in page) if said else ("expire" not in page.split('id="connection-form"')[0])
        assert not kind or f'class="{kind}' in page

    def test_why_it_is_paused_is_told_from_the_exports_too(self, integrator, mock, submit):
        export = submit()
        type(export).objects.update(error={"code": "IDENTITY_CHANGED", "message": "", "hint": ""})
        ERPConnection.objects.update(health="AUTH_FAILED")

        page = page_of(integrator, mock)
        assert "another system answers than before" in page
        assert "identity changed" in page


class TestPicture:
    def test_it_tells_colour_shape_and_height(self, acme, mock):
        def test(success, latency_ms, status="passed"):
            steps = [{"name": "connect", "status": status}]
            code = "" if success else "CONNECTION_TIMEOUT"
            return ConnectionTest(
                subject="CHECK", success=success, code=code, latency_ms=latency_ms, result={"steps": steps}
            )

        picture = draw([test(True, 20), test(True, 20, "warning"), test(False, 10_000, "failed")])

        assert [bar.kind for bar in picture.bars] == ["failed", "warned", "passed"]
        assert picture.bars[0].height > picture.bars[1].height == picture.bars[2].height
        assert len({bar.mark for bar in picture.bars}) == 3
        assert picture.label == "Last 3 tests and checks: 2 passed, 1 failed, at most 10,000 ms."
        assert "failed with CONNECTION_TIMEOUT" in picture.bars[0].title
        assert all(0 <= bar.x < picture.width for bar in picture.bars)

    def test_it_is_bounded(self):
        tests = [ConnectionTest(success=True, latency_ms=0, result={"steps": []})] * (BARS + 5)

        assert len(draw(tests).bars) == BARS
        assert draw([]) is None


class TestTesting:
    def test_a_page_that_watches_gets_a_stream(self, integrator, mock):
        answer = integrator.post(at("erpconnection", "test", mock.pk), headers={"accept": "text/event-stream"})

        assert answer["Content-Type"] == "text/event-stream"
        names = [name for name, _ in events_of(answer)]
        assert names == ["test", "step", "step", "step", "result"]

    def test_a_browser_that_takes_anything_does_not(self, integrator, mock):
        answer = integrator.post(at("erpconnection", "test", mock.pk), headers={"accept": "text/html,*/*;q=0.8"})

        assert answer.url.endswith("#last-test")
        assert mock.tests.get().success

    def test_too_many_are_refused_in_words(self, integrator, mock, settings):
        settings.TESTS_PER_MINUTE_AND_KEY = 1
        do(integrator, "test", mock)

        assert "Try again in" in text(do(integrator, "test", mock))
        streamed = integrator.post(at("erpconnection", "test", mock.pk), headers={"accept": "text/event-stream"})
        assert streamed.status_code == REFUSED
        assert "Try again in" in streamed.json()["detail"]
        assert mock.tests.count() == 1

    def test_an_edit_is_tried_and_not_saved(self, integrator, mock):
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk)))

        answer = integrator.post(at("erpconnection", "change", mock.pk), form | {"config-latency_ms": 3, "_try": "yes"})

        assert "Not saved, only tried: the test passed" in text(answer)
        assert "unsaved edit" in text(answer)
        mock.refresh_from_db()
        assert (mock.revision, mock.tested_revision) == (1, None)

    def test_a_tried_secret_goes_nowhere_else(self, integrator, mock):
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk)))

        refused = integrator.post(
            at("erpconnection", "change", mock.pk), form | {"config-account": "elsewhere", "_try": "yes"}
        )

        assert "config-api_key" in refused.context["form"].errors
        assert not ConnectionTest.objects.exists()

    def test_a_new_one_is_tried_and_not_stored(self, integrator, acme):
        form = form_of(integrator.get(add_address(acme, "MOCK")))

        answer = integrator.post(add_address(acme, "MOCK"), form | {"config-api_key": SECRET, "_try": "yes"})

        assert "unsaved connection" in text(answer)
        assert SECRET not in text(answer)
        assert not ERPConnection.objects.exists()
        assert text(integrator.get(at("connectiontest", "change", ConnectionTest.objects.get().pk)))

    def test_saving_and_testing_in_one_go(self, integrator, mock):
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk)))

        answer = integrator.post(
            at("erpconnection", "change", mock.pk), form | {"config-latency_ms": 3, "_save_and_test": "yes"}
        )

        assert answer.url.endswith("#last-test")
        mock.refresh_from_db()
        assert (mock.revision, mock.tested_revision) == (2, 2)

    def test_a_waiting_test_is_cancelled(self, integrator, mock, actor):
        test = diagnosis.start(mock, actor)
        assert "Cancel the test" in page_of(integrator, mock)

        integrator.post(at("connectiontest", "cancel", test.pk))

        test.refresh_from_db()
        assert test.state == "CANCELLED"
        again = integrator.post(at("connectiontest", "cancel", test.pk), follow=True)
        assert "This test has ended already." in text(again)

    def test_whoever_may_only_configure_does_not_test(self, integrator, mock, acme, monkeypatch):
        for module in (connection_page, connection_verbs, history):
            monkeypatch.setattr(module, "TEST", frozenset({Role.ADMIN}))
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk)))

        page = page_of(integrator, mock)
        assert not [label for label in ("Test connection", "Save and test", "Test without saving") if label in page]
        assert integrator.post(at("erpconnection", "test", mock.pk)).status_code == FORBIDDEN
        assert integrator.post(at("erpconnection", "test-staged", mock.pk)).status_code == FORBIDDEN
        tried = integrator.post(at("erpconnection", "change", mock.pk), form | {"_try": "yes"})
        assert tried.status_code == FORBIDDEN
        integrator.post(at("erpconnection", "change", mock.pk), form | {"_save_and_test": "yes"})
        assert not ConnectionTest.objects.exists()


class TestMonitoring:
    def test_it_is_edited_with_the_configuration(self, integrator, mock):
        form = form_of(integrator.get(at("erpconnection", "change", mock.pk)))

        integrator.post(
            at("erpconnection", "change", mock.pk), form | {"check_minutes": 0, "credentials_expire_on": "2027-01-31"}
        )

        mock.refresh_from_db()
        assert (mock.check_minutes, mock.credentials_expire_on, mock.revision) == (0, date(2027, 1, 31), 1)


class TestActivating:
    @pytest.fixture
    def spare(self, acme, actor):
        config = {"fail_with": "TemporaryError"}
        return connections.create(acme, actor, connector_type="MOCK", config=config, name="Spare", status="DISABLED")

    def test_what_was_never_tested_is_tested_first(self, integrator, spare):
        asked = text(do(integrator, "activate", spare))
        assert "Test, then activate" in asked

        answer = do(integrator, "activate", spare, confirmed="yes")

        assert "was not activated: its test failed" in text(answer)
        spare.refresh_from_db()
        assert (spare.status, spare.tests.count()) == ("DISABLED", 1)

    def test_a_reason_stands_in_for_a_test_and_is_audited(self, integrator, spare):
        assert "Give a reason." in text(do(integrator, "activate", spare, confirmed="yes", untested="yes", reason=" "))

        do(integrator, "activate", spare, confirmed="yes", untested="yes", reason="Because.")

        spare.refresh_from_db()
        assert spare.status == "ACTIVE"
        assert AuditEvent.objects.first().details["reason"] == "Because."
        assert "reason: Because." in page_of(integrator, spare)

    def test_another_active_one_is_replaced_only_by_who_saw_it(self, integrator, spare, mock):
        answer = do(integrator, "activate", spare, confirmed="yes", untested="yes", reason="Because.")

        assert "Replace it?" in text(answer)
        mock.refresh_from_db()
        assert mock.status == "ACTIVE"


class TestTheWayBack:
    def test_a_revision_comes_back_after_asking(self, integrator, mock, actor):
        connections.change(mock, actor, config={"latency_ms": 5})
        assert "Bring back revision 1" in text(do(integrator, "revert", mock, revision="1"))

        do(integrator, "revert", mock, revision="1", confirmed="yes")

        mock.refresh_from_db()
        assert (mock.revision, mock.read_config()["latency_ms"], mock.tested_revision) == (3, 0, 3)

    @pytest.mark.parametrize("number", ["", "99", "-1", "x", "²"])
    def test_what_is_not_there_is_refused(self, integrator, mock, number):
        answer = do(integrator, "revert", mock, revision=number, confirmed="yes")

        assert "There is no such earlier revision." in text(answer)


class TestNextCredentials:
    def test_only_secrets_that_apply_are_asked_for(self, integrator, mock):
        answer = integrator.get(at("erpconnection", "change", mock.pk))

        assert list(answer.context["stage_form"].fields) == ["config-api_key"]

    def test_they_are_staged_tested_and_promoted(self, integrator, mock):
        staged = do(integrator, "stage", mock, **{"config-api_key": NEXT})
        assert NEXT not in text(staged)
        assert "No test has succeeded with them." in text(do(integrator, "promote", mock))

        do(integrator, "promote", mock, confirmed="yes")

        mock.refresh_from_db()
        assert (mock.read_config()["api_key"], mock.tested_revision) == (NEXT, 2)
        assert mock.tests.get().subject == "STAGED"

    def test_untested_ones_take_a_reason(self, integrator, mock, actor):
        revisions.stage(mock, actor, {"api_key": NEXT})

        asked = do(integrator, "promote", mock, confirmed="yes", untested="yes", reason="")
        assert "Give a reason." in text(asked)
        do(integrator, "promote", mock, confirmed="yes", untested="yes", reason="Because.")

        mock.refresh_from_db()
        assert (mock.read_config()["api_key"], mock.tested_revision) == (NEXT, None)

    def test_they_are_discarded_after_asking(self, integrator, mock, actor):
        revisions.stage(mock, actor, {"api_key": NEXT})
        do(integrator, "discard", mock)
        assert ConnectionRevision.objects.exists()

        do(integrator, "discard", mock, confirmed="yes")

        assert not ConnectionRevision.objects.exists()

    @pytest.mark.parametrize(("value", "said"), [("", "At least one secret"), ("••••••", "placeholder")])
    def test_nothing_and_a_mask_are_refused(self, integrator, mock, value, said):
        answer = do(integrator, "stage", mock, **{"config-api_key": value})

        assert said in text(answer)
        assert not ConnectionRevision.objects.exists()

    @pytest.mark.parametrize("verb", ["promote", "discard", "test-staged"])
    def test_without_any_there_is_nothing_to_do(self, integrator, mock, verb):
        assert "No credentials are staged." in text(do(integrator, verb, mock, confirmed="yes"))


class TestList:
    def test_it_finds_those_whose_credentials_expire(self, superuser, mock, foreign, actor):
        connections.change(mock, actor, credentials_expire_on=timezone.now().date() + timedelta(days=5))

        answer = superuser.get(at("erpconnection", "changelist"), {"expiring": "soon"})

        assert [row.pk for row in answer.context["cl"].result_list] == [mock.pk]

    def test_it_says_what_is_tested(self, superuser, mock, foreign, actor):
        diagnosis.test(mock, actor)
        connections.change(mock, actor, config={"latency_ms": 1})

        listed = text(superuser.get(at("erpconnection", "changelist")))

        assert "never tested" in listed
        assert ">changed<" in listed.replace("</span>changed", ">changed")


class TestOrganization:
    def test_only_superusers_confine_it(self, superuser, person, sign_in, acme):
        form = {"name": acme.name, "egress_networks": "10.20.0.0/16", "memberships-TOTAL_FORMS": 0}
        form["memberships-INITIAL_FORMS"] = 0
        sign_in(person(acme, Role.ADMIN)).post(at("organization", "change", acme.pk), form)
        acme.refresh_from_db()
        assert acme.egress_networks == []

        superuser.post(at("organization", "change", acme.pk), form)

        acme.refresh_from_db()
        assert acme.egress_networks == ["10.20.0.0/16"]
