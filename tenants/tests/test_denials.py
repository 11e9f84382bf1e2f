"""Who comes in and who is refused stands in the audit trail; who is refused often does not fill it."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.test import Client

from tenants import denials
from tenants.actors import Actor
from tenants.audit import AuditEvent
from tenants.denials import MOST_PER_WINDOW, Denial, Denials
from tenants.models import ApiKey, Membership, Organization, Role

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture
def acme():
    return Organization.objects.create(slug="acme", name="Acme GmbH")


@pytest.fixture
def ada(acme):
    person = get_user_model().objects.create_user("ada", password=PASSWORD, is_staff=True)
    Membership.objects.create(user=person, org=acme, role=Role.VIEWER)
    return person


def a_denial(address="192.0.2.1", action="access.denied"):
    return Denial(actor=Actor.system("x"), org=None, action=action, details=(("address", address),))


class TestCounting:
    def test_repetitions_are_told_with_the_first_refusal_after_a_minute(self):
        now = [0.0]
        counted = Denials(clock=lambda: now[0])

        assert counted.note(a_denial()) == [(a_denial(), 0)]
        assert [counted.note(a_denial()) for _ in range(1000)] == [[]] * 1000
        now[0] = 61.0
        assert counted.note(a_denial("198.51.100.7")) == [(a_denial(), 1000), (a_denial("198.51.100.7"), 0)]

    def test_many_who_are_refused_are_counted_together(self):
        now = [0.0]
        counted = Denials(clock=lambda: now[0])

        recorded = [each for number in range(5000) for each in counted.note(a_denial(str(number)))]
        now[0] = 61.0
        rest = counted.note(a_denial("last"))

        assert len(recorded) == MOST_PER_WINDOW
        assert [(denial.actor.label, count) for denial, count in rest[:1]] == [("many others", 4900)]


class TestDenials:
    def test_a_key_that_opens_nothing(self, acme):
        key, token = ApiKey.objects.issue(org=acme, role=Role.OPS, name="shop")
        for _ in range(5):
            Client().get("/api/v1/me", headers={"Authorization": f"Bearer {token[:-1]}~", "X-Request-ID": "r-1"})

        event = AuditEvent.objects.get()
        assert (event.action, event.org, event.request_id) == ("access.denied", None, "r-1")
        assert (event.actor_kind, event.actor_id, event.address) == ("API_KEY", key.pk, "127.0.0.1")
        assert event.details == {"status": 401, "method": "GET", "route": "api:me"}
        assert token[-20:-1] not in str(list(AuditEvent.objects.values()))

    @pytest.mark.parametrize(
        ("path", "status"),
        [("audit-events", 403), ("exports/00000000-0000-0000-0000-000000000000", 404)],
    )
    def test_what_a_role_may_not_do_and_what_is_not_theirs(self, acme, path, status):
        key, token = ApiKey.objects.issue(org=acme, role=Role.VIEWER, name="shop")

        answer = Client().get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})

        event = acme.audit_events.get()
        assert (answer.status_code, event.details["status"], event.actor_id) == (status, status, key.pk)

    def test_a_person_whom_the_admin_refuses(self, ada):
        client = Client()
        client.force_login(ada)

        assert client.get("/admin/auth/user/").status_code == 403
        assert AuditEvent.objects.get(action="access.denied").actor_label == "ada"

    def test_a_trail_that_cannot_be_written_refuses_nobody_less(self, acme, monkeypatch):
        def fail(*_, **__):
            raise DatabaseError

        monkeypatch.setattr(denials, "record", fail)

        assert Client().get("/api/v1/me", headers={"Authorization": "Bearer nonsense"}).status_code == 401


class TestSignIn:
    def test_in_and_out_in_the_trail_of_each_organisation(self, acme, ada):
        globex = Organization.objects.create(slug="globex", name="Globex AG")
        Membership.objects.create(user=ada, org=globex, role=Role.OPS)
        client = Client()

        client.post("/admin/login/", {"username": "ada", "password": PASSWORD})
        client.post("/admin/logout/")

        for org in (acme, globex):
            events = org.audit_events.filter(action__startswith="sign_in.").order_by("id")
            assert [(event.action, event.actor_label) for event in events][:1] == [("sign_in.succeeded", "ada")]
            assert events.last().action == "sign_in.ended"

    def test_a_wrong_password_and_a_lock_out(self, ada):
        for _ in range(6):
            Client().post("/admin/login/", {"username": "ada", "password": "wrong"})

        events = AuditEvent.objects.filter(action__startswith="sign_in.").order_by("id")
        assert [(event.action, event.actor_label) for event in events] == [
            ("sign_in.refused", "ada"),
            ("sign_in.locked_out", "ada"),
        ]

    @pytest.mark.parametrize("name", ["hunter2-typed-in-the-wrong-field", "\0", "x" * 5000, "\ud800"])
    def test_a_name_that_nobody_has_may_be_a_password(self, name):
        Client().post("/admin/login/", {"username": name.encode("utf-8", "replace"), "password": "x"})

        for event in AuditEvent.objects.all():
            assert event.actor_label == "unknown"
            assert "hunter2" not in str(event.__dict__)
