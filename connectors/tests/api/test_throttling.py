"""Who asks too often is told when to come back, and takes nothing from others."""

import pytest
from rest_framework.settings import api_settings

from connectors.tests.api.conftest import Caller, problem
from tenants.models import Role


@pytest.fixture
def rates(monkeypatch):
    def rates(**changed):
        for scope, rate in changed.items():
            monkeypatch.setitem(api_settings.DEFAULT_THROTTLE_RATES, scope, rate)

    return rates


def test_every_answer_says_what_is_left(api, rates):
    rates(api="3/min")

    answers = [
        api.get("me"),
        api.get("exports/not-an-id"),
        api.get("exports?limit=0"),
        api.get("nothing"),
        api.get("me"),
    ]

    assert [answer.get("RateLimit", "")[:13] for answer in answers] == ['"default";r=2', "", '"default";r=1', "",
                                                                        '"default";r=0']  # fmt: skip
    assert answers[0]["RateLimit-Policy"] == '"default";q=3;w=60'
    refused = api.get("me")
    problem(refused, 429, "THROTTLED")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["RateLimit"].startswith('"default";r=0;t=')


def test_what_is_forbidden_counts_as_well(acme, caller, rates):
    rates(api="2/min")
    viewer = caller(acme, Role.VIEWER)

    assert [viewer.get("connectors").status_code for _ in range(3)] == [403, 403, 429]


def test_many_keys_share_what_their_organisation_has(acme, globex, caller, rates):
    rates(organisation="4/min")

    assert [caller(acme).get("me").status_code for _ in range(6)] == [200] * 4 + [429] * 2
    assert caller(globex).get("me").status_code == 200


def test_one_key_takes_nothing_from_another(acme, caller, rates):
    rates(api="2/min")
    busy, quiet = caller(acme), caller(acme)

    assert [busy.get("me").status_code for _ in range(3)] == [200, 200, 429]
    assert quiet.get("me").status_code == 200


def test_an_address_fails_so_often(api, rates):
    rates(failures="2/min")
    stranger = Caller("erpk_wrong_key")

    def fail(address):
        return stranger.client.get("/api/v1/me", headers=stranger.headers, REMOTE_ADDR=address)

    assert [fail("2001:db8::1").status_code, fail("2001:db8::2").status_code] == [401, 401]
    refused = fail("2001:db8::3")  # one site, whatever it calls itself
    problem(refused, 429, "THROTTLED")
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert fail("203.0.113.1").status_code == 401
    # A key is let in from there nevertheless: behind one proxy, everybody has one address.
    assert api.client.get("/api/v1/me", headers=api.headers, REMOTE_ADDR="2001:db8::1").status_code == 200


def test_without_a_rate_nobody_is_counted(api, rates):
    rates(api=None)

    answer = api.get("me")

    assert answer.status_code == 200
    assert "RateLimit" not in answer
