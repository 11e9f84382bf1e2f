# ruff: noqa: F811  # the fixtures of another module
"""Whatever is changed through the API is found in the audit trail, by the id of its request; no address escapes."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from connectors.models import ERPConnection, ERPExport, ExportStatus
from connectors.services import delivery
from connectors.testing import sample_orders
from connectors.tests.api.test_access import ids, operations, undone  # noqa: F401  # a fixture
from connectors.tests.rows import things_done

SAFE = {"GET"}
SILENT = {("POST", "exports/preview")}
"""Unsafe methods that change nothing."""

ELSEWHERE = {("POST", "connectors/<connection_id>/host-key")}
"""A MOCK has no host key; tests/services/test_revisions.py has."""

ORDER = sample_orders.minimal().model_copy(update={"order_id": "SO-other"}).as_json()
CONNECTION = "connectors/<connection_id>"
EXPORT = "exports/<export_id>"
WEBHOOK = "webhooks/<webhook_id>"
KEY = "api-keys/<key_id>"
ACCOUNT = "service-accounts/<account_id>"


def held(export_id, **columns):
    ERPExport.objects.filter(pk=export_id).update(**columns)


def staged(api, ids):
    api.post(f"connectors/{ids['connection_id']}/staged", {"config": {"api_key": "correct horse"}})


def tested(api, ids):
    staged(api, ids)
    api.post(f"connectors/{ids['connection_id']}/staged/test")


def changed(api, ids):
    api.post(f"connectors/{ids['connection_id']}/test")
    api.patch(f"connectors/{ids['connection_id']}", {"config": {"latency_ms": 1}})


def with_status(**columns):
    return lambda api, ids: held(ids["export_id"], **columns)


def waiting(api, ids):
    answer = api.post(f"connectors/{ids['connection_id']}/test", Prefer="respond-async")
    ids["test_id"] = answer.json()["id"]


DEEDS = {
    ("POST", "connectors"): ({"connector_type": "MOCK", "config": {}, "status": "DISABLED"}, None),
    ("POST", "connectors/test"): ({"connector_type": "MOCK", "config": {}}, None),
    ("PATCH", CONNECTION): ({"name": "Other"}, None),
    ("DELETE", CONNECTION): (None, lambda api, ids: ERPExport.objects.all()._raw_delete("default")),
    ("POST", f"{CONNECTION}/test"): (None, None),
    ("POST", "connectors/tests/<test_id>/cancel"): (None, waiting),
    ("POST", f"{CONNECTION}/activate"): (
        {"replace": True, "reason": "now"},
        lambda api, ids: api.patch(f"connectors/{ids['connection_id']}", {"status": "DISABLED"}),
    ),
    ("PATCH", f"{CONNECTION}/monitoring"): ({"check_minutes": 30}, None),
    ("POST", f"{CONNECTION}/identity"): (
        None,
        lambda api, ids: ERPConnection.objects.update(pinned_identity={"company": "1"}),
    ),
    ("POST", f"{CONNECTION}/revert"): (None, changed),
    ("POST", f"{CONNECTION}/staged"): ({"config": {"api_key": "correct horse"}}, None),
    ("DELETE", f"{CONNECTION}/staged"): (None, staged),
    ("POST", f"{CONNECTION}/staged/test"): (None, staged),
    ("POST", f"{CONNECTION}/staged/promote"): (None, tested),
    ("PATCH", f"{CONNECTION}/delivery"): ({"window": 2}, None),
    ("POST", f"{CONNECTION}/pause"): ({"reason": "holiday"}, None),
    ("POST", f"{CONNECTION}/resume"): (
        None,
        lambda api, ids: api.post(f"connectors/{ids['connection_id']}/pause", {"reason": "x"}),
    ),
    ("POST", "exports"): ({"order": ORDER}, None),
    ("POST", "exports/retry"): (
        {"ids": ["<export_id>"]},
        with_status(status=ExportStatus.FAILED),
    ),
    ("POST", f"{EXPORT}/retry"): (None, with_status(status=ExportStatus.FAILED)),
    ("POST", f"{EXPORT}/cancel"): (None, None),
    ("POST", f"{EXPORT}/approve"): (None, with_status(held=True)),
    ("POST", f"{EXPORT}/resend"): ({"reason": "lost"}, with_status(status=ExportStatus.ACKED)),
    ("POST", f"{EXPORT}/dismiss"): ({"reason": "known"}, with_status(status=ExportStatus.FAILED)),
    ("POST", "acknowledgements/<acknowledgement_id>/resolve"): (None, None),
    ("POST", "webhooks"): ({"name": "other", "url": "https://169.254.169.254/hook"}, None),
    ("PATCH", WEBHOOK): ({"name": "other"}, None),
    ("DELETE", WEBHOOK): (None, None),
    ("POST", f"{WEBHOOK}/rotate-secret"): (None, None),
    ("POST", f"{WEBHOOK}/test"): (None, None),
    ("POST", f"{WEBHOOK}/deliveries/<delivery_id>/redeliver"): (None, None),
    ("POST", "api-keys"): ({"name": "another", "role": "VIEWER"}, None),
    ("PATCH", KEY): ({"name": "other"}, None),
    ("DELETE", KEY): (None, None),
    ("POST", f"{KEY}/rotate"): ({"overlap_hours": 1}, None),
    ("POST", "service-accounts"): ({"name": "another", "role": "VIEWER"}, None),
    ("PATCH", ACCOUNT): ({"name": "other"}, None),
    ("DELETE", ACCOUNT): (None, None),
    ("PATCH", "members/<member_id>"): ({"role": "VIEWER"}, None),
    ("DELETE", "members/<member_id>"): (None, None),
    ("POST", "invitations"): ({"email": "bob@example.com", "role": "VIEWER"}, None),
    ("DELETE", "invitations/<invitation_id>"): (None, None),
}


def test_every_address_that_changes_something_has_its_deed():
    unsafe = {each for each in operations() if each[0] not in SAFE}
    missing = unsafe - set(DEEDS) - SILENT - ELSEWHERE

    assert not missing, f"they change something, and no test looks for it in the audit trail: {sorted(missing)}"


def filled(text, ids):
    for name, value in ids.items():
        text = text.replace(f"<{name}>", str(value))
    return text


def test_each_leaves_an_event(acme, api, ids, settings):
    settings.PUBLIC_URL = "https://erp.example.com"
    for method, route in sorted(DEEDS):
        with undone():
            leaves_an_event(acme, api, dict(ids), method, route)


def leaves_an_event(acme, api, ids, method, route):
    body, prepare = DEEDS[method, route]
    if prepare:
        prepare(api, ids)

    answer = api(
        method,
        filled(route, ids),
        None if body is None else json.loads(filled(json.dumps(body), ids)),
        X_Request_ID="the-deed",
        Idempotency_Key="other",
    )

    assert answer.status_code in (200, 201, 202, 204), (method, route, answer.content)
    events = things_done().filter(request_id="the-deed")
    assert events.exists(), f"{method} {route} leaves nothing in the audit trail"
    assert {(event.org_id, event.actor_kind, event.address) for event in events} == {(acme.pk, "API_KEY", "127.0.0.1")}


@pytest.mark.django_db(transaction=True)
class TestExport:
    def test_another_program_can_verify_what_is_exported(self, acme, api, mock):
        api.patch(f"connectors/{mock['id']}", {"name": 'a ", "details": {é \u2028'})
        api.submit(sample_orders.complete("SO-1").as_json())

        answer = api.get("audit-events/export")
        lines = b"".join(answer.streaming_content).decode().removesuffix("\n").split("\n")

        assert answer["Content-Type"] == "application/x-ndjson"
        previous = bytes(32)
        for number, line in enumerate(lines, start=1):
            event = json.loads(line)
            recorded = datetime.fromisoformat(event["created_at"]) - datetime(1970, 1, 1, tzinfo=UTC)
            fields = (
                *(event["organization_id"], str(event["id"]), str(recorded // timedelta(microseconds=1))),
                *(event["actor"]["kind"], event["actor"]["id"], event["actor"]["label"]),
                event["address"] and f"{event['address']}/32",
                *(event["request_id"], event["action"], event["target"]["type"], event["target"]["id"]),
                line.split(', "details": ', 1)[1].removesuffix("}"),
            )
            raw = b"erpc/audit-event/v1" + b"".join(
                b"\xff" * 4 if text is None else len(text.encode()).to_bytes(4, "big") + text.encode()
                for text in fields
            )
            previous = hashlib.sha256(previous + number.to_bytes(8, "big") + raw).digest()
            assert (event["sequence"], event["hash"]) == (number, previous.hex())
        assert json.loads(lines[-1])["action"] == "audit.exported"
        shown = api.get("audit-events").json()["results"][0]
        assert (shown["sequence"], shown["hash"]) == (len(lines), previous.hex())

    @pytest.mark.parametrize("since", ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"])
    def test_a_time_that_is_none_is_refused(self, api, since):
        assert api.get(f"audit-events/export?since={since}").status_code == 422


def test_a_document_that_is_read_is_recorded(api, mock):
    export = api.submit(sample_orders.minimal().as_json()).json()
    delivery.Turn(mock["id"]).run()

    assert api.get(f"exports/{export['id']}/document").status_code == 200
    assert things_done().first().action == "export.document_read"
