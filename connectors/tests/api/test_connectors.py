"""Connections through the front door."""

import pytest

from connectors.models import ERPConnection
from connectors.tests.api.conftest import paths, problem

CANARY = "c4n4ry-s3cret"
KEYS = {
    "id", "connector_type", "name", "status", "health", "config", "secrets", "revision", "tested_revision",
    "last_test_at", "last_test", "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture
def secretive(api):
    return api.post("connectors", {"connector_type": "MOCK", "config": {"account": "a", "api_key": CANARY}}).json()


class TestTypes:
    def test_each_has_a_schema_with_write_only_secrets(self, api):
        listed = api.get("connector-types").json()["results"]
        dropzone = api.get("connector-types/DROPZONE_JSON_V1").json()

        assert dropzone in listed
        assert set(dropzone) == {"connector_type", "title", "summary", "guarantee", "capabilities", "config_schema"}
        assert dropzone["config_schema"]["$schema"].endswith("2020-12/schema")
        assert dropzone["config_schema"]["properties"]["password"]["writeOnly"] is True

    def test_an_unknown_one_is_404(self, api):
        problem(api.get("connector-types/SAP"), 404, "NOT_FOUND")


class TestCreate:
    def test_answers_201_with_the_shape_of_the_contract(self, api, secretive):
        assert set(secretive) == KEYS
        assert (secretive["status"], secretive["health"], secretive["name"]) == ("ACTIVE", "UNTESTED", "Mock ERP")
        assert "api_key" not in secretive["config"]
        assert secretive["secrets"]["api_key"]["set"] is True
        assert secretive["secrets"]["api_key"]["updated_at"]
        assert api.get(f"connectors/{secretive['id']}").json() == secretive
        assert api.get("connectors").json() == {"results": [secretive], "next": None, "previous": None}

    def test_a_second_active_one_is_409_and_names_the_first(self, api, mock):
        answer = api.post("connectors", {"connector_type": "MOCK", "config": {}})

        assert problem(answer, 409, "ACTIVE_CONNECTOR_EXISTS")["connection_id"] == mock["id"]
        assert ERPConnection.objects.count() == 1

    @pytest.mark.parametrize(("fails", "success"), [(None, True), ("AuthenticationFailed", False)])
    def test_test_on_save_tells_how_it_went(self, api, fails, success):
        body = {"connector_type": "MOCK", "config": {"fail_with": fails}, "test_on_save": True}

        answer = api.post("connectors", body)

        assert answer.status_code == 201
        assert answer["Location"] == f"/api/v1/connectors/{answer.json()['id']}"
        assert answer.json()["last_test"]["success"] is success
        assert answer.json()["health"] == ("HEALTHY" if success else "AUTH_FAILED")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, ["connector_type", "config"]),
            ({"connector_type": "SAP", "config": {}}, ["connector_type"]),
            ({"connector_type": "MOCK", "config": {}, "statsu": "ACTIVE"}, ["statsu"]),
            ({"connector_type": "MOCK", "config": {}, "status": "active"}, ["status"]),
            ({"connector_type": "MOCK", "config": {"acount": "x"}}, ["config.acount"]),
            ({"connector_type": "MOCK", "config": []}, ["config"]),
            ({"connector_type": "DROPZONE_JSON_V1", "config": {"mode": "sftp", "export_path": "/in"}},
             ["config.host", "config.username", "config.password"]),
            ([], [""]),
        ],
    )  # fmt: skip
    def test_each_fault_has_its_path(self, api, body, expected):
        assert paths(api.post("connectors", body)) == expected
        assert not ERPConnection.objects.exists()


class TestChange:
    def test_merges_keeps_secrets_and_clears_with_null(self, api, secretive):
        changed = api.patch(f"connectors/{secretive['id']}", {"config": {"latency_ms": 5, "fail_code": None}}).json()

        assert changed["config"]["latency_ms"] == 5
        assert changed["secrets"] == secretive["secrets"]
        assert changed["revision"] == secretive["revision"] + 1
        cleared = api.patch(f"connectors/{secretive['id']}", {"config": {"api_key": None}}).json()
        assert cleared["secrets"]["api_key"]["set"] is False

    def test_a_new_destination_asks_for_every_secret(self, api, secretive):
        answer = api.patch(f"connectors/{secretive['id']}", {"config": {"account": "b"}})

        assert paths(answer, 422, "SECRETS_REQUIRED") == ["config.api_key"]
        again = api.patch(f"connectors/{secretive['id']}", {"config": {"account": "b", "api_key": CANARY}})
        assert again.json()["config"]["account"] == "b"

    def test_an_outdated_revision_is_409(self, api, secretive):
        patch = {"config": {"latency_ms": 5}, "revision": secretive["revision"]}
        assert api.patch(f"connectors/{secretive['id']}", patch).status_code == 200

        problem(api.patch(f"connectors/{secretive['id']}", patch), 409, "CONFLICT")

    def test_unknown_keys_and_the_type_cannot_be_changed(self, api, secretive):
        answer = api.patch(f"connectors/{secretive['id']}", {"connector_type": "DROPZONE_JSON_V1"})

        assert paths(answer) == ["connector_type"]


class TestTest:
    def test_success_is_a_report_and_history(self, api, mock):
        report = api.post(f"connectors/{mock['id']}/test").json()

        assert set(report) == {"success", "latency_ms", "steps", "not_proven", "identity"}
        assert set(report["steps"][0]) == {"name", "status", "latency_ms", "detail", "code", "hint"}
        [run] = api.get(f"connectors/{mock['id']}/tests").json()["results"]
        assert run["steps"] == report["steps"]
        assert api.get(f"connectors/{mock['id']}").json()["last_test"] == report

    def test_failure_is_a_400_with_the_code_of_the_step(self, api, mock):
        api.patch(f"connectors/{mock['id']}", {"config": {"fail_with": "AuthenticationFailed"}})

        content = problem(api.post(f"connectors/{mock['id']}/test"), 400, "AUTHENTICATION_FAILED")

        assert content["test"]["success"] is False
        assert content["hint"]
        assert api.get("connectors?health=AUTH_FAILED").json()["results"][0]["id"] == mock["id"]

    def test_an_edit_is_tested_without_being_saved(self, api, mock):
        edit = {"config": {"fail_with": "TemporaryError", "fail_code": "CONNECTION_REFUSED"}}

        problem(api.post(f"connectors/{mock['id']}/test", edit), 400, "CONNECTION_REFUSED")

        assert api.get(f"connectors/{mock['id']}").json() == mock

    def test_unsaved(self, api):
        body = {"connector_type": "MOCK", "config": {"api_key": CANARY}}

        assert api.post("connectors/test", body).json()["success"] is True
        assert not ERPConnection.objects.exists()

    def test_an_unreadable_connection_is_a_state(self, api, secretive):
        envelope = bytearray(ERPConnection.objects.get().config_encrypted)
        envelope[-1] ^= 1
        ERPConnection.objects.update(config_encrypted=bytes(envelope))

        shown = api.get("connectors").json()["results"][0]

        assert (shown["health"], shown["config"]) == ("UNREADABLE", {})
        problem(api.post(f"connectors/{secretive['id']}/test"), 400, "UNREADABLE_CONFIG")
        mended = api.patch(f"connectors/{secretive['id']}", {"config": {"account": "new"}})
        assert (mended.status_code, mended.json()["health"]) == (200, "UNTESTED")


class TestActivateAndDelete:
    def test_the_switch_over_replaces_only_when_told(self, api, mock):
        spare = api.post("connectors", {"connector_type": "MOCK", "config": {}, "status": "DISABLED"}).json()

        problem(api.post(f"connectors/{spare['id']}/activate"), 409, "ACTIVE_CONNECTOR_EXISTS")
        answer = api.post(f"connectors/{spare['id']}/activate", {"replace": True})

        assert answer.json()["status"] == "ACTIVE"
        assert api.get(f"connectors/{mock['id']}").json()["status"] == "DISABLED"

    def test_delete(self, api, mock):
        answer = api.delete(f"connectors/{mock['id']}")

        assert (answer.status_code, answer.content) == (204, b"")
        problem(api.get(f"connectors/{mock['id']}"), 404, "NOT_FOUND")


def test_no_answer_ever_has_a_secret(api, secretive):
    place = f"connectors/{secretive['id']}"
    answers = [
        api.get("connectors"),
        api.get(place),
        api.patch(place, {"config": {"account": "b"}}),
        api.patch(place, {"config": {"account": "b", "api_key": CANARY}}),
        api.patch(place, {"config": {"api_key": CANARY, "latency_ms": -1}}),
        api.post(f"{place}/test"),
        api.post(f"{place}/test", {"config": {"api_key": CANARY, "fail_with": "AuthenticationFailed"}}),
        api.get(f"{place}/tests"),
        api.post("connectors", {"connector_type": "MOCK", "config": {"api_key": CANARY, "account": CANARY * 9}}),
        api.get("audit-events"),
    ]

    assert all(CANARY.encode() not in answer.content for answer in answers)
