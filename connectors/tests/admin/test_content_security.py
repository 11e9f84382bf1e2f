"""Our policy in a real browser: every page works under it, and what somebody smuggles in does not."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, expect

from connectors.models import ERPConnection
from connectors.services import diagnosis, revisions, webhooks
from connectors.tests.admin.conftest import CHROMIUM, VIOLATION
from connectors.tests.admin.pages import at
from connectors.tests.rows import an_acknowledgement, an_export
from connectors.tests.security.test_canary import admin_addresses
from tenants.models import ApiKey, AuditEvent, Role

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium-headless-shell)"),
]

INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:", re.IGNORECASE)


def test_every_page_of_the_admin_obeys(page: Page, acme, actor, mock: ERPConnection) -> None:
    revisions.stage(mock, actor, {"api_key": "next"})
    export = an_export(mock, "FAILED", error={"code": "NO_SPACE", "message": "Full", "hint": ""})
    webhook, _ = webhooks.create(acme, actor, name="shop", url="https://169.254.169.254/hook")
    rows = {
        "erpconnection": mock.pk,
        "connectiontest": diagnosis.test(mock, actor).pk,
        "erpexport": export.pk,
        "webhook": webhook.pk,
        "acknowledgementrecord": an_acknowledgement(mock, export=export).pk,
        "organization": acme.pk,
        "auditevent": AuditEvent.objects.first().pk,
        "apikey": ApiKey.objects.issue(org=acme, role=Role.OPS, name="shop")[0].pk,
        "user": User.objects.get().pk,
    }
    seen = 0
    for address in sorted(set(admin_addresses(rows)) - {reverse("admin:logout")}):
        answer = page.request.get(address)
        if answer.text() and answer.headers["content-type"].startswith("text/html"):
            assert not INLINE.search(answer.text()), (address, INLINE.search(answer.text()))
            page.goto(address)
            seen += 1
    assert seen > 30


def test_the_documentation_tries_a_call(page: Page, acme) -> None:
    _, token = ApiKey.objects.issue(org=acme, role=Role.OPS, name="docs")
    assert not INLINE.search(page.request.get(reverse("docs")).text())
    page.goto(reverse("docs"))
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").first.fill(token)
    page.locator(".auth-container button.authorize").first.click()
    page.get_by_role("button", name="Close").first.click()
    call = page.locator(".opblock", has=page.locator("[data-path='/api/v1/me']"))
    call.locator(".opblock-summary").click()
    call.get_by_role("button", name="Try it out").click()
    call.get_by_role("button", name="Execute").click()

    expect(call.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    expect(call.locator(".live-responses-table")).to_contain_text("acme")


def test_what_is_smuggled_into_a_page_does_not_run(page: Page) -> None:
    """The policy is there and is strict, or the other tests would prove nothing."""
    page = page.context.new_page()  # one that may break the rules
    page.goto(at("erpexport", "changelist"))
    told: list[str] = []
    page.on("console", lambda line: told.append(line.text))
    page.evaluate(
        """() => {
          const inline = document.createElement("script");
          inline.textContent = "document.title = 'owned'";
          document.body.append(inline);
          const image = new Image();
          image.src = "https://evil.example.com/";
          document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick='alert(1)'>x</p>");
        }"""
    )
    page.wait_for_function("() => true")

    assert page.title() != "owned"
    for directive in ("script-src", "style-src", "img-src"):
        assert any(VIOLATION in line and directive in line for line in told), directive
