"""Receivers of our messages are servers of their own."""

import pytest

from connectors.services import webhooks
from connectors.tests.peers.fixtures import authority, host_names, start_https  # noqa: F401  # fixtures
from connectors.tests.rows import a_connection


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def link(acme):
    return a_connection(acme)


@pytest.fixture
def receiver(start_https):  # noqa: F811  # the fixture of above
    """A function that starts a receiver which answers by a function, with 200 by default."""

    def receiver(*answer):
        return start_https(*answer, certificate=None)

    return receiver


@pytest.fixture
def subscribe(acme, actor):
    """A function that lets a receiver be told; returns the webhook and its secret."""

    def subscribe(server, org=acme, path="/hook", **about):
        return webhooks.create(org, actor, name="shop", url=server.url(path=path), **about)

    return subscribe
