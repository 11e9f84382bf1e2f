"""The values that travel back through the port."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from connectors.codes import Code


@dataclass(frozen=True, kw_only=True)
class Document:
    """An order as the exact bytes that are sent."""

    filename: str
    content: bytes = field(repr=False)
    media_type: str
    reference: str = ""
    """What the far end's answers call the order, where it is not the name of the file."""

    @property
    def size(self) -> int:
        """The length in bytes."""
        return len(self.content)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the content, 64 hex digits."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the transport can prove: these bytes lie there."""

    transport: str
    location: str
    """Path or URL at the far end; never with credentials."""
    size: int
    sha256: str
    already_delivered: bool = False
    """True when an earlier attempt had delivered them."""
    taken: bool = False
    """True when they were gone before anybody could look: only the far end can have taken them."""

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as plain JSON values."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """An order that reached the far end."""

    receipt: Receipt
    erp_order_id: str | None = None
    """The number the ERP gave the order, when it says so at once."""
    acknowledged: bool = False
    """True when the answer already is the ERP's final yes."""
    warnings: tuple[str, ...] = ()


class StepStatus(StrEnum):
    """How one step of a test or an attempt ended."""

    PASSED = "passed"  #: it did what it should
    FAILED = "failed"  #: it did not; code and hint say why
    SKIPPED = "skipped"  #: an earlier step failed
    WARNING = "warning"  #: it worked, but somebody should look


@dataclass(frozen=True, kw_only=True)
class TestStep:
    """One named step, as it ran."""

    __test__ = False

    name: str
    status: StepStatus
    latency_ms: int = 0
    detail: str = ""
    code: Code | None = None
    hint: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The safe values behind a failure's or warning's text, for machines: fingerprint, host, path; never a secret."""

    def as_json(self) -> dict[str, Any]:
        """Return the step as plain JSON values; `params` only where there are any."""
        plain = vars(self) | {"params": dict(self.params)}
        return plain if plain["params"] else {name: value for name, value in plain.items() if name != "params"}


@dataclass(frozen=True, kw_only=True)
class RemoteIdentity:
    """Who the far end says it is; what it does not say is None."""

    company: str | None = None
    environment: str | None = None
    """Such as production or test."""
    currency: str | None = None
    """The base currency of the company, ISO 4217."""
    server: str | None = None
    """The product that answers, without its version: an update is no other server."""

    def changed_from(self, pinned: RemoteIdentity) -> tuple[str, ...]:
        """Return the names of what was known and is different now; not what is said for the first time."""
        before, after = asdict(pinned), asdict(self)
        return tuple(name for name, value in before.items() if value is not None and after[name] != value)

    def as_json(self) -> dict[str, Any]:
        """Return the identity as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """The report of a connection test."""

    __test__ = False

    steps: tuple[TestStep, ...]
    latency_ms: int
    not_proven: tuple[str, ...] = ()
    """What a test without side effects cannot show, in words for people."""
    identity: RemoteIdentity | None = None

    @property
    def success(self) -> bool:
        """Whether steps ran and none of them failed."""
        return bool(self.steps) and self.failed_step is None

    @property
    def failed_step(self) -> TestStep | None:
        """The step that failed first."""
        return next((step for step in self.steps if step.status is StepStatus.FAILED), None)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "success": self.success,
            "latency_ms": self.latency_ms,
            "steps": [step.as_json() for step in self.steps],
            "not_proven": list(self.not_proven),
            "identity": self.identity.as_json() if self.identity else None,
        }


class AckStatus(StrEnum):
    """What the ERP says of an order it received."""

    RECEIVED = "RECEIVED"  #: it has arrived and can be read; whether it becomes an order is still to be said
    ACKED = "ACKED"  #: it is an order there now
    REJECTED = "REJECTED"  #: it will never be one


@dataclass(frozen=True, kw_only=True)
class NumberRange:
    """Numbers that follow each other without a gap, such as those of the interchanges from one partner to another."""

    name: str
    """Tells it from the other ranges of the organisation."""
    first: int = 1
    """No document gets a lower number."""
    last: int
    """No document gets a higher number: the format has no place for it."""


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """A document as an answer names it that does not know the document's file name."""

    range_name: str
    number: int | None = None
    """Its number in the range, or None …"""
    reference: str = ""
    """… and its `Document.reference`: the last document of this range that had it is meant."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """The ERP's answer to one document."""

    filename: str = ""
    """The document's name, by which the export is found, or …"""
    numbered: Numbered | None = None
    """… its number or reference."""
    status: AckStatus
    erp_order_id: str | None = None
    error_code: str | None = None
    message: str | None = None
    warnings: tuple[str, ...] = ()
    """What somebody should look at although the order was accepted, such as quantities that the ERP changed."""
    processed_at: datetime | None = None
    source: str | None = None
    """The name of the file or message that brought it, where it has one."""
    fingerprint: str | None = None
    """The SHA-256 of what was read: the same again under the same name is the same answer."""

    def as_json(self) -> Mapping[str, Any]:
        """Return the acknowledgement as plain JSON values."""
        return asdict(self) | {"processed_at": self.processed_at.isoformat() if self.processed_at else None}


@dataclass(frozen=True, kw_only=True)
class MalformedAcknowledgement:
    """An answer that cannot be read."""

    source: str
    """The name of the file or message."""
    fingerprint: str
    """The SHA-256 of what was read."""
    reason: str
    """What is wrong with it, as a part of a sentence in our words."""
    filename: str | None = None
    """The name of the document that it seems to answer."""


@dataclass(frozen=True, kw_only=True)
class Inbound:
    """A message that the far end sent to us over HTTP."""

    headers: Mapping[str, str] = field(repr=False)
    """By their names, in any case."""
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the far end is answered over HTTP."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)
    refused: str = ""
    """Why nothing was done, in our words, for the log; empty when the message was taken."""


class Settlement(StrEnum):
    """What became of an acknowledgement that an adapter found."""

    APPLIED = "applied"  #: recorded, now or earlier: put it away
    LATER = "later"  #: its export is still being sent: leave it for the next poll
    UNMATCHED = "unmatched"  #: no export of ours: leave it alone
