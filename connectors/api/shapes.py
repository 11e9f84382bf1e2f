"""What goes in and out of the API: requests that are validated, and answers that are described."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar, Union
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from connectors.codes import Code
from connectors.exceptions import Fault
from connectors.maintenance import Single, Weekly
from connectors.models import (
    AckOutcome,
    ConnectionStatus,
    DisabledBecause,
    ExportStatus,
    Health,
    Outcome,
    TestState,
    TestSubject,
    WebhookEvent,
    WebhookState,
)
from connectors.order import Order, Timestamp
from connectors.port import Guarantee
from connectors.registry import registry
from connectors.results import AckStatus, RemoteIdentity, StepStatus
from connectors.services.dead_letters import AT_ONCE
from connectors.services.timeline import EventKind
from connectors.standard_webhooks import MAX_URL
from connectors.validation import ON_ONE_LINE, ON_ONE_LINE_OR_EMPTY, StrictModel
from tenants.actors import ActorKind
from tenants.models import Role

ConnectionName = Annotated[str, Field(max_length=100), ON_ONE_LINE]
ConnectorTypeName = Annotated[str, Field(max_length=64), ON_ONE_LINE]
Flag = Annotated[bool, Field(strict=True)]
TestOnSave = Annotated[Flag, Field(description="Test it once it is stored; the report is `last_test`.")]
ReasonIfUntested = Annotated[
    str,
    Field(max_length=500, description="Why it goes into use although no test has succeeded with it; it is audited."),
    ON_ONE_LINE_OR_EMPTY,
]
WhySteered = Annotated[str, Field(max_length=200, description="Why; it is audited."), ON_ONE_LINE]
Limits = Annotated[
    dict[str, Any],
    Field(
        description='Currency to amount, as `{"EUR": "10000.00"}`: an order above its currency\'s amount, or in a '
        "currency that is not named, waits for approval. Empty: none waits.",
        json_schema_extra={
            "propertyNames": {"pattern": "^[A-Z]{3}$"},
            "additionalProperties": {"type": "string", "pattern": r"^[0-9]{1,14}(\.[0-9]{1,4})?$"},
        },
    ),
]
Windows = Annotated[
    list[dict[str, Any]],
    Field(
        description="When nothing is sent: the same hours every week, or once.",
        json_schema_extra={"items": {"anyOf": [kind.model_json_schema() for kind in (Weekly, Single)]}},
    ),
]
ConfigIn = Annotated[dict[str, Any], Field(description="As `config_schema` of the connector type says.")]

WebhookUrl = Annotated[
    str,
    Field(
        max_length=MAX_URL,
        description="Where messages are sent: https:// without user, password and fragment. Never answered: it may "
        "hold a token.",
        json_schema_extra={"format": "iri", "pattern": "^https?://", "writeOnly": True},
    ),
    ON_ONE_LINE,
]
WebhookEvents = Annotated[list[WebhookEvent], Field(max_length=20, description="Which it wants; empty: all.")]

# -- Requests ----------------------------------------------------------------------------------------------------------


class ConnectionInput(StrictModel):
    """A new connection."""

    connector_type: ConnectorTypeName
    name: Annotated[ConnectionName | None, Field(description="By default the title of the connector type.")] = None
    config: ConfigIn
    status: ConnectionStatus = ConnectionStatus.ACTIVE
    test_on_save: TestOnSave = False


class ConnectionPatch(StrictModel):
    """What changes in a connection; what is left out stays."""

    name: ConnectionName | None = None
    status: ConnectionStatus | None = None
    config: Annotated[
        dict[str, Any] | None,
        Field(description="Fields to change: null clears one, a secret that is left out is kept."),
    ] = None
    revision: Annotated[
        Annotated[int, Field(strict=True, ge=1)] | None,
        Field(description="The revision you know; 409 if the configuration was changed since."),
    ] = None
    reason: ReasonIfUntested = ""
    test_on_save: TestOnSave = False


class MonitoringPatch(StrictModel):
    """What changes in how a connection is looked after; what is left out stays."""

    check_minutes: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=10_080)] | None,
        Field(description="Minutes between the scheduled checks, which write nothing at the far end; 0 is never."),
    ] = None
    credentials_expire_on: Annotated[
        date | None, Field(description="Last day of the credentials, where nothing in them tells; null clears it.")
    ] = None


class DeliveryPatch(StrictModel):
    """What changes in how orders leave through a connection; what is left out stays."""

    window: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=256)] | None,
        Field(description="How many orders may be under way at once; 1 for partners that insist."),
    ] = None
    max_per_minute: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None,
        Field(description="How many orders may leave in a minute; null for as many as the far end takes."),
    ] = None
    maintenance_windows: Windows | None = None
    approval_limits: Limits | None = None
    ack_expected_within: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=525_600)] | None,
        Field(description="Minutes after which a sent order without an answer is overdue; null: none is expected."),
    ] = None


class ReasonInput(StrictModel):
    """Why it is done."""

    reason: WhySteered


class UnsavedTestInput(StrictModel):
    """A configuration to try without storing it."""

    connector_type: ConnectorTypeName
    config: ConfigIn


class TestInput(StrictModel):
    """An edit to try without storing it; empty to test what is stored."""

    __test__ = False

    config: Annotated[dict[str, Any] | None, Field(description="As in PATCH.")] = None


class ActivationInput(StrictModel):
    """Whether the connection that is active now steps back."""

    replace: Flag = False
    reason: ReasonIfUntested = ""


class RevertInput(StrictModel):
    """Which configuration comes back."""

    revision: Annotated[
        Annotated[int, Field(strict=True, ge=1)] | None,
        Field(description="By default the latest one that a test succeeded with."),
    ] = None


class StageInput(StrictModel):
    """The next credentials."""

    config: Annotated[
        dict[str, Any],
        Field(description="Secrets only: each with its next value.", json_schema_extra={"minProperties": 1}),
    ]


class PromotionInput(StrictModel):
    """Why untested credentials go into use, if they are untested."""

    reason: ReasonIfUntested = ""


class PinInput(StrictModel):
    """The host key to trust."""

    fingerprint: Annotated[
        str, Field(max_length=100, description="As the last test showed it.", pattern=r"^SHA256:[A-Za-z0-9+/]{43}=?$")
    ]


class WebhookInput(StrictModel):
    """A new webhook."""

    name: ConnectionName
    url: WebhookUrl
    events: WebhookEvents = []
    enabled: Flag = True


class WebhookPatch(StrictModel):
    """What changes in a webhook; what is left out stays."""

    name: ConnectionName | None = None
    url: Annotated[WebhookUrl | None, Field(description="Another one gets a new secret, which is answered.")] = None
    events: WebhookEvents | None = None
    enabled: Flag | None = None


class ExportInput(StrictModel):
    """An order to push."""

    order: Order


class BulkRetryInput(StrictModel):
    """Which exports to retry: by id, or all that have what is named, the oldest first."""

    ids: Annotated[
        Annotated[list[UUID], Field(min_length=1, max_length=AT_ONCE)] | None, Field(description="Exactly these.")
    ] = None
    code: Annotated[Code | None, Field(description="The code of their error.")] = None
    connector: Annotated[UUID | None, Field(description="The connection they went through.")] = None
    status: Annotated[
        Annotated[list[Literal["FAILED", "REJECTED", "UNCONFIRMED"]], Field(min_length=1)] | None,
        Field(description="How they ended; by default FAILED and REJECTED, with `include_unconfirmed` all three."),
    ] = None
    since: Annotated[Timestamp | None, Field(description="When at the earliest they ended.")] = None
    include_unconfirmed: Annotated[
        Flag, Field(description="Also those that may have arrived: the ERP may then have them twice.")
    ] = False

    def cross_field_faults(self) -> Iterator[Fault]:
        """Refuse what names nothing, or the same thing in two ways."""
        named = self.model_fields_set - {"ids", "include_unconfirmed"}
        if self.ids is not None:
            for name in sorted(named):
                yield Fault(path=name, message="must not be given beside ids", code="exclusive")
        elif not named:
            message = "is required, or at least one of code, connector, status, since"
            yield Fault(path="ids", message=message, code="missing")
        if self.status and "UNCONFIRMED" in self.status and not self.include_unconfirmed:
            yield Fault(path="include_unconfirmed", message="must be true: these may have arrived", code="confirmation")


class EmptyInput(StrictModel):
    """Nothing: the address says it all."""


@cache
def connection_request() -> type[BaseModel]:
    """Return `ConnectionInput` as the registry makes it concrete, one variant per connector type; for the schema."""
    return _per_connector_type("ConnectionRequest", ConnectionInput)


@cache
def unsaved_test_request() -> type[BaseModel]:
    """Return `UnsavedTestInput` as the registry makes it concrete; for the schema."""
    return _per_connector_type("UnsavedTestRequest", UnsavedTestInput)


def _per_connector_type(name: str, base: type[StrictModel]) -> type[BaseModel]:
    variants: list[Any] = [
        create_model(
            f"{name}_{connector_type}",
            __base__=base,
            __doc__=f"{connector.title}: {connector.summary}",
            connector_type=(Literal[connector_type], ...),  # type: ignore[arg-type]  # known at run time only
            config=(connector.Config, ...),
        )
        for connector_type, connector in sorted(registry.connectors.items())
    ]
    choice: Any = Annotated[Union[tuple(variants)], Field(discriminator="connector_type")]  # noqa: UP007  # computed
    return create_model(name, __base__=RootModel[choice], __doc__=base.__doc__)


# -- Answers -----------------------------------------------------------------------------------------------------------

RowT = TypeVar("RowT", bound=BaseModel)


class Shape(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(extra="forbid")

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.model_dump(mode="json")


class Page(Shape, Generic[RowT]):
    """One page of a list, and the addresses of the pages beside it."""

    results: list[RowT]
    next: Annotated[str | None, Field(json_schema_extra={"format": "uri"})]
    previous: Annotated[str | None, Field(json_schema_extra={"format": "uri"})]

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return a name that reads well in the schema."""
        return f"{params[0].__name__}Page"


class FaultShape(Shape):
    """One thing wrong with the input."""

    path: Annotated[str, Field(description="Where: keys and indexes joined by dots.", examples=["order.lines.0.qty"])]
    message: str
    code: str


class TestStepShape(Shape):
    """One step of a test, as it ran."""

    __test__ = False

    name: str
    status: StepStatus
    latency_ms: int
    detail: str
    code: str | None
    hint: str
    params: Annotated[
        dict[str, Any] | None,
        Field(description="The values behind the text of a failure or warning.", exclude_if=lambda value: not value),
    ] = None


class TestReport(Shape):
    """The report of a connection test."""

    __test__ = False

    success: bool
    latency_ms: int
    steps: list[TestStepShape]
    not_proven: Annotated[list[str], Field(description="What a test without side effects cannot show.")]
    identity: Annotated[RemoteIdentity | None, Field(description="Who the far end says it is.")]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="Stable name of what went wrong.")]
    request_id: Annotated[str, Field(description="Also in the header X-Request-ID; the log has the same.")]
    hint: Annotated[str, Field(description="What to do about it.")] = ""
    errors: Annotated[list[FaultShape], Field(description="The faults of the input.")] = []


class FailedTestProblem(Problem):
    """A connection test that failed; `code` is that of the failing step."""

    test: TestReport


class OrganizationShape(Shape):
    """An organisation."""

    id: UUID
    slug: str
    name: str


class Me(Shape):
    """Who is calling."""

    organization: OrganizationShape
    role: Role
    key_name: Annotated[str | None, Field(description="The API key's name; null for a session.")]
    user_name: Annotated[str | None, Field(description="Who is signed in; null for an API key.")]


class ConnectorType(Shape):
    """What this installation can connect to."""

    connector_type: str
    title: str
    summary: str
    guarantee: Annotated[Guarantee, Field(description="What keeps an order from arriving twice.")]
    capabilities: Annotated[dict[str, bool], Field(description="Which optional verbs the connector has.")]
    config_schema: Annotated[dict[str, Any], Field(description="JSON Schema 2020-12; secrets are `writeOnly`.")]


class SecretState(Shape):
    """Whether a secret is stored; never the secret."""

    set: bool
    updated_at: datetime | None


class ExpiryShape(Shape):
    """The last day of one credential."""

    field: Annotated[str, Field(description="Which field holds it; empty for the date entered by hand.")]
    kind: str
    expires_at: datetime
    days_left: Annotated[int, Field(description="Negative once it has expired.")]


class ConnectionSummary(Shape):
    """Which connection it is."""

    id: UUID
    connector_type: str
    name: str


class Connection(ConnectionSummary):
    """An organisation's configured connector."""

    status: ConnectionStatus
    health: Health
    config: Annotated[dict[str, Any], Field(description="Without the secrets.")]
    secrets: dict[str, SecretState]
    revision: Annotated[int, Field(description="Counts the changes of the configuration.")]
    tested_revision: Annotated[int | None, Field(description="The revision a test last succeeded with.")]
    last_test_at: datetime | None
    last_test: TestReport | None
    created_at: datetime
    updated_at: datetime


class Monitoring(Shape):
    """How a connection is looked after without being asked."""

    identity: Annotated[RemoteIdentity | None, Field(description="Who the far end has to be.")]
    is_paused: Annotated[bool, Field(description="The sign-in was refused: nothing is sent until a test succeeds.")]
    paused_until: Annotated[
        datetime | None,
        Field(description="After troubles in a row nothing is sent before a check at this time succeeds."),
    ]
    check_minutes: Annotated[int, Field(description="Minutes between scheduled checks; 0 is never.")]
    credentials_expire_on: Annotated[date | None, Field(description="Last day of the credentials, entered by hand.")]
    expiries: Annotated[list[ExpiryShape], Field(description="When its credentials expire, the next first.")]


class PauseShape(Shape):
    """That a person keeps orders from leaving."""

    since: datetime
    reason: str


class Delivery(Shape):
    """How orders leave through a connection."""

    window: Annotated[int, Field(description="How many orders may be under way at once.")]
    max_per_minute: Annotated[int | None, Field(description="How many orders may leave in a minute; null: any number.")]
    maintenance_windows: Windows
    approval_limits: Limits
    ack_expected_within: Annotated[
        int | None, Field(description="Minutes after which an answer is overdue; null: none is expected.")
    ]
    paused: Annotated[PauseShape | None, Field(description="While a person keeps orders from leaving.")]
    closed_until: Annotated[datetime | None, Field(description="In a maintenance window: when it ends.")]


class ConnectionTestRun(Shape):
    """One run of a connection test, as far as it is."""

    id: UUID
    connector_id: Annotated[UUID | None, Field(description="Null for a configuration that is not stored.")]
    subject: Annotated[TestSubject, Field(description="What was tested; CHECK is a scheduled one, which only reads.")]
    state: TestState
    started_at: datetime
    revision: int | None
    actor: str
    success: Annotated[bool | None, Field(description="Null until it has ended.")]
    latency_ms: int
    steps: list[TestStepShape]
    not_proven: Annotated[list[str], Field(description="What a test without side effects cannot show.")] = []
    identity: Annotated[RemoteIdentity | None, Field(description="Who the far end says it is.")] = None
    code: Annotated[str | None, Field(description="The code of the step that failed.")]


class ConnectionRevision(Shape):
    """An earlier configuration of a connection, which can come back; never the configuration itself."""

    revision: int
    replaced_at: datetime
    replaced_by: str
    changed: Annotated[list[str], Field(description="The fields that its successor changed.")]
    tested_at: Annotated[datetime | None, Field(description="When a test last succeeded with it.")]


class StagedCredentials(Shape):
    """Credentials that wait to be promoted."""

    secrets: Annotated[list[str], Field(description="The names of those that will be replaced.")]
    created_at: datetime
    actor: str
    tested_at: datetime | None


class Failure(Shape):
    """Why an export is where it is."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str
    hint: str = ""


class DocumentShape(Shape):
    """The rendered document."""

    sha256: str
    size: int
    media_type: str
    purged_at: datetime | None = None
    """When its bytes were removed, because the organisation keeps documents no longer."""


class ReceiptShape(Shape):
    """What the transport can prove."""

    transport: str
    location: str
    size: int
    sha256: str
    already_delivered: bool
    taken: Annotated[
        bool, Field(description="Whether it was gone before anybody could look; only the far end can have taken it.")
    ] = False


class Export(Shape):
    """One order on its way to one connection."""

    id: UUID
    status: ExportStatus
    connector: ConnectionSummary
    order_id: str
    filename: Annotated[str | None, Field(description="The document's name; null until it is rendered.")]
    document: DocumentShape | None
    receipt: ReceiptShape | None
    erp_order_id: str | None
    error: Failure | None
    warnings: list[str]
    attempts: int
    next_attempt_at: Annotated[datetime | None, Field(description="Not before this time; null is at once.")]
    outcome_unknown: Annotated[bool, Field(description="An attempt may have arrived; it is looked up before sending.")]
    held: Annotated[bool, Field(description="It waits for approval.")]
    retry_of: UUID | None
    superseded: Annotated[bool, Field(description="A retry took its place.")]
    reason: Annotated[str | None, Field(description="Why the order was sent once more.")]
    dismissed: Annotated[bool, Field(description="A person put it aside.")]
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None


class ExportDetail(Export):
    """An export with its order."""

    order: Annotated[dict[str, Any], Field(description="As it was submitted; amounts are strings.")]


class Attempt(Shape):
    """One try to deliver an export."""

    number: int
    started_at: datetime
    finished_at: datetime
    latency_ms: int
    outcome: Outcome
    error: Failure | None
    receipt: ReceiptShape | None
    steps: list[TestStepShape]
    next_attempt_at: datetime | None


class Acknowledgement(Shape):
    """One answer of an ERP."""

    id: UUID
    connector: ConnectionSummary
    export_id: Annotated[UUID | None, Field(description="The export that it names; null when there is none.")]
    name: Annotated[str, Field(description="Of the file or message that brought it.")]
    sha256: Annotated[str, Field(description="Of what was read; the same content under the same name is one answer.")]
    outcome: Annotated[AckOutcome, Field(description="What became of it.")]
    status: Annotated[AckStatus | None, Field(description="What it says; null when it cannot be read.")]
    erp_order_id: str | None
    error: Annotated[Failure | None, Field(description="Why the ERP refused, or why it cannot be read.")]
    open: Annotated[bool, Field(description="It waits for a person.")]
    problem: Annotated[Failure | None, Field(description="Why it waits for a person, or has waited, and what to do.")]
    processed_at: Annotated[datetime | None, Field(description="When the ERP says that it answered.")]
    received_at: datetime
    resolved_at: Annotated[datetime | None, Field(description="When a person put it aside.")]


class RetriedShape(Shape):
    """An export, and the new one that took its place."""

    id: UUID
    retried_as: UUID


class RefusedShape(Shape):
    """An export that was left as it is, and why."""

    id: UUID
    code: str
    message: str
    hint: str


class BulkRetryResult(Shape):
    """What became of each of many exports."""

    retried: list[RetriedShape]
    refused: list[RefusedShape]
    remaining: Annotated[int, Field(description="How many more there are: repeat the request.")]


class WhoShape(Shape):
    """Who did something."""

    kind: ActorKind
    label: str


class TimelineEvent(Shape):
    """One thing that happened to an export."""

    kind: EventKind
    at: datetime
    until: Annotated[datetime | None, Field(description="When an attempt was over.")]
    actor: Annotated[WhoShape | None, Field(description="Who did it; null where nobody had to.")]
    request_id: str | None
    idempotency_key: str | None
    reason: str | None
    export_id: Annotated[UUID | None, Field(description="The export whose place was taken, or that took the place.")]
    attempt: int | None
    outcome: Annotated[str | None, Field(description="How the attempt ended, or what became of the ERP's answer.")]
    next_attempt_at: datetime | None
    receipt: ReceiptShape | None
    error: Failure | None
    steps: list[TestStepShape]
    answer: Annotated[str | None, Field(description="The name of what brought the ERP's answer.")]
    erp_order_id: str | None


class Timeline(Shape):
    """What happened to an export, oldest first."""

    events: list[TimelineEvent]


class ActorShape(Shape):
    """Who did something."""

    kind: ActorKind
    id: str
    label: str


class TargetShape(Shape):
    """What it was done to."""

    type: str
    id: str


class Webhook(Shape):
    """An address that is told what becomes of the organisation's exports (Standard Webhooks)."""

    id: UUID
    name: str
    host: Annotated[str, Field(description="Of its URL.")]
    events: WebhookEvents
    enabled: bool
    disabled_because: Annotated[
        DisabledBecause | None,
        Field(description="GONE: it answered 410. FAILING: three days of attempts came to nothing."),
    ]
    failures_in_a_row: Annotated[int, Field(description="Attempts since a message last arrived.")]
    retry_at: Annotated[datetime | None, Field(description="After a failure nothing is sent before this time.")]
    attempted_at: datetime | None
    created_at: datetime
    updated_at: datetime


class WebhookWithSecret(Webhook):
    """A webhook, with its secret if that was issued just now."""

    secret: Annotated[str | None, Field(description="whsec_…, shown this once; null: it has not changed.")]


class WebhookAnswer(Shape):
    """How one attempt to deliver a message ended."""

    at: datetime
    latency_ms: int
    status: Annotated[int | None, Field(description="Of the HTTP answer; null: there was none.")]
    code: Annotated[str | None, Field(description="Why there was none.")]
    message: str


class WebhookMessage(Shape):
    """One message to one webhook."""

    id: Annotated[UUID, Field(description="The header webhook-id of every attempt.")]
    event: str
    export_id: UUID | None
    occurred_at: datetime
    state: WebhookState
    attempts: int
    next_attempt_at: datetime | None
    finished_at: datetime | None
    answers: Annotated[list[WebhookAnswer], Field(description="Of each attempt, oldest first.")]
    body: Annotated[str, Field(description="What is sent, the same every time.")]


class AuditEventShape(Shape):
    """One entry of the audit trail."""

    id: int
    sequence: Annotated[int | None, Field(description="Its place in the organisation's chain, without gaps.")]
    hash: Annotated[str | None, Field(description="SHA-256 over the hash before it, its place and itself, in hex.")]
    created_at: datetime
    actor: ActorShape
    address: str | None
    request_id: str
    action: str
    target: TargetShape | None
    changes: Annotated[
        dict[str, list[Any]], Field(description="Of each field that was changed, its value before and after.")
    ]
    details: dict[str, Any]
