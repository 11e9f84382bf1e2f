"""Stand-ins for the clock and the network, and contexts made of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from connectors.network import Dialer, EgressPolicy
from connectors.port import Clock, Context, ExportContext, SystemClock
from connectors.results import Document

UNRESTRICTED = Dialer(policy=EgressPolicy(allowed_networks=("0.0.0.0/0", "::/0")))
"""A dialer that may go anywhere, loopback included."""


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2025, 12, 26, 10, 0, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Return the present moment."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds by which the clock was moved."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


def context(
    *,
    dropzone_root: Path | None = None,
    clock: Clock | None = None,
    dialer: Dialer = UNRESTRICTED,
    budget_s: float = 60,
) -> Context:
    """Return the context of a call that concerns no order."""
    clock = clock or SystemClock()
    return Context(dialer=dialer, deadline=clock.monotonic() + budget_s, dropzone_root=dropzone_root, clock=clock)


def export_context(
    *,
    export_id: UUID | None = None,
    created_at: datetime = datetime(2025, 12, 26, 10, 0, tzinfo=UTC),
    attempt: int = 1,
    dropzone_root: Path | None = None,
    document: Document | None = None,
    number: int | None = 1,
    dialer: Dialer = UNRESTRICTED,
    budget_s: float = 60,
) -> ExportContext:
    """Return the context of one attempt at one export."""
    export_id = export_id or uuid4()
    return ExportContext(
        dialer=dialer,
        deadline=time.monotonic() + budget_s,
        dropzone_root=dropzone_root,
        org_slug="acme",
        export_id=export_id,
        created_at=created_at,
        attempt=attempt,
        number=number,
        idempotency_key=str(export_id),
        document=document,
    )
