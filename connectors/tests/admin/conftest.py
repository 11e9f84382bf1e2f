"""People who sign in, and what they find."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

from connectors.services import connections, delivery, exports
from connectors.testing import sample_orders
from tenants.models import Membership, Role

SECRET = "c4n4ry-s3cret"
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PASSWORD = "a-long-enough-passphrase"
DESK = {"width": 1280, "height": 900}
TELEPHONE = {"width": 400, "height": 800}
VIOLATION = "Content Security Policy"
"""What the browser's own message says as well."""
TELL_OF_VIOLATIONS = f"""
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("{VIOLATION}", location.pathname, event.violatedDirective, event.blockedURI, event.sample));
"""


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


# A real browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright's event loop lives in this thread, where Django would refuse to touch the database.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def requested() -> list[str]:
    """Every address that a page asked for."""
    return []


@pytest.fixture
def page(browser: Browser, live_server, requested: list[str], acme) -> Iterator[Page]:
    """A page of somebody who is signed in; a script error fails the test, and so does what our policy forbids."""
    User.objects.create_superuser("root", password=PASSWORD)
    context = browser.new_context(base_url=live_server.url, viewport=DESK)
    context.set_default_timeout(10_000)
    context.add_init_script(TELL_OF_VIOLATIONS)
    page = context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda line: broken.append(line.text) if VIOLATION in line.text else None)
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/admin/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    yield page
    context.close()
    assert broken == []
