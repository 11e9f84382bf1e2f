"""The overview in a real browser: it renews itself, obeys the keyboard and can be read in light and dark."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from connectors.admin.dashboard import PAGE_SIZE
from connectors.tests.admin.conftest import CHROMIUM, DESK, TELEPHONE
from connectors.tests.admin.pages import at
from connectors.tests.rows import a_connection, an_export
from tenants.models import Organization

HOME = reverse("admin:index")
ROUND = 31_000
"""A little more than the time between two looks, in milliseconds."""

FOCUS = """() => {
    const at = document.activeElement;
    const isOutlined = (element) => {
        const style = element && getComputedStyle(element);
        return style && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    };
    const isSeen = isOutlined(at) || isOutlined(at.closest("li"));
    return at === document.body ? null : { name: at.outerHTML.slice(0, 120), isSeen };
}"""
"""Tells what has the focus, and whether that can be seen."""

UNREADABLE_TEXT = (Path(__file__).parent / "unreadable_text.js").read_text()

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium-headless-shell)"),
]


@pytest.fixture
def link(acme):
    return a_connection(acme)


@pytest.fixture
def full(acme, globex, link):
    """Something for every part of the page."""
    a_connection(globex, health="AUTH_FAILED")
    a_connection(globex, health="FAILING", status="DISABLED")
    for status in ("PENDING", "SENDING", "SENT", "ACKED", "UNCONFIRMED", "REJECTED", "FAILED", "CANCELLED"):
        an_export(link, status, ago=timedelta(hours=2))
    return link


def use_theme(page: Page, theme: str) -> None:
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)


class TestRefresh:
    """Every half minute, as long as the page is in sight."""

    @pytest.fixture(autouse=True)
    def _clock(self, page: Page, full) -> None:
        page.clock.install()
        page.goto(HOME)

    def test_shows_what_is_new(self, page: Page, full) -> None:
        said = page.locator("#announcer")
        expect(said).to_have_text("5 matters for a person")
        an_export(full, "FAILED", order_id="NEW-1")

        page.clock.run_for(ROUND)

        expect(page.locator("#attention")).to_contain_text("2 orders could not be delivered.")
        expect(page.locator(".erp-legend")).to_contain_text("Failed 2")
        expect(page.locator("#organization-rows")).to_contain_text("2")

    def test_says_aloud_only_what_changed(self, page: Page, globex, full) -> None:
        page.evaluate(
            """() => {
                window.said = [];
                const announcer = document.getElementById("announcer");
                new MutationObserver(() => window.said.push(announcer.textContent))
                    .observe(announcer, { childList: true, characterData: true, subtree: true });
            }"""
        )
        with page.expect_response(lambda answer: answer.url.endswith(HOME)):
            page.clock.run_for(ROUND)
        an_export(globex.connections.first(), "FAILED")
        page.clock.run_for(ROUND)

        expect(page.locator("#announcer")).to_have_text("6 matters for a person")
        assert page.evaluate("window.said") == ["6 matters for a person"]

    def test_leaves_alone_what_somebody_is_at(self, page: Page, full) -> None:
        page.get_by_text("Show as a table").click()
        page.evaluate("document.activeElement.blur()")
        page.locator(".erp-matters a").first.focus()
        before = page.locator("#attention").inner_text()
        an_export(full, "FAILED")

        page.clock.run_for(ROUND)

        expect(page.locator(".erp-legend")).to_contain_text("Failed 2")
        expect(page.locator("#exports-table table")).to_be_visible()
        expect(page.locator(".erp-matters a").first).to_be_focused()
        assert page.locator("#attention").inner_text() == before

    def test_says_when_it_does_not_get_through(self, page: Page) -> None:
        page.route("**/admin/", lambda route: route.abort())
        page.clock.run_for(ROUND)
        expect(page.locator("#refreshed")).to_have_text("Not up to date: reload the page.")

        page.unroute("**/admin/")
        page.clock.run_for(ROUND)
        expect(page.locator("#refreshed")).to_contain_text("Updated")

    def test_says_when_the_session_is_over(self, page: Page) -> None:
        page.context.clear_cookies()
        page.clock.run_for(ROUND)

        expect(page.locator("#refreshed")).to_have_text("Not up to date: reload the page.")
        expect(page.locator("#attention")).to_be_visible()


def test_works_without_javascript(browser, page: Page, live_server, full) -> None:
    cookies = page.context.cookies()
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    context.add_cookies(cookies)
    plain = context.new_page()
    plain.goto(HOME)

    expect(plain.locator(".erp-matters li")).to_have_count(5)
    expect(plain.locator(".erp-plot g")).to_have_count(24)
    plain.get_by_text("Show as a table").click()
    expect(plain.locator("#exports-table table")).to_be_visible()
    context.close()


class TestKeyboard:
    def test_the_skip_link_leads_past_the_header(self, page: Page, full) -> None:
        page.goto(HOME)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
        expect(page.get_by_role("link", name="Skip to main content")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.keyboard.press("Tab")

        assert page.evaluate("document.querySelector('#content-main').contains(document.activeElement)")

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_the_focus_is_visible_everywhere(self, page: Page, full, theme: str) -> None:
        use_theme(page, theme)
        for address in (HOME, at("erpexport", "changelist"), at("organization", "change", full.org_id)):
            page.goto(address)
            invisible, stops = [], 0
            while stops < 200:
                page.keyboard.press("Tab")
                stop = page.evaluate(FOCUS)
                if stop is None:
                    break
                stops += 1
                if not stop["isSeen"]:
                    invisible.append(stop["name"])

            assert stops > 10, address
            assert invisible == [], address


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(page: Page, full, theme: str) -> None:
    export = full.exports.get(status="FAILED")
    Organization.objects.bulk_create(
        Organization(slug=f"o-{number}", name=f"O {number}") for number in range(PAGE_SIZE)
    )
    use_theme(page, theme)
    poor = {}
    for address in (
        HOME,
        f"{HOME}?q=nobody",
        reverse("admin:app_list", args=["connectors"]),
        at("erpconnection", "changelist"),
        at("erpconnection", "add"),
        f"{at('erpconnection', 'add')}?org={full.org_id}&connector_type=DROPZONE_JSON_V1",
        at("erpconnection", "change", full.pk),
        at("erpexport", "changelist"),
        at("erpexport", "change", export.pk),
        at("erpexport", "document", export.pk),
        at("organization", "change", full.org_id),
        at("apikey", "changelist"),
        at("apikey", "add"),
        at("auditevent", "changelist"),
        reverse("admin:auth_user_changelist"),
        reverse("admin:auth_user_add"),
        reverse("admin:password_change"),
    ):
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        if found := page.evaluate(UNREADABLE_TEXT):
            poor[address] = found

    assert not poor, json.dumps(poor, indent=2)


def test_text_that_cannot_be_read_is_found(page: Page) -> None:
    page.goto(HOME)
    # As scripts may do it; a style element would be against the policy of the page.
    page.evaluate(
        """() => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync("h1 { color: #999; }");
            document.adoptedStyleSheets.push(sheet);
        }"""
    )

    assert page.evaluate(UNREADABLE_TEXT) == ['2.85 H1. "Overview"']


@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
def test_it_fits_the_screen(page: Page, full, size) -> None:
    page.set_viewport_size(size)
    page.goto(HOME)
    page.get_by_text("Show as a table").click()

    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
