"""A stored secret goes where it was entered for and nowhere else, through whichever door somebody tries."""

import socket

import pytest
from django.core.cache import cache

from connectors.exceptions import ConfigurationError, SecretsRequired
from connectors.models import ConnectionTest, ERPConnection, ERPExport
from connectors.registry import registry
from connectors.services import connections, delivery, diagnosis, revisions
from connectors.testing import sample_orders
from connectors.tests.admin.conftest import person, sign_in, superuser  # noqa: F401  # fixtures
from connectors.tests.admin.pages import at
from connectors.tests.api.conftest import api, caller, problem  # noqa: F401  # fixtures
from connectors.tests.security.recorder import Recorder

pytestmark = pytest.mark.django_db

STORED, ENTERED = "stored-c4n4ry", "entered-again-c4n4ry"


def change_url(connection):
    return at("erpconnection", "change", connection.pk)


def filled_form(browser, connection):
    """Return what a browser would send if the form were submitted as it was shown."""
    form = browser.get(change_url(connection)).context["form"]
    return {name: value for name in form.fields if (value := form[name].value()) not in (None, False)}


@pytest.fixture
def home():
    """The server that the secret was entered for."""
    server = Recorder()
    yield server
    server.close()


@pytest.fixture
def elsewhere(home):
    """Another server, at another address but at the same port."""
    server = Recorder("127.0.0.2", home.port)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _loopback(settings, tmp_path):
    cache.clear()
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.DROPZONE_ROOT = str(tmp_path)


@pytest.fixture
def stored(acme, actor, home):
    """A connection of each type, with its secret."""

    def create(connector_type):
        config = {
            "MOCK": {"account": "home", "api_key": STORED},
            "DROPZONE_JSON_V1": {
                "mode": "sftp",
                "host": home.host,
                "port": home.port,
                "username": "orders",
                "password": STORED,
                "host_key": home.fingerprint,
                "export_path": "/in",
                "ack_path": "/ack",
                "timeout_s": 3,
            },
        }.get(connector_type)
        assert config, f"{connector_type} has no configuration here: add one, with a value for each of its secrets"
        return connections.create(acme, actor, connector_type=connector_type, config=config)

    return create


@pytest.fixture
def flipped(elsewhere, tmp_path):
    """Another value for each destination field, which leads elsewhere if that is possible at all."""
    return {
        "MOCK": {"account": "elsewhere"},
        "DROPZONE_JSON_V1": {
            "mode": "filesystem",
            "host": elsewhere.host,
            "port": elsewhere.port + 1 if elsewhere.port < 65535 else 1,
            "username": "somebody-else",
            "certificate": "ssh-ed25519-cert-v01@openssh.com AAAA",
            "host_key": elsewhere.fingerprint,
            "export_path": "/elsewhere",
            "ack_path": "/elsewhere",
        },
    }


FIELDS = [
    (connector_type, field)
    for connector_type, connector in sorted(registry.connectors.items())
    for field in connector.Config.destination_fields()
]


def test_every_destination_field_is_flipped(flipped):
    assert {(kind, field) for kind, fields in flipped.items() for field in fields} == set(FIELDS)


@pytest.mark.parametrize(("connector_type", "field"), FIELDS)
class TestFlip:
    """Nothing is stored, nobody is called, and the secret stays where it is."""

    @pytest.fixture
    def connection(self, stored, connector_type):
        return stored(connector_type)

    @pytest.fixture
    def edit(self, flipped, connector_type, field):
        return {field: flipped[connector_type][field]}

    @pytest.fixture(autouse=True)
    def _nothing_came_of_it(self, connection, home, elsewhere):
        sealed = bytes(connection.config_encrypted)
        yield
        connection.refresh_from_db()
        assert bytes(connection.config_encrypted) == sealed
        assert (home.knocks, elsewhere.knocks) == (0, 0)
        assert not ConnectionTest.objects.exists()

    def test_saved_by_the_api(self, api, connection, edit):  # noqa: F811
        refused = api.patch(f"connectors/{connection.pk}", {"config": edit})

        assert problem(refused, 422, refused.json()["code"])["code"] in ("SECRETS_REQUIRED", "VALIDATION_ERROR")

    def test_tested_by_the_api(self, api, connection, edit):  # noqa: F811
        refused = api.post(f"connectors/{connection.pk}/test", {"config": edit})

        assert problem(refused, 422, refused.json()["code"])["code"] in ("SECRETS_REQUIRED", "VALIDATION_ERROR")

    def test_saved_in_the_admin(self, superuser, connection, edit):  # noqa: F811
        form = filled_form(superuser, connection)
        answer = superuser.post(
            change_url(connection), form | {f"config-{name}": value for name, value in edit.items()}
        )

        assert answer.status_code == 200  # the form again, not the redirect of a success
        assert STORED not in answer.content.decode()

    def test_through_the_services(self, actor, connection, edit):
        with pytest.raises(ConfigurationError):
            connections.change(connection, actor, config=edit)
        with pytest.raises(ConfigurationError):
            diagnosis.start(connection, actor, patch=edit)
        with pytest.raises(ConfigurationError):
            revisions.stage(connection, actor, edit)


class TestDropzone:
    @pytest.fixture
    def connection(self, stored):
        return stored("DROPZONE_JSON_V1")

    def moved(self, elsewhere):
        return {"host": elsewhere.host, "host_key": elsewhere.fingerprint}

    def test_the_recorder_hears_what_it_is_offered(self, actor, connection, home):
        assert diagnosis.test(connection, actor).code == "AUTHENTICATION_FAILED"

        assert home.offered == [STORED]

    def test_a_new_destination_hears_only_the_secret_entered_for_it(self, actor, connection, elsewhere):
        with pytest.raises(SecretsRequired):
            diagnosis.start(connection, actor, patch=self.moved(elsewhere))

        diagnosis.test(connection, actor, patch=self.moved(elsewhere) | {"password": ENTERED})
        changed = connections.change(connection, actor, config=self.moved(elsewhere) | {"password": ENTERED})
        diagnosis.test(changed, actor)

        assert set(elsewhere.offered) == {ENTERED}

    def test_the_way_back_takes_the_secret_home(self, actor, connection, home, elsewhere):
        changed = connections.change(connection, actor, config=self.moved(elsewhere) | {"password": ENTERED})

        diagnosis.test(revisions.revert(changed, actor, number=1), actor)

        assert (home.offered, elsewhere.offered) == ([STORED], [])

    def test_credentials_staged_for_one_destination_do_not_follow_to_another(self, actor, connection, elsewhere):
        revisions.stage(connection, actor, {"password": "staged-c4n4ry"})
        changed = connections.change(connection, actor, config=self.moved(elsewhere) | {"password": ENTERED})

        assert revisions.staged(changed) is None
        diagnosis.test(changed, actor)
        assert elsewhere.offered == [ENTERED]

    def test_a_server_that_shows_another_key_hears_nothing(self, actor, connection, home):
        connection = connections.change(
            connection, actor, config={"host_key": "SHA256:" + "A" * 43, "password": ENTERED}
        )

        assert diagnosis.test(connection, actor).code == "HOST_KEY_MISMATCH"
        assert (home.knocks > 0, home.offered) == (True, [])

    def test_cleared_is_gone_and_left_out_is_kept(self, actor, connection, elsewhere):
        key = {"private_key": None, "password": None}
        with pytest.raises(ConfigurationError):  # a login needs one of the two
            connections.change(connection, actor, config=self.moved(elsewhere) | key)

        assert connections.change(connection, actor, config={"timeout_s": 4}).read_config()["password"] == STORED


MASKS = ["***", "********", "••••••••", "●●●●", "xxxxxxxx", "<hidden>", "[redacted]", "(hidden)", " ******** "]


@pytest.mark.parametrize("mask", [mask for mask in MASKS if mask != "(hidden)"])
def test_a_mask_is_no_secret_at_any_door(api, superuser, actor, stored, mask):  # noqa: F811
    connection = stored("MOCK")

    assert api.patch(f"connectors/{connection.pk}", {"config": {"api_key": mask}}).status_code == 422
    assert api.post(f"connectors/{connection.pk}/test", {"config": {"api_key": mask}}).status_code == 422
    assert api.post(f"connectors/{connection.pk}/staged", {"config": {"api_key": mask}}).status_code == 422
    body = {"connector_type": "MOCK", "config": {"api_key": mask}, "status": "DISABLED"}
    assert api.post("connectors", body).status_code == 422
    form = filled_form(superuser, connection) | {"config-api_key": mask}
    assert superuser.post(change_url(connection), form).status_code == 200
    connection.refresh_from_db()
    assert connection.read_config()["api_key"] == STORED


# Where a name may lead

OBFUSCATED = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
    "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::7f00:1",
    "localhost", "LOCALHOST", "localhost.", "LocalHost.", "0.0.0.0", "0", "::", "127.0.0.1.", "①②⑦.⓪.⓪.①",
    "169.254.169.254", "0xa9fea9fe", "2852039166", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1",
    "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1",
    "2002:7f00:1::", "2001::1", "fc00::1", "ff02::1", "168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("host", OBFUSCATED)
def test_no_spelling_leads_inside(api, acme, actor, home, settings, host):  # noqa: F811
    settings.EGRESS_ALLOWED_NETWORKS = []
    config = {
        "mode": "sftp",
        "host": host,
        "port": home.port,
        "username": "u",
        "password": STORED,
        "host_key": home.fingerprint,
        "export_path": "/in",
        "timeout_s": 2,
    }
    answer = api.post("connectors/test", {"connector_type": "DROPZONE_JSON_V1", "config": config})
    if answer.status_code == 422:
        return  # not even a host
    assert answer.json()["code"] in ("EGRESS_DENIED", "DNS_FAILURE")

    connection = connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)
    api.submit(sample_orders.minimal().as_json())
    delivery.drain(connection.pk)

    assert ERPExport.objects.get().error["code"] in ("EGRESS_DENIED", "DNS_FAILURE")
    assert (home.knocks, home.offered) == (0, [])


def test_a_name_that_changes_its_answer_is_caught_on_export(api, actor, stored, home, settings, monkeypatch):  # noqa: F811
    connection = stored("DROPZONE_JSON_V1")
    assert diagnosis.test(connection, actor).code == "AUTHENTICATION_FAILED"
    ERPConnection.objects.update(health="HEALTHY")
    heard, settings.EGRESS_ALLOWED_NETWORKS = list(home.offered), ["127.0.0.1/32"]
    inside = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.9", home.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: inside)

    api.submit(sample_orders.minimal().as_json())
    delivery.drain(connection.pk)

    assert ERPExport.objects.get().error["code"] == "EGRESS_DENIED"
    assert home.offered == heard


def test_one_bad_address_among_good_ones_is_enough(api, stored, home, settings, monkeypatch):  # noqa: F811
    connection = stored("DROPZONE_JSON_V1")
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, home.port)) for address in ("127.0.0.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)

    problem(api.post(f"connectors/{connection.pk}/test"), 400, "EGRESS_DENIED")

    assert home.knocks == 0


def test_an_organisations_networks_confine_it_and_no_other(actor, acme, globex, stored, home):
    inside = stored("DROPZONE_JSON_V1")
    config = {name: value for name, value in inside.read_config().items() if value is not None}
    other = connections.create(globex, actor, connector_type="DROPZONE_JSON_V1", config=config)
    acme.egress_networks = ["192.0.2.0/24"]
    acme.save()

    assert diagnosis.test(ERPConnection.objects.get(pk=inside.pk), actor).code == "EGRESS_DENIED"
    assert home.knocks == 0
    assert diagnosis.test(other, actor).code == "AUTHENTICATION_FAILED"
