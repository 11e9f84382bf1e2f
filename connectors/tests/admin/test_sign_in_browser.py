"""Setting up a second factor and signing in with it, in a real browser, with nothing but a keyboard."""

from __future__ import annotations

from base64 import b32decode

import pytest
from django.contrib.auth.models import User
from django_otp.oath import TOTP
from playwright.sync_api import Browser, Page, expect

from connectors.tests.admin.conftest import CHROMIUM, PASSWORD, TELEPHONE, VIOLATION
from tenants.models import Authenticator

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium-headless-shell)"),
]


def type_password(page: Page) -> None:
    page.goto("/admin/")
    for text, key in (("ada", "Tab"), (PASSWORD, "Enter")):
        page.keyboard.type(text)
        page.keyboard.press(key)


def test_a_device_is_set_up_and_then_asked_for(browser: Browser, live_server, settings) -> None:
    settings.STAFF_SECOND_FACTOR = "required"
    User.objects.create_superuser("ada", password=PASSWORD)
    context = browser.new_context(base_url=live_server.url, viewport=TELEPHONE)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if VIOLATION in message.text else None)

    type_password(page)
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    totp = TOTP(b32decode(page.locator(".sign-in-secret").inner_text().replace(" ", "")))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.type(f"{totp.token():06}")
    page.keyboard.press("Enter")
    codes = page.get_by_label("Recovery codes").input_value().split()
    assert len(codes) == 10
    page.get_by_role("link", name="I have kept them").press("Enter")
    expect(page).to_have_url(f"{live_server.url}/admin/")
    page.get_by_role("button", name="Log out").press("Enter")
    expect(page.get_by_role("heading", name="Logged out")).to_be_visible()

    Authenticator.objects.update(last_step=-1)  # a while later
    type_password(page)
    expect(page.get_by_role("heading", name="Enter your code")).to_be_visible()
    page.keyboard.type(f"{totp.token():06}")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{live_server.url}/admin/")
    context.close()
    assert complaints == []
