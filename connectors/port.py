"""The port: two verbs behind which every ERP looks the same.

An adapter gets a validated configuration, an order and a context; never a model, a request or a setting. What an
adapter can do beyond the two verbs it says by a flag, and the base class refuses what the flag denies.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from connectors.codes import Code, describe
from connectors.config import ConnectorConfig
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    OutcomeUnknown,
    TemporaryError,
    UnsupportedFeature,
)
from connectors.network import Dialer
from connectors.order import Order
from connectors.results import (
    Acknowledgement,
    Document,
    ExportResult,
    Inbound,
    MalformedAcknowledgement,
    NumberRange,
    RemoteIdentity,
    Reply,
    Settlement,
    StepStatus,
    TestResult,
    TestStep,
)

ConfigT = TypeVar("ConfigT", bound=ConnectorConfig)


class Guarantee(StrEnum):
    """What keeps an order from arriving twice when nobody knows how an attempt ended."""

    HARD = "hard"  #: the far end itself refuses the second one: create-once rename, external id, idempotency key
    LOOKUP = "lookup"  #: we find out whether it arrived before anything is sent again
    AT_MOST_ONCE = "at_most_once"  #: neither: it is never sent again by itself, a person decides


class Clock(Protocol):
    """Where an adapter reads the time."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()


@dataclass(kw_only=True)
class StepNote:
    """What a running step may say about itself before it ends."""

    detail: str = ""
    warning: Code | None = None
    params: dict[str, Any] = field(default_factory=dict)

    def warn(self, code: Code, **params: Any) -> None:
        """Let the step end as a warning of this code."""
        self.warning, self.params = code, params


class StepRecorder:
    """Writes down the named steps of one test or one attempt, in order, with their latencies."""

    def __init__(
        self,
        clock: Clock | None = None,
        on_step: Callable[[TestStep], None] | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start an empty record.

        Args:
            clock: what latencies are measured with.
            on_step: called with each step as it ends.
            is_cancelled: asked before each step; once it says yes, the step fails as TEST_CANCELLED.
        """
        self._clock = clock or SystemClock()
        self._on_step = on_step
        self._is_cancelled = is_cancelled
        self._started = self._clock.monotonic()
        self._steps: list[TestStep] = []

    @property
    def steps(self) -> tuple[TestStep, ...]:
        """The steps that have ended so far."""
        return tuple(self._steps)

    @contextmanager
    def step(self, name: str) -> Iterator[StepNote]:
        """Run the body as one step; a ConnectorError ends it as failed and goes on its way."""
        note, started = StepNote(), self._clock.monotonic()
        try:
            if self._is_cancelled():
                raise ConnectorError(Code.TEST_CANCELLED)
            yield note
        except ConnectorError as error:
            self._end(name, StepStatus.FAILED, started, error.message, error.code, error.hint, error.params)
            raise
        except Exception:
            text = describe(Code.INTERNAL_ERROR)
            self._end(name, StepStatus.FAILED, started, text.message, Code.INTERNAL_ERROR, text.hint)
            raise
        if note.warning is None:
            self._end(name, StepStatus.PASSED, started, note.detail)
        else:
            text = describe(note.warning, **note.params)
            self._end(name, StepStatus.WARNING, started, text.message, note.warning, text.hint, note.params)

    def skip(self, name: str, reason: str) -> None:
        """Write down that a step is left out on purpose."""
        self._record(TestStep(name=name, status=StepStatus.SKIPPED, detail=reason))

    @contextmanager
    def plan(self, *names: str) -> Iterator[None]:
        """Run a staged diagnosis: a failed step stops it, and the planned steps that did not run become skipped."""
        try:
            yield
        except ConnectorError:
            if not any(step.status is StepStatus.FAILED for step in self._steps):
                raise
        culprit = next((step for step in self._steps if step.status is StepStatus.FAILED), None)
        ran = {step.name for step in self._steps}
        for name in names:
            if name not in ran:
                detail = f"Skipped because {culprit.name} failed." if culprit else "Not needed here."
                self.skip(name, detail)

    def result(self, *, not_proven: tuple[str, ...] = (), identity: RemoteIdentity | None = None) -> TestResult:
        """Return the report of all steps so far."""
        latency_ms = round((self._clock.monotonic() - self._started) * 1000)
        return TestResult(steps=self.steps, latency_ms=latency_ms, not_proven=not_proven, identity=identity)

    def _end(
        self,
        name: str,
        status: StepStatus,
        started: float,
        detail: str,
        code: Code | None = None,
        hint: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self._record(
            TestStep(
                name=name,
                status=status,
                latency_ms=round((self._clock.monotonic() - started) * 1000),
                detail=detail,
                code=code,
                hint=hint,
                params=dict(params or {}),
            )
        )

    def _record(self, step: TestStep) -> None:
        self._steps.append(step)
        if self._on_step is not None:
            self._on_step(step)


def _ignore(_: MalformedAcknowledgement) -> None:
    """Do nothing with it."""


def _never(_: UUID) -> None:
    """Know of no document."""


def _nothing() -> Iterable[Awaited]:
    """Wait for nothing."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Awaited:
    """An export that has arrived, or may have, and that the ERP has not answered yet."""

    export_id: UUID
    idempotency_key: str
    filename: str
    """Names the export in the `Acknowledgement` that answers it."""
    order: Order
    created_at: datetime
    location: str | None
    """That of its receipt; None where nobody knows whether it arrived."""
    erp_order_id: str | None
    """The ERP's number, where it said so when it took the order."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every call through the port is given besides the configuration."""

    dialer: Dialer
    """The only way to open a network connection."""
    deadline: float
    """The moment of `clock.monotonic()` after which the caller no longer waits."""
    dropzone_root: Path | None = None
    """The folder below which a filesystem connection must stay; None forbids filesystem connections."""
    clock: Clock = field(default_factory=SystemClock)
    steps: StepRecorder = field(default_factory=StepRecorder)
    may_write: bool = True
    """False for a scheduled check: nothing is written at the far end, not even for a moment."""
    pinned_identity: RemoteIdentity | None = None
    """Who the far end was when the connection was activated; None when it was never asked."""
    report_malformed: Callable[[MalformedAcknowledgement], None] = _ignore
    """Is told of each acknowledgement that cannot be read, before it is put aside."""
    awaited: Callable[[], Iterable[Awaited]] = _nothing
    """Returns the exports to ask about, for an ERP that has to be asked about each; in no sequence, and read lazily."""
    inbound_url: str | None = None
    """Where the far end reaches this connection; None where nobody has said under which address we are reached."""
    sent: Callable[[UUID], Document | None] = _never
    """Returns the document of one of our exports through this connection; None when there is none."""

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())

    def recognise(self, identity: RemoteIdentity) -> None:
        """Compare who the far end says it is with who it was when the connection was activated.

        Raises:
            AuthenticationFailed: IDENTITY_CHANGED; nothing may be sent until a person accepts the new identity.
        """
        if self.pinned_identity is None:
            return
        for name in identity.changed_from(self.pinned_identity):
            raise AuthenticationFailed(
                Code.IDENTITY_CHANGED,
                what=name,
                pinned_identity=getattr(self.pinned_identity, name),
                shown_identity=getattr(identity, name),
            )


@dataclass(frozen=True, kw_only=True)
class ExportContext(Context):
    """What belongs to one export, the same for each of its attempts."""

    org_slug: str
    export_id: UUID
    created_at: datetime
    """When the export was accepted; file names and documents take their time from here."""
    attempt: int
    """The number of this attempt, from 1."""
    number: int | None = None
    """The document's number in the connector's `number_range`. None: there is no range, or this is a preview, in which
    a placeholder stands in its place."""
    idempotency_key: str
    """The same for every attempt of the export."""
    document: Document | None = None
    """The frozen document: every attempt sends these bytes under this name. None before it is rendered."""
    doubt: Code | None = None
    """Why nobody knows whether an earlier attempt arrived: OUTCOME_UNKNOWN when the far end's last answer is missing,
    FILE_VANISHED when the document was gone before the far end was asked to accept it, RECEIPT_MISMATCH when it
    confirmed another content, WORKER_LOST when nobody can tell how far the attempt came. None: nothing has arrived."""
    landmark: str | None = None
    """The name of a document that arrived lately through this connection: whether it is still to be found says whether
    the far end keeps what it takes. None: none has arrived."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How one of several exports ended: with a result, with an error, or with neither.

    With neither, nothing of it has arrived and nothing was wrong with it: one before it failed, and an order does not
    overtake another.
    """

    context: ExportContext
    result: ExportResult | None = None
    error: ConnectorError | None = None


class ExportSession(ABC):
    """One login at the far end that takes many exports. Not to be shared between threads.

    Where the far end says who it is, `open_session` calls `context.recognise` before it returns.
    """

    @abstractmethod
    def export(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""

    def export_many(self, exports: Iterable[tuple[Order, ExportContext]], *, window: int) -> Iterator[Delivery]:
        """Deliver orders in their sequence, with several under way where the far end allows.

        Where nobody overrides it, one after the other.

        Args:
            exports: taken one by one, each when there is room for it; taking the next one may last.
            window: how many may be under way at once; 1 for partners that insist.

        Returns:
            Each export as soon as its end is known. What the far end is shown keeps the sequence: once an export has
            failed with a TemporaryError, OutcomeUnknown or AuthenticationFailed no other is taken, and those behind it
            that the far end was not yet asked to accept are cleared away and end with neither result nor error.
        """
        for order, context in exports:
            try:
                yield Delivery(context=context, result=self.export(order, context))
            except ConnectorError as error:
                yield Delivery(context=context, error=error)
                if isinstance(error, TemporaryError | OutcomeUnknown | AuthenticationFailed):
                    return

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:
        """Look an export up; see `ERPConnectorPort.find_export`."""
        raise UnsupportedFeature(feature="a look-up")

    def check(self) -> None:  # noqa: B027  # nothing to find out where nothing lies idle
        """Find out, in one exchange at most, whether a session that lay idle still works.

        Raises:
            ConnectorError: it does not; nothing was sent.
        """

    def cut(self) -> None:  # noqa: B027  # where nothing lasts long there is nothing to break off
        """Break off, called by another thread: whatever is under way ends with an error at once."""


class ERPConnectorPort(ABC, Generic[ConfigT]):
    """One ERP. Stateless: one instance serves every organisation.

    Subclasses set `connector_type`, `title`, `summary` and `Config`, implement the two verbs, and set a flag for each
    optional verb they implement.
    """

    connector_type: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str] = ""
    Config: ClassVar[type[ConnectorConfig]]

    guarantee: ClassVar[Guarantee] = Guarantee.AT_MOST_ONCE
    """The strongest promise against a second delivery that this far end allows."""

    raises: ClassVar[frozenset[type[ConnectorError]]] = frozenset(
        {TemporaryError, OutcomeUnknown, AuthenticationFailed}
    )
    """The classes of error with which an export can end."""

    supports_render: ClassVar[bool] = False
    """Can it show the exact bytes without sending them?"""
    supports_find_export: ClassVar[bool] = False
    """Can it find out whether an export has arrived?"""
    supports_acknowledgements: ClassVar[bool] = False
    """Does the ERP answer later, and can the answers be fetched?"""
    supports_identify: ClassVar[bool] = False
    """Can the far end say who it is?"""
    supports_session: ClassVar[bool] = False
    """Can one login take many exports?"""
    supports_receive: ClassVar[bool] = False
    """Does the far end send us messages of its own accord?"""

    # Hooks: every adapter implements these two.

    @abstractmethod
    def export(self, order: Order, config: ConfigT, context: ExportContext) -> ExportResult:
        """Deliver one order, or prove that it was delivered before.

        Args:
            order: the approved order.
            config: the validated configuration.
            context: identity, deadline and tools of this export; `context.document` is what to send.

        Returns:
            Only on success.

        Raises:
            ConnectorError: the subclass says what may happen next.
        """

    @abstractmethod
    def test_connection(self, config: ConfigT, context: Context) -> TestResult:
        """Try everything an export needs, step by step, creating no business object and leaving nothing behind.

        Returns:
            The report, also when a step failed.
        """

    # Optional hooks, each behind its flag.

    def render(self, order: Order, config: ConfigT, context: ExportContext) -> Document:
        """Return the exact bytes that `export` sends, without sending them.

        Raises:
            DocumentError, UnsupportedFeature: the order cannot be expressed.
        """
        raise UnsupportedFeature(feature="a preview")

    def find_export(self, order: Order, config: ConfigT, context: ExportContext) -> ExportResult | None:
        """Look our export up at the far end after an unknown outcome.

        Returns:
            What was found, or None when it certainly is not there and may be sent again.

        Raises:
            OutcomeUnknown: it is there more than once, or cannot be told.
            ConnectorError: the look-up itself failed.
        """
        raise UnsupportedFeature(feature="a look-up")

    def poll_acknowledgements(
        self, config: ConfigT, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        """Fetch the ERP's answers; put each away only after `settle` has recorded it.

        Returns:
            How many were applied.
        """
        raise UnsupportedFeature(feature="acknowledgements")

    def identify(self, config: ConfigT, context: Context) -> RemoteIdentity:
        """Return the company, environment and currency of the far end."""
        raise UnsupportedFeature(feature="an identity")

    def open_session(self, config: ConfigT, context: Context) -> AbstractContextManager[ExportSession]:
        """Log in once for many exports."""
        raise UnsupportedFeature(feature="a session")

    def receive(
        self, message: Inbound, config: ConfigT, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> Reply:
        """Take a message that reached `context.inbound_url`; nobody has looked yet at who sent it.

        Args:
            message: as it arrived.
            config: the validated configuration.
            context: tools and deadline.
            settle: records an answer to one of our exports.

        Returns:
            What the sender is answered.
        """
        raise UnsupportedFeature(feature="messages of the far end")

    def number_range(self, config: ConfigT) -> NumberRange | None:
        """Return the range in which the documents are numbered without a gap; None where they have no number."""
        return None

    def guarantee_of(self, config: ConfigT) -> Guarantee:
        """Return the promise against a second delivery that holds with this configuration."""
        return self.guarantee

    # Subclasses should not need to override.

    @classmethod
    def capabilities(cls) -> dict[str, bool]:
        """Return each optional verb and whether this connector has it."""
        return {verb: getattr(cls, flag) for verb, flag in OPTIONAL_VERBS.items()}


OPTIONAL_VERBS: dict[str, str] = {
    "render": "supports_render",
    "find_export": "supports_find_export",
    "poll_acknowledgements": "supports_acknowledgements",
    "identify": "supports_identify",
    "open_session": "supports_session",
    "receive": "supports_receive",
}
"""Each optional verb and the flag that declares it."""
