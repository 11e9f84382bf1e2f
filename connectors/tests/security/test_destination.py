"""A stored secret goes nowhere but where it was entered for, whichever door an edit comes through."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from connectors import network
from connectors.exceptions import ConfigurationError, SecretsRequired
from connectors.models import ConnectionRevision, ConnectionTest, ERPConnection
from connectors.services import connections, delivery, diagnosis, revisions
from connectors.services.errors import NothingStaged, RevisionChanged
from connectors.testing import sample_orders
from connectors.tests.admin.pages import at
from connectors.tests.api.conftest import paths, problem
from connectors.tests.security.recorders import TcpRecorder
from connectors.tests.security.samples import KINDS, SAMPLES, THOROUGH, secrets_of

SFTP = [sample for sample in SAMPLES if sample.connector_type == "DROPZONE_JSON_V1"]
PASSWORD = next(sample for sample in SAMPLES if str(sample) == "DROPZONE_JSON_V1-password")
OTHER_FINGERPRINT = "SHA256:" + "B" * 43
TEMPORARY = {"timeout_s": 6}


@pytest.fixture(params=THOROUGH, ids=str)
def sample(request):
    return request.param


@pytest.fixture
def config(sample, canaries, home):
    return sample.config(canaries, home)


@pytest.fixture
def stored(sample, config, acme, actor):
    return connections.create(acme, actor, connector_type=sample.connector_type, config=config)


@pytest.fixture
def flips(sample, config, other):
    return sample.flips(config, other)


@pytest.fixture
def place(stored):
    return f"connectors/{stored.pk}"


@pytest.fixture
def nothing_arrives(home, other, stored, flips):
    """Fail when anybody logs in anywhere during the test, or anything of the connection changes."""
    before = ERPConnection.objects.get(pk=stored.pk)
    yield
    after = ERPConnection.objects.get(pk=stored.pk)
    assert (home.logins, other.logins, other.connections) == ([], [], 0)
    assert (after.revision, after.read_config()) == (before.revision, before.read_config())
    assert not ConnectionTest.objects.exists()


def assert_asks_for_secrets(answer, sample, config):
    """Check that an edit of a field is refused, naming every stored secret."""
    names = {f"config.{name}" for name in secrets_of(sample, config)}
    assert set(paths(answer, 422, "SECRETS_REQUIRED")) == names


class _Form(HTMLParser):
    """Reads what a browser would send with the form that holds the configuration, and its buttons."""

    def __init__(self, page):
        super().__init__()
        self.values, self.buttons, self.forms, self._select, self._area = {}, [], [], None, None
        self.feed(page)
        index = next(n for n, (values, _) in enumerate(self.forms) if any(k.startswith("config-") for k in values))
        self.values, self.buttons = self.forms[index]

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        if tag == "form":
            self.forms.append(({}, []))
        if not self.forms or (not about.get("name") and tag not in ("option", "button", "input")):
            return
        values, buttons = self.forms[-1]
        kind = about.get("type", "text")
        if (tag == "button" and about.get("type", "submit") == "submit") or (tag == "input" and kind == "submit"):
            buttons.append((about.get("name"), about.get("value", ""), about.get("formaction")))
        elif tag == "input" and about.get("name") and (kind not in ("checkbox", "radio") or "checked" in about):
            values[about["name"]] = about.get("value", "on" if kind == "checkbox" else "")
        elif tag == "select":
            self._select = about["name"]
            values[self._select] = ""
        elif tag == "option" and self._select and "selected" in about:
            values[self._select] = about.get("value", "")
        elif tag == "textarea":
            self._area = about["name"]
            values[self._area] = ""

    def handle_endtag(self, tag):
        self._select = None if tag == "select" else self._select
        self._area = None if tag == "textarea" else self._area

    def handle_data(self, data):
        if self._area:
            self.forms[-1][0][self._area] += data.removeprefix("\n")  # HTML drops the line break after the tag


@pytest.mark.usefixtures("nothing_arrives")
def _entered(value):
    """Return what somebody enters in a form to mean a value."""
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, dict | list) else value


class TestEachDoorAsksForTheSecrets:
    """One destination field is changed at a time, without the secrets."""

    def test_api_change(self, api, place, sample, config, flips):
        for edit in flips.values():
            assert_asks_for_secrets(api.patch(place, {"config": edit}), sample, config)

    def test_api_change_together_with_everything_else(self, api, place, sample, config, flips):
        for edit in flips.values():
            body = {"config": edit, "name": "new", "status": "DISABLED", "test_on_save": True, "reason": "why not"}
            assert_asks_for_secrets(api.patch(place, body), sample, config)

    @pytest.mark.parametrize("how", [{}, {"Accept": "text/event-stream"}, {"Prefer": "respond-async"}])
    def test_api_test_of_an_edit(self, api, place, sample, config, flips, how):
        for edit in flips.values():
            assert_asks_for_secrets(api.post(f"{place}/test", {"config": edit}, **how), sample, config)

    def test_admin(self, superuser, stored, flips):
        address = at("erpconnection", "change", stored.pk)
        form = _Form(superuser.get(address).content.decode())
        # The form clears what another mode has no use for, so a change of mode is saved without any secret.
        for edit in (edit for field, edit in flips.items() if field not in KINDS):
            posted = form.values | {f"config-{name}": _entered(value) for name, value in edit.items()}
            # Every button of the form, among them those that test without saving.
            for name, value, action in form.buttons:
                answer = superuser.post(action or address, posted | ({name: value} if name else {}))
                assert "Enter it again: the destination changed" in answer.content.decode()

    def test_services(self, stored, actor, flips):
        for edit in flips.values():
            with pytest.raises(SecretsRequired):
                connections.change(stored, actor, config=edit)
            with pytest.raises(SecretsRequired):
                diagnosis.start(stored, actor, patch=edit)

    def test_staging_takes_secrets_only(self, api, place, stored, actor, flips):
        for field, edit in flips.items():
            assert f"config.{field}" in paths(api.post(f"{place}/staged", {"config": edit}))
            with pytest.raises(ConfigurationError):
                revisions.stage(stored, actor, edit)
        assert not ConnectionRevision.objects.exists()

    def test_one_of_several_secrets_is_not_enough(self, api, place, sample, config, flips):
        names = list(secrets_of(sample, config))
        for edit in flips.values():
            for name in names[: len(names) - 1]:
                answer = api.patch(place, {"config": edit | {name: config[name]}})
                assert f"config.{names[-1]}" in [fault["path"] for fault in answer.json()["errors"]]

    def test_activation_takes_no_configuration(self, api, place, flips):
        for edit in flips.values():
            assert paths(api.post(f"{place}/activate", {"config": edit, "replace": True})) == ["config"]


class TestTheRecorder:
    """Without this, the silence of a far end would prove nothing."""

    @pytest.mark.parametrize("sample", SFTP, ids=str)
    def test_hears_every_login(self, api, place, home, stored):
        assert api.post(f"{place}/test").status_code == 200
        assert home.logins

    @pytest.mark.parametrize("sample", [PASSWORD], ids=str)
    def test_hears_the_very_secret(self, api, place, home, config):
        api.post(f"{place}/test")
        assert home.logins == [f"erp {config['password']}"]


@pytest.mark.parametrize("sample", [PASSWORD], ids=str)
class TestOtherWaysRound:
    def test_an_inert_field_keeps_the_secret(self, api, place, home, config):
        assert api.patch(place, {"config": TEMPORARY}).status_code == 200
        assert api.post(f"{place}/test").status_code == 200
        assert home.logins == [f"erp {config['password']}"]

    def test_the_way_back_takes_each_secret_home(self, api, place, stored, actor, home, other, config):
        away = {"port": other.port, "host_key": other.host_key, "password": "for-the-other"}
        assert api.patch(place, {"config": away}).status_code == 200
        assert api.post(f"{place}/test").status_code == 200

        assert api.post(f"{place}/revert", {"revision": 1}).status_code == 200
        assert api.post(f"{place}/test").status_code == 200

        assert home.logins == [f"erp {config['password']}"]
        assert other.logins == ["erp for-the-other"]

    def test_staged_credentials_do_not_follow_to_another_destination(self, api, place, other, canaries):
        api.post(f"{place}/staged", {"config": {"password": canaries.plant("staged")}})
        away = {"port": other.port, "host_key": other.host_key, "password": "for-the-other"}
        assert api.patch(place, {"config": away}).status_code == 200

        problem(api.post(f"{place}/staged/promote", {"reason": "sure"}), 409, "CONFLICT")
        problem(api.post(f"{place}/staged/test"), 409, "CONFLICT")
        assert other.logins == []

    def test_staged_credentials_of_an_earlier_revision_are_refused(self, stored, actor, canaries):
        revisions.stage(stored, actor, {"password": canaries.plant("staged")})
        ERPConnection.objects.filter(pk=stored.pk).update(revision=7)

        with pytest.raises(RevisionChanged):
            revisions.promote(stored, actor, reason="sure")

    def test_a_cleared_secret_is_sent_nowhere(self, api, place, other, sample, config):
        cleared = dict.fromkeys(("host", "username", "host_key", "ack_path", "password"))

        answer = api.patch(place, {"config": {"mode": "filesystem", "export_path": "out", **cleared}})

        assert answer.json()["secrets"]["password"]["set"] is False
        assert config["password"] not in str(ERPConnection.objects.get().read_config())

    def test_activation_tests_what_is_stored(self, api, place, home, other, stored, config, actor):
        connections.disable(stored, actor)

        assert api.post(f"{place}/activate").status_code == 200

        assert home.logins == [f"erp {config['password']}"]
        assert other.connections == 0

    def test_nothing_is_staged_by_default(self, stored, actor):
        with pytest.raises(NothingStaged):
            revisions.promote(stored, actor)

    def test_a_port_without_the_pinned_host_key_gets_no_login(self, api, place, other, config):
        """Not even from somebody who enters the secret: the key is checked first."""
        answer = api.post(f"{place}/test", {"config": {"port": other.port, "password": config["password"]}})

        problem(answer, 400, "HOST_KEY_MISMATCH")
        assert (other.connections > 0, other.logins) == (True, [])

    def test_a_port_that_speaks_no_ssh_hears_nothing(self, api, place, config, canaries):
        with TcpRecorder() as recorder:
            edit = {"port": recorder.port, "password": config["password"], "timeout_s": 1}
            assert api.post(f"{place}/test", {"config": edit}).status_code == 400

        assert recorder.connections == 1
        assert canaries.leaks(recorder.received) == []


@pytest.mark.parametrize("sample", SFTP, ids=str)
class TestHostKey:
    """Pinning the first host key is the one change of a destination that keeps the secrets."""

    @pytest.fixture
    def config(self, sample, canaries, home):
        return {name: value for name, value in sample.config(canaries, home).items() if name != "host_key"}

    @pytest.fixture
    def shown(self, api, place, home):
        report = problem(api.post(f"{place}/test"), 400, "HOST_KEY_UNKNOWN")["test"]
        assert home.logins == []
        return next(step["params"]["fingerprint"] for step in report["steps"] if step["status"] == "failed")

    def test_what_the_test_showed_is_pinned_and_the_secrets_stay(self, api, place, shown, home):
        assert api.post(f"{place}/host-key", {"fingerprint": shown}).status_code == 200
        assert api.post(f"{place}/test").status_code == 200
        assert home.logins

    def test_nothing_else_is_pinned(self, api, place, shown, home):
        problem(api.post(f"{place}/host-key", {"fingerprint": OTHER_FINGERPRINT}), 409, "CONFLICT")

    def test_only_by_those_of_the_organisation(self, stranger, place, shown):
        problem(stranger.post(f"{place}/host-key", {"fingerprint": shown}), 404, "NOT_FOUND")

    def test_not_after_another_change(self, api, place, shown):
        assert api.patch(place, {"config": TEMPORARY}).status_code == 200

        problem(api.post(f"{place}/host-key", {"fingerprint": shown}), 409, "CONFLICT")

    def test_not_over_a_pinned_one(self, api, place, shown):
        assert api.post(f"{place}/host-key", {"fingerprint": shown}).status_code == 200

        problem(api.post(f"{place}/host-key", {"fingerprint": shown}), 409, "CONFLICT")

    def test_not_what_an_unsaved_edit_met(self, api, place, sample, config, other):
        edit = secrets_of(sample, config) | {"port": other.port}
        report = problem(api.post(f"{place}/test", {"config": edit}), 400, "HOST_KEY_UNKNOWN")["test"]
        met = next(step["params"]["fingerprint"] for step in report["steps"] if step["status"] == "failed")

        problem(api.post(f"{place}/host-key", {"fingerprint": met}), 409, "CONFLICT")

    def test_not_without_a_test(self, api, place, home):
        problem(api.post(f"{place}/host-key", {"fingerprint": OTHER_FINGERPRINT}), 409, "CONFLICT")


@pytest.mark.parametrize("sample", SFTP, ids=str)
class TestNameThatChangesItsAnswer:
    @pytest.fixture
    def config(self, sample, canaries, home):
        return sample.config(canaries, home) | {"host": "erp.test"}

    @pytest.fixture
    def tested(self, api, place, home):
        assert api.post(f"{place}/test").status_code == 200
        home.logins.clear()

    def deliver(self, api, stored):
        export = api.submit(sample_orders.complete("SO-1").as_json()).json()
        delivery.drain(stored.pk)
        return api.get(f"exports/{export['id']}").json()

    def test_to_an_address_that_is_not_allowed(self, host_names, api, stored, tested, home):
        host_names["erp.test"] = ["169.254.169.254"]

        assert self.deliver(api, stored)["error"]["code"] == "EGRESS_DENIED"
        assert home.logins == []

    def test_to_another_server(self, host_names, api, stored, tested, home, other, monkeypatch):
        connect = network._open
        monkeypatch.setattr(network, "_open", lambda address, port, share: connect(address, other.port, share))

        assert self.deliver(api, stored)["error"]["code"] == "HOST_KEY_MISMATCH"
        assert (other.connections > 0, other.logins) == (True, [])

    def test_between_the_check_and_the_connection(self, host_names, api, place, home):
        host_names["erp.test"] = ["169.254.169.254", "127.0.0.1"]

        problem(api.post(f"{place}/test"), 400, "EGRESS_DENIED")
        assert home.logins == []
