"""Orders, people, faults and time in any sequence, against a model of what each export has to be after what it met."""

from __future__ import annotations

import os
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from connectors.models import ERPConnection, ERPExport
from connectors.port import ExportContext
from connectors.registry import registry
from connectors.services import connections, delivery, exports, health, steering
from connectors.services.errors import NotCancellable, NotRetryable
from connectors.services.lines import lines
from connectors.testing import sample_orders
from connectors.tests.faults.invariants import violations
from connectors.tests.faults.scripted import FAULTS, LOOK_UP_FAULTS, Erp, WorkerDied, connector_of
from tenants.actors import Actor
from tenants.models import Organization

EXAMPLES = int(os.environ.get("FAULTS_EXAMPLES", "0"))
"""How many sequences are drawn by chance; 0 for a few that are always the same."""

ATTEMPTS = 4
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
PERSON = Actor.system("a person")

WAITS, IN_DOUBT, HELD_BY_A_WORKER = "PENDING", "PENDING, in doubt", "SENDING"
SPENT = {WAITS: "FAILED", IN_DOUBT: "UNCONFIRMED"}
"""Where an export ends that would wait for another attempt and has none left."""

AFTER = {
    "accepted": {"SENT"},
    "temporary": {WAITS},
    "rate limited": {WAITS},
    "sign-in refused": {WAITS},
    "rejected": {"REJECTED"},
    "not expressible": {"FAILED"},
    "unsupported": {"FAILED"},
    "unknown, not arrived": {IN_DOUBT},
    "unknown, arrived": {IN_DOUBT},
    "bug, not arrived": {IN_DOUBT},
    "bug, arrived": {IN_DOUBT},
    "died, not arrived": {HELD_BY_A_WORKER},
    "died, arrived": {HELD_BY_A_WORKER},
    "not begun": {WAITS, IN_DOUBT},
    "look-up: found": {"SENT"},
    "look-up: not there": {WAITS, IN_DOUBT},
    "look-up: temporary": {IN_DOUBT},
    "look-up: bug": {IN_DOUBT},
    "look-up: unknown": {"UNCONFIRMED"},
    "look-up: died": {IN_DOUBT, HELD_BY_A_WORKER},
}
"""What an export is after what it met, as long as it may be tried again and its connector can look up."""


class Exports(RuleBasedStateMachine):
    """One organisation with two connections, of which one is active."""

    can_look_up = True

    def __init__(self) -> None:
        super().__init__()
        self._transaction = transaction.atomic()
        self._transaction.__enter__()
        self.erp = Erp(self._ask, self._note)
        self.trespasses: list[str] = []
        registry._connectors["SCRIPTED"] = connector_of(self.erp, can_look_up=self.can_look_up)
        self.expected: dict[UUID, set[str]] = {}
        self.orders = 0
        self.was_replaced = False

    def teardown(self) -> None:
        try:
            self._everything_ends()
        finally:
            transaction.set_rollback(True)
            self._transaction.__exit__(None, None, None)
            lines.close()
            del registry._connectors["SCRIPTED"]

    @initialize(window=st.sampled_from((1, 3, 16)))
    def begin(self, window: int) -> None:
        self.org = Organization.objects.create(slug="acme", name="Acme")
        self.window = window
        self.active, self.other = (
            connections.create(self.org, PERSON, connector_type="SCRIPTED", config={}, status=status, name=status)
            for status in ("ACTIVE", "DISABLED")
        )
        ERPConnection.objects.update(window=window)

    # What happens

    @rule(count=st.integers(1, 5))
    def submit(self, count: int) -> None:
        for _ in range(count):
            self.orders += 1
            order = sample_orders.minimal(f"SO-{self.orders}")
            export, _ = exports.submit(self.org, PERSON, order, idempotency_key=order.order_id)
            self.expected[export.pk] = {WAITS}

    @rule(fault=st.sampled_from(tuple(FAULTS)))
    def one_meets(self, fault: str) -> None:
        """Somebody has an order, and that or one before it meets a fault."""
        self.submit(1)
        self.drain([fault], wait=True)

    @rule(faults=st.lists(st.sampled_from((*FAULTS, "accepted")), min_size=1, max_size=6), wait=st.booleans())
    def drain(self, faults: list[str], wait: bool) -> None:
        if wait:
            self.time_passes()
        self.erp.script.extend(faults)
        self._drain()
        self.erp.script.clear()

    @rule(faults=st.lists(st.sampled_from(tuple(LOOK_UP_FAULTS)), min_size=1, max_size=2))
    def drain_with_bad_look_ups(self, faults: list[str]) -> None:
        self.time_passes()
        self.erp.look_ups.extend(faults)
        self._drain()
        self.erp.look_ups.clear()

    @rule()
    def time_passes(self) -> None:
        """Whatever waits has waited long enough, and whoever is gone has lost his lease."""
        past = timezone.now() - timedelta(seconds=1)
        ERPExport.objects.filter(next_attempt_at__gt=past).update(next_attempt_at=past)
        ERPConnection.objects.filter(retry_at__isnull=False).update(retry_at=None, failures_in_a_row=0)
        ERPExport.objects.filter(status="SENDING").update(leased_until=past)
        for pk, states in self.expected.items():
            if HELD_BY_A_WORKER in states:
                self.expected[pk] = states | self._or_spent({IN_DOUBT}, pk)
        delivery.sweep()

    @rule()
    def somebody_signs_in(self) -> None:
        """The credentials are right again, and a test shows it."""
        row = ERPConnection.objects.get(pk=self.active.pk)
        now = timezone.now()
        health.note_test(row, revision=row.revision, started_at=now, success=True, code="", by_person=True)

    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        if (export := self._any(number)) is None:
            return
        may = self._state(export) == WAITS
        try:
            exports.cancel(export, PERSON)
        except NotCancellable:
            assert not may
        else:
            assert may
            self.expected[export.pk] = {"CANCELLED"}

    @rule(number=st.integers(0, 99))
    def retry(self, number: int) -> None:
        if (export := self._any(number)) is None:
            return
        may = export.status in ("FAILED", "REJECTED", "UNCONFIRMED") and export.superseded_at is None
        try:
            new = exports.retry(export, PERSON)
        except NotRetryable:
            assert not may
        else:
            assert may
            self.expected[new.pk] = {WAITS}

    @rule()
    def pause_or_resume(self) -> None:
        if ERPConnection.objects.get(pk=self.active.pk).paused_at is None:
            steering.pause(self.active, PERSON, reason="stock-taking")
        else:
            steering.resume(self.active, PERSON)

    @precondition(lambda self: self.orders)
    @rule()
    def replace(self) -> None:
        self.was_replaced = True
        self.active, self.other = self.other, self.active
        ERPConnection.objects.filter(pk=self.active.pk).update(tested_revision=1)
        for pk, states in self.expected.items():
            if IN_DOUBT in states:  # nobody may be able to look there any more
                self.expected[pk] = states | {"UNCONFIRMED", WAITS}
        connections.activate(self.active, PERSON, replace=True)

    # What must hold after each of them

    @invariant()
    def everything_is_as_it_has_to_be(self) -> None:
        if not self.orders:
            return
        assert violations(self.org.pk, lambda: self.erp.arrived, overtaking=999 if self.was_replaced else 0) == []

    @invariant()
    def nobody_trespasses(self) -> None:
        assert self.trespasses == []

    @invariant()
    def only_what_concerns_an_order_uses_up_its_attempts(self) -> None:
        if not self.orders or self.was_replaced:  # what is moved begins anew
            return
        for export in ERPExport.objects.prefetch_related("attempt_log"):
            # A look-up that found nothing where nothing may be sent has neither error nor receipt: it is no try.
            tries = [each for each in export.attempt_log.all() if each.error or each.receipt]
            used = [each for each in tries if each.outcome != "AUTH_FAILED"]
            assert export.attempts == len(used) + (export.status == HELD_BY_A_WORKER)

    @invariant()
    def each_export_is_what_it_has_met(self) -> None:
        for export in ERPExport.objects.all() if self.orders else ():
            assert self._state(export) in self.expected[export.pk], (export.order_id, self.expected[export.pk])
            # From here on it is what it turned out to be, until it meets something.
            self.expected[export.pk] = {self._state(export)}

    def _ask(self, context: ExportContext, what: str) -> None:
        export = ERPExport.objects.select_related("connection").get(pk=context.export_id)
        row = export.connection
        if export.next_attempt_at and export.next_attempt_at > timezone.now():
            self.trespasses.append(f"{what} before its time")
        if row.health == "AUTH_FAILED":
            self.trespasses.append(f"{what} although the sign-in was refused")
        if what == "send" and (row.status != "ACTIVE" or row.paused_at is not None):
            self.trespasses.append(f"{what} through a connection that is replaced or paused")

    def _note(self, context: ExportContext, what: str) -> None:
        states = AFTER[what]
        if not self.can_look_up and IN_DOUBT in states:
            states = states - {IN_DOUBT} | {"UNCONFIRMED"}
        self.expected[context.export_id] = self._or_spent(states, context.export_id)

    def _or_spent(self, states: set[str], pk: UUID) -> set[str]:
        if not self.can_look_up and IN_DOUBT in states:
            states = states - {IN_DOUBT} | {"UNCONFIRMED"}
        if ERPExport.objects.get(pk=pk).attempts < ATTEMPTS:
            return states
        return states | {SPENT[state] for state in states if state in SPENT}

    def _drain(self) -> None:
        for connection in (self.active, self.other):
            try:
                delivery.drain(connection.pk)
            except WorkerDied:
                return

    def _any(self, number: int) -> ERPExport | None:
        known = list(ERPExport.objects.order_by("created_at", "id"))
        return known[number % len(known)] if known else None

    def _state(self, export: ERPExport) -> str:
        return IN_DOUBT if export.status == WAITS and export.outcome_unknown else export.status

    def _everything_ends(self) -> None:
        """Once nothing breaks any more, every order arrives or waits for a person."""
        if not self.orders:
            return
        for connection in (self.active, self.other):
            row = ERPConnection.objects.get(pk=connection.pk)
            steering.resume(row, PERSON)
            now = timezone.now()
            health.note_test(row, revision=row.revision, started_at=now, success=True, code="", by_person=True)
        for _ in range(5):
            self.time_passes()
            self._drain()
            self.each_export_is_what_it_has_met()
        self.everything_is_as_it_has_to_be()
        assert not ERPExport.objects.filter(status__in=("PENDING", "SENDING")).exists()


class BlindExports(Exports):
    """The same with a connector that cannot look up."""

    can_look_up = False


@pytest.fixture
def few_attempts(settings: object) -> None:
    settings.EXPORT_MAX_ATTEMPTS = ATTEMPTS  # type: ignore[attr-defined]


@pytest.mark.parametrize("machine", [Exports, BlindExports])
def test_any_sequence(machine: type[RuleBasedStateMachine], db: None, few_attempts: None) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or (12 if machine is Exports else 6),
            stateful_step_count=20,
            derandomize=not EXAMPLES,
            deadline=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
