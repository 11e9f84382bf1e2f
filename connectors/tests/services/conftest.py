"""Connections to pretended ERPs, which remember nothing from one test to the next."""

import pytest

from connectors.adapters.mock import MockConnector
from connectors.services import connections


@pytest.fixture(autouse=True)
def empty_mock():
    MockConnector.reset()


@pytest.fixture
def connect(acme, actor):
    def connect(connector_type="MOCK", **config):
        return connections.create(acme, actor, connector_type=connector_type, config=config)

    return connect
