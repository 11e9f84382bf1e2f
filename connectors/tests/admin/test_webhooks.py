"""Webhooks in the admin: the secret in one answer, the log, and the verbs."""

import re

import pytest
from standardwebhooks import Webhook as Verifier

from connectors.models import Webhook, WebhookDelivery
from connectors.services import webhooks
from connectors.services.webhook_sending import run_next
from connectors.tests.admin.pages import at, text
from connectors.tests.peers.https import HttpServer
from connectors.tests.rows import a_connection, an_export

TOKEN = "t0ken-in-the-path"


@pytest.fixture
def server(settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    with HttpServer() as server:
        yield server


@pytest.fixture
def webhook(acme, actor, server):
    return webhooks.create(acme, actor, name="Shop", url=f"{server.url('127.0.0.1')}/{TOKEN}")[0]


def issued(answer):
    """Return the secret on a page that issues one."""
    assert "no-store" in answer["Cache-Control"]
    return re.search(r"whsec_[A-Za-z0-9+/=]{44}", answer.content.decode())[0]


def test_a_new_one(integrator, acme, globex, server):
    url = f"{server.url('127.0.0.1')}/{TOKEN}"
    form = {"org": acme.pk, "name": "Shop", "url": url, "events": ["export.sent"]}

    secret = issued(integrator.post(at("webhook", "add"), form))

    webhook = Webhook.objects.get()
    assert webhook.read_config() == {"url": url, "secret": secret}
    assert (webhook.org, webhook.events) == (acme, ["export.sent"])
    assert integrator.post(at("webhook", "add"), form | {"org": globex.pk}).status_code == 200
    assert "Must begin with https://" in text(integrator.post(at("webhook", "add"), form | {"url": "ftp://x.test"}))
    assert Webhook.objects.count() == 1


def test_the_page_shows_the_log_and_neither_url_nor_secret(integrator, acme, webhook, server):
    server.answer = lambda request: request.reply(503)
    an_export(a_connection(acme), order_id="SO-77")
    run_next()

    page = integrator.get(at("webhook", "change", webhook.pk))

    assert all(said in text(page) for said in ("SO-77", "export.accepted", "HTTP 503", "failing"))
    for each in (page, integrator.get(at("webhook", "changelist"))):
        assert TOKEN not in each.content.decode()
        assert "whsec_" not in each.content.decode()


def test_the_verbs(integrator, acme, webhook, server):
    def post(verb, **form):
        return integrator.post(at("webhook", verb, webhook.pk), form, follow=True)

    assert "It was taken after" in text(post("test"))
    server.answer = lambda request: request.reply(404)
    assert "It was not taken (HTTP 404)." in text(post("test"))
    server.answer = lambda request: request.reply()
    an_export(a_connection(acme))
    run_next()

    post("redeliver", delivery=WebhookDelivery.objects.get(event="export.accepted").pk)
    assert run_next()
    post("disable")
    assert not Webhook.objects.get().enabled
    post("enable")
    assert Webhook.objects.get().enabled
    rotated = issued(post("rotate-secret"))
    post("test")
    assert Verifier(rotated).verify(server.requests[-1].body, server.requests[-1].headers)
    assert "the log of its messages goes with it" in text(post("remove"))
    post("remove", confirmed="yes")
    assert not Webhook.objects.exists()


@pytest.mark.parametrize("delivery", ["", "nonsense", "0b7f8a52-4a58-4f0c-9d0a-5a3f0e6d1c11"])
def test_no_such_message(integrator, webhook, delivery):
    answer = integrator.post(at("webhook", "redeliver", webhook.pk), {"delivery": delivery})

    assert answer.status_code == 404
