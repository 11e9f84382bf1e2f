"""Steering through the API: settings of delivery, pause, approval, resending, many at once, the timeline."""

import pytest

from connectors.models import AcknowledgementRecord, ERPConnection, ERPExport
from connectors.services import delivery
from connectors.testing import sample_orders
from connectors.tests.api.conftest import paths, problem
from connectors.tests.rows import an_export
from tenants.models import AuditEvent, Role

ORDER = sample_orders.minimal("SO-1").as_json()  # 10.50 × 1.2300 EUR
NIGHT = {"days": ["fri"], "start": "22:00", "end": "02:00", "timezone": "Europe/Berlin"}
FULL = {"code": "NO_SPACE", "message": "Full.", "hint": ""}
AS_IT_IS = {
    "window": 16,
    "max_per_minute": None,
    "maintenance_windows": [],
    "approval_limits": {},
    "ack_expected_within": None,
    "paused": None,
    "closed_until": None,
}


@pytest.fixture
def connection(mock):
    return ERPConnection.objects.get(pk=mock["id"])


@pytest.fixture
def url(mock):
    return f"connectors/{mock['id']}"


class TestSettings:
    def test_what_is_given_changes_and_the_rest_stays(self, api, url):
        assert api.get(f"{url}/delivery").json() == AS_IT_IS
        given = {"max_per_minute": 60, "maintenance_windows": [NIGHT], "approval_limits": {"EUR": "10000.00"}}

        assert api.patch(f"{url}/delivery", given).json() == AS_IT_IS | given
        last = api.patch(f"{url}/delivery", {"window": 1, "max_per_minute": None, "maintenance_windows": None}).json()

        assert last == AS_IT_IS | given | {"window": 1, "max_per_minute": None}
        assert api.get(f"{url}/delivery").json() == last
        assert AuditEvent.objects.first().details == {"changes": {"window": [16, 1], "max_per_minute": [60, None]}}

    def test_a_window_that_is_open_now_says_until_when(self, api, url):
        once = {"from": "2020-01-01T00:00:00Z", "until": "2990-01-01T00:00:00+01:00"}

        shown = api.patch(f"{url}/delivery", {"maintenance_windows": [once]}).json()

        assert (shown["closed_until"], shown["maintenance_windows"]) == ("2989-12-31T23:00:00Z", [once])

    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({"window": 0}, ["window"]),
            ({"window": 257}, ["window"]),
            ({"window": "5"}, ["window"]),
            ({"max_per_minute": 0}, ["max_per_minute"]),
            ({"ack_expected_within": 0}, ["ack_expected_within"]),
            ({"maintenance_windows": NIGHT}, ["maintenance_windows"]),
            ({"maintenance_windows": [NIGHT, NIGHT | {"end": "22:00"}]}, ["maintenance_windows.1.end"]),
            ({"approval_limits": {"EUR": "1", "USD": 1.5}, "maintenance_windows": [{}]},
             [f"maintenance_windows.0.{name}" for name in ("days", "end", "start", "timezone")]),
            ({"approval_limits": {"EUR": "-1"}}, ["approval_limits.EUR"]),
            ({"approval_limits": []}, ["approval_limits"]),
            ({"paused": None}, ["paused"]),
        ],
    )  # fmt: skip
    def test_what_is_no_setting_is_refused(self, api, url, body, wrong):
        assert paths(api.patch(f"{url}/delivery", body)) == wrong
        assert api.get(f"{url}/delivery").json() == AS_IT_IS

    def test_amounts_are_never_floats(self, api, url):
        answer = api("PATCH", f"{url}/delivery", raw=b'{"approval_limits": {"EUR": 12345678901234.5678}}')

        assert answer.json()["approval_limits"] == {"EUR": "12345678901234.5678"}


def test_pause_and_resume(api, url):
    assert paths(api.post(f"{url}/pause", {})) == paths(api.post(f"{url}/pause", {"reason": " "})) == ["reason"]

    paused = api.post(f"{url}/pause", {"reason": "stocktaking"}).json()["paused"]

    assert paused["reason"] == "stocktaking"
    assert api.get(f"{url}/delivery").json()["paused"] == paused
    assert api.post(f"{url}/resume").json()["paused"] is None
    assert [event.action for event in AuditEvent.objects.all()[:2]] == ["connection.resumed", "connection.paused"]


def test_an_order_above_the_limit_is_accepted_and_waits_for_approval(api, url, acme, caller):
    api.patch(f"{url}/delivery", {"approval_limits": {"EUR": "12.9149"}})

    answer = api.submit(ORDER)
    below = api.submit(ORDER | {"order_id": "SO-2", "lines": [ORDER["lines"][0] | {"unit_price": "1"}]}, key="k2")

    export = answer.json()
    assert (answer.status_code, export["status"], export["held"]) == (202, "PENDING", True)
    assert below.json()["held"] is False
    assert [each["order_id"] for each in api.get("exports?held=true").json()["results"]] == ["SO-1"]
    approved = caller(acme, Role.OPS).post(f"exports/{export['id']}/approve")
    assert (approved.status_code, approved.json()["held"]) == (200, False)
    problem(api.post(f"exports/{export['id']}/approve"), 409, "CONFLICT")


def test_resending_what_was_delivered_needs_a_reason_and_makes_another_document(api, mock):
    export = api.submit(ORDER).json()
    delivery.drain(mock["id"])
    url = f"exports/{export['id']}"
    assert paths(api.post(f"{url}/resend", {})) == ["reason"]
    problem(api.post(f"{url}/retry"), 409, "CONFLICT")

    answer = api.post(f"{url}/resend", {"reason": "the ERP lost it"})
    delivery.drain(mock["id"])

    old, new = api.get(url).json(), api.get(answer["Location"]).json()
    assert (answer.status_code, old["superseded"], new["retry_of"]) == (202, True, export["id"])
    assert (old["status"], new["status"], new["reason"]) == ("SENT", "SENT", "the ERP lost it")
    assert old["filename"] != new["filename"]
    problem(api.post(f"{url}/resend", {"reason": "again"}), 409, "CONFLICT")


def test_what_is_put_aside_no_longer_needs_a_person(api, connection):
    export = an_export(connection, "FAILED")
    assert paths(api.post(f"exports/{export.pk}/dismiss")) == ["reason"]

    assert api.post(f"exports/{export.pk}/dismiss", {"reason": "entered by hand"}).json()["dismissed"] is True

    assert [each["id"] for each in api.get("exports?dismissed=true").json()["results"]] == [str(export.pk)]
    problem(api.post(f"exports/{export.pk}/dismiss", {"reason": "x"}), 409, "CONFLICT")


class TestManyAtOnce:
    def retry(self, api, **body):
        answer = api.post("exports/retry", body)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def test_by_id_each_for_itself(self, api, stranger, connection, globex):
        stranger.post("connectors", {"connector_type": "MOCK", "config": {}})
        foreign = an_export(ERPConnection.objects.get(org=globex), "FAILED")
        failed, sent, doubtful = (an_export(connection, status) for status in ("FAILED", "SENT", "UNCONFIRMED"))
        ids = [str(export.pk) for export in (sent, failed, doubtful, foreign, failed)]

        result = self.retry(api, ids=ids)

        new = ERPExport.objects.get(retry_of=failed)
        assert result["retried"] == [{"id": str(failed.pk), "retried_as": str(new.pk)}]
        assert [(each["id"], each["code"]) for each in result["refused"]] == [
            (str(sent.pk), "CONFLICT"),
            (str(doubtful.pk), "CONFIRMATION_REQUIRED"),
            (str(foreign.pk), "NOT_FOUND"),
        ]
        foreign.refresh_from_db()
        assert foreign.superseded_at is None
        assert len(self.retry(api, ids=[str(doubtful.pk)], include_unconfirmed=True)["retried"]) == 1

    def test_by_cause(self, api, connection):
        full = [an_export(connection, "FAILED", error=FULL) for _ in range(2)]
        an_export(connection, "FAILED", error=FULL | {"code": "PATH_NOT_FOUND"})
        an_export(connection, "UNCONFIRMED", error=FULL)
        dismissed = an_export(connection, "FAILED", error=FULL)
        api.post(f"exports/{dismissed.pk}/dismiss", {"reason": "x"})

        first, second = self.retry(api, code="NO_SPACE"), self.retry(api, code="NO_SPACE")

        assert [each["id"] for each in first["retried"]] == [str(export.pk) for export in full]
        assert second == {"retried": [], "refused": [], "remaining": 0}
        assert len(self.retry(api, code="NO_SPACE", include_unconfirmed=True)["retried"]) == 1
        assert self.retry(api, status=["REJECTED"])["retried"] == []
        assert self.retry(api, connector="00000000-0000-4000-8000-000000000000")["retried"] == []
        assert self.retry(api, since="2990-01-01T00:00:00Z")["retried"] == []
        assert len(self.retry(api, connector=str(connection.pk), since="2020-01-01T00:00:00Z")["retried"]) == 1

    def test_at_most_so_many_and_the_rest_is_counted(self, api, connection, monkeypatch):
        monkeypatch.setattr("connectors.api.steering.AT_ONCE", 2)
        for _ in range(3):
            an_export(connection, "FAILED")

        assert self.retry(api, status=["FAILED"])["remaining"] == 1
        assert self.retry(api, status=["FAILED"])["remaining"] == 0

    def test_what_is_not_reached_in_time_is_left_as_it_is(self, api, connection, monkeypatch):
        monkeypatch.setattr("connectors.api.steering.SECONDS_AT_ONCE", -1)
        exports = [an_export(connection, "FAILED") for _ in range(3)]

        for body in ({"status": ["FAILED"]}, {"ids": [str(export.pk) for export in exports]}):
            assert self.retry(api, **body) == {"retried": [], "refused": [], "remaining": 3}
        assert ERPExport.objects.unresolved().count() == 3

    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({}, ["ids"]),
            ({"include_unconfirmed": True}, ["ids"]),
            ({"ids": []}, ["ids"]),
            ({"ids": ["00000000-0000-4000-8000-000000000000"] * 1001}, ["ids"]),
            ({"ids": ["x"]}, ["ids.0"]),
            ({"ids": ["00000000-0000-4000-8000-000000000000"], "code": "NO_SPACE"}, ["code"]),
            ({"code": "NO_SUCH_CODE"}, ["code"]),
            ({"status": []}, ["status"]),
            ({"status": ["SENT"]}, ["status.0"]),
            ({"status": ["UNCONFIRMED"]}, ["include_unconfirmed"]),
            ({"since": "yesterday"}, ["since"]),
        ],
    )
    def test_what_names_nothing_or_too_much_is_refused(self, api, mock, body, wrong):
        assert paths(api.post("exports/retry", body)) == wrong


class TestTimeline:
    def kinds(self, api, export_id):
        return [event["kind"] for event in api.get(f"exports/{export_id}/timeline").json()["events"]]

    def test_the_story_of_an_order(self, api, url, mock, connection):
        api.patch(f"{url}/delivery", {"approval_limits": {"EUR": "0"}})
        export_id = api.submit(ORDER, key="key-1").json()["id"]
        api.post(f"exports/{export_id}/approve")
        delivery.drain(mock["id"])
        export = ERPExport.objects.get()
        AcknowledgementRecord.objects.create(
            org=export.org, connection=connection, export=export, name="ack_x.json", outcome="APPLIED", status="ACKED",
            erp_order_id="4711",
        )  # fmt: skip
        api.post(f"exports/{export_id}/resend", {"reason": "lost"})

        events = {event["kind"]: event for event in api.get(f"exports/{export_id}/timeline").json()["events"]}

        assert list(events) == ["ACCEPTED", "HELD", "APPROVED", "ATTEMPT", "SENT", "ACKED", "RESENT"]
        accepted, attempt = events["ACCEPTED"], events["ATTEMPT"]
        assert accepted["actor"] == {"kind": "API_KEY", "label": "test key"}
        assert (accepted["idempotency_key"], bool(accepted["request_id"])) == ("key-1", True)
        assert (attempt["attempt"], attempt["outcome"]) == (1, "SENT")
        assert attempt["receipt"] == events["SENT"]["receipt"] == export.receipt
        assert attempt["at"] < attempt["until"]
        assert (events["ACKED"]["answer"], events["ACKED"]["erp_order_id"]) == ("ack_x.json", "4711")
        new = ERPExport.objects.get(retry_of=export)
        assert (events["RESENT"]["export_id"], events["RESENT"]["reason"]) == (str(new.pk), "lost")
        [beginning] = api.get(f"exports/{new.pk}/timeline").json()["events"]
        assert (beginning["export_id"], beginning["reason"]) == (export_id, "lost")

    def test_what_came_to_nothing(self, api, connection):
        export = an_export(connection, "PENDING")
        ERPExport.objects.update(status="FAILED", finished_at=export.created_at, error={"code": "X", "message": "No."})
        api.post(f"exports/{export.pk}/dismiss", {"reason": "entered by hand"})

        assert self.kinds(api, export.pk) == ["ACCEPTED", "FAILED", "DISMISSED"]
        api.post(f"exports/{export.pk}/retry")
        assert self.kinds(api, export.pk)[-1] == "RETRIED"

    def test_what_was_withdrawn(self, api, connection):
        export = an_export(connection)
        api.post(f"exports/{export.pk}/cancel")

        assert self.kinds(api, export.pk) == ["ACCEPTED", "CANCELLED"]
