"""The digest: what it says, to whom, and that it is sent once a day."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from connectors.models import Installation
from connectors.services import digest
from connectors.tests.peers.openssh import free_port
from connectors.tests.rows import a_connection, an_export

REFUSED = {"code": "REJECTED_BY_ERP", "message": "The ERP rejected the order.", "hint": ""}
NOON = timezone.now().replace(hour=12, minute=0)


@pytest.fixture(autouse=True)
def _noon(monkeypatch, settings):
    settings.PUBLIC_URL = "https://erp.example.com"
    settings.DIGEST_HOUR = 6
    monkeypatch.setattr(timezone, "now", lambda: NOON)


@pytest.fixture
def link(acme):
    acme.digest_email = "ops@acme.test"
    acme.save()
    return a_connection(acme, name="SAP")


def test_it_says_what_needs_a_person(link, globex, mailoutbox):
    export = an_export(link, "REJECTED", order_id="SO-1", error=REFUSED)
    an_export(link, "SENT", order_id="SO-2")
    an_export(a_connection(globex), "FAILED", order_id="SO-theirs")

    assert digest.send_due() == 1

    (mail,) = mailoutbox
    assert (mail.to, mail.subject) == (["ops@acme.test"], "Acme GmbH: 1 matter needs a person")
    assert mail.body.split("\n\n") == [
        "What needs a person at Acme GmbH, most urgent first:",
        f"* order SO-1 came back rejected. (since {export.created_at:%Y-%m-%d %H:%M} UTC)\n"
        "  The ERP rejected the order.\n"
        f"  https://erp.example.com/admin/connectors/erpexport/{export.pk}/change/",
        "This is sent once a day to the address in the settings of the organisation.\n",
    ]


def test_it_is_sent_once_a_day(link, mailoutbox, monkeypatch):
    an_export(link, "FAILED")

    assert [digest.send_due(), digest.send_due()] == [1, 0]
    monkeypatch.setattr(timezone, "now", lambda: NOON.replace(hour=5) + timedelta(days=1))
    assert digest.send_due() == 0
    monkeypatch.setattr(timezone, "now", lambda: NOON.replace(hour=6) + timedelta(days=1))
    assert digest.send_due() == 1
    assert len(mailoutbox) == 2


def test_of_two_workers_one_sends_it(acme, link, mailoutbox):
    an_export(link, "FAILED")

    assert [digest._send_once(acme, NOON.date()) for _ in range(2)] == [True, False]
    assert len(mailoutbox) == 1


def test_nothing_is_sent_where_nothing_needs_a_person(link, mailoutbox):
    an_export(link)

    assert digest.send_due() == 0
    assert mailoutbox == []


@pytest.mark.parametrize("why", ["no address", "no mail server", "restored elsewhere"])
def test_nothing_is_sent(acme, link, mailoutbox, settings, why):
    an_export(link, "FAILED")
    if why == "no address":
        acme.digest_email = ""
        acme.save()
    elif why == "no mail server":
        settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    else:
        Installation.objects.update(name="another one")

    assert digest.send_due() == 0
    assert mailoutbox == []


def test_a_mail_server_that_is_away_is_asked_again(acme, link, mailoutbox):
    an_export(link, "FAILED")
    nobody = {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_HOST": "127.0.0.1"}
    with override_settings(**nobody, EMAIL_PORT=free_port()):
        assert digest.send_due() == 0
        with pytest.raises(CommandError, match="1 of 1 digests"):
            call_command("send_digest", stdout=StringIO(), stderr=StringIO())
    acme.refresh_from_db()
    assert acme.digest_sent_on is None

    assert digest.send_due() == 1


def test_the_command(acme, link, globex, mailoutbox):
    an_export(link, "FAILED", order_id="SO-1")
    out = StringIO()

    call_command("send_digest", "--dry-run", stdout=out)
    assert "order SO-1 could not be delivered." in out.getvalue()
    assert mailoutbox == []

    call_command("send_digest", "--org", "acme", stdout=out)
    assert len(mailoutbox) == 1
    with pytest.raises(CommandError, match="has no address"):
        call_command("send_digest", "--org", "globex")
