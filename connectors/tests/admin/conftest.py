"""People who sign in, and what they find."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from connectors.services import connections, delivery, exports
from connectors.testing import sample_orders
from tenants.models import Membership

SECRET = "c4n4ry-s3cret"


@pytest.fixture
def sign_in(db):
    """Return a function that signs a person in: a superuser, or a member of staff with these roles."""

    def sign_in(name="root", **roles):
        person = User.objects.create_user(name, password="pw", is_staff=True, is_superuser=name == "root")
        return client_of(person, roles)

    def client_of(person, roles):
        for org, role in roles.values():
            Membership.objects.create(user=person, org=org, role=role)
        client = Client()
        client.force_login(person)
        return client

    return sign_in


@pytest.fixture
def root(sign_in):
    return sign_in()


@pytest.fixture
def mock(acme, actor):
    return connections.create(acme, actor, connector_type="MOCK", config={"account": "demo", "api_key": SECRET})


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


def url(name, row=None):
    return reverse(f"admin:{name}", args=[row.pk] if row else None)


def text(response):
    return response.content.decode()
