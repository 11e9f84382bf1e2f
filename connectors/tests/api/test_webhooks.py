"""Webhooks over the API: the secret comes out once, the URL never, and a test says what happened."""

import pytest
from standardwebhooks import Webhook as Verifier

from connectors.models import Webhook, WebhookDelivery
from connectors.services.webhook_sending import run_next
from connectors.services.webhooks import MAX_WEBHOOKS, TESTS_PER_MINUTE
from connectors.testing import sample_orders
from connectors.tests.api.conftest import paths, problem
from connectors.tests.peers.https import HttpServer
from tenants.models import AuditEvent

URL = "https://shop.example/hook"


@pytest.fixture
def server(settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    with HttpServer() as server:
        yield server


@pytest.fixture
def create(api):
    def create(url=URL, **about):
        return api.post("webhooks", {"name": "shop", "url": url} | about)

    return create


def test_a_webhook_from_its_creation_to_its_end(api, mock, create, server):
    url = f"{server.url('127.0.0.1')}/hook"
    answer = create(url, events=["export.sent", "export.accepted"])
    created = answer.json()
    place = f"webhooks/{created['id']}"
    assert (answer.status_code, answer["Location"]) == (201, f"/api/v1/{place}")
    assert (created["host"], created["events"]) == ("127.0.0.1", ["export.accepted", "export.sent"])

    secret = created.pop("secret")
    assert api.get(place).json() == created
    assert api.get("webhooks").json()["results"] == [created]

    tested = api.post(f"{place}/test").json()
    assert (tested["event"], tested["state"], tested["answers"][0]["status"]) == ("webhook.test", "DELIVERED", 200)

    export = api.submit(sample_orders.minimal().as_json()).json()
    assert run_next()
    (message,) = api.get(f"{place}/deliveries?event=export.accepted&state=DELIVERED").json()["results"]
    assert (message["export_id"], message["body"]) == (export["id"], server.requests[-1].body.decode())
    assert api.get(f"{place}/deliveries?export={tested['id']}").json()["results"] == []
    for request in server.requests:
        assert Verifier(secret).verify(request.body, request.headers)

    again = api.post(f"{place}/deliveries/{message['id']}/redeliver")
    assert (again.status_code, again.json()["state"]) == (202, "PENDING")
    assert run_next()
    assert server.requests[-1].headers["webhook-id"] == message["id"]

    rotated = api.post(f"{place}/rotate-secret").json()["secret"]
    assert rotated not in (None, secret)
    assert api.patch(place, {"url": url, "enabled": False}).json()["secret"] is None
    problem(api.post(f"{place}/deliveries/{message['id']}/redeliver"), 409, "CONFLICT")
    assert api.patch(place, {"url": f"{url}/2"}).json()["secret"] not in (None, secret, rotated)
    assert api.delete(place).status_code == 204
    problem(api.get(place), 404, "NOT_FOUND")
    actions = AuditEvent.objects.filter(target_type="webhook").values_list("action", flat=True)
    assert list(actions.order_by("id")) == [
        "webhook.created",
        "webhook.tested",
        "webhook.redelivered",
        "webhook.secret_rotated",
        "webhook.changed",
        "webhook.changed",
        "webhook.deleted",
    ]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"url": "http://shop.example/hook"}, "url"),
        ({"url": "https://user:password@shop.example"}, "url"),
        ({"url": "https://shop.example/#part"}, "url"),
        ({"url": "shop.example"}, "url"),
        ({"url": f"https://shop.example/{'x' * 2000}"}, "url"),
        ({"events": ["export.sending"]}, "events.0"),
        ({"name": ""}, "name"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_cannot_be_a_webhook(api, create, wrong, path):
    place = f"webhooks/{create().json()['id']}"

    assert paths(create(**wrong)) == [path]
    assert paths(api.patch(place, wrong)) == [path]
    assert Webhook.objects.count() == 1


def test_there_are_not_too_many(api, create):
    for _ in range(MAX_WEBHOOKS):
        assert create().status_code == 201

    problem(create(), 409, "CONFLICT")


def test_tests_are_rationed(api, create, settings):
    place = f"webhooks/{create('https://169.254.169.254/hook').json()['id']}"
    for _ in range(TESTS_PER_MINUTE):
        assert api.post(f"{place}/test").json()["answers"][0]["code"] == "EGRESS_DENIED"

    assert problem(api.post(f"{place}/test"), 429, "THROTTLED")
    assert WebhookDelivery.objects.count() == TESTS_PER_MINUTE


def test_a_message_belongs_to_its_webhook(api, mock, create):
    own, other = (create().json()["id"] for _ in range(2))
    api.submit(sample_orders.minimal().as_json())
    message = api.get(f"webhooks/{own}/deliveries").json()["results"][0]["id"]

    problem(api.post(f"webhooks/{other}/deliveries/{message}/redeliver"), 404, "NOT_FOUND")
