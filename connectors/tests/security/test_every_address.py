"""Every address of the API with every method, and secrets in every place of the body, right and wrong."""

from __future__ import annotations

import json
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import get_resolver

from connectors.services import connections, exports, revisions, webhooks
from connectors.testing import sample_orders
from connectors.tests.rows import an_acknowledgement, an_invitation
from connectors.tests.security.samples import SAMPLES, secrets_of
from tenants.models import ApiKey, Membership, Role, ServiceAccount

pytestmark = pytest.mark.slow

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")  # what deletes comes last
ROUTES = sorted({str(pattern.pattern) for pattern in get_resolver("connectors.api.urls").url_patterns})
PARTS = 4


@pytest.fixture
def sample():
    """One with a secret of each kind."""
    return SAMPLES[-1]


@pytest.fixture
def config(sample, canaries, home):
    return sample.config(canaries, home)


@pytest.fixture
def ids(sample, config, acme, actor):
    connection = connections.create(acme, actor, connector_type=sample.connector_type, config=config)
    revisions.stage(connection, actor, secrets_of(sample, config))
    webhook, _ = webhooks.create(acme, actor, name="shop", url="https://169.254.169.254/hook")
    export, _ = exports.submit(acme, actor, sample_orders.complete("SO-1"), idempotency_key="k")
    return {
        "connection_id": connection.pk,
        "export_id": export.pk,
        "test_id": uuid4(),
        "webhook_id": webhook.pk,
        "delivery_id": webhook.deliveries.get().pk,
        "acknowledgement_id": an_acknowledgement(connection).pk,
        "key_id": ApiKey.objects.issue(org=acme, role=Role.VIEWER, name="till")[0].pk,
        "account_id": ServiceAccount.objects.create(org=acme, name="program", role=Role.OPS).pk,
        "member_id": Membership.objects.create(user=User.objects.create_user("ada"), org=acme, role=Role.OPS).pk,
        "invitation_id": an_invitation(acme).pk,
        "connector_type": sample.connector_type,
    }


def bodies(sample, config):
    secrets = secrets_of(sample, config)
    whole = {"connector_type": sample.connector_type, "config": config, "status": "DISABLED"}
    text = json.dumps(whole, ensure_ascii=False)
    yield None, "application/json"
    for content in (
        *(whole, {"config": config}, {"config": secrets}, {"config": config | {"unknown": secrets}}, secrets),
        *({"config": {name: value for name in config for value in secrets.values()}}, {"config": list(config.items())}),
        *([whole], next(iter(secrets.values())), {"order": config, "fingerprint": next(iter(secrets.values()))}),
        {"reason": secrets, "revision": secrets},
        *({"name": "shop", "url": f"https://shop.test/{value}", "events": [value]} for value in secrets.values()),
    ):
        yield json.dumps(content), "application/json"
    for raw in (text[:-1], f"{text}{text}", text.encode("utf-16"), text.replace(":", ":NaN", 1)):
        yield raw, "application/json"
    yield urlencode(secrets), "application/x-www-form-urlencoded"
    yield text, "text/plain"


@pytest.mark.parametrize("part", range(PARTS))
def test_it_repeats_nothing(part, acme, caller, sample, config, canaries, ids, settings, capfd):
    settings.DEBUG = True  # whose error pages say the most
    settings.TESTS_PER_MINUTE_AND_KEY = settings.TESTS_PER_MINUTE_AND_ORGANISATION = 10_000
    settings.TESTS_PER_MINUTE_AND_DESTINATION = 10_000
    api = caller(acme, Role.ADMIN)
    for route in ROUTES[part::PARTS]:
        path = route
        for each, value in ids.items():
            path = path.replace(f"<uuid:{each}>", str(value)).replace(f"<str:{each}>", str(value))
        with transaction.atomic():
            ask(api, path, sample, config, canaries)
            transaction.set_rollback(True)
    written = "".join(capfd.readouterr())
    assert not canaries.leaks(written), canaries.where(written)


def ask(api, path, sample, config, canaries):
    """Send everything to one address."""
    for method in METHODS:
        for content, content_type in bodies(sample, config) if method in ("POST", "PATCH") else [(None, "")]:
            answer = api(method, path, raw=content, content_type=content_type)
            said = b"".join(answer.streaming_content) if answer.streaming else answer.content
            assert not canaries.leaks(said), (method, path, content_type, canaries.where(said))
            assert answer.status_code != 500, (method, path, content)
