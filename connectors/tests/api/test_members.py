"""Members and invitations: through the API, the mail and the page behind its link."""

import re
from concurrent.futures import ThreadPoolExecutor
from smtplib import SMTPException

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connections
from django.test import Client
from django.utils import timezone

from connectors.tests.api.conftest import Caller, paths, problem
from tenants.models import ApiKey, AuditEvent, Invitation, Membership, Role

PAGE = "/invitation/"
PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _mail(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.PUBLIC_URL = "https://erp.example.com"
    mail.outbox = []


def member(org, name, role=Role.ADMIN):
    user = User.objects.create_user(name, f"{name}@mail.test", PASSWORD, is_staff=True)
    return Membership.objects.create(user=user, org=org, role=role)


def invite(api, email="Grace@Mail.Test", role="OPS"):
    """Return the code out of the mail."""
    answer = api.post("invitations", {"email": email, "role": role})
    assert answer.status_code == 201, answer.content
    token = re.search(r"invitation/#(erpi_\S{43})\n", mail.outbox[-1].body)[1]
    assert token not in answer.content.decode()
    return token


def enter(token, client=None):
    """Return somebody's browser after the code was entered, and the page it shows."""
    client = client or Client()
    answer = client.post(PAGE, {"code": token}, follow=True)
    return client, answer


def sign_up(token, password=PASSWORD):
    client, _ = enter(token)
    return client.post(PAGE, {"new_password1": password, "new_password2": password}, follow=True)


def test_a_newcomer_chooses_a_password_and_is_a_member(api, acme):
    token = invite(api)
    client, page = enter(token)
    assert "Acme GmbH" in page.content.decode()
    assert "12 characters" in client.post(PAGE, {"new_password1": "short", "new_password2": "short"}).content.decode()

    sign_up(token)

    grace = User.objects.get(username="grace@mail.test")
    assert (grace.is_staff, grace.is_superuser, grace.check_password(PASSWORD)) == (True, False, True)
    assert Membership.objects.get(user=grace).role == "OPS"
    assert api.get("invitations").json()["results"][0]["state"] == "ACCEPTED"
    listed = api.get("members").json()["results"]
    assert [(each["user_name"], each["email"], each["role"]) for each in listed] == [
        ("grace@mail.test", "grace@mail.test", "OPS")
    ]
    actions = set(AuditEvent.objects.of(acme).values_list("action", "actor_label"))
    assert ("invitation.accepted", "grace@mail.test") in actions
    assert token not in str(list(AuditEvent.objects.values())) + str(list(Invitation.objects.values()))


def test_who_has_an_account_signs_in_and_accepts(api, acme, globex):
    there = member(globex, "grace", Role.VIEWER)
    client, page = enter(invite(api, "grace@mail.test", "OPS"))
    assert page.redirect_chain[-1][0].startswith("/admin/login/?next=/invitation/")
    client.post(PAGE, {"new_password1": "another " + PASSWORD, "new_password2": "another " + PASSWORD})
    assert not Membership.objects.of(acme).exists()

    client.force_login(there.user)
    assert "Accept as grace" in client.get(PAGE).content.decode()
    client.post(PAGE)

    there.user.refresh_from_db()
    assert there.user.check_password(PASSWORD)
    assert dict(Membership.objects.values_list("org__slug", "role")) == {"acme": "OPS", "globex": "VIEWER"}


def test_nobody_learns_who_has_an_account(api, globex):
    member(globex, "grace")
    answers = [api.post("invitations", {"email": f"{name}@mail.test", "role": "OPS"}) for name in ("grace", "nobody")]

    shown = [answer.json() | {"id": "", "email": "", "created_at": "", "expires_at": ""} for answer in answers]
    assert shown[0] == shown[1]
    assert {answer.status_code for answer in answers} == {201}


class TestMisuse:
    """What is no good any more, or was not meant for who has it."""

    def refused(self, token):
        _, page = enter(token)
        return "it is good no more" in page.content.decode()

    def test_expired(self, api):
        token = invite(api)
        client, _ = enter(token)
        Invitation.objects.update(expires_at=timezone.now())

        assert self.refused(token)
        client.post(PAGE, {"new_password1": PASSWORD, "new_password2": PASSWORD})
        assert not User.objects.exists()
        assert api.get("invitations").json()["results"][0]["state"] == "EXPIRED"

    def test_used_twice(self, api):
        token = invite(api)
        early, _ = enter(token)
        sign_up(token)

        assert self.refused(token)
        early.post(PAGE, {"new_password1": f"{PASSWORD}2", "new_password2": f"{PASSWORD}2"})
        assert User.objects.get().check_password(PASSWORD)
        assert Membership.objects.count() == 1

    def test_revoked_and_replaced(self, api):
        first = invite(api)
        second = invite(api)
        assert self.refused(first)
        newest, older = api.get("invitations").json()["results"]
        assert (newest["state"], older["state"]) == ("OPEN", "REVOKED")
        assert api.delete(f"invitations/{newest['id']}").status_code == 204
        problem(api.delete(f"invitations/{newest['id']}"), 409, "CONFLICT")
        assert self.refused(second)

    def test_by_somebody_with_another_address(self, api, globex, acme):
        eve = member(globex, "eve")
        client, _ = enter(invite(api))
        client.force_login(eve.user)

        assert "another address" in client.get(PAGE).content.decode()
        client.post(PAGE)

        assert not Membership.objects.of(acme).exists()

    def test_it_opens_its_own_organisation_only(self, api, globex, stranger):
        sign_up(invite(api))

        assert set(Membership.objects.values_list("org__slug", flat=True)) == {"acme"}
        assert stranger.get("invitations").json()["results"] == stranger.get("members").json()["results"] == []

    @pytest.mark.parametrize("code", ["", "erpi_", "x" * 100, "erpi_" + "A" * 43, "ä" * 48])
    def test_guessed(self, code, db):
        client = Client()
        page = client.post(PAGE, {"code": code})

        assert page.status_code == 200
        assert not client.session.keys()


def test_no_mail_no_invitation(api, settings, monkeypatch):
    def refuse(*_):
        raise SMTPException("550 no such user <grace@mail.test>")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    content = problem(api.post("invitations", {"email": "grace@mail.test", "role": "OPS"}), 409, "CONFLICT")
    assert "550" not in str(content)
    assert api.get("invitations").json()["results"][0]["state"] == "REVOKED"

    settings.PUBLIC_URL = ""
    assert (
        "EMAIL_URL"
        in problem(api.post("invitations", {"email": "g@mail.test", "role": "OPS"}), 409, "CONFLICT")["hint"]
    )
    assert paths(api.post("invitations", {"email": "grace", "role": "OPS"})) == ["email"]


def test_a_member_is_not_invited_again(api, acme):
    member(acme, "grace", Role.VIEWER)

    problem(api.post("invitations", {"email": "GRACE@mail.test", "role": "ADMIN"}), 409, "CONFLICT")


def test_roles_are_changed_and_members_removed(api, acme):
    ada, grace = member(acme, "ada"), member(acme, "grace", Role.VIEWER)
    problem(api.patch(f"members/{ada.pk}", {"role": "OPS"}), 409, "CONFLICT")
    problem(api.delete(f"members/{ada.pk}"), 409, "CONFLICT")

    assert api.patch(f"members/{grace.pk}", {"role": "ADMIN"}).json()["role"] == "ADMIN"
    assert api.delete(f"members/{ada.pk}").status_code == 204
    problem(api.delete(f"members/{grace.pk}"), 409, "CONFLICT")

    event = AuditEvent.objects.get(action="membership.changed")
    assert event.changes == {"role": ["VIEWER", "ADMIN"]}
    assert User.objects.filter(username="ada").exists()


def test_an_administrator_who_cannot_sign_in_does_not_count(api, acme):
    ada, gone = member(acme, "ada"), member(acme, "gone")
    User.objects.filter(pk=gone.user_id).update(is_active=False)

    problem(api.delete(f"members/{ada.pk}"), 409, "CONFLICT")
    assert api.delete(f"members/{gone.pk}").status_code == 204


@pytest.mark.django_db(transaction=True)
def test_two_administrators_who_leave_at_once_do_not_both(acme):
    token = ApiKey.objects.issue(org=acme, role=Role.ADMIN, name="x")[1]
    places = [f"members/{member(acme, name).pk}" for name in ("ada", "grace")]
    asks = [lambda: Caller(token).delete(places[0]), lambda: Caller(token).patch(places[1], {"role": "OPS"})]

    def run(ask):
        try:
            return ask().status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(run, asks))

    assert statuses in ([200, 409], [204, 409])
    assert Membership.objects.filter(role=Role.ADMIN).count() == 1


def test_a_session_confirms_before_it_changes_anything(acme):
    ada = member(acme, "ada")
    browser = Client()
    browser.force_login(ada.user)
    session = browser.session
    session["confirmed_at"] = 0
    session.save()

    refused = browser.post("/api/v1/api-keys", {"name": "x", "role": "OPS"}, content_type="application/json")

    assert "/admin/confirm/" in problem(refused, 403, "FORBIDDEN")["hint"]
    assert browser.get("/api/v1/api-keys").status_code == 200
    assert browser.delete(f"/api/v1/members/{ada.pk}").status_code == 409
