"""One round of the matrix: every cell gets its orders while everything breaks on our side, too.

All cells are organisations of one installation, so what happens to a worker or to the database happens to all of them
at once, each at another moment of its own trouble.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

from django.db import DatabaseError, InterfaceError
from django.db import connection as database
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateWorker

from connectors.models import ERPConnection, ERPExport, ExportAttempt
from connectors.services import connections
from connectors.testing import sample_orders
from connectors.tests.faults.fleet import GRACE_S, Fleet
from connectors.tests.faults.invariants import violations
from connectors.tests.faults.matrix import Cell
from connectors.tests.faults.partners import Partner
from connectors.tests.workers.processes import wait_for
from tenants.actors import Actor
from tenants.models import ApiKey, Organization, Role

T = TypeVar("T")

ON_THE_WAY = ("PENDING", "SENDING")
SECONDS_PER_STRIKE = 1.5


@dataclass
class Customer:
    """One organisation that sends its orders through one cell."""

    cell: Cell
    partner: Partner
    org: Organization
    token: str
    window: int
    submitted: int = 0

    def faults(self) -> list[str]:
        """Return what is not as it has to be, right now."""
        return [
            f"{self.cell.name}: {text}"
            for text in violations(self.org.pk, self.partner.arrived, overtaking=self.window - 1)
        ]


@dataclass(kw_only=True)
class Storm:
    """What happens in one round.

    Args:
        random: decides what happens when.
        folder: where partners and logs lie, below DROPZONE_ROOT.
        cells: who takes part.
        orders: how many each of them submits.
        workers: how many processes send.
        strikes: what happens to us, in this sequence: kill, deploy, drop, or a key of `more_strikes`.
        more_strikes: what else can happen to us.
        patience_s: how long it may take until everything is settled once nothing breaks any more.
    """

    random: Random
    folder: Path
    cells: list[Cell]
    orders: int
    workers: int
    strikes: list[str]
    more_strikes: dict[str, Callable[[], None]] = field(default_factory=dict)
    patience_s: float = 120.0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _next_look: float = 0.0

    def run(self) -> None:
        """Let it happen, and collect in `faults` what is not as it has to be."""
        with ExitStack() as partners:
            self._customers = [self._welcome(cell, partners) for cell in self.cells]
            with Fleet(self.folder, self.folder, {"EXPORT_MAX_ATTEMPTS": "100"}) as self._fleet:
                for _ in range(self.workers):
                    self._fleet.start()
                wait_for(lambda: ProcrastinateWorker.objects.count() >= self.workers)
                for happen in self._plan():
                    happen()
                    self._pass_time()
                self._until_settled([customer for customer in self._customers if customer.partner.heals_itself])
                for customer in self._customers:
                    customer.partner.heal()
                self._until_settled(self._customers)
            for customer in self._customers:
                self.faults += customer.faults() + list(self._left_over(customer))
        self._count()

    def _welcome(self, cell: Cell, stack: ExitStack) -> Customer:
        number = Organization.objects.count()
        org = Organization.objects.create(slug=f"org-{number}", name=cell.name)
        partner = stack.enter_context(cell.open(self.folder / f"cell-{number}"))
        connection = connections.create(
            org, Actor.system("storm"), connector_type="DROPZONE_JSON_V1", config=partner.config()
        )
        window = self.random.choice((1, 4, 16))
        ERPConnection.objects.filter(pk=connection.pk).update(window=window)
        return Customer(cell, partner, org, ApiKey.objects.issue(org=org, role=Role.OPS, name="shop")[1], window)

    def _plan(self) -> list[Callable[[], None]]:
        """Return the submissions in a random sequence, with the strikes at random moments in between.

        They are spread, so that there are orders to come and orders under way at each strike.
        """
        self._pause_s = SECONDS_PER_STRIKE * len(self.strikes) / (len(self._customers) * self.orders)
        plan = [self._submission(customer) for customer in self._customers for _ in range(self.orders)]
        self.random.shuffle(plan)
        for position, strike in zip(
            sorted(self.random.sample(range(len(plan)), len(self.strikes))), self.strikes, strict=True
        ):
            plan.insert(position, lambda strike=strike: self._strike(strike))
        return plan

    def _submission(self, customer: Customer) -> Callable[[], None]:
        def submit() -> None:
            customer.submitted += 1
            time.sleep(self._pause_s)
            order = sample_orders.minimal(f"SO-{customer.submitted}").as_json()
            patiently(lambda: self._post(customer.token, {"order": order}, key=order["order_id"]))

        return submit

    def _post(self, token: str, body: object, *, key: str) -> None:
        answer = Client(raise_request_exception=False).post(
            "/api/v1/exports",
            json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
        )
        if answer.status_code >= 500:
            self.counts["submissions answered with an error, and repeated"] += 1
            raise DatabaseError
        assert answer.status_code in (200, 202), answer.content

    def _strike(self, strike: str) -> None:
        self.counts[f"strike: {strike}"] += 1
        if strike in self.more_strikes:
            self.more_strikes[strike]()
            return
        worker = self.random.choice(self._fleet.living())
        if strike == "drop":
            patiently(worker.lose_database)
            return
        self._fleet.start()
        if strike == "kill":
            worker.kill()
        elif (seconds := worker.send_home()) > GRACE_S:
            self.faults.append(f"{worker.name} took {seconds:.0f} s to go")

    def _pass_time(self) -> None:
        """Let what waits for its next attempt have waited, replace workers that ended, and look at somebody."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + 0.5
        now = timezone.now()
        patiently(
            lambda: ERPExport.objects.filter(status="PENDING", next_attempt_at__gt=now).update(next_attempt_at=now)
        )
        patiently(lambda: ERPConnection.objects.filter(retry_at__gt=now).update(retry_at=now))
        for worker in self._fleet.replace_ended():
            self.counts[f"workers that ended by themselves, exit code {worker.process.returncode}"] += 1
        self.faults += patiently(self.random.choice(self._customers).faults)

    def _until_settled(self, customers: list[Customer]) -> None:
        deadline = time.monotonic() + self.patience_s
        on_the_way = ERPExport.objects.filter(org__in=[customer.org for customer in customers], status__in=ON_THE_WAY)
        while patiently(on_the_way.exists) and time.monotonic() < deadline:
            self._pass_time()
            time.sleep(0.1)

    def _left_over(self, customer: Customer) -> Iterator[str]:
        exports = ERPExport.objects.filter(org=customer.org)
        if (count := exports.count()) != customer.submitted:
            yield f"{customer.cell.name}: {customer.submitted} orders were accepted, {count} are known"
        settled = ("SENT", "UNCONFIRMED") if customer.cell.consumes else ("SENT",)
        for export in exports.exclude(status__in=settled).select_related("connection"):
            code, connection = (export.error or {}).get("code"), export.connection
            yield (
                f"{customer.cell.name}: order {export.order_id} is {export.status} after {export.attempts} attempts "
                f"({code}); the connection is {connection.health}, its breaker open until {connection.retry_at}"
            )

    def _count(self) -> None:
        self.counts["orders"] = sum(customer.submitted for customer in self._customers)
        self.counts.update(f"orders: {status}" for status in ERPExport.objects.values_list("status", flat=True))
        self.counts.update(
            f"attempts: {outcome}" for outcome in ExportAttempt.objects.values_list("outcome", flat=True)
        )


def patiently(ask: Callable[[], T], *, seconds: float = 30.0) -> T:
    """Ask the database again and again while it is away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (DatabaseError, InterfaceError):
            if time.monotonic() > deadline:
                raise
            database.close()
            time.sleep(0.05)
