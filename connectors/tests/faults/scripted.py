"""An ERP in this process that meets every order with what a script says, and remembers what has arrived.

Unlike a real far end it takes an order as often as it is sent: only who looks first sends it once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from connectors.adapters.mock import MockConfig
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
    UnsupportedFeature,
)
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Context, Delivery, ERPConnectorPort, ExportContext, ExportSession, Guarantee
from connectors.results import Document, ExportResult, Receipt, TestResult
from connectors.tests.faults.invariants import Arrived


class WorkerDied(BaseException):
    """What ends a worker without a chance to say anything."""


FAULTS: dict[str, Callable[[], BaseException]] = {
    "temporary": TemporaryError,
    "rate limited": lambda: RateLimited(retry_after=30),
    "sign-in refused": AuthenticationFailed,
    "rejected": RejectedByERP,
    "not expressible": DocumentError,
    "unsupported": UnsupportedFeature,
    "unknown, not arrived": OutcomeUnknown,
    "unknown, arrived": OutcomeUnknown,
    "bug, not arrived": RuntimeError,
    "bug, arrived": RuntimeError,
    "died, not arrived": WorkerDied,
    "died, arrived": WorkerDied,
}
"""What an order may meet; where it says so, it has arrived all the same."""

LOOK_UP_FAULTS: dict[str, Callable[[], BaseException]] = {
    "temporary": TemporaryError,
    "unknown": OutcomeUnknown,
    "bug": RuntimeError,
    "died": WorkerDied,
}


@dataclass
class Erp:
    """The far end: its script, and what it has seen.

    Args:
        asked: is called with each export that is to be taken or looked up.
        told: is called with each export and what became of it, before whoever sent it hears of that.
    """

    asked: Callable[[ExportContext, str], None]
    told: Callable[[ExportContext, str], None]
    script: deque[str] = field(default_factory=deque)
    look_ups: deque[str] = field(default_factory=deque)
    arrived: list[Arrived] = field(default_factory=list)

    def take(self, document: Document) -> ExportResult:
        """Let an order arrive."""
        now = time.time()
        arrival = Arrived(name=document.filename, sha256=document.sha256, size=document.size, published_at=now)
        self.arrived.append(arrival)
        return self._result(arrival, already_delivered=False)

    def meet(self, context: ExportContext) -> ExportResult:
        """Do with an order what the script says."""
        assert context.document is not None
        self.asked(context, "send")
        what = self.script.popleft() if self.script else "accepted"
        if what == "accepted":
            return self.take(context.document)
        if what.endswith(", arrived"):
            self.take(context.document)
        raise _Met(what) from None

    def find(self, context: ExportContext) -> ExportResult | None:
        """Look an order up, if the script lets one."""
        assert context.document is not None
        self.asked(context, "look up")
        if self.look_ups:
            what = self.look_ups.popleft()
            self.told(context, f"look-up: {what}")
            raise LOOK_UP_FAULTS[what]()
        found = next((arrival for arrival in self.arrived if arrival.name == context.document.filename), None)
        self.told(context, "look-up: found" if found else "look-up: not there")
        return self._result(found, already_delivered=True) if found else None

    def _result(self, arrival: Arrived, *, already_delivered: bool) -> ExportResult:
        location = f"erp://{arrival.name}"
        receipt = Receipt(
            transport="erp",
            location=location,
            size=arrival.size,
            sha256=arrival.sha256,
            already_delivered=already_delivered,
        )
        return ExportResult(receipt=receipt)


class _Met(Exception):
    """An order has met a fault."""


def connector_of(erp: Erp, *, can_look_up: bool) -> ERPConnectorPort[MockConfig]:
    """Return a connector that leads to this far end."""

    class Scripted(ERPConnectorPort[MockConfig]):
        connector_type = "SCRIPTED"
        title = "Scripted"
        Config = MockConfig
        guarantee = Guarantee.LOOKUP if can_look_up else Guarantee.AT_MOST_ONCE
        supports_render = True
        supports_find_export = can_look_up
        supports_session = True

        def export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult:
            raise NotImplementedError  # there is a session

        def test_connection(self, config: MockConfig, context: Context) -> TestResult:
            return context.steps.result()

        def render(self, order: Order, config: MockConfig, context: ExportContext) -> Document:
            return orderflow_json_v1.render(
                order, org_slug=context.org_slug, export_id=context.export_id, created_at=context.created_at
            )

        def find_export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult | None:
            return erp.find(context)

        @contextmanager
        def open_session(self, config: MockConfig, context: Context) -> Iterator[_Session]:
            yield _Session(erp)

    return Scripted()


@dataclass
class _Session(ExportSession):
    """A session with so many orders under way as the window allows; what became of them is told together."""

    erp: Erp

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        raise NotImplementedError  # they come many at a time

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:
        return self.erp.find(context)

    def export_many(self, exports: Iterable[tuple[Order, ExportContext]], *, window: int) -> Iterator[Delivery]:
        stream = iter(exports)
        while under_way := [context for _, context in islice(stream, window)]:
            deliveries, fault = self._deliver(under_way)
            for delivery, what in deliveries:
                self.erp.told(delivery.context, what)
                yield delivery
            if fault is not None:
                left = under_way[len(deliveries) :]
                for context in left:
                    self.erp.told(context, fault[0])
                raise fault[1]
            if any(
                isinstance(each.error, TemporaryError | OutcomeUnknown | AuthenticationFailed) for each, _ in deliveries
            ):
                return

    def _deliver(
        self, under_way: list[ExportContext]
    ) -> tuple[list[tuple[Delivery, str]], tuple[str, BaseException] | None]:
        """Return what became of each; after a fault that the port does not know, of none from there on."""
        told: list[tuple[Delivery, str]] = []
        stop = False
        for context in under_way:
            if stop:
                told.append((Delivery(context=context), "not begun"))
                continue
            try:
                told.append((Delivery(context=context, result=self.erp.meet(context)), "accepted"))
            except _Met as met:
                what = str(met)
                error = FAULTS[what]()
                if not isinstance(error, ConnectorError):
                    return told, (what, error)
                told.append((Delivery(context=context, error=error), what))
                stop = isinstance(error, TemporaryError | OutcomeUnknown | AuthenticationFailed)
        return told, None
