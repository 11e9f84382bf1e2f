"""Two organisations and somebody who acts: what most tests start from."""

import pytest

from tenants.actors import Actor
from tenants.models import Organization


@pytest.fixture
def acme(db):
    return Organization.objects.create(slug="acme", name="Acme GmbH")


@pytest.fixture
def globex(db):
    return Organization.objects.create(slug="globex", name="Globex AG")


@pytest.fixture
def actor():
    return Actor.system("test")
