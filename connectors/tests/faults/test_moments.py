"""What happens to us at one exact moment of a delivery, which the far end's own log of steps tells."""

import time

import pytest
from django.db import transaction
from procrastinate.contrib.django.models import ProcrastinateWorker

from connectors.models import ERPConnection, ERPExport
from connectors.services import connections, exports
from connectors.testing import sample_orders
from connectors.tests.faults.fleet import GRACE_S, Fleet
from connectors.tests.faults.invariants import violations
from connectors.tests.faults.partners import Asyncssh
from connectors.tests.peers.faulty_sftp import Faults
from connectors.tests.workers.processes import LEASE_SECONDS, wait_for
from tenants.models import Organization

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ORDERS = 20
WINDOW = 16


class Shop:
    """An organisation with orders for one partner."""

    def __init__(self, name, partner, actor, *, timeout_s=1):
        self.partner = partner
        self.org = Organization.objects.create(slug=name, name=name)
        config = partner.config() | {"timeout_s": timeout_s}
        self._actor = actor
        self.connection = connections.create(self.org, actor, connector_type="DROPZONE_JSON_V1", config=config)

    def submit(self, numbers=range(ORDERS)):
        for number in numbers:
            exports.submit(self.org, self._actor, sample_orders.minimal(f"SO-{number}"), idempotency_key=str(number))
        return self

    @property
    def exports(self):
        return ERPExport.objects.filter(org=self.org)

    def is_done(self, *also):
        return not self.exports.exclude(status__in=("SENT", *also)).exists()

    def faults(self):
        return violations(self.org.pk, self.partner.arrived, overtaking=WINDOW - 1)


@pytest.fixture
def shop(tmp_path, actor):
    """A function that opens a shop whose partner has such faults."""
    opened = []

    def shop(name="shop", *, timeout_s=1, **faults):
        partner = Asyncssh(tmp_path / name, Faults(**faults)).__enter__()
        opened.append(partner)
        return Shop(name, partner, actor, timeout_s=timeout_s)

    yield shop
    for partner in opened:
        partner.__exit__()


@pytest.fixture
def fleet(tmp_path):
    """Workers to be."""
    with Fleet(tmp_path, tmp_path) as fleet:
        yield fleet


def let_time_pass():
    """Let nobody wait for his next attempt any longer, and return True."""
    now = "2000-01-01T00:00:00Z"
    _set(ERPExport.objects.filter(status="PENDING", next_attempt_at__isnull=False), next_attempt_at=now)
    _set(ERPConnection.objects.filter(retry_at__isnull=False), retry_at=now)
    return True


@transaction.atomic
def _set(rows, **columns):
    """Change all but what a worker holds right now: if both waited for several of them, they waited for each other."""
    rows.filter(pk__in=rows.select_for_update(skip_locked=True).values("pk")).update(**columns)


def test_killed_before_the_first_file_and_after_a_rename(shop, fleet):
    """Three shops, whose far ends fall silent at these moments: the worker is killed while it waits for all of them."""
    before = shop("before", stall_before="open", times=1, timeout_s=60).submit()
    after = shop("after", stall_after="rename", times=1, skip=3, timeout_s=60).submit()
    taken = shop("taken", stall_after="rename", times=1, skip=3, take_on="rename", timeout_s=60).submit()
    worker = fleet.start()
    wait_for(
        lambda: (
            before.partner.server.steps["open"]
            and len(after.partner.server.done("rename")) == len(taken.partner.server.done("rename")) == 4
            and taken.exports.filter(status="SENT").exists()  # from which the next worker sees that files are taken
        )
    )
    worker.kill()
    assert before.exports.filter(status="SENDING").exists()
    assert before.faults() == after.faults() == taken.faults() == []

    fleet.start()
    wait_for(lambda: let_time_pass() and before.is_done() and after.is_done() and taken.is_done("UNCONFIRMED"))

    assert before.faults() == after.faults() == taken.faults() == []
    assert after.exports.filter(attempt_log__outcome="FOUND").count() >= 1


def test_sent_home_while_orders_are_under_way_and_a_far_end_is_silent(shop, fleet):
    """A deploy: whoever is sent home settles or gives back what he has, and his successor goes on at once."""
    fleet.settings["EXPORT_LEASE_SECONDS"] = "600"  # what is not given back is missed for ever
    silent = shop("silent", stall_before="close", times=1, skip=5, timeout_s=60).submit()
    lively = shop("lively", take_on="rename").submit()
    worker = fleet.start()
    wait_for(lambda: silent.partner.server.steps["close"] > 5 and lively.partner.server.steps["rename"])
    seconds = worker.send_home()

    assert seconds < GRACE_S
    assert not ERPExport.objects.filter(status="SENDING").exists()
    assert silent.faults() == lively.faults() == []

    fleet.start()
    wait_for(lambda: let_time_pass() and silent.is_done() and lively.is_done(), seconds=20)
    assert silent.faults() == lively.faults() == []


def test_many_workers_share_the_work_and_the_loss_of_one_costs_only_its_lease(shop, fleet):
    workers = [fleet.start() for _ in range(3)]
    wait_for(lambda: ProcrastinateWorker.objects.count() == 3)
    stuck = shop("stuck", stall_before="rename", times=1, skip=3, timeout_s=60).submit()
    shops = [shop(f"shop-{number}").submit() for number in range(6)]
    wait_for(lambda: stuck.partner.server.steps["rename"] > 3)

    def sent_last(worker):
        """Return when a worker last sent something to the silent partner: who did so latest most likely waits there."""
        sent = worker.events("export.sent")
        return max(
            (event["timestamp"] for event in sent if event["connection_id"] == str(stuck.connection.pk)), default=""
        )

    max(workers, key=sent_last).kill()
    killed_at = time.monotonic()
    wait_for(lambda: let_time_pass() and all(each.is_done() for each in (stuck, *shops)))

    assert time.monotonic() - killed_at < LEASE_SECONDS + 5  # the next sweep, on a busy machine
    assert [each.faults() for each in (stuck, *shops)] == [[]] * 7
    shares = [len(worker.events("export.sent")) for worker in fleet.living()]
    assert min(shares) > sum(shares) / 20, shares
