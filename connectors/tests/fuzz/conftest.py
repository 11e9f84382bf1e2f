"""An organisation that owns one of everything, callers of every role, and no way out of this machine."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from django.core import signals
from django.db import close_old_connections
from rest_framework.settings import api_settings

from connectors import network
from connectors.adapters import mock
from connectors.tests.fuzz.world import World


@pytest.fixture
def world(db, settings, monkeypatch) -> World:
    """What the requests are about; nothing limits how many there are, and a failed test of a connection is one."""
    settings.TESTS_PER_MINUTE_AND_KEY = settings.TESTS_PER_MINUTE_AND_ORGANISATION = 10**9
    settings.TESTS_PER_MINUTE_AND_DESTINATION = 10**9
    settings.SECURE_SSL_REDIRECT = False
    settings.ALLOWED_HOSTS = ["localhost"]
    monkeypatch.setitem(api_settings.DEFAULT_THROTTLE_RATES, "api", None)
    return World.made()


@pytest.fixture(autouse=True)
def _no_way_out(settings, monkeypatch):
    """Refuse every address, and know no name: a body may name any host there is."""
    settings.EGRESS_ALLOWED_NETWORKS = []
    resolve = socket.getaddrinfo

    def numeric_only(host, port, *args, **kwargs):
        return resolve(host, port, *args, **{**kwargs, "flags": socket.AI_NUMERICHOST})

    def dial(address, port, timeout_s):
        raise TimeoutError

    monkeypatch.setattr(network.socket, "getaddrinfo", numeric_only)
    monkeypatch.setattr(network, "_open", dial)
    monkeypatch.setattr(
        mock, "time", SimpleNamespace(sleep=lambda seconds: None)
    )  # a pretended ERP may be told to take a minute


@pytest.fixture(autouse=True)
def _one_connection():
    """Let a request of the WSGI application use the transaction of the test, as those of Django's test client do."""
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)
