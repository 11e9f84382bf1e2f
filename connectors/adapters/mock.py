"""MOCK: an ERP that exists only here, and does what its configuration says. For trying out and for tests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal, get_args
from uuid import UUID

from pydantic import Field

from connectors import exceptions
from connectors.codes import Code
from connectors.config import INERT, ConnectorConfig, Secret
from connectors.exceptions import ConnectorError, Fault, OutcomeUnknown, RateLimited
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Context, ERPConnectorPort, ExportContext, ExportSession, Guarantee
from connectors.results import (
    Acknowledgement,
    AckStatus,
    Document,
    ExportResult,
    Receipt,
    RemoteIdentity,
    Settlement,
    TestResult,
)
from connectors.validation import ON_ONE_LINE

_MAX_REMEMBERED: Final = 1000

ErrorName = Literal[
    "TemporaryError",
    "RateLimited",
    "OutcomeUnknown",
    "AuthenticationFailed",
    "RejectedByERP",
    "DocumentError",
    "UnsupportedFeature",
]
_CONCERN_THE_CONNECTION: Final = ("TemporaryError", "RateLimited", "OutcomeUnknown", "AuthenticationFailed")


class MockConfig(ConnectorConfig):
    """What the ERP is to do."""

    account: Annotated[
        str, Field(title="Account", description="Which of the pretended ERPs to talk to.", max_length=64), ON_ONE_LINE
    ] = "demo"
    api_key: Annotated[
        Secret | None, Field(title="API key", description="Accepted whatever it is.", max_length=1024)
    ] = None
    environment: Annotated[
        str,
        INERT,  # what is heard from there, not where anything goes
        Field(
            title="Environment",
            description="What the ERP says it is; change it to see how a changed far end is refused.",
            max_length=64,
        ),
        ON_ONE_LINE,
    ] = "mock"
    latency_ms: Annotated[
        int, INERT, Field(title="Latency (ms)", description="How long each call takes.", ge=0, le=60_000)
    ] = 0
    fail_with: Annotated[
        ErrorName | None, INERT, Field(title="Fail with", description="The error to raise; empty to succeed.")
    ] = None
    fail_code: Annotated[
        Code | None, INERT, Field(title="Code of the failure", description="Empty for the error's usual code.")
    ] = None
    fail_times: Annotated[
        int, INERT, Field(title="Failing attempts", description="Attempts up to this number fail.", ge=1)
    ] = 1
    retry_after_s: Annotated[
        float | None, INERT, Field(title="Retry after (seconds)", description="What RateLimited asks for.", ge=0)
    ] = None
    delivered: Annotated[
        bool, INERT, Field(title="Arrived all the same", description="Whether the order of an OutcomeUnknown arrived.")
    ] = False
    acknowledgement: Annotated[
        Literal["none", "ack", "reject", "immediate"],
        INERT,
        Field(
            title="Acknowledgement",
            description="none: never. ack, reject: at the next poll. immediate: in the answer to the export.",
        ),
    ] = "none"

    def cross_field_faults(self) -> Iterator[Fault]:
        if self.retry_after_s is not None and self.fail_with != "RateLimited":
            yield Fault(path="retry_after_s", message="is only for RateLimited", code="not_applicable")


@dataclass(frozen=True, kw_only=True)
class Received:
    """One order as it arrived at the pretended ERP."""

    account: str
    export_id: UUID
    order_id: str
    attempt: int
    document: Document

    @property
    def erp_order_id(self) -> str:
        """The number the ERP gives it."""
        return f"MOCK-{self.export_id.hex[:8]}"


class _Outbox:
    """What arrived in this process, oldest first; the oldest is forgotten when it is full."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: deque[Received] = deque(maxlen=_MAX_REMEMBERED)
        self._answered: set[str] = set()

    def add(self, item: Received) -> bool:
        """Remember an order; return False when it had arrived before."""
        with self._lock:
            if any(known.document.filename == item.document.filename for known in self._received):
                return False
            self._received.append(item)
            return True

    def find(self, filename: str) -> Received | None:
        return next((item for item in self.all() if item.document.filename == filename), None)

    def all(self) -> tuple[Received, ...]:
        with self._lock:
            return tuple(self._received)

    def unanswered(self, account: str) -> list[Received]:
        with self._lock:
            return [
                item
                for item in self._received
                if item.account == account and item.document.filename not in self._answered
            ]

    def mark_answered(self, item: Received) -> None:
        with self._lock:
            self._answered.add(item.document.filename)

    def clear(self) -> None:
        with self._lock:
            self._received.clear()
            self._answered.clear()


class MockConnector(ERPConnectorPort[MockConfig]):
    """A pretended ERP in this process."""

    connector_type: ClassVar[str] = "MOCK"
    title: ClassVar[str] = "Mock ERP"
    summary: ClassVar[str] = "Pretends to be an ERP: accepts, delays, fails and answers as configured. Sends nothing."
    Config = MockConfig

    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    raises: ClassVar[frozenset[type[ConnectorError]]] = frozenset(
        getattr(exceptions, name) for name in get_args(ErrorName)
    )
    supports_render: ClassVar[bool] = True
    supports_find_export: ClassVar[bool] = True
    supports_acknowledgements: ClassVar[bool] = True
    supports_identify: ClassVar[bool] = True
    supports_session: ClassVar[bool] = True

    _outbox: ClassVar[_Outbox] = _Outbox()

    @classmethod
    def received(cls) -> tuple[Received, ...]:
        """Return what arrived in this process, oldest first."""
        return cls._outbox.all()

    @classmethod
    def reset(cls) -> None:
        """Forget what arrived."""
        cls._outbox.clear()

    def export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult:
        context.recognise(self.identify(config, context))
        document = context.document or self.render(order, config, context)
        arriving = Received(
            account=config.account,
            export_id=context.export_id,
            order_id=order.order_id,
            attempt=context.attempt,
            document=document,
        )
        with context.steps.step("deliver"):
            _pause(config)
            if config.fail_with and context.attempt <= config.fail_times:
                error = _scripted_error(config)
                if isinstance(error, OutcomeUnknown) and config.delivered:
                    self._outbox.add(arriving)
                raise error
            is_new = self._outbox.add(arriving)
        return _result(arriving, config, already_delivered=not is_new)

    def test_connection(self, config: MockConfig, context: Context) -> TestResult:
        identity = None
        with context.steps.plan("connect", "log_in", "identity"):
            with context.steps.step("connect"):
                _pause(config)
            with context.steps.step("log_in"):
                if config.fail_with in _CONCERN_THE_CONNECTION:
                    raise _scripted_error(config)
            with context.steps.step("identity") as note:
                identity = self.identify(config, context)
                note.detail = f"{identity.company} ({identity.environment})"
                context.recognise(identity)
        return context.steps.result(
            not_proven=("Anything: there is no ERP behind this connection.",), identity=identity
        )

    def render(self, order: Order, config: MockConfig, context: ExportContext) -> Document:
        return orderflow_json_v1.render(
            order, org_slug=context.org_slug, export_id=context.export_id, created_at=context.created_at
        )

    def find_export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult | None:
        document = context.document or self.render(order, config, context)
        found = self._outbox.find(document.filename)
        return _result(found, config, already_delivered=True) if found else None

    def poll_acknowledgements(
        self, config: MockConfig, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        if config.acknowledgement not in ("ack", "reject"):
            return 0
        applied = 0
        for item in self._outbox.unanswered(config.account):
            if settle(_answer(item, config, context)) is Settlement.APPLIED:
                self._outbox.mark_answered(item)
                applied += 1
        return applied

    def identify(self, config: MockConfig, context: Context) -> RemoteIdentity:
        return RemoteIdentity(
            company=config.account, environment=config.environment, currency="EUR", server="this process"
        )

    @contextmanager
    def open_session(self, config: MockConfig, context: Context) -> Iterator[MockSession]:
        context.recognise(self.identify(config, context))
        yield MockSession(self, config)


@dataclass(frozen=True)
class MockSession(ExportSession):
    """One pretended login."""

    connector: MockConnector
    config: MockConfig

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""
        return self.connector.export(order, self.config, context)

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:
        """Look an export up; see `ERPConnectorPort.find_export`."""
        return self.connector.find_export(order, self.config, context)


def _pause(config: MockConfig) -> None:
    time.sleep(config.latency_ms / 1000)


def _scripted_error(config: MockConfig) -> ConnectorError:
    if config.fail_with == "RateLimited":
        return RateLimited(config.fail_code, retry_after=config.retry_after_s)
    error_class: type[ConnectorError] = getattr(exceptions, config.fail_with or "TemporaryError")
    return error_class(config.fail_code)


def _result(item: Received, config: MockConfig, *, already_delivered: bool) -> ExportResult:
    immediate = config.acknowledgement == "immediate"
    return ExportResult(
        receipt=Receipt(
            transport="mock",
            location=f"mock://{item.account}/{item.document.filename}",
            size=item.document.size,
            sha256=item.document.sha256,
            already_delivered=already_delivered,
        ),
        erp_order_id=item.erp_order_id if immediate else None,
        acknowledged=immediate,
    )


def _answer(item: Received, config: MockConfig, context: Context) -> Acknowledgement:
    now = context.clock.now()
    if config.acknowledgement == "ack":
        return Acknowledgement(
            filename=item.document.filename, status=AckStatus.ACKED, erp_order_id=item.erp_order_id, processed_at=now
        )
    return Acknowledgement(
        filename=item.document.filename,
        status=AckStatus.REJECTED,
        error_code="MOCK",
        message="Rejected as configured.",
        processed_at=now,
    )
