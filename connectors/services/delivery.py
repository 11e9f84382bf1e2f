"""Brings exports to their ERP: one turn at one connection after the other, each export settled on its own.

Nothing here holds a transaction while it talks to a far end. Between the claim and the settlement only the lease says
who may act; whoever has lost it can neither store a document nor settle.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import connection as database
from django.utils import timezone

from connectors.exceptions import (
    ConfigurationError,
    ConnectorError,
    EncryptionError,
    OutcomeUnknown,
    TemporaryError,
    UnknownConnector,
)
from connectors.models import ERPConnection, ExportStatus, Outcome
from connectors.order import Order
from connectors.port import Delivery, ExportContext
from connectors.services import attempts, claims, exports, gates, health, installation, jobs, tracing
from connectors.services.attempts import PASSING, USABLE_LEASE, Attempt, any_fault_is, understood
from connectors.services.books import Books, BooksBeside
from connectors.services.lines import Line, lines
from connectors.services.pooling import DATABASE_AWAY, give_back
from connectors.services.scoping import organization_of
from connectors.services.verdicts import Verdict, delivered, failed, not_there

log = structlog.get_logger(__name__)

DRAIN_EXPORTS: Final = 100
DRAIN_SECONDS: Final = 10.0
"""After so many exports or so long a turn ends if another connection waits for one."""

_PATIENCE: Final = 1 - USABLE_LEASE
"""The share of the lease for which a settlement waits for a database that is away."""

_STOPPING_SECONDS: Final = 3.0
"""… and how long while the worker is told to stop."""

_DATABASE_RETRY_SECONDS: Final = 0.2
_EVENTS: Final = {
    ExportStatus.SENT: "export.sent",
    ExportStatus.ACKED: "export.acknowledged",
    ExportStatus.REJECTED: "export.rejected",
    ExportStatus.UNCONFIRMED: "export.unconfirmed",
    ExportStatus.FAILED: "export.failed",
}

_T = TypeVar("_T")


def drain(connection_id: UUID | str) -> int:
    """Send what is due through one connection, in the sequence of submission.

    Returns:
        How many attempts were made.
    """
    return Turn(connection_id).run()


def sweep() -> None:
    """Pick up what was left lying: expired leases, exports at disabled connections, due exports without a job."""
    if not installation.is_armed():
        log.warning("installation.quarantined")
        return
    while claims.recover_one():
        pass
    exports.move_waiting()
    jobs.wake_due()


class Turn:
    """One worker's turn at one connection.

    Through a disabled or paused connection nothing is sent: what may have arrived there is looked up, no more.
    """

    def __init__(self, connection_id: UUID | str) -> None:
        self._connection_id = connection_id
        self._id = uuid4()
        self._until = time.monotonic() + DRAIN_SECONDS
        self._attempts = 0
        self._opens_at: datetime | None = None
        """When the connection lets something through again."""
        self._stopped = threading.Event()
        self._line: Line | None = None
        self._books: Books = Books()
        self._ours: dict[UUID, Attempt] = {}
        """What is claimed and not settled yet."""
        self._begun: set[UUID] = set()
        """Those of them that the connector was given; of all others nothing was sent."""
        self._received: set[UUID] = set()
        """Those of them whose end is known."""
        self._cleared: set[UUID] = set()
        """Those that were begun and cleared away: that nothing is left of them says nothing any more."""
        self._in_trouble = False
        """Something failed that holds back all behind it."""
        self._lost: Exception | None = None
        """Why a settlement could not be recorded."""
        self._is_known_to_work = False

    def run(self) -> int:
        """Send until nothing is due, another connection waits, or the turn is stopped.

        Returns:
            How many attempts were made.
        """
        with organization_of(self._connection_id):
            return self._run()

    def _run(self) -> int:
        if claims.is_busy(self._connection_id, turn=self._id):
            return 0  # that turn claims again when it is done
        jobs.absorb(self._connection_id)
        while self._go_on():
            if self._is_over():
                if claims.has_due(self._connection_id):
                    jobs.wake(self._connection_id)
                return self._attempts
        if self._opens_at is not None:
            jobs.wake_at(self._connection_id, self._opens_at)
        return self._attempts

    def stop(self) -> None:
        """Claim nothing more; called by another thread."""
        self._stopped.set()

    def cut(self) -> None:
        """Break off what is under way; called by another thread."""
        if (line := self._line) is not None:
            line.cut()

    def _is_over(self) -> bool:
        if self._stopped.is_set() or self._lost is not None:
            return True
        if self._attempts + len(self._ours) < DRAIN_EXPORTS and time.monotonic() < self._until:
            return False
        return jobs.others_wait(self._connection_id)

    def _go_on(self) -> bool:
        """Work through what is due with the present configuration; return False when nothing was."""
        # Whether it may be used is for the claim to say.
        connection = ERPConnection.objects.select_related("org").filter(pk=self._connection_id).first()
        if connection is None or (line := _ready(connection)) is None:
            return False
        before, self._line, self._in_trouble = self._attempts, line, False
        try:
            # Not while anything of ours is left: what is claimed next would overtake it.
            while not self._in_trouble and not self._ours and (claimed := self._claim(line)):
                work = self._look_up if claimed[0].export.outcome_unknown else self._send
                work(line, claimed)
                if self._lost is not None:
                    raise self._lost
                if self._is_over() or not claims.has_waiting(self._connection_id):
                    break
        except BaseException:
            self._in_trouble = True
            raise
        finally:
            self._line = None
            if self._in_trouble:
                line.hang_up()
            lines.give_back(line)
            self._put_back()
        return self._attempts > before

    # What is ours

    def _claim(self, line: Line, *, may_look_up: bool = True) -> list[Attempt]:
        # Not many more than can be under way: the rest shall meet a configuration that changes meanwhile, and be in no
        # doubt when this worker is killed.
        try:
            claimed = claims.claim(line.connection, turn=self._id, most=line.room, may_look_up=may_look_up)
        except DATABASE_AWAY:  # it may have been kept all the same: what comes behind that must not overtake it
            self.stop()
            raise
        self._opens_at = claimed.opens_at
        self._is_known_to_work = False
        made = [Attempt.at(export) for export in claimed.exports]
        self._ours |= {attempt.export.pk: attempt for attempt in made}
        return made

    def _put_back(self) -> None:
        """Put back in line what was claimed and not begun; what was not settled is left to its lease."""
        left = [pk for pk in self._ours if pk not in self._begun]
        if len(left) < len(self._ours):
            self.stop()  # nothing is to go past what waits for its lease to end
        absent = list(self._cleared)
        for known in (self._ours, self._begun, self._received, self._cleared):
            known.clear()
        if left:
            self._surely(lambda _: claims.give_back(left, turn=self._id, absent=absent))

    # Looking up

    def _look_up(self, line: Line, claimed: list[Attempt]) -> None:
        """Find out what became of exports that may have arrived, and send those that did not."""
        missing: list[Attempt] = []
        for attempt in claimed:
            if self._stopped.is_set():
                return
            attempt.started_at = timezone.now()
            try:
                found = attempts.look_up(line, attempt)
            except ConnectorError as error:
                self._fail(line, attempt, error, in_doubt=True)
                return
            if found is not None:
                self._succeed(line, attempt, delivered(found, found=True))
            elif gates.sends(attempt.export.connection):
                missing.append(attempt)
            else:
                self._succeed(line, attempt, not_there())
                exports.move_waiting(attempt.export.org)
        if missing:
            self._send(line, missing, only_these=True)

    # Sending

    def _send(self, line: Line, claimed: list[Attempt], *, only_these: bool = False) -> None:
        give_back()  # database connections are few, and a far end may be slow
        try:
            with any_fault_is(TemporaryError):
                line.connect(claimed[0].context)
        except ConnectorError as error:
            self._fail(line, claimed[0], error)
            return
        # Large documents on a slow link that all came too late side by side may come in time one after the other.
        one_by_one = claimed[0].export.attempts > 1
        stream = self._stream(line, claimed, only_these=only_these or one_by_one)
        # Inside a caller's transaction another thread would not see its rows.
        beside = line.room > 1 and not database.in_atomic_block
        with BooksBeside() if beside else Books() as self._books:
            for delivery in self._deliveries(line.send(stream, window=1 if one_by_one else line.connection.window)):
                self._receive(line, delivery)
        self._books = Books()

    def _deliveries(self, sent: Iterator[Delivery]) -> Iterator[Delivery]:
        """Yield the end of each export, also where the connector breaks down without a word."""
        while True:
            try:
                with any_fault_is(OutcomeUnknown):
                    delivery = next(sent, None)
            except ConnectorError as error:
                for pk in list(self._ours):
                    if pk in self._begun and pk not in self._received:
                        yield Delivery(context=self._ours[pk].context, error=error)
                return
            if delivery is None:
                return
            yield delivery

    def _stream(self, line: Line, claimed: list[Attempt], *, only_these: bool) -> Iterator[tuple[Order, ExportContext]]:
        """Yield what is to be sent, claiming more as the connector has room for it."""

        def load() -> list[Attempt]:
            return [] if only_these else self._load(line)

        try:
            self._books.look_ahead(lambda: attempts.prepare(line, claimed)).result()
            while claimed:
                coming = self._books.look_ahead(load) if self._books.looks_ahead else None
                for attempt in claimed:
                    if self._in_trouble or self._stopped.is_set():
                        return
                    if attempt.error is not None:
                        self._fail(line, attempt, attempt.error)
                    elif attempt.order is None or not attempt.is_ours:
                        self._forget(attempt)
                    else:
                        self._begun.add(attempt.export.pk)
                        give_back()
                        yield attempt.order, attempt.context
                claimed = (coming or self._books.look_ahead(load)).result()
        except DATABASE_AWAY:  # what is under way comes to its end; the next turn asks again
            self.stop()
            log.warning("delivery.database_away", connection_id=str(self._connection_id))

    def _load(self, line: Line) -> list[Attempt]:
        """Claim and prepare what comes next."""
        if self._in_trouble or self._is_over() or not claims.has_waiting(self._connection_id):
            return []
        claimed = self._claim(line, may_look_up=False)
        attempts.prepare(line, claimed)
        return claimed

    def _receive(self, line: Line, delivery: Delivery) -> None:
        attempt = self._ours[delivery.context.export_id]
        if delivery.result is not None:
            self._received.add(attempt.export.pk)
            self._succeed(line, attempt, delivered(delivery.result, found=False))
        elif delivery.error is not None:
            self._received.add(attempt.export.pk)
            self._fail(line, attempt, understood(delivery.error, otherwise=OutcomeUnknown))
        else:  # nothing of it was sent, and nothing is wrong with it
            self._begun.discard(attempt.export.pk)
            self._cleared.add(attempt.export.pk)

    # Settling

    def _succeed(self, line: Line, attempt: Attempt, verdict: Verdict) -> None:
        def note() -> None:
            if not self._is_known_to_work:
                self._is_known_to_work = True
                health.note_success(line.connection)

        self._settle(attempt, verdict, note)

    def _fail(self, line: Line, attempt: Attempt, error: ConnectorError, *, in_doubt: bool = False) -> None:
        # What follows upon the first trouble says nothing new about the connection.
        is_news = isinstance(error, PASSING) and not self._in_trouble
        self._in_trouble = self._in_trouble or is_news

        def note() -> None:
            if is_news and not self._stopped.is_set():  # then it may have been broken off by ourselves
                is_first = attempt.export.attempts == 1 or error.code in health.OF_THE_FOLDER
                health.note_failure(line.connection, error, is_first=is_first)

        verdict = failed(
            error,
            attempt=attempt.export.attempts,
            in_doubt=in_doubt,
            can_look_up=line.connector.supports_find_export,
        )
        self._settle(attempt, verdict, note)

    def _settle(self, attempt: Attempt, verdict: Verdict, note: Callable[[], None]) -> None:
        """Record what an attempt came to, and before that what it says of the connection.

        Once an export is free again nobody shall try it at a connection that is paused now.
        """
        steps = attempt.context.steps.steps

        def record(again: bool) -> bool:
            note()
            return claims.settle(attempt.export, verdict, started_at=attempt.started_at, steps=steps, again=again)

        def settle() -> None:
            try:
                held = self._surely(record)
            except Exception as error:  # the export stays what it is until its lease has run out
                self._lost = error
                return
            self._attempts += 1
            self._forget(attempt, event=_event(verdict) if held else "export.lease_lost", verdict=verdict)

        self._books.ask(settle)

    def _forget(self, attempt: Attempt, *, event: str = "export.lease_lost", verdict: Verdict | None = None) -> None:
        """Let go of an export that is no longer ours, and log what became of it."""
        export = attempt.export
        del self._ours[export.pk]
        details: dict[str, Any] = {"request_id": export.request_id} if export.request_id else {}
        if verdict is not None:
            details |= {"outcome": str(verdict.outcome), "code": verdict.error["code"] if verdict.error else None}
        details |= {
            "export_id": str(export.pk),
            "connection_id": str(export.connection_id),
            "attempt": export.attempts,
        }
        tracing.record("export.attempt", attempt.started_at, org_id=export.org_id, event=event, **details)
        log.info(
            event,
            latency_ms=round((timezone.now() - attempt.started_at).total_seconds() * 1000),
            **details,
        )

    def _surely(self, action: Callable[[bool], _T]) -> _T:
        """Do what must not be lost, also if the database is away for a while.

        Args:
            action: is told whether it was tried before, and may have taken effect.
        """
        started, again = time.monotonic(), False
        while True:
            try:
                return action(again)
            except DATABASE_AWAY:
                patience = _STOPPING_SECONDS if self._stopped.is_set() else _PATIENCE * settings.EXPORT_LEASE_SECONDS
                if self._lost is not None or time.monotonic() - started >= patience:
                    raise
            again = True
            give_back()
            time.sleep(_DATABASE_RETRY_SECONDS)


def _ready(connection: ERPConnection) -> Line | None:
    """Return a line through this connection; None leaves its exports waiting until there is one."""
    try:
        return lines.take(connection)
    except EncryptionError as error:
        health.note_unreadable(connection)
        reason = error.code
    except (ConfigurationError, UnknownConnector) as error:
        reason = error.code
    log.error("connection.unusable", connection_id=str(connection.pk), code=reason)
    return None


def _event(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.AUTH_FAILED:
        return "export.held"
    return _EVENTS.get(verdict.status, "export.retry_scheduled")
