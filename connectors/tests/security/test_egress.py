"""No spelling of a forbidden address leads there, neither in a test nor in an export."""

from __future__ import annotations

import pytest

from connectors import network
from connectors.services import connections, delivery
from connectors.testing import sample_orders
from connectors.tests.api.conftest import problem

DENIED = ("EGRESS_DENIED", "DNS_FAILURE")
"""The second where the resolver does not take the spelling at all."""

LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0x7F.0.0.1", "0177.0.0.1", "017700000001",
    "127.0.0.1.", "0", "0.0.0.0", "::", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::FFFF:7F00:1", "::127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "localhost", "LOCALHOST",
    "localhost.", "LocalHost.", "ｌｏｃａｌｈｏｓｔ", "①②⑦.⓪.⓪.①", "127。0。0。1", "[::1]", "[127.0.0.1]", "::1%lo",
]  # fmt: skip
ELSEWHERE = [
    "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "10.0.0.1", "172.16.0.1", "192.168.0.1",
    "100.64.0.1", "0xC0.0xA8.0.1", "3232235521", "224.0.0.1", "255.255.255.255", "fe80::1", "fc00::1", "ff02::1",
]  # fmt: skip


@pytest.fixture
def config(canaries, home):
    return home.config(password=canaries.plant("password"))


@pytest.fixture(autouse=True)
def _no_network_is_allowed(settings, _loopback_is_allowed):
    settings.EGRESS_ALLOWED_NETWORKS = []


def deliver(api, connection):
    """Push an order through a connection; return why it did not arrive."""
    export = api.submit(sample_orders.complete("SO-1").as_json()).json()
    delivery.drain(connection.pk)
    shown = api.get(f"exports/{export['id']}").json()
    assert shown["status"] == "PENDING" or shown["error"] is None, shown
    return shown["error"] and shown["error"]["code"]


@pytest.mark.parametrize("host", [*LOOPBACK, *ELSEWHERE])
class TestEverySpelling:
    def test_is_refused(self, api, acme, actor, config, home, host):
        body = {"connector_type": "DROPZONE_JSON_V1", "config": config | {"host": host}}
        connection = connections.create(acme, actor, **body)

        assert deliver(api, connection) in DENIED
        assert api.post("connectors/test", body).json()["code"] in DENIED
        assert api.post(f"connectors/{connection.pk}/test").json()["code"] in DENIED
        assert (home.connections, home.logins) == (0, [])


def test_the_address_itself_is_a_matter_of_policy_and_not_of_the_resolver(api, config):
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "::ffff:127.0.0.1", "localhost", "::1"):
        body = {"connector_type": "DROPZONE_JSON_V1", "config": config | {"host": host}}
        problem(api.post("connectors/test", body), 400, "EGRESS_DENIED")


def test_what_is_allowed_is_reached(api, acme, actor, config, home, settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    connection = connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)

    assert deliver(api, connection) is None
    assert home.logins


def test_one_forbidden_address_among_others_is_enough(api, config, home, monkeypatch, settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    monkeypatch.setattr(network, "_look_up", lambda *_: ("127.0.0.1", "169.254.169.254"))
    body = {"connector_type": "DROPZONE_JSON_V1", "config": config | {"host": "erp.test"}}

    problem(api.post("connectors/test", body), 400, "EGRESS_DENIED")
    assert home.connections == 0


class TestNetworksOfAnOrganisation:
    """They confine one organisation; what the installation allows stands for the others."""

    @pytest.fixture(autouse=True)
    def _acme_is_confined(self, acme, settings):
        settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
        acme.egress_networks = ["127.0.0.2/32"]
        acme.save()

    def test_confine_its_tests(self, api, stranger, config, home):
        body = {"connector_type": "DROPZONE_JSON_V1", "config": config}

        problem(api.post("connectors/test", body), 400, "EGRESS_DENIED")
        assert home.connections == 0
        assert stranger.post("connectors/test", body).status_code == 200

    def test_confine_its_exports(self, api, stranger, acme, globex, actor, config, home):
        mine, theirs = (
            connections.create(org, actor, connector_type="DROPZONE_JSON_V1", config=config) for org in (acme, globex)
        )

        assert deliver(api, mine) == "EGRESS_DENIED"
        assert home.connections == 0
        assert deliver(stranger, theirs) is None

    def test_allow_nothing_that_the_installation_does_not(self, api, config, settings):
        settings.EGRESS_ALLOWED_NETWORKS = []
        body = {"connector_type": "DROPZONE_JSON_V1", "config": config | {"host": "127.0.0.2"}}

        problem(api.post("connectors/test", body), 400, "EGRESS_DENIED")
