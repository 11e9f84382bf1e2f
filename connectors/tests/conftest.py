"""Two organisations and somebody who acts: what most tests start from."""

import pytest

from connectors.services.lines import lines
from connectors.transports import drop_answers
from tenants.actors import Actor
from tenants.models import Organization


@pytest.fixture(autouse=True)
def _impatience(monkeypatch):
    """Wait a moment only before an answer that cannot be read is put aside."""
    monkeypatch.setattr(drop_answers, "QUIET_SECONDS", 0.01)


@pytest.fixture(autouse=True)
def _no_idle_lines():
    """Leave no login open at a far end that ends with its test."""
    yield
    lines.close()


@pytest.fixture
def acme(db):
    return Organization.objects.create(slug="acme", name="Acme GmbH")


@pytest.fixture
def globex(db):
    return Organization.objects.create(slug="globex", name="Globex AG")


@pytest.fixture
def actor():
    return Actor.system("test")
