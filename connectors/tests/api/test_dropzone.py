"""DROPZONE_JSON_V1 through the front door: configured, tested, fed and answered over HTTP, on real servers."""

import json
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from connectors.models import ERPExport
from connectors.services import acknowledgements, delivery
from connectors.testing import sample_orders
from connectors.tests.api.conftest import paths, problem
from connectors.tests.peers.openssh import PASSPHRASE, PASSWORD, free_port
from connectors.tests.peers.proxy import CuttingProxy, blackhole

TYPE = "DROPZONE_JSON_V1"
ORDER = sample_orders.complete("SO/2025 42").as_json()
OTHER_KEY = "SHA256:" + "A" * 43
SFTP = {"mode": "sftp", "host": "h.example", "username": "u", "password": "p4ss", "export_path": "/in"}


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]


def connect(api, config):
    answer = api.post("connectors", {"connector_type": TYPE, "config": config})
    assert answer.status_code == 201, answer.content
    return answer.json()


def failed_test(api, config):
    """Test a configuration that does not work, and return the failing step after checking the whole report."""
    answer = api.post("connectors/test", {"connector_type": TYPE, "config": config})
    report = answer.json()["test"]
    step = next(step for step in report["steps"] if step["status"] == "failed")
    content = problem(answer, 400, step["code"])
    assert (content["detail"], content["hint"]) == (step["detail"], step["hint"])
    assert step["hint"]
    after = report["steps"][report["steps"].index(step) + 1 :]
    assert all(later["status"] == "skipped" and step["name"] in later["detail"] for later in after)
    for secret in ("password", "private_key", "passphrase"):
        assert not config.get(secret) or json.dumps(config[secret]) not in answer.content.decode()
    return step


def deliver(api, connection, key="k-1", order=ORDER):
    export = api.submit(order, key=key).json()
    delivery.drain(connection["id"])
    return api.get(f"exports/{export['id']}").json()


@pytest.mark.sftp
class TestSftpTest:
    def test_passes_step_by_step_and_leaves_nothing(self, api, openssh, inbox):
        connection = connect(api, openssh.config())

        answer = api.post(f"connectors/{connection['id']}/test")

        assert answer.status_code == 200
        assert [step["name"] for step in answer.json()["steps"]] == [
            *("resolve", "connect", "host_key", "authenticate", "identity"),
            *("export_path", "read", "write", "clean_up", "ack_path"),
        ]
        assert answer.json()["not_proven"]
        assert list(inbox.iterdir()) == []
        assert api.get(f"connectors/{connection['id']}").json()["health"] == "HEALTHY"

    @pytest.mark.parametrize(
        ("change", "step", "code"),
        [
            ({"password": "wr0ng-passw0rd"}, "authenticate", "AUTHENTICATION_FAILED"),
            ({"host_key": OTHER_KEY}, "host_key", "HOST_KEY_MISMATCH"),
            ({"host_key": None}, "host_key", "HOST_KEY_UNKNOWN"),
            ({"host": "no-such-host.invalid"}, "resolve", "DNS_FAILURE"),
            ({"export_path": "nowhere"}, "export_path", "PATH_NOT_FOUND"),
            ({"export_path": "readonly"}, "write", "PERMISSION_DENIED"),
            ({"ack_path": "nowhere"}, "ack_path", "PATH_NOT_FOUND"),
        ],
    )
    def test_each_fault_has_its_step_and_code(self, api, openssh, inbox, change, step, code):
        failed = failed_test(api, openssh.config(**change))

        assert (failed["name"], failed["code"]) == (step, code)
        assert list(inbox.iterdir()) == []

    def test_refused(self, api, openssh):
        assert failed_test(api, openssh.config(port=free_port()))["code"] == "CONNECTION_REFUSED"

    def test_a_blackhole_answers_in_time(self, api, openssh):
        with blackhole() as port:
            started = time.monotonic()
            failed = failed_test(api, openssh.config(port=port, timeout_s=1))

        assert (failed["name"], failed["code"]) == ("connect", "CONNECTION_TIMEOUT")
        assert time.monotonic() - started < 2

    def test_full_disk(self, api, openssh, small_disk):
        (small_disk / "filler").write_bytes(b"x" * 64 * 1024)

        assert failed_test(api, openssh.config(export_path="small"))["code"] == "NO_SPACE"
        assert [path.name for path in small_disk.iterdir()] == ["filler"]

    def test_cut_in_the_middle(self, api, openssh, inbox):
        with CuttingProxy(openssh.port, after=1300, times=1) as proxy:
            assert failed_test(api, openssh.config(port=proxy.port))["code"] == "CONNECTION_LOST"
        assert list(inbox.iterdir()) == []

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "::ffff:127.0.0.1"]
    )
    def test_what_is_not_allowed_is_not_reached(self, api, openssh, settings, host):
        settings.EGRESS_ALLOWED_NETWORKS = []

        assert failed_test(api, openssh.config(host=host))["code"] == "EGRESS_DENIED"

    def test_an_unknown_host_key_is_shown_and_can_be_pinned(self, api, openssh, inbox):
        shown = failed_test(api, openssh.config(host_key=None))["detail"]
        fingerprint = next(word for word in shown.split() if word.startswith("SHA256:"))

        connection = connect(api, openssh.config(host_key=fingerprint))

        assert api.post(f"connectors/{connection['id']}/test").status_code == 200

    def test_a_changed_host_key_shows_both(self, api, openssh):
        detail = failed_test(api, openssh.config(host_key=OTHER_KEY))["detail"]

        assert OTHER_KEY in detail
        assert detail.count("SHA256:") == 2

    def test_a_key_with_passphrase_logs_in(self, api, openssh, inbox):
        login = {"password": None, "private_key": openssh.client_key("encrypted"), "passphrase": PASSPHRASE}
        connection = connect(api, openssh.config(**login))

        assert api.post(f"connectors/{connection['id']}/test").status_code == 200
        shown = api.get(f"connectors/{connection['id']}").content.decode()
        assert PASSPHRASE not in shown
        assert "PRIVATE KEY" not in shown


@pytest.mark.sftp
class TestSftpExport:
    def test_the_file_is_what_the_contract_says(self, api, acme, openssh, inbox):
        export = deliver(api, connect(api, openssh.config()))

        assert export["status"] == "SENT"
        created = export["created_at"][:19].replace("-", "").replace(":", "") + "Z"
        name = f"sales_order_SO_2025_42_{created}_{export['id'][:8]}.json"
        assert export["filename"] == name
        assert [path.name for path in inbox.iterdir()] == [name]
        content = (inbox / name).read_bytes()
        assert content == api.get(f"exports/{export['id']}/document").content
        assert (export["receipt"]["size"], export["receipt"]["transport"]) == (len(content), "sftp")
        assert b'"unit_price":12345678901234.5678' in content.replace(b" ", b"")
        assert json.loads(content)["org_slug"] == "acme"

    @pytest.mark.parametrize(
        ("answer", "status"),
        [
            (("ack_", {"status": "ACKED", "erp_order_id": "SO-7"}), "ACKED"),
            (("error_", {"status": "FAILED", "error_code": "E12", "message": "customer is locked"}), "REJECTED"),
        ],
    )
    def test_the_answer_comes_back(self, api, openssh, inbox, answer, status):
        connection = connect(api, openssh.config())
        export = deliver(api, connection)
        prefix, content = answer
        content |= {"processed_at": "2025-12-26T10:05:00Z"}
        acks = openssh.home / "ack"
        (acks / f"{prefix}{export['filename']}").write_text(json.dumps(content))
        (acks / "ack_garbage.json").write_text("no json")

        assert acknowledgements.poll(connection["id"]) == 1

        settled = api.get(f"exports/{export['id']}").json()
        assert (settled["status"], settled["erp_order_id"]) == (status, content.get("erp_order_id"))
        if status == "REJECTED":
            assert settled["error"]["erp"] == {"code": "E12", "message": "customer is locked"}
        assert (acks / "processed" / f"{prefix}{export['filename']}").exists()
        assert (acks / "error" / "ack_garbage.json").exists()

    def test_a_refused_password_pauses_the_connection_until_it_is_right(self, api, openssh, inbox):
        connection = connect(api, openssh.config(password="wr0ng-passw0rd"))
        export = deliver(api, connection)

        assert (export["status"], export["attempts"]) == ("PENDING", 0)
        assert api.get(f"connectors/{connection['id']}").json()["health"] == "AUTH_FAILED"
        assert delivery.drain(connection["id"]) == 0

        api.patch(f"connectors/{connection['id']}", {"config": {"password": PASSWORD}})
        delivery.drain(connection["id"])
        assert api.get(f"exports/{export['id']}").json()["status"] == "SENT"

    def test_a_cut_connection_is_tried_again(self, api, openssh, inbox, monkeypatch):
        monkeypatch.setattr("random.random", lambda: 1.0)  # it is not due again at once by chance
        with CuttingProxy(openssh.port, after=2000, times=1) as proxy:
            connection = connect(api, openssh.config(port=proxy.port))
            export = deliver(api, connection)
            assert export["status"] == "PENDING"
            assert [path.name for path in inbox.iterdir() if path.suffix == ".json"] == []

            api.post(f"connectors/{connection['id']}/test")  # a passed test does not let it wait any longer
            delivery.drain(connection["id"])

        assert api.get(f"exports/{export['id']}").json()["status"] == "SENT"
        assert [path.name for path in inbox.iterdir()] == [export["filename"]]

    def test_a_lost_answer_is_looked_up(self, api, faulty_sftp):
        server = faulty_sftp(cut_after="rename", times=1)
        connection = connect(api, server.config())
        export = deliver(api, connection)
        assert (export["status"], export["outcome_unknown"]) == ("PENDING", True)

        ERPExport.objects.update(next_attempt_at=None)
        delivery.drain(connection["id"])

        outcomes = [each["outcome"] for each in api.get(f"exports/{export['id']}/attempts").json()["results"]]
        assert outcomes == ["UNKNOWN", "FOUND"]
        assert api.get(f"exports/{export['id']}").json()["status"] == "SENT"
        assert server.steps["rename"] == 1


class TestFilesystem:
    @pytest.fixture
    def config(self, tmp_path, settings):
        settings.DROPZONE_ROOT = str(tmp_path)
        (tmp_path / "out").mkdir()
        return {"mode": "filesystem", "export_path": "out"}

    @pytest.fixture
    def out(self, config):
        return Path(django_settings.DROPZONE_ROOT) / "out"

    def test_delivers(self, api, config, out):
        export = deliver(api, connect(api, config))

        assert export["status"] == "SENT"
        assert [path.name for path in out.iterdir()] == [export["filename"]]

    @pytest.mark.parametrize("path", ["../elsewhere", "/etc", "out/../..", "link"])
    def test_stays_below_its_root(self, api, config, out, path):
        (out.parent / "link").symlink_to("/tmp")
        config["export_path"] = path

        answer = api.post("connectors/test", {"connector_type": TYPE, "config": config})

        if answer.status_code == 422:
            assert paths(answer) == ["config.export_path"]
            return
        problem(answer, 400, "PERMISSION_DENIED")
        export = deliver(api, connect(api, config))
        assert (export["status"], export["error"]["code"]) == ("PENDING", "PERMISSION_DENIED")

    def test_the_same_file_is_delivered_already_and_another_is_left_alone(self, api, config, out):
        connection = connect(api, config)
        first = deliver(api, connection)
        second = api.submit(ORDER | {"order_id": "SO-2"}, key="k-2").json()
        name = first["filename"].replace("SO_2025_42", "SO-2").replace(first["id"][:8], second["id"][:8])
        created = second["created_at"][:19].replace("-", "").replace(":", "") + "Z"
        name = name.replace(name.split("_")[-2], created)
        (out / name).write_text("somebody else's")

        delivery.drain(connection["id"])

        refused = api.get(f"exports/{second['id']}").json()
        assert (refused["status"], refused["error"]["code"]) == ("REJECTED", "TARGET_EXISTS")
        assert (out / name).read_text() == "somebody else's"

    @pytest.mark.parametrize("how", [{"atomic_write": False}, {"temp_suffix": ".part"}])
    def test_other_ways_of_writing_end_the_same(self, api, config, out, how):
        export = deliver(api, connect(api, config | how))

        assert [path.name for path in out.iterdir()] == [export["filename"]]


class TestFields:
    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"mode": None}, "config.mode"),
            ({"mode": "ftp"}, "config.mode"),
            ({"host": None}, "config.host"),
            ({"port": 0}, "config.port"),
            ({"port": 65536}, "config.port"),
            ({"username": None}, "config.username"),
            ({"password": None}, "config.password"),
            ({"password": "********"}, "config.password"),
            ({"private_key": "no key"}, "config.private_key"),
            ({"host_key": "no key"}, "config.host_key"),
            ({"export_path": None}, "config.export_path"),
            ({"export_path": ""}, "config.export_path"),
            ({"temp_suffix": "/x"}, "config.temp_suffix"),
            ({"timeout_s": 0}, "config.timeout_s"),
            ({"atomic_write": "perhaps"}, "config.atomic_write"),
            ({"passwrd": "x"}, "config.passwrd"),
        ],
    )
    def test_a_fault_names_its_field(self, api, change, path):
        config = {name: value for name, value in (SFTP | change).items() if value is not None}

        assert paths(api.post("connectors", {"connector_type": TYPE, "config": config})) == [path]

    @pytest.mark.parametrize(
        "change",
        [{"host": "evil.example"}, {"port": 2222}, {"username": "x"}, {"export_path": "/y"}, {"ack_path": "/z"}],
    )
    def test_a_new_destination_asks_for_the_secret_again(self, api, change):
        connection = connect(api, SFTP)

        for call in (api.patch, api.post):
            suffix = "/test" if call == api.post else ""
            answer = call(f"connectors/{connection['id']}{suffix}", {"config": change})
            assert paths(answer, 422, "SECRETS_REQUIRED") == ["config.password"]

    def test_what_is_no_destination_keeps_it(self, api):
        connection = connect(api, SFTP)

        changed = api.patch(f"connectors/{connection['id']}", {"config": {"timeout_s": 5, "temp_suffix": ".part"}})

        assert changed.status_code == 200
        assert changed.json()["secrets"]["password"]["set"] is True
