"""An organisation's administrator manages keys and service accounts; nobody gives more than there is."""

from datetime import timedelta

import pytest
from django.utils import timezone

from connectors.tests.api.conftest import Caller, paths, problem
from tenants.models import ApiKey, AuditEvent
from tenants.roles import Role


def at(caller, address):
    """Let a caller ask from this address."""
    caller.client.defaults["REMOTE_ADDR"] = address
    return caller


def status(token, address="127.0.0.1"):
    return at(Caller(token), address).get("me").status_code


def test_a_key_is_shown_once_and_does_what_it_was_issued_for(api):
    wanted = {"name": "shop", "role": "OPS", "scopes": ["exports:submit", "exports:read"], "networks": ["10.20.0.0/16"]}
    answer = api.post("api-keys", wanted)
    issued = answer.json()

    assert answer.status_code == 201
    token = issued.pop("token")
    assert token.startswith(f"erpk_{issued['id']}_")
    assert api.get(answer["Location"]).json() == issued
    assert issued["scopes"] == ["exports:read", "exports:submit"]
    assert (issued["networks"], issued["valid"], issued["account"]) == (["10.20.0.0/16"], True, None)
    shop = at(Caller(token), "10.20.3.4")
    assert shop.get("exports").status_code == 200
    problem(shop.get("connectors"), 403, "FORBIDDEN")
    assert token[-43:] not in api.get("api-keys").content.decode() + str(list(AuditEvent.objects.values()))


def test_elsewhere_a_key_is_as_good_as_none(api, caller, acme):
    token = api.post("api-keys", {"name": "x", "role": "VIEWER", "networks": ["10.20.0.0/16", "2001:db8::/32"]})
    token = token.json()["token"]

    elsewhere, unknown = (
        problem(at(Caller(each), "192.0.2.1").get("me"), 401, "AUTH_REQUIRED") for each in (token, f"{token[:-1]}~")
    )

    del elsewhere["request_id"], unknown["request_id"]
    assert elsewhere == unknown
    assert ApiKey.objects.get(pk=token[5:17]).last_used_at is None
    assert status(token, "10.20.255.255") == status(token, "::ffff:10.20.0.1") == status(token, "2001:db8::1") == 200
    key = api.get(f"api-keys/{token[5:17]}").json()
    assert (key["last_used_at"] is not None, key["last_used_from"]) == (True, "10.20.255.255")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"role": "OWNER"}, "role"),
        ({"scopes": ["exports:teleport"]}, "scopes.0"),
        ({"role": "VIEWER", "scopes": ["exports:submit"]}, "scopes"),
        ({"networks": ["10.20.0.1/16"]}, "networks.0"),
        ({"networks": ["example.com"]}, "networks.0"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": ""}, "name"),
        ({"token": "erpk_"}, "token"),
    ],
)
def test_what_cannot_be_is_refused(api, body, path):
    assert paths(api.post("api-keys", {"name": "x", "role": "OPS"} | body)) == [path]


def test_a_key_is_changed_and_revoked(api):
    issued = api.post("api-keys", {"name": "x", "role": "OPS", "networks": ["10.20.0.0/16"]}).json()
    place, later = f"api-keys/{issued['id']}", (timezone.now() + timedelta(days=1)).isoformat()

    changed = api.patch(place, {"networks": [], "scopes": ["exports:read"], "expires_at": later, "name": "y"}).json()

    assert (changed["name"], changed["networks"], changed["scopes"]) == ("y", [], ["exports:read"])
    assert paths(api.patch(place, {"scopes": ["audit:read"], "name": None})) == ["name"]
    assert paths(api.patch(place, {"scopes": ["audit:read"]})) == ["scopes"]
    assert paths(api.patch(place, {"role": "ADMIN"})) == ["role"]
    assert api.patch(place, {"expires_at": None}).json()["expires_at"] is None
    assert status(issued["token"]) == 200
    assert api.delete(place).status_code == api.delete(place).status_code == 204
    assert status(issued["token"]) == 401
    problem(api.patch(place, {"name": "z"}), 409, "CONFLICT")
    events = AuditEvent.objects.filter(target_id=issued["id"]).order_by("pk")
    assert [each.action for each in events] == ["api_key.created", *["api_key.changed"] * 2, "api_key.revoked"]
    assert events[1].changes["networks"] == [["10.20.0.0/16"], []]


class TestRotation:
    @pytest.fixture
    def issued(self, api):
        account = api.post("service-accounts", {"name": "shop", "role": "OPS"}).json()
        wanted = {"name": "x", "role": "OPS", "scopes": ["exports:read"], "networks": ["127.0.0.0/8"]}
        return api.post("api-keys", wanted | {"account": account["id"]}).json()

    def test_both_are_valid_until_the_overlap_is_over(self, api, issued):
        answer = api.post(f"api-keys/{issued['id']}/rotate", {"overlap_hours": 1})
        successor = answer.json()

        assert answer.status_code == 201
        for same in ("name", "role", "scopes", "networks", "account", "expires_at"):
            assert successor[same] == issued[same], same
        assert successor["succeeds"] == issued["id"]
        assert status(issued["token"]) == status(successor["token"]) == 200
        old = ApiKey.objects.get(pk=issued["id"])
        assert timedelta(minutes=59) < old.expires_at - timezone.now() <= timedelta(hours=1)
        ApiKey.objects.filter(pk=old.pk).update(expires_at=timezone.now())
        assert (status(issued["token"]), status(successor["token"])) == (401, 200)

    def test_without_overlap_the_old_one_ends_at_once(self, api, issued):
        successor = api.post(f"api-keys/{issued['id']}/rotate", {"overlap_hours": 0}).json()

        assert (status(issued["token"]), status(successor["token"])) == (401, 200)
        problem(api.post(f"api-keys/{issued['id']}/rotate"), 409, "CONFLICT")

    def test_twice_is_once(self, api, issued):
        first = api.post(f"api-keys/{issued['id']}/rotate").json()

        assert problem(api.post(f"api-keys/{issued['id']}/rotate"), 409, "CONFLICT")["id"] == first["id"]
        assert paths(api.post(f"api-keys/{first['id']}/rotate", {"overlap_hours": 721})) == ["overlap_hours"]

    def test_a_key_for_a_time_is_succeeded_by_one_for_as_long(self, api):
        ends = (timezone.now() + timedelta(days=90)).isoformat()
        issued = api.post("api-keys", {"name": "x", "role": "OPS", "expires_at": ends}).json()
        ApiKey.objects.filter(pk=issued["id"]).update(
            created_at=timezone.now() - timedelta(days=60), expires_at=timezone.now() + timedelta(days=30)
        )

        successor = api.post(f"api-keys/{issued['id']}/rotate").json()

        row = ApiKey.objects.get(pk=successor["id"])
        assert timedelta(days=89) < row.expires_at - timezone.now() <= timedelta(days=90)


class TestNobodyGivesMoreThanThereIs:
    """Each case is a key, and what somebody tries with it."""

    WIDE = {"name": "x", "role": "ADMIN"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("columns", "body", "is_allowed"),
        [
            ({"scopes": ["keys:manage", "exports:read"]}, {"scopes": []}, False),
            ({"scopes": ["keys:manage", "exports:read"]}, {"scopes": ["audit:read"]}, False),
            ({"scopes": ["keys:manage", "exports:read"]}, {"scopes": ["exports:read"]}, True),
            ({"networks": ["127.0.0.0/8"]}, {}, False),
            ({"networks": ["127.0.0.0/8"]}, {"networks": ["126.0.0.0/7"]}, False),
            ({"networks": ["127.0.0.0/8"]}, {"networks": ["127.0.0.1/32", "::1/128"]}, False),
            ({"networks": ["127.0.0.0/8"]}, {"networks": ["::ffff:127.0.0.0/120"]}, True),
            ({"expires_at": timezone.now() + timedelta(days=1)}, {}, False),
            ({"expires_at": timezone.now() + timedelta(days=1)}, {"expires_at": "2999-01-01T00:00:00Z"}, False),
        ],
    )
    def test_a_new_key_has_no_more_than_the_one_it_is_issued_with(self, acme, caller, columns, body, is_allowed):
        answer = caller(acme, **columns).post("api-keys", self.WIDE | body)

        if is_allowed:
            assert answer.status_code == 201
        else:
            assert "give more" in problem(answer, 403, "FORBIDDEN")["detail"]

    @pytest.mark.parametrize("columns", [{"scopes": ["keys:manage"]}, {"networks": ["127.0.0.0/8"]}])
    def test_a_successor_has_no_more_than_the_key_it_is_issued_with(self, acme, api, caller, columns):
        wide = api.post("api-keys", self.WIDE).json()
        narrow = caller(acme, **columns)

        assert "give more" in problem(narrow.post(f"api-keys/{wide['id']}/rotate"), 403, "FORBIDDEN")["detail"]
        assert narrow.delete(f"api-keys/{wide['id']}").status_code == 204

    def test_who_has_little_time_gives_no_more(self, acme, api, caller):
        wide, end = api.post("api-keys", self.WIDE).json(), timezone.now() + timedelta(days=1)
        short = caller(acme, expires_at=end)

        successor = short.post(f"api-keys/{wide['id']}/rotate").json()

        assert ApiKey.objects.get(pk=successor["id"]).expires_at == end
        own = ApiKey.objects.get(expires_at=end, succeeds=None).pk
        problem(short.patch(f"api-keys/{own}", {"expires_at": None}), 403, "FORBIDDEN")

    def test_a_narrow_key_widens_neither_itself_nor_another(self, acme, api, caller):
        narrow = caller(acme, scopes=["keys:manage", "keys:read", "members:manage"])
        own = next(key["id"] for key in narrow.get("api-keys").json()["results"] if key["scopes"])
        account = api.post("service-accounts", {"name": "shop", "role": "ADMIN"}).json()["id"]
        api.post("api-keys", self.WIDE | {"account": account})
        api.patch(f"service-accounts/{account}", {"disabled": True})

        for answer in (
            narrow.patch(f"api-keys/{own}", {"scopes": []}),
            narrow.patch(f"api-keys/{own}", {"scopes": ["exports:read"]}),
            narrow.post("service-accounts", {"name": "mine", "role": "VIEWER"}),
            narrow.patch(f"service-accounts/{account}", {"disabled": False}),
            narrow.post("invitations", {"email": "me@mail.test", "role": "ADMIN"}),
        ):
            assert "give more" in problem(answer, 403, "FORBIDDEN")["detail"]
        assert narrow.patch(f"service-accounts/{account}", {"role": "VIEWER"}).status_code == 200


class TestServiceAccounts:
    @pytest.fixture
    def account(self, api):
        return api.post("service-accounts", {"name": "web shop", "role": "OPS"}).json()

    def issue(self, api, account, role="OPS", **more):
        return api.post("api-keys", {"name": "x", "role": role, "account": account["id"]} | more)

    def test_disabling_stops_all_of_its_keys_at_once(self, api, account):
        tokens = [self.issue(api, account).json()["token"] for _ in range(2)]
        place = f"service-accounts/{account['id']}"

        assert api.patch(place, {"disabled": True}).json()["disabled_at"]
        assert [status(token) for token in tokens] == [401, 401]
        problem(self.issue(api, account), 409, "CONFLICT")
        problem(api.post(f"api-keys/{tokens[0][5:17]}/rotate"), 409, "CONFLICT")
        problem(api.delete(place), 409, "CONFLICT")
        assert api.patch(place, {"disabled": False}).json()["disabled"] is False
        assert [status(token) for token in tokens] == [200, 200]

    def test_no_key_exceeds_its_role_also_when_that_changes(self, acme, api, account):
        problem(self.issue(api, account, role="ADMIN"), 409, "CONFLICT")
        problem(self.issue(api, account, role="INTEGRATOR"), 409, "CONFLICT")
        assert self.issue(api, account, role="ADMIN", scopes=["exports:read"]).status_code == 201
        shop = Caller(self.issue(api, account).json()["token"])
        assert shop.post("exports/retry").status_code == 422

        api.patch(f"service-accounts/{account['id']}", {"role": "VIEWER"})

        problem(shop.post("exports/retry"), 403, "FORBIDDEN")
        assert shop.get("exports").status_code == 200

    def test_names_are_told_apart_and_an_unused_one_is_deleted(self, api, account, stranger):
        problem(api.post("service-accounts", {"name": "web shop", "role": "VIEWER"}), 409, "CONFLICT")
        assert stranger.post("service-accounts", {"name": "web shop", "role": "VIEWER"}).status_code == 201
        other = api.post("service-accounts", {"name": "till", "role": "VIEWER"}).json()
        problem(api.patch(f"service-accounts/{other['id']}", {"name": "web shop"}), 409, "CONFLICT")
        assert api.delete(f"service-accounts/{other['id']}").status_code == 204
        problem(self.issue(api, other), 404, "NOT_FOUND")

    def test_an_account_of_another_organisation_owns_nothing_here(self, stranger, account):
        problem(self.issue(stranger, account, role=Role.VIEWER), 404, "NOT_FOUND")
