"""Organisations, members, API keys and the audit trail in the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants.models import ApiKey, AuditEvent, Invitation, Membership, Organization, Role, ServiceAccount

pytestmark = pytest.mark.django_db

REDIRECT = 302
TOKEN = re.compile(r"erpk_[a-z0-9]{12}_[A-Za-z0-9_-]{43}")


def done() -> AuditEvent:
    """Return the only event beside those of the way in."""
    event: AuditEvent = AuditEvent.objects.exclude(action__startswith="sign_in.").get()
    return event


def at(model: str, page: str, *args: object) -> str:
    return reverse(f"admin:tenants_{model}_{page}", args=args)


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(slug="acme", name="Acme GmbH")


@pytest.fixture
def superuser() -> Client:
    return browser_of(User.objects.create_user("root", is_staff=True, is_superuser=True))


@pytest.fixture
def administrator(acme: Organization) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    Membership.objects.create(user=user, org=acme, role=Role.ADMIN)
    return browser_of(user)


def members_form(*members: Membership, **more: object) -> dict[str, object]:
    """Return what the page of an organisation sends, with these members in it."""
    form: dict[str, object] = {"memberships-TOTAL_FORMS": len(members), "memberships-INITIAL_FORMS": len(members)}
    for number, member in enumerate(members):
        form |= {
            f"memberships-{number}-id": member.pk,
            f"memberships-{number}-org": member.org_id,
            f"memberships-{number}-user": member.user_id,
            f"memberships-{number}-role": member.role,
        }
    return form | more


class TestOrganizations:
    def test_a_superuser_creates_one(self, superuser: Client) -> None:
        superuser.post(at("organization", "add"), members_form(slug="acme", name="Acme"))

        event = done()
        assert Organization.objects.get().slug == "acme"
        assert (event.action, event.actor_label, event.details["slug"]) == ("organization.created", "root", "acme")

    def test_its_administrator_renames_it_but_keeps_the_slug(self, administrator: Client, acme: Organization) -> None:
        member = Membership.objects.get()
        administrator.post(at("organization", "change", acme.pk), members_form(member, name="Acme AG", slug="x"))

        acme.refresh_from_db()
        assert (acme.name, acme.slug) == ("Acme AG", "acme")
        event = done()
        assert (event.action, event.details) == (
            "organization.changed",
            {"changes": {"name": ["Acme GmbH", "Acme AG"]}},
        )

    def test_nobody_deletes_one(self, superuser: Client, acme: Organization) -> None:
        assert superuser.post(at("organization", "delete", acme.pk), {"post": "yes"}).status_code == 403
        assert Organization.objects.exists()


class TestMembers:
    @pytest.fixture
    def viewer(self, acme: Organization) -> Membership:
        return Membership.objects.create(user=User.objects.create_user("vi"), org=acme, role=Role.VIEWER)

    def test_a_superuser_adds_one(self, superuser: Client, acme: Organization) -> None:
        user = User.objects.create_user("new")
        form = members_form(name=acme.name) | {
            "memberships-TOTAL_FORMS": 1,
            "memberships-0-org": acme.pk,
            "memberships-0-user": user.pk,
            "memberships-0-role": Role.OPS,
        }

        superuser.post(at("organization", "change", acme.pk), form)

        assert Membership.objects.get().role == Role.OPS
        event = done()
        assert (event.action, event.details) == ("membership.created", {"user": "new", "role": "OPS"})

    def test_an_administrator_changes_a_role_but_not_the_person(
        self, administrator: Client, acme: Organization, viewer: Membership
    ) -> None:
        other = User.objects.create_user("other")
        form = members_form(*Membership.objects.order_by("created_at"), name=acme.name) | {
            "memberships-1-role": Role.OPS,
            "memberships-1-user": other.pk,
        }

        administrator.post(at("organization", "change", acme.pk), form)

        viewer.refresh_from_db()
        assert (viewer.role, viewer.user.username) == (Role.OPS, "vi")
        event = done()
        assert (event.action, event.details) == (
            "membership.changed",
            {"user": "vi", "changes": {"role": ["VIEWER", "OPS"]}},
        )

    def test_an_administrator_adds_nobody_and_sees_no_other_accounts(
        self, administrator: Client, acme: Organization
    ) -> None:
        stranger = User.objects.create_user("stranger")
        page = administrator.get(at("organization", "change", acme.pk)).content.decode()
        form = members_form(Membership.objects.get(), name=acme.name) | {
            "memberships-TOTAL_FORMS": 2,
            "memberships-1-org": acme.pk,
            "memberships-1-user": stranger.pk,
            "memberships-1-role": Role.ADMIN,
        }

        administrator.post(at("organization", "change", acme.pk), form)

        assert "stranger" not in page
        assert Membership.objects.count() == 1

    def test_removing_one_is_recorded(self, administrator: Client, acme: Organization, viewer: Membership) -> None:
        form = members_form(*Membership.objects.order_by("created_at"), name=acme.name) | {"memberships-1-DELETE": "on"}

        administrator.post(at("organization", "change", acme.pk), form)

        assert not Membership.objects.filter(pk=viewer.pk).exists()
        event = done()
        assert (event.action, event.details) == ("membership.deleted", {"user": "vi", "role": "VIEWER"})


class TestApiKeys:
    @pytest.fixture
    def key(self, acme: Organization) -> ApiKey:
        return ApiKey.objects.issue(org=acme, role=Role.OPS, name="shop")[0]

    def test_the_token_is_shown_in_one_answer_only(self, administrator: Client, acme: Organization) -> None:
        answer = administrator.post(at("apikey", "add"), {"org": acme.pk, "name": "shop", "role": Role.OPS})

        tokens = set(TOKEN.findall(answer.content.decode()))
        assert len(tokens) == 1
        token = tokens.pop()
        key = ApiKey.objects.authenticate(token)
        assert key is not None
        assert (key.org, key.role, key.name) == (acme, Role.OPS, "shop")
        assert "no-store" in answer["Cache-Control"]
        secret = token.split("_", 2)[2]
        for page in (at("apikey", "changelist"), at("apikey", "change", key.pk), at("auditevent", "changelist")):
            shown = administrator.get(page).content.decode()
            assert secret not in shown
            assert key.secret_sha256 not in shown
        assert secret not in str(dict(administrator.session))
        assert all(secret not in morsel.value for morsel in answer.cookies.values())
        event = done()
        assert event.action == "api_key.created"
        assert secret not in str(event.details)

    def test_only_name_and_expiry_can_be_changed(self, administrator: Client, acme: Organization, key: ApiKey) -> None:
        other = Organization.objects.create(slug="globex", name="Globex")
        before = key.secret_sha256

        administrator.post(
            at("apikey", "change", key.pk),
            {"name": "new", "expires_at_0": "2030-01-02", "expires_at_1": "03:04:05"}
            | {"role": Role.ADMIN, "org": other.pk, "secret_sha256": "0" * 64},
        )

        key.refresh_from_db()
        assert (key.name, key.role, key.org, key.secret_sha256) == ("new", Role.OPS, acme, before)
        assert key.expires_at is not None
        event = done()
        assert event.action == "api_key.changed"
        assert set(event.changes) == {"name", "expires_at"}

    def test_revoking_asks_first_and_keeps_the_row(self, administrator: Client, key: ApiKey) -> None:
        asked = administrator.post(at("apikey", "revoke", key.pk))
        key.refresh_from_db()
        assert b"This cannot be undone." in asked.content
        assert key.revoked_at is None

        administrator.post(at("apikey", "revoke", key.pk), {"confirmed": "yes"})

        key.refresh_from_db()
        assert key.revoked_at is not None
        assert done().action == "api_key.revoked"

    def test_revoking_twice_changes_nothing(self, administrator: Client, key: ApiKey) -> None:
        key.revoked_at = long_ago = timezone.now() - timezone.timedelta(days=1)
        key.save()

        administrator.post(at("apikey", "revoke", key.pk), {"confirmed": "yes"})

        key.refresh_from_db()
        assert key.revoked_at == long_ago
        assert not AuditEvent.objects.exclude(action__startswith="sign_in.").exists()

    def test_several_are_revoked_after_asking(self, administrator: Client, acme: Organization, key: ApiKey) -> None:
        other, _ = ApiKey.objects.issue(org=acme, role=Role.OPS, name="other")
        form = {"action": "revoke_selected", "_selected_action": [key.pk, other.pk]}

        administrator.post(at("apikey", "changelist"), form)
        assert ApiKey.objects.filter(revoked_at=None).count() == 2
        administrator.post(at("apikey", "changelist"), form | {"confirmed": "yes"})

        assert not ApiKey.objects.filter(revoked_at=None).exists()

    def test_nobody_deletes_one(self, superuser: Client, key: ApiKey) -> None:
        assert superuser.post(at("apikey", "delete", key.pk), {"post": "yes"}).status_code == 403
        superuser.post(at("apikey", "changelist"), {"action": "delete_selected", "_selected_action": key.pk})
        assert ApiKey.objects.exists()


def test_the_history_of_a_row_is_its_audit_trail(administrator: Client, acme: Organization) -> None:
    administrator.post(at("organization", "change", acme.pk), members_form(Membership.objects.get(), name="New"))

    answer = administrator.get(at("organization", "history", acme.pk), follow=True)

    assert [event.action for event in answer.context["cl"].result_list] == ["organization.changed"]


def test_the_trail_is_offered_to_those_who_may_read_it(administrator: Client, acme: Organization) -> None:
    viewer = User.objects.create_user("vi", is_staff=True)
    Membership.objects.create(user=viewer, org=acme, role=Role.VIEWER)
    page, trail = at("organization", "change", acme.pk), at("organization", "history", acme.pk)

    assert trail in administrator.get(page).content.decode()
    assert trail not in browser_of(viewer).get(page).content.decode()


def test_an_event_shows_what_was_changed_and_whether_it_is_sealed(administrator: Client, acme: Organization) -> None:
    administrator.post(at("organization", "change", acme.pk), members_form(Membership.objects.get(), name="<b>New"))

    page = administrator.get(at("auditevent", "change", done().pk)).content.decode()

    assert "<tr><th>name</th><td>Acme GmbH</td><td>&lt;b&gt;New</td></tr>" in page
    assert "not yet" in page


class TestAccess:
    def test_a_confined_key_is_issued_changed_and_rotated(self, administrator: Client, acme: Organization) -> None:
        form = {"org": acme.pk, "name": "till", "role": Role.OPS, "networks": "10.20.0.0/16"}
        account = ServiceAccount.objects.create(org=acme, name="shop", role=Role.OPS)
        administrator.post(
            at("apikey", "add"), form | {"account": account.pk, "scopes": ["exports:read", "exports:submit"]}
        )
        key = ApiKey.objects.get()
        assert (key.scopes, key.networks, key.account) == (
            ["exports:read", "exports:submit"],
            ["10.20.0.0/16"],
            account,
        )

        administrator.post(
            at("apikey", "change", key.pk), {"name": "till", "scopes": "exports:read", "networks": "10.0.0.0/8"}
        )
        answer = administrator.post(at("apikey", "rotate", key.pk), {"confirmed": "yes"})

        successor = ApiKey.objects.get(succeeds=key)
        assert (successor.scopes, successor.networks) == (["exports:read"], ["10.0.0.0/8"])
        assert [token[5:17] for token in set(TOKEN.findall(answer.content.decode()))] == [successor.pk]

    @pytest.mark.parametrize(
        "wrong", [{"scopes": "audit:read"}, {"networks": "10.20.0.1/16"}, {"role": Role.ADMIN}, {"account": "other"}]
    )
    def test_what_cannot_be_is_refused(self, administrator: Client, acme: Organization, wrong: dict[str, str]) -> None:
        account = ServiceAccount.objects.create(org=acme, name="shop", role=Role.OPS)
        globex = Organization.objects.create(slug="globex", name="Globex AG")
        other = ServiceAccount.objects.create(org=globex, name="shop", role=Role.OPS)
        form = {"org": acme.pk, "name": "x", "role": Role.OPS, "account": account.pk} | wrong

        answer = administrator.post(at("apikey", "add"), form | ({"account": other.pk} if "account" in wrong else {}))

        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors
        assert not ApiKey.objects.exists()

    def test_an_account_is_created_and_disabled(self, administrator: Client, acme: Organization) -> None:
        administrator.post(at("serviceaccount", "add"), {"org": acme.pk, "name": "shop", "role": Role.OPS})
        account = ServiceAccount.objects.get()
        again = administrator.post(at("serviceaccount", "add"), {"org": acme.pk, "name": "shop", "role": Role.OPS})
        assert again.status_code == 200

        administrator.post(
            at("serviceaccount", "change", account.pk), {"name": "shop", "role": Role.OPS, "disabled": "on"}
        )

        account.refresh_from_db()
        assert account.disabled_at
        assert AuditEvent.objects.get(action="service_account.changed").changes == {"disabled": [False, True]}

    def test_somebody_is_invited_and_the_invitation_revoked(
        self, administrator: Client, acme: Organization, settings: Any
    ) -> None:
        form = {"org": acme.pk, "email": "ada@mail.test", "role": Role.OPS}
        administrator.post(at("invitation", "add"), form)
        assert not Invitation.objects.exists()

        settings.EMAIL_BACKEND, settings.PUBLIC_URL = "django.core.mail.backends.locmem.EmailBackend", "https://a.test"
        administrator.post(at("invitation", "add"), form)
        invitation = Invitation.objects.get()
        page = administrator.get(at("invitation", "change", invitation.pk)).content.decode()
        administrator.post(
            at("invitation", "changelist"), {"action": "revoke_selected", "_selected_action": invitation.pk}
        )

        invitation.refresh_from_db()
        assert invitation.revoked_at
        assert invitation.token_sha256 not in page

    def test_the_last_administrator_stays(self, administrator: Client, acme: Organization) -> None:
        for change in ({"memberships-0-DELETE": "on"}, {"memberships-0-role": Role.OPS}):
            answer = administrator.post(
                at("organization", "change", acme.pk), members_form(Membership.objects.get(), name=acme.name) | change
            )

            assert "at least one administrator" in answer.content.decode()
        assert Membership.objects.get().role == Role.ADMIN
