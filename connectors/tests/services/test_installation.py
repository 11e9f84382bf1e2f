"""A database that finds itself under another installation: it sends, polls and checks nothing until it is armed."""

import os
import pty
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from django.db import connection as database
from procrastinate.contrib.django.models import ProcrastinateJob

from connectors.adapters.mock import MockConnector
from connectors.models import ERPConnection, ERPExport, Installation
from connectors.services import acknowledgements, connections, delivery, exports, installation
from connectors.testing import sample_orders
from connectors.tests.commands.conftest import run
from erpconfig.paths import BASE_DIR
from tenants import scope
from tenants.models import AuditEvent


@pytest.fixture(autouse=True)
def empty_mock():
    MockConnector.reset()


@pytest.fixture
def original(acme, globex, actor):
    """Two organisations with an order each, in a database that is armed."""
    return [connected(org, actor) for org in (acme, globex)]


@pytest.fixture
def copy(original, settings):
    """The same, after the database was restored elsewhere."""
    settings.INSTALLATION_ID = "the copy"
    return original


def connected(org, actor):
    config = {"account": org.slug, "acknowledgement": "ack"}
    connection = connections.create(org, actor, connector_type="MOCK", config=config)
    submit(org, actor)
    return connection


def submit(org, actor, order_id="SO-1"):
    return exports.submit(org, actor, sample_orders.minimal(order_id), idempotency_key=order_id)[0]


def send_everything(pairs):
    return [delivery.drain(connection.pk) for connection in pairs]


class TestTheFirstInstallation:
    def test_is_armed_by_itself(self, original):
        assert installation.is_armed()
        assert send_everything(original) == [1, 1]

    def test_stays_armed_when_it_is_migrated_again(self, original):
        before = Installation.objects.get().name

        installation.register()

        assert Installation.objects.get().name == before

    def test_is_told_by_its_database_unless_it_has_a_name(self, original, settings):
        settings.INSTALLATION_ID = "production"
        assert not installation.is_armed()

        settings.INSTALLATION_ID = ""
        assert installation.is_armed()

    def test_may_ask_who_it_is_without_being_a_superuser(self, db):
        with scope.as_owner(), database.cursor() as cursor:
            cursor.execute("CREATE ROLE nobody_special")
            cursor.execute("GRANT SELECT ON erp_installation TO nobody_special")
            cursor.execute("SET LOCAL ROLE nobody_special")

            assert installation.is_armed()
            cursor.execute("RESET ROLE")


class TestACopy:
    def test_sends_polls_and_starts_nothing(self, copy):
        ProcrastinateJob.objects.all().delete()

        delivery.sweep()

        assert send_everything(copy) == [0, 0]
        assert acknowledgements.poll_all() == 0
        assert not acknowledgements.pollable().exists()
        assert not ERPConnection.objects.sendable().exists()
        assert not ProcrastinateJob.objects.exists()
        assert set(ERPExport.objects.values_list("status", "attempts")) == {("PENDING", 0)}
        assert MockConnector.received() == ()

    def test_leaves_alone_what_the_original_was_sending(self, copy):
        ERPExport.objects.update(status="SENDING", leased_until="2025-01-01T00:00:00Z")

        delivery.sweep()

        assert set(ERPExport.objects.values_list("status", flat=True)) == {"SENDING"}

    def test_leaves_a_doubt_to_the_time_when_it_may_look(self, copy, acme, actor):
        ERPExport.objects.update(outcome_unknown=True)

        connections.disable(copy[0], actor)
        connections.create(acme, actor, connector_type="MOCK", config={})
        exports.move_waiting(acme)

        assert set(ERPExport.objects.values_list("status", "outcome_unknown")) == {("PENDING", True)}

    def test_still_takes_orders(self, copy, acme, actor):
        assert submit(acme, actor, "SO-2").status == "PENDING"

    def test_says_so_once_a_sweep(self, copy, caplog):
        delivery.sweep()

        assert caplog.text.count("installation.quarantined") == 1

    def test_is_not_armed_by_a_migration(self, copy, caplog):
        installation.register()

        assert not installation.is_armed()
        assert "installation.quarantined" in caplog.text

    def test_goes_on_once_it_is_armed(self, copy, actor):
        assert installation.arm(actor)

        delivery.sweep()

        assert send_everything(copy) == [1, 1]
        assert acknowledgements.poll_all() == 2

    def test_takes_the_place_of_the_original(self, copy, actor, settings):
        installation.arm(actor)
        settings.INSTALLATION_ID = ""

        assert not installation.is_armed()
        assert send_everything(copy) == [0, 0]


class TestArming:
    def test_is_in_the_audit_trail(self, copy, actor):
        before = Installation.objects.get()

        installation.arm(actor)

        after, event = Installation.objects.get(), AuditEvent.objects.get(action="installation.armed")
        assert event.details == {"changes": {"installation": [before.name, "the copy"]}}
        assert (after.name, after.armed_at > before.armed_at) == ("the copy", True)

    def test_has_no_effect_where_it_is_armed(self, original, actor):
        assert not installation.arm(actor)
        assert not AuditEvent.objects.filter(action="installation.armed").exists()

    def test_works_on_a_database_that_was_never_armed(self, original, actor):
        Installation.objects.all().delete()
        assert not installation.is_armed()
        assert installation.standstill().armed_for == ""

        assert installation.arm(actor)
        assert send_everything(original) == [1, 1]


class TestCommand:
    def test_shows_what_begins_to_move_and_arms(self, copy, acme, actor):
        submit(acme, actor, "SO-2")

        done = run("arm_installation", "--yes")

        assert done.code == 0
        assert "active connections     2\nwaiting exports        3\n" in done.out
        assert installation.is_armed()
        assert AuditEvent.objects.get(action="installation.armed").actor_label == "arm_installation"

    def test_is_content_with_an_armed_installation(self, original):
        assert (run("arm_installation").code, AuditEvent.objects.filter(org=None).count()) == (0, 0)

    def test_without_a_terminal_it_has_to_be_told(self, copy):
        done = run("arm_installation")

        assert (done.code, "--yes" in done.err) == (2, True)
        assert not installation.is_armed()

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(("answer", "code", "armed"), [("yes\n", 0, True), ("no\n", 1, False), ("\x04", 1, False)])
    def test_at_a_terminal_it_asks(self, copy, answer, code, armed):
        ours, theirs = pty.openpty()
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database.settings_dict['NAME']}").geturl()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "arm_installation"],
            cwd=BASE_DIR,
            env=os.environ | {"DATABASE_URL": url, "INSTALLATION_ID": "the copy"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, answer.encode())
        out, _ = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)

        assert (process.returncode, installation.is_armed()) == (code, armed)
        assert "waiting exports        2" in out
