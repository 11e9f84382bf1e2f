"""The front door of connection management: tests that can be watched, revisions, staged credentials, monitoring."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from connectors.models import ConnectionTest, ERPConnection
from connectors.tests.api.conftest import problem

FIRST, SECOND = "c4n4ry-first", "c4n4ry-second"


@pytest.fixture
def connection(api):
    config = {"account": "main", "api_key": FIRST}
    return api.post("connectors", {"connector_type": "MOCK", "config": config}).json()


@pytest.fixture
def url(connection):
    return f"connectors/{connection['id']}"


class TestTests:
    def test_a_stream_has_every_step_and_the_report(self, api, url):
        answer = api.post(f"{url}/test", Accept="text/event-stream")

        blocks = b"".join(answer.streaming_content).decode().strip().split("\n\n")
        events = [block.split("\n", 1) for block in blocks if not block.startswith(":")]
        names = [name for name, _ in events]
        assert answer["Content-Type"] == "text/event-stream"
        assert (names[0], names[-1], set(names[1:-1])) == ("event: test", "event: result", {"event: step"})
        report = json.loads(events[-1][1].removeprefix("data: "))
        assert report["success"] is True
        assert [json.loads(data.removeprefix("data: ")) for _, data in events[1:-1]] == report["steps"]

    def test_what_is_wrong_with_the_request_is_a_problem_also_to_a_stream(self, api, url):
        problem(
            api.post(f"{url}/test", {"config": {"latency_ms": -1}}, Accept="text/event-stream"), 422, "VALIDATION_ERROR"
        )

    def test_a_test_can_be_read_and_cancelled_later(self, api, url):
        answer = api.post(f"{url}/test", Prefer="respond-async")

        assert answer.status_code == 202
        assert api.get(answer["Location"]).json()["state"] == "QUEUED"
        assert api.post(f"{answer['Location']}/cancel").json()["state"] == "CANCELLED"
        problem(api.post(f"{answer['Location']}/cancel"), 409, "CONFLICT")
        assert api.get(answer["Location"]).json()["code"] == "TEST_CANCELLED"

    def test_one_too_many_is_told_when_to_come_back(self, api, url, settings):
        settings.TESTS_PER_MINUTE_AND_KEY = 1
        api.post(f"{url}/test")

        answer = api.post(f"{url}/test")

        problem(answer, 429, "THROTTLED")
        assert 1 <= int(answer["Retry-After"]) <= 60

    def test_the_history_says_what_was_tested(self, api, url):
        api.post(f"{url}/test")
        api.post(f"{url}/test", {"config": {"latency_ms": 1}})

        runs = api.get(f"{url}/tests").json()["results"]

        assert [(run["subject"], run["state"], run["success"]) for run in runs] == [
            ("EDIT", "FINISHED", True),
            ("STORED", "FINISHED", True),
        ]

    def test_a_test_is_never_a_get(self, api, url):
        problem(api.get(f"{url}/test"), 405, "METHOD_NOT_ALLOWED")


class TestActivation:
    def spare(self, api, **config):
        body = {"connector_type": "MOCK", "config": config, "status": "DISABLED"}
        return api.post("connectors", body).json()["id"]

    def test_what_works_needs_no_reason(self, api, connection):
        spare = self.spare(api)

        activated = api.post(f"connectors/{spare}/activate", {"replace": True}).json()

        assert (activated["status"], activated["health"], activated["tested_revision"]) == ("ACTIVE", "HEALTHY", 1)

    def test_what_fails_needs_one_which_is_audited(self, api, connection):
        spare = self.spare(api, fail_with="TemporaryError")

        refused = problem(api.post(f"connectors/{spare}/activate", {"replace": True}), 409, "UNTESTED_REVISION")
        assert refused["test"]["success"] is False
        assert ERPConnection.objects.get(pk=connection["id"]).status == "ACTIVE"

        body = {"replace": True, "reason": "the partner opens his firewall tonight"}
        assert api.post(f"connectors/{spare}/activate", body).json()["status"] == "ACTIVE"
        details = [event["details"] for event in api.get("audit-events").json()["results"]]
        assert {"reason": body["reason"], "untested": True}.items() <= details[0].items()

    def test_the_same_holds_for_a_patch(self, api, connection, url):
        api.patch(url, {"status": "DISABLED", "config": {"fail_with": "TemporaryError"}})

        problem(api.patch(url, {"status": "ACTIVE"}), 409, "UNTESTED_REVISION")
        assert api.patch(url, {"status": "ACTIVE", "reason": "I know"}).json()["status"] == "ACTIVE"


class TestRevisions:
    def test_the_way_back(self, api, url):
        api.post(f"{url}/test")
        failing = {"config": {"fail_with": "TemporaryError"}, "test_on_save": True}
        changed = api.patch(url, failing).json()
        assert (changed["health"], changed["last_test"]["success"]) == ("FAILING", False)

        [kept] = api.get(f"{url}/revisions").json()["results"]
        assert (kept["revision"], kept["changed"], bool(kept["tested_at"])) == (1, ["fail_with"], True)
        back = api.post(f"{url}/revert").json()

        assert (back["revision"], back["config"]["fail_with"]) == (3, None)
        problem(api.post(f"{url}/revert", {"revision": 77}), 409, "CONFLICT")

    def test_the_next_credentials(self, api, url):
        problem(api.get(f"{url}/staged"), 404, "NOT_FOUND")
        problem(api.post(f"{url}/staged/promote"), 409, "CONFLICT")
        problem(api.post(f"{url}/staged", {"config": {"account": "other"}}), 422, "VALIDATION_ERROR")

        staged = api.post(f"{url}/staged", {"config": {"api_key": SECOND}})
        assert staged.json()["secrets"] == ["api_key"]
        problem(api.post(f"{url}/staged/promote"), 409, "UNTESTED_REVISION")
        assert api.post(f"{url}/staged/test").json()["success"] is True
        assert api.post(f"{url}/staged/promote").json()["tested_revision"] == 2

        assert ERPConnection.objects.get().read_config()["api_key"] == SECOND
        everything = b"".join(api.get(path).content for path in (url, f"{url}/revisions", f"{url}/tests"))
        assert FIRST.encode() not in everything
        assert SECOND.encode() not in everything

    def test_staged_ones_can_be_discarded(self, api, url):
        api.post(f"{url}/staged", {"config": {"api_key": SECOND}})

        assert api.delete(f"{url}/staged").status_code == 204
        problem(api.get(f"{url}/staged"), 404, "NOT_FOUND")

    def test_a_host_key_is_pinned_as_it_was_shown(self, api, openssh, settings):
        settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
        config = {name: value for name, value in openssh.config().items() if name != "host_key"}
        created = api.post("connectors", {"connector_type": "DROPZONE_JSON_V1", "config": config}).json()
        path = f"connectors/{created['id']}"
        failed = problem(api.post(f"{path}/test"), 400, "HOST_KEY_UNKNOWN")
        shown = failed["test"]["steps"][2]["params"]["fingerprint"]

        problem(api.post(f"{path}/host-key", {"fingerprint": "SHA256:" + "A" * 43}), 409, "CONFLICT")
        pinned = api.post(f"{path}/host-key", {"fingerprint": shown}).json()

        assert (pinned["config"]["host_key"], pinned["secrets"]["password"]["set"]) == (shown, True)
        assert api.post(f"{path}/test").json()["success"] is True


class TestMonitoring:
    def test_shows_and_changes_how_it_is_looked_after(self, api, url):
        api.post(f"{url}/test")
        monitoring = api.get(f"{url}/monitoring").json()
        assert monitoring["identity"]["company"] == "main"
        assert (monitoring["check_minutes"], monitoring["paused_until"], monitoring["expiries"]) == (60, None, [])

        changed = api.patch(f"{url}/monitoring", {"check_minutes": 10, "credentials_expire_on": "2999-01-31"}).json()

        assert (changed["check_minutes"], changed["credentials_expire_on"]) == (10, "2999-01-31")
        assert changed["expiries"][0]["kind"] == "credentials"
        cleared = api.patch(f"{url}/monitoring", {"credentials_expire_on": None}).json()
        assert (cleared["check_minutes"], cleared["expiries"]) == (10, [])

    @pytest.mark.parametrize("minutes", [-1, 10_081, "60", 1.5])
    def test_a_rhythm_that_makes_no_sense_is_refused(self, api, url, minutes):
        problem(api.patch(f"{url}/monitoring", {"check_minutes": minutes}), 422, "VALIDATION_ERROR")

    def test_another_identity_stops_it_until_it_is_accepted(self, api, url):
        api.post(f"{url}/test")
        other = ERPConnection.objects.get().pinned_identity | {"company": "another"}
        ERPConnection.objects.update(pinned_identity=other)

        problem(api.post(f"{url}/test"), 400, "IDENTITY_CHANGED")
        assert api.get(f"{url}/monitoring").json()["is_paused"] is True
        assert api.post(f"{url}/identity").json()["success"] is True
        assert api.get(f"{url}/monitoring").json()["is_paused"] is False


def test_the_networks_of_an_organisation_confine_its_tests(api, acme, settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    acme.egress_networks = ["192.0.2.0/24"]
    acme.save()
    config = {"mode": "sftp", "host": "127.0.0.1", "username": "u", "password": "p", "export_path": "/in"}

    answer = api.post("connectors/test", {"connector_type": "DROPZONE_JSON_V1", "config": config})

    problem(answer, 400, "EGRESS_DENIED")
    assert ConnectionTest.objects.get().config_encrypted is None


def test_metrics_count_without_naming(api, url, client):
    api.patch(f"{url}/monitoring", {"credentials_expire_on": "2999-01-31"})

    text = client.get("/metrics").content.decode()

    assert 'erp_connections{health="UNTESTED"} 1.0' in text
    assert "erp_installation_armed 1.0" in text
    assert 'kind="credentials"} 3.2' in text
    assert FIRST not in text


class TestRationed:
    """What is refused for want of a ration has changed nothing."""

    @pytest.fixture(autouse=True)
    def _one_a_minute(self, settings):
        settings.TESTS_PER_MINUTE_AND_KEY = 1

    def test_a_connection_that_was_to_be_tested_is_not_created(self, api):
        wanted = {"connector_type": "MOCK", "config": {}, "status": "DISABLED", "test_on_save": True}
        assert api.post("connectors", wanted).status_code == 201

        problem(api.post("connectors", wanted), 429, "THROTTLED")

        assert len(api.get("connectors").json()["results"]) == 1

    def test_a_change_that_was_to_be_tested_is_not_made(self, api, url):
        assert api.post(f"{url}/test").status_code == 200

        problem(api.patch(url, {"config": {"latency_ms": 1}, "test_on_save": True}), 429, "THROTTLED")

        assert api.get(url).json()["revision"] == 1

    def test_who_the_far_end_was_is_not_forgotten(self, api, url):
        assert api.post(f"{url}/test").status_code == 200
        before = api.get(f"{url}/monitoring").json()["identity"]

        problem(api.post(f"{url}/identity"), 429, "THROTTLED")

        assert before is not None
        assert api.get(f"{url}/monitoring").json()["identity"] == before


@pytest.mark.parametrize(
    ("prefer", "status"),
    [("respond-async, wait=10", 202), ("wait=10, Respond-Async", 202), ("respond-async; a=b", 202), ("wait=10", 200)],
)
def test_preferences_are_read_as_the_rfc_has_them(api, url, prefer, status):
    answer = api.post(f"{url}/test", Prefer=prefer)

    assert answer.status_code == status
    assert answer.get("Preference-Applied") == ("respond-async" if status == 202 else None)


def test_a_faster_rhythm_does_not_wait_for_the_slow_one(api, url):
    ERPConnection.objects.update(check_minutes=10_080, next_check_at=timezone.now() + timedelta(days=7))

    assert api.patch(f"{url}/monitoring", {"check_minutes": 5}).status_code == 200

    assert ERPConnection.objects.get().next_check_at <= timezone.now() + timedelta(minutes=5)
