"""Who gets in, as whom; through the front door."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone

from tenants.models import ApiKey, Authenticator, Membership, Organization, Role

ME = "/api/v1/me"


@pytest.fixture
def acme(db):
    return Organization.objects.create(slug="acme", name="Acme GmbH")


@pytest.fixture
def globex(db):
    return Organization.objects.create(slug="globex", name="Globex AG")


@pytest.fixture
def key(acme):
    return ApiKey.objects.issue(org=acme, role=Role.OPS, name="shop")


def ask(authorization):
    return Client().get(ME, headers={"Authorization": authorization})


class TestApiKey:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_a_valid_key_acts_for_its_organisation_in_its_role(self, key, scheme):
        answer = ask(f"{scheme} {key[1]}")

        assert answer.status_code == 200
        assert answer.json()["organization"]["slug"] == "acme"
        assert answer.json()["role"] == "OPS"
        assert answer.json()["key_name"] == "shop"
        assert answer.json()["user_name"] is None

    def test_any_other_key_is_401_and_nobody_learns_why(self, key, acme):
        row, token = key
        expired = ApiKey.objects.issue(org=acme, role=Role.OPS, name="old", expires_at=timezone.now())[1]
        revoked_row, revoked = ApiKey.objects.issue(org=acme, role=Role.OPS, name="lost")
        ApiKey.objects.filter(pk=revoked_row.pk).update(revoked_at=timezone.now())
        other = ApiKey.objects.issue(org=acme, role=Role.OPS, name="other")[1]
        wrong = [
            expired,
            revoked,
            token[:-1] + ("A" if token[-1] != "A" else "B"),
            f"erpk_{row.pk}_{other.rsplit('_', 1)[-1]}",
            f"erpk_{'a' * 12}_{token[-43:]}",
            token + "x",
            token.upper(),
            "erpk_",
            "",
            "ä",
            "x" * 5000,
        ]

        answers = [ask(f"Bearer {each}") for each in wrong]

        assert {answer.status_code for answer in answers} == {401}
        assert {answer["WWW-Authenticate"] for answer in answers} == {"Bearer"}
        assert {answer.json()["code"] for answer in answers} == {"AUTH_REQUIRED"}
        assert len({answer.json()["detail"] for answer in answers}) == 1
        assert token[-43:].encode() not in b"".join(answer.content for answer in answers)

    def test_nothing_at_all_is_401(self, db):
        answer = Client().get(ME)

        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"

    def test_a_wrong_key_is_refused_even_beside_a_session(self, acme):
        admin = get_user_model().objects.create_superuser("root")
        client = Client()
        client.force_login(admin)

        assert client.get(ME, headers={"Authorization": "Bearer nonsense"}).status_code == 401
        assert client.get(ME).status_code == 200

    def test_its_use_is_noted_once_a_minute(self, key, django_assert_num_queries):
        row, token = key
        ask(f"Bearer {token}")
        row.refresh_from_db()
        first = row.last_used_at
        assert first is not None

        with django_assert_num_queries(0):  # no UPDATE
            ask(f"Bearer {token}")
        ApiKey.objects.filter(pk=row.pk).update(last_used_at=first - timedelta(seconds=61))
        with django_assert_num_queries(1):
            ask(f"Bearer {token}")

        row.refresh_from_db()
        assert row.last_used_at > first

    def test_a_refused_key_is_not_noted_as_used(self, key):
        row, token = key
        ApiKey.objects.filter(pk=row.pk).update(revoked_at=timezone.now())

        ask(f"Bearer {token}")

        row.refresh_from_db()
        assert row.last_used_at is None


class TestSession:
    @pytest.fixture
    def user(self, db):
        return get_user_model().objects.create_user("ada", password="s3cret", is_staff=True)

    @pytest.fixture
    def client(self, user):
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        return client

    def test_the_only_membership_decides(self, client, user, acme, globex):
        Membership.objects.create(user=user, org=acme, role=Role.VIEWER)

        me = client.get(ME).json()

        assert (me["organization"]["slug"], me["role"]) == ("acme", "VIEWER")
        assert (me["user_name"], me["key_name"]) == ("ada", None)

    def test_among_several_the_header_decides(self, client, user, acme, globex):
        Membership.objects.create(user=user, org=acme, role=Role.VIEWER)
        Membership.objects.create(user=user, org=globex, role=Role.ADMIN)

        unclear = client.get(ME)
        me = client.get(ME, headers={"X-Organization": "globex"}).json()

        assert (unclear.status_code, unclear.json()["code"]) == (403, "FORBIDDEN")
        assert "X-Organization" in unclear.json()["hint"]
        assert (me["organization"]["slug"], me["role"]) == ("globex", "ADMIN")

    @pytest.mark.parametrize("slug", ["globex", "nowhere"])
    def test_another_organisation_and_none_look_alike(self, client, user, acme, globex, slug):
        Membership.objects.create(user=user, org=acme, role=Role.ADMIN)

        answer = client.get(ME, headers={"X-Organization": slug})

        assert answer.status_code == 403
        assert answer.json()["detail"] == "You are not a member of this organisation."

    def test_without_a_membership_there_is_a_hint(self, client, acme):
        answer = client.get(ME)

        assert answer.status_code == 403
        assert "membership" in answer.json()["hint"]

    def test_a_superuser_is_admin_wherever_he_says(self, client, user, acme, globex):
        user.is_superuser = True
        user.save()

        me = client.get(ME, headers={"X-Organization": "globex"}).json()

        assert (me["organization"]["slug"], me["role"]) == ("globex", "ADMIN")
        assert client.get(ME).status_code == 403

    def test_who_may_not_enter_the_admin_may_not_use_the_api(self, client, user, acme):
        Membership.objects.create(user=user, org=acme, role=Role.ADMIN)
        user.is_staff = False
        user.save()

        assert client.get(ME).status_code == 403

    def test_who_is_no_longer_active_is_nobody(self, client, user, acme):
        Membership.objects.create(user=user, org=acme, role=Role.ADMIN)
        user.is_active = False
        user.save()

        assert client.get(ME).status_code == 401

    def test_a_second_factor_that_is_set_up_has_to_be_given(self, client, user, acme):
        Membership.objects.create(user=user, org=acme, role=Role.ADMIN)
        Authenticator.objects.create(user=user, secret_sealed=b"", last_step=0)

        answer = client.get(ME)

        assert answer.status_code == 403
        assert answer.json()["detail"] == "The second factor is missing."

    def test_another_site_cannot_write_with_it(self, client, user, acme):
        Membership.objects.create(user=user, org=acme, role=Role.ADMIN)
        body = {"connector_type": "MOCK", "config": {}}

        refused = client.post("/api/v1/connectors", body, content_type="application/json")
        client.cookies["csrftoken"] = "a" * 32
        accepted = client.post(
            "/api/v1/connectors", body, content_type="application/json", headers={"X-CSRFToken": "a" * 32}
        )

        assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
        assert "CSRF" in refused.json()["detail"]
        assert accepted.status_code == 201
        assert acme.audit_events.get(action="connection.created").actor_label == "ada"
