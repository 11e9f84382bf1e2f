"""The admin in a real browser: what a person sees and clicks, at a desk and on a telephone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from connectors.models import ERPConnection
from connectors.services import delivery, diagnosis, exports
from connectors.testing import sample_orders
from connectors.tests.admin.conftest import CHROMIUM, DESK, SECRET, TELEPHONE
from connectors.tests.admin.pages import at
from connectors.tests.rows import an_export
from tenants.models import ApiKey

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium-headless-shell)"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder below DROPZONE_ROOT that is not there yet."""
    root = Path(settings.DROPZONE_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    folder = root / "browser"
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def open_connection(page: Page, connection: ERPConnection) -> None:
    page.goto(at("erpconnection", "change", connection.pk))


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def test_a_folder_is_connected_fails_its_test_and_is_mended(page: Page, folder: Path) -> None:
    page.goto(at("erpconnection", "changelist"))
    page.get_by_role("link", name="Add ERP connection").click()
    page.get_by_label("Organisation").select_option(label="Acme GmbH")
    page.get_by_label("JSON dropzone").check()
    page.get_by_role("button", name="Continue").click()

    page.get_by_label("Name:", exact=True).fill("The folder")
    page.get_by_label("Mode").select_option("filesystem")
    expect(page.get_by_label("Host:", exact=True)).to_be_hidden()
    page.get_by_label("Export folder").fill(str(folder))
    save(page)
    expect(page.get_by_text("The folder was created.")).to_be_visible()

    page.get_by_role("button", name="Test connection").click()
    report = page.locator("#last-test")
    expect(report.get_by_text("PATH_NOT_FOUND")).to_be_visible()
    expect(report.get_by_text("Create it at the far end, or correct its name in the configuration.")).to_be_visible()

    folder.mkdir()
    page.get_by_role("button", name="Test connection").click()
    expect(report.get_by_text("PATH_NOT_FOUND")).to_have_count(0)
    expect(report.locator(".erp-step-failed")).to_have_count(0)
    expect(page.locator(".erp-badge", has_text="healthy")).to_be_visible()
    expect(page.get_by_role("heading", name="Tests", exact=True)).to_be_visible()
    assert list(folder.iterdir()) == []


def test_a_stored_secret_stays_when_something_else_is_edited(page: Page, mock: ERPConnection) -> None:
    open_connection(page, mock)
    expect(page.get_by_label("API key:", exact=True)).to_have_value("")
    assert SECRET not in page.content()

    page.get_by_label("Latency (ms)").fill("3")
    save(page)

    expect(page.get_by_text("was saved.")).to_be_visible()
    stored = ERPConnection.objects.get().read_config()
    assert (stored["latency_ms"], stored["api_key"]) == (3, SECRET)


def test_another_destination_asks_for_the_secret(page: Page, mock: ERPConnection) -> None:
    open_connection(page, mock)
    page.get_by_label("Account").fill("elsewhere")
    save(page)

    row = page.locator(".form-row.errors")
    expect(row).to_contain_text("Enter it again: the destination changed.")
    page.get_by_label("API key:", exact=True).fill("entered again")
    save(page)

    expect(page.get_by_text("was saved.")).to_be_visible()
    assert ERPConnection.objects.get().read_config()["api_key"] == "entered again"


def test_the_fields_follow_the_mode(page: Page, acme, actor) -> None:
    """Also back again, and what was typed meanwhile is not sent."""
    page.goto(f"{at('erpconnection', 'add')}?org={acme.pk}&connector_type=DROPZONE_JSON_V1")
    host = page.get_by_label("Host:", exact=True)
    page.get_by_label("Mode").select_option("sftp")
    host.fill("typed.example.com")
    page.get_by_label("Mode").select_option("filesystem")
    expect(host).to_be_hidden()
    page.get_by_label("Export folder").fill("/somewhere")
    save(page)

    expect(page.get_by_text("was created.")).to_be_visible()
    assert ERPConnection.objects.get().read_config()["host"] is None


def test_the_button_of_a_row_tests_that_row(page: Page, mock: ERPConnection, foreign: ERPConnection) -> None:
    page.goto(at("erpconnection", "changelist"))
    page.get_by_role("button", name=f"Test {foreign.name}").click()

    expect(page.get_by_text(f"{foreign.name}: the test passed")).to_be_visible()
    assert (mock.tests.count(), foreign.tests.count()) == (0, 1)


def test_several_rows_are_tested_together(page: Page, mock: ERPConnection, foreign: ERPConnection) -> None:
    page.goto(at("erpconnection", "changelist"))
    page.locator("#action-toggle").check()
    page.get_by_role("combobox", name="Action").select_option("test_selected")
    page.get_by_role("button", name="Go").click()

    expect(page.locator(".messagelist li")).to_have_count(2)
    assert (mock.tests.count(), foreign.tests.count()) == (1, 1)


def test_an_export_tells_its_story_and_shows_its_document(page: Page, acme, actor, mock: ERPConnection) -> None:
    export, _ = exports.submit(acme, actor, sample_orders.complete(), idempotency_key="k")
    delivery.drain(mock.pk)

    page.goto(at("erpexport", "changelist"))
    page.get_by_role("link", name=export.order_id).click()
    timeline = page.locator("#timeline li")
    expect(timeline.filter(has_text="Order accepted")).to_be_visible()
    expect(timeline.filter(has_text="Attempt 1")).to_contain_text("sent")
    expect(page.get_by_role("cell", name="12345678901234.5678")).to_be_visible()

    page.get_by_role("link", name="Document").click()
    expect(page.locator("pre")).to_contain_text('"draft_order_id"')
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    export.refresh_from_db()
    assert download.value.suggested_filename == export.filename


def test_an_api_key_is_shown_once(page: Page) -> None:
    page.goto(at("apikey", "add"))
    page.get_by_label("Organisation").select_option(label="Acme GmbH")
    page.get_by_label("Name").fill("shop")
    page.get_by_label("Role:").select_option("OPS")
    page.get_by_role("button", name="Save", exact=True).click()

    token = page.get_by_label("API key shop").input_value()
    assert ApiKey.objects.authenticate(token)
    page.get_by_role("link", name="I have copied it").click()
    assert token not in page.content()
    expect(page.locator(".erp-badge", has_text="valid")).to_be_visible()


@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
def test_no_page_is_wider_than_the_screen_or_asks_elsewhere(
    page: Page, live_server, requested: list[str], acme, actor, mock: ERPConnection, size
) -> None:
    export, _ = exports.submit(acme, actor, sample_orders.complete(), idempotency_key="k")
    delivery.drain(mock.pk)
    diagnosis.test(mock, actor)
    an_export(mock, "FAILED", error={"code": "NO_SPACE", "message": "Full: " + "x" * 100, "hint": ""})
    page.set_viewport_size(size)

    for address in (
        at("erpconnection", "changelist"),
        at("erpexport", "changelist"),
        at("erpconnection", "change", mock.pk),
        at("erpconnection", "add"),
        f"{at('erpconnection', 'add')}?org={acme.pk}&connector_type=DROPZONE_JSON_V1",
        at("erpexport", "change", export.pk),
        at("erpexport", "document", export.pk),
        at("erpexport", "dead-letters"),
    ):
        page.goto(address)
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, address

    assert {url.split("/admin")[0].split("/static")[0] for url in requested} <= {live_server.url, f"{live_server.url}/"}
    assert page.locator("script:not([src])").count() == 0
