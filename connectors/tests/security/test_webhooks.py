"""The secret of a webhook comes out in the one answer that issues it, its URL nowhere."""

from __future__ import annotations

import copy
import logging
import pickle
import re
from urllib.parse import quote

import pytest
from django.db import connection as database

from connectors.models import Webhook, WebhookDelivery
from connectors.services import webhook_sending, webhooks
from connectors.tests.admin.pages import at
from connectors.tests.peers.https import HttpServer
from connectors.tests.rows import a_connection, an_export
from connectors.tests.security.canaries import Canary


@pytest.fixture
def everything_logged():
    root = logging.getLogger()
    before = root.level
    root.setLevel("DEBUG")
    yield
    root.setLevel(before)


@pytest.fixture
def receiver():
    with HttpServer(lambda request: request.reply(500, request.path + request.headers["webhook-signature"])) as server:
        yield server


def test_nothing_comes_out(api, superuser, acme, actor, canaries, receiver, capfd, everything_logged):
    def remember(answer):
        """Look for the secret from now on, wherever it is not issued."""
        secret = answer.json()["secret"]
        runs = re.findall(r"[A-Za-z0-9]{12}", secret.removeprefix("whsec_"))
        canaries.planted.append(Canary("secret", secret, tuple(runs)))
        return answer

    token = canaries.plant("token")
    url = f"{receiver.url('127.0.0.1')}/{quote(token, safe='')}?key={quote(token, safe='')}"
    created = remember(api.post("webhooks", {"name": "shop", "url": url})).json()
    place = f"webhooks/{created['id']}"
    remember(api.post(f"{place}/rotate-secret"))
    an_export(a_connection(acme))
    assert webhook_sending.run_next()
    webhook, message = Webhook.objects.get(), WebhookDelivery.objects.get()
    page = at("webhook", "change", webhook.pk)
    answers = [
        api.post("webhooks", {"name": "shop", "url": f"{url}#{quote(token)}"}),
        api.patch(place, {"url": token}),
        api.patch(place, {"name": "other", "url": url}),
        api.post(f"{place}/test"),
        api.post(f"{place}/deliveries/{message.pk}/redeliver"),
        *(api.get(path) for path in (place, "webhooks", f"{place}/deliveries", "audit-events", "schema")),
        *(superuser.get(address) for address in (page, at("webhook", "changelist"), at("auditevent", "changelist"))),
        *(superuser.post(at("webhook", verb, webhook.pk), follow=True) for verb in ("test", "disable", "enable")),
        superuser.post(at("webhook", "add"), {"org": acme.pk, "name": "x" * 200, "url": token}),
    ]
    Webhook.objects.update(config_encrypted=bytes(webhook.config_encrypted[:-1]) + b"\0")
    answers += [api.post(f"{place}/rotate-secret"), api.post(f"{place}/test"), superuser.get(page)]

    said = [answer.content for answer in answers]
    said += [repr(row) + str(vars(copy.copy(row))) for row in (webhook, message)]
    said += [pickle.dumps(row) for row in (webhook, message)]
    with database.cursor() as cursor:
        for table in ("erp_webhook", "erp_webhook_delivery", "audit_event", "procrastinate_jobs"):
            cursor.execute(f"SELECT row::text FROM {table} row")  # noqa: S608  # a table of our own
            said += [text for (text,) in cursor.fetchall()]
    said += capfd.readouterr()
    # A form shows again what was typed into it.
    typed = answers.index(next(answer for answer in answers if b"x" * 200 in answer.content))
    said.pop(typed)

    assert "webhook.attempt_failed" in said[-1]
    for text in said:
        assert not canaries.leaks(text), canaries.where(text)


def test_the_receiver_gets_no_secret(acme, actor, canaries, receiver):
    _, secret = webhooks.create(acme, actor, name="shop", url=receiver.url("127.0.0.1"))
    canaries.planted.append(Canary("secret", secret, tuple(re.findall(r"[A-Za-z0-9]{12}", secret))))

    webhooks.test(Webhook.objects.get(), actor)

    (request,) = receiver.requests
    assert not canaries.leaks(f"{request.headers} {request.body!r}")
