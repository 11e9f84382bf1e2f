"""People who sign in, and what they find."""

from __future__ import annotations

from itertools import count

import pytest
from django.contrib.auth.models import User
from django.test import Client

from connectors.services import connections, delivery, exports
from connectors.testing import sample_orders
from tenants.models import Membership, Role

SECRET = "c4n4ry-s3cret"


@pytest.fixture
def person(db):
    """Return a function that makes a member of staff, with a role in an organisation if given."""
    numbers = count(1)

    def person(org=None, role=None, **about):
        user = User.objects.create_user(f"person-{next(numbers)}", is_staff=True, **about)
        if org:
            Membership.objects.create(user=user, org=org, role=role)
        return user

    return person


@pytest.fixture
def sign_in():
    """Return a function that gives a person a browser."""

    def sign_in(user):
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


@pytest.fixture
def superuser(person, sign_in):
    return sign_in(person(is_superuser=True))


@pytest.fixture
def integrator(person, sign_in, acme):
    return sign_in(person(acme, Role.INTEGRATOR))


@pytest.fixture
def mock(acme, actor):
    return connections.create(acme, actor, connector_type="MOCK", config={"account": "demo", "api_key": SECRET})


@pytest.fixture
def foreign(globex, actor):
    return connections.create(globex, actor, connector_type="MOCK", config={"api_key": SECRET}, name="Globex ERP")


@pytest.fixture
def submit(acme, actor):
    def submit(order_id="SO-1", org=acme):
        return exports.submit(org, actor, sample_orders.complete(order_id), idempotency_key=order_id)[0]

    return submit


@pytest.fixture
def sent(mock, submit):
    export = submit()
    delivery.drain(mock.pk)
    export.refresh_from_db()
    assert export.status == "SENT"
    return export
