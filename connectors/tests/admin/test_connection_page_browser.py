"""The page of a connection in a real browser: tests as they run, and whatever they call for."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.conf import settings as configured
from django.db import connection as database
from playwright.sync_api import Page, expect

from connectors.models import ConnectionTest, ERPConnection
from connectors.services import connections, diagnosis, jobs
from connectors.tests.admin.conftest import CHROMIUM, DESK, SECRET, TELEPHONE
from connectors.tests.admin.pages import at
from connectors.tests.peers.fixtures import inbox, openssh  # noqa: F401  # fixtures
from connectors.tests.peers.openssh import PASSWORD
from connectors.tests.workers.processes import wait_for
from connectors.tests.workers.processes import worker as worker_process
from tenants.models import AuditEvent

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium-headless-shell)"),
]

NEXT = "the-next-one"


@pytest.fixture
def worker(transactional_db) -> Iterator[None]:
    """A worker in a process of its own, as it is in production."""
    with worker_process(configured.DROPZONE_ROOT):
        wait_for(jobs.has_worker)
        yield
    with database.cursor() as cursor:  # a killed one seems alive for a while
        cursor.execute("DELETE FROM procrastinate_workers")


@pytest.fixture
def sftp(settings, acme, actor, openssh, inbox):  # noqa: F811
    """A function that stores a connection to a real OpenSSH server."""
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]

    def sftp(**changes: object) -> ERPConnection:
        config = openssh.config(**changes)
        return connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config, name="Partner SFTP")

    return sftp


def open_connection(page: Page, connection: ERPConnection) -> None:
    page.goto(at("erpconnection", "change", connection.pk))


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def state(page: Page):
    return page.locator(".erp-badges")


def steps(page: Page, section: str = "#last-test"):
    return page.locator(f"{section} .erp-step")


def test_the_steps_appear_one_after_the_other(page: Page, worker, mock: ERPConnection, actor) -> None:
    connections.change(mock, actor, config={"latency_ms": 1500})
    open_connection(page, mock)
    page.get_by_label("Name:", exact=True).fill("typed and not saved")
    press(page, "Test connection")

    expect(page.locator(".erp-running")).to_contain_text("Testing…")
    assert steps(page).count() == 0
    expect(steps(page)).to_have_count(3)
    expect(steps(page).first).to_contain_text("connect")
    expect(steps(page).last).to_contain_text("identity")
    expect(page.locator(".erp-running")).to_have_count(0)
    expect(state(page)).to_contain_text("tested OK")
    expect(page.locator("#announcer")).to_have_text("The test passed.")
    expect(page.get_by_text("Anything: there is no ERP behind this connection.")).to_be_visible()
    expect(page.get_by_label("Name:", exact=True)).to_have_value("typed and not saved")
    expect(page.locator(".erp-history .erp-bar-passed")).to_have_count(1)


def test_a_test_is_cancelled(page: Page, worker, mock: ERPConnection, actor) -> None:
    connections.change(mock, actor, config={"latency_ms": 3000})
    open_connection(page, mock)
    press(page, "Test connection")
    press(page, "Cancel")

    expect(page.locator("#last-test .erp-report-head")).to_contain_text("cancelled")
    expect(state(page)).to_contain_text("never tested")
    assert ConnectionTest.objects.get().state == "CANCELLED"


def test_a_page_that_is_loaded_again_watches_on(page: Page, worker, mock: ERPConnection, actor) -> None:
    connections.change(mock, actor, config={"latency_ms": 2000})
    open_connection(page, mock)
    press(page, "Test connection")
    expect(page.locator(".erp-running")).to_be_visible()
    page.reload()

    expect(page.locator(".erp-running")).to_be_visible()
    expect(state(page)).to_contain_text("tested OK")
    assert mock.tests.count() == 1


def test_a_wrong_password_is_put_right_as_the_hint_says(page: Page, sftp) -> None:
    connection = sftp(password="wrong")
    open_connection(page, connection)
    press(page, "Test connection")

    failed = page.locator("#last-test .erp-step-failed")
    expect(failed).to_contain_text("AUTHENTICATION_FAILED")
    expect(failed).to_contain_text("enter the password or key again")
    expect(page.get_by_text("Paused: the far end refused the sign-in.")).to_be_visible()

    page.get_by_label("Password:", exact=True).fill(PASSWORD)
    press(page, "Save and test")
    expect(state(page)).to_contain_text("tested OK")
    expect(page.get_by_text("Paused:")).to_have_count(0)
    assert PASSWORD not in page.content()


def test_a_host_key_is_compared_and_pinned(page: Page, sftp) -> None:
    connection = sftp(host_key=None)
    open_connection(page, connection)
    press(page, "Test connection")
    shown = page.locator("#host-key code").inner_text()
    assert re.fullmatch(r"SHA256:\S{43}", shown)
    press(page, "Pin this host key")

    expect(page.get_by_text(f"The host key {shown} is pinned.")).to_be_visible()
    expect(state(page)).to_contain_text("tested OK")
    stored = ERPConnection.objects.get().read_config()
    assert (stored["host_key"], stored["password"]) == (shown, PASSWORD)


def test_another_host_key_shows_both_and_offers_nothing(page: Page, sftp) -> None:
    pinned = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"
    open_connection(page, sftp(host_key=pinned))
    press(page, "Test connection")

    expect(page.locator("#host-key")).to_contain_text("This is not the server you pinned")
    fingerprints = page.locator("#host-key code").all_inner_texts()
    assert fingerprints[0].rstrip("=") == pinned
    assert fingerprints[1] != fingerprints[0]
    expect(page.get_by_role("button", name="Pin this host key")).to_have_count(0)


def test_a_new_connection_is_tried_before_it_exists(page: Page, settings, acme, openssh, inbox) -> None:  # noqa: F811
    """Its host key goes from the report into the form with one click, and the password stays typed."""
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    page.goto(f"{at('erpconnection', 'add')}?org={acme.pk}&connector_type=DROPZONE_JSON_V1")
    page.get_by_label("Host:", exact=True).fill("127.0.0.1")
    page.get_by_label("Port:", exact=True).fill(str(openssh.port))
    page.get_by_label("User name").fill("erpdrop")
    page.get_by_label("Password:", exact=True).fill(PASSWORD)
    page.get_by_label("Export folder").fill("inbox")
    press(page, "Test without saving")
    press(page, "Use it in the form")
    expect(page.get_by_label("Host key")).to_have_value(re.compile("SHA256:"))
    press(page, "Test without saving")

    expect(page.locator("#tried .erp-report-head")).to_contain_text("passed")
    assert not ERPConnection.objects.exists()
    press(page, "Save and test")
    expect(state(page)).to_contain_text("tested OK")


def test_an_edit_is_tried_without_being_saved(page: Page, mock: ERPConnection) -> None:
    open_connection(page, mock)
    page.get_by_label("Fail with").select_option("TemporaryError")
    press(page, "Test without saving")

    expect(page.locator("#tried .erp-step-failed")).to_be_visible()
    assert ERPConnection.objects.get().revision == 1
    assert ConnectionTest.objects.get().subject == "EDIT"


def test_an_edit_with_faults_is_not_tried(page: Page, mock: ERPConnection) -> None:
    open_connection(page, mock)
    page.get_by_label("Account").fill("elsewhere")
    press(page, "Test without saving")

    expect(page.locator(".form-row.errors")).to_contain_text("Enter it again: the destination changed.")
    assert not ConnectionTest.objects.exists()


def test_a_change_that_fails_is_taken_back_with_one_click(page: Page, mock: ERPConnection, actor) -> None:
    diagnosis.test(mock, actor)
    open_connection(page, mock)
    page.get_by_label("Fail with").select_option("AuthenticationFailed")
    press(page, "Save and test")
    expect(page.get_by_text("What was saved last does not work.")).to_be_visible()
    press(page, "Go back to the last revision that passed")

    expect(page.get_by_text("Revision 1 is back, as revision 3.")).to_be_visible()
    expect(state(page)).to_contain_text("tested OK")
    stored = ERPConnection.objects.get().read_config()
    assert (stored["fail_with"], stored["api_key"]) == (None, SECRET)


def test_activating_what_fails_takes_a_reason(page: Page, acme, actor, mock: ERPConnection) -> None:
    config = {"fail_with": "TemporaryError"}
    spare = connections.create(acme, actor, connector_type="MOCK", config=config, name="Spare", status="DISABLED")
    open_connection(page, spare)
    press(page, "Activate…")
    expect(page.get_by_text("Replace it?")).to_be_visible()
    press(page, "Test, then replace")
    expect(page.get_by_text("Spare was not activated: its test failed.")).to_be_visible()

    press(page, "Activate…")
    page.locator("summary").click()
    press(page, "Replace without a test")
    expect(page.get_by_text("Give a reason.")).to_be_visible()
    page.get_by_label("Why?").fill("The partner is on holiday.")
    press(page, "Replace without a test")

    expect(page.get_by_text("Spare is active.")).to_be_visible()
    mock.refresh_from_db()
    assert mock.status == "DISABLED"
    event = AuditEvent.objects.filter(action="connection.changed", target_id=spare.pk).first()
    assert event.details["reason"] == "The partner is on holiday."


def test_the_next_credentials_take_over(page: Page, mock: ERPConnection) -> None:
    open_connection(page, mock)
    page.get_by_text("Prepare the next credentials").click()
    page.get_by_label("Next API key").fill(NEXT)
    press(page, "Store the next credentials")
    expect(page.locator("#next-credentials")).to_contain_text("not tested yet")
    assert ERPConnection.objects.get().read_config()["api_key"] == SECRET

    press(page, "Test the next credentials")
    expect(page.locator("#next-credentials")).to_contain_text("tested OK")
    press(page, "Promote…")
    press(page, "Promote")

    expect(page.get_by_text("The next credentials are in use now.")).to_be_visible()
    expect(state(page)).to_contain_text("tested OK")
    assert ERPConnection.objects.get().read_config()["api_key"] == NEXT
    assert NEXT not in page.content()


def test_another_far_end_is_accepted(page: Page, mock: ERPConnection, actor) -> None:
    diagnosis.test(mock, actor)
    connections.change(mock, actor, config={"environment": "production"})
    open_connection(page, mock)
    press(page, "Test connection")
    expect(page.locator("#identity")).to_contain_text("mock")
    expect(page.locator("#identity .erp-bad")).to_have_text("production")
    press(page, "Accept new identity")

    expect(state(page)).to_contain_text("tested OK")
    assert ERPConnection.objects.get().pinned_identity["environment"] == "production"


@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
def test_the_page_fits_the_screen_and_asks_nobody_else(
    page: Page, live_server, requested: list[str], size, sftp, mock: ERPConnection, actor
) -> None:
    connections.disable(mock, actor)
    connection = sftp(host_key="SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8")
    diagnosis.test(connection, actor)
    page.set_viewport_size(size)
    for address in (
        at("erpconnection", "change", connection.pk),
        at("erpconnection", "change", mock.pk),
        at("connectiontest", "change", connection.tests.get().pk),
    ):
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, address
        assert page.locator("script:not([src]), [style], style").count() == 0

    assert all(url.startswith(live_server.url) for url in requested)
