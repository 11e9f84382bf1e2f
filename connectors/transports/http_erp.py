"""What every ERP over HTTP has in common: an order is looked up, made, completed and read back, and never made twice.

An adapter says how its ERP is asked; when it is asked, and what follows from the answers, is decided here.

    class AcmeConfig(OrderMappingFields, BasicFields, HttpErpConfig): ...

    class AcmeSession(HttpErpSession[AcmeConfig]):
        def look_up(self, order, names): ...        # our order, wherever it got to
        def create(self, document, context): ...    # one request that makes it, lines and all
        def complete(self, placed, context): ...    # where making and confirming are two things
        def check_access(self, note): ...           # for the connection test

    class AcmeConnector(HttpErpConnector[AcmeConfig]):
        connector_type = "ACME"; title = "Acme"; Config = AcmeConfig; Session = AcmeSession; rules = RULES
        def render(self, order, config, context): ...

The document is the order in the ERP's words with the numbers that people know (customer, item); what they are called
inside the ERP is asked when it is sent.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from decimal import Context as DecimalContext
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from pydantic import Field

from connectors.codes import Code
from connectors.config import INERT
from connectors.exceptions import ConnectorError, DocumentError, OutcomeUnknown, RejectedByERP, Said, TemporaryError
from connectors.order import Order
from connectors.port import Awaited, Context, ERPConnectorPort, ExportContext, ExportSession, Guarantee, StepNote
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
from connectors.transports.http_auth import HttpConfig
from connectors.transports.http_client import HTTP_ERRORS, HTTP_TEST_STEPS, HttpClient, open_client
from connectors.transports.http_errors import ErrorRule, ErrorRules

_LAST_SECONDS: Final = 2.0
_CENT: Final = Decimal("0.01")
_WIDE: Final = DecimalContext(prec=1000)  # numbers are read with up to 400 digits and exponents to 400


class HttpErpConfig(HttpConfig):
    """What every ERP over HTTP can be told."""

    settle_s: Annotated[
        int,
        INERT,
        Field(
            title="Look again after (seconds)",
            description="A slow ERP may finish an order after we stopped waiting: that nothing is found is believed "
            "when it still is not found after so long.",
            ge=0,
            le=60,
        ),
    ] = 5
    error_rules: Annotated[
        ErrorRules,
        INERT,
        Field(
            title="Errors",
            description="What answers mean that are not as usual, as a JSON list; the first that fits decides.",
            examples=['[{"when": {"status": [400], "contains": "is locked"}, "outcome": "temporary"}]'],
        ),
    ] = ()


ConfigT = TypeVar("ConfigT", bound=HttpErpConfig)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One of our orders as it stands at the ERP."""

    key: str
    """By which the ERP addresses it."""
    location: str
    """Its address, or whatever leads a person there."""
    number: str | None
    """By which people call it; None while it has none."""
    status: AckStatus | None = AckStatus.ACKED
    """Whether the ERP has said yes or no; None as long as it has said neither."""
    is_complete: bool = True
    """False while something is still to be done, such as its confirmation."""
    said: Said = field(default_factory=Said)
    """Why the ERP does not want it."""
    net_total: object = None
    """What it comes to before taxes, as it was read; None where the ERP does not say, or finds the prices itself."""
    warnings: tuple[str, ...] = ()

    def remarks(self, order: Order) -> tuple[str, ...]:
        """Return the warnings, with one more where the ERP's total is not that of the order."""
        return (*self.warnings, *_difference(order, self.net_total))


class HttpErpSession(ExportSession, Generic[ConfigT]):
    """One connection to one ERP that takes many orders. Not to be shared between threads."""

    def __init__(
        self, connector: HttpErpConnector[ConfigT], config: ConfigT, client: HttpClient, context: Context
    ) -> None:
        self.connector, self.config, self.client, self.context = connector, config, client, context

    @property
    def context(self) -> Context:
        """What belongs to the order that is under way; its deadline is that of each request."""
        return self.client.context

    @context.setter
    def context(self, context: Context) -> None:
        self.client.context = context

    # Hooks: how the ERP is asked.

    def authenticate(self) -> None:
        """Get whatever is sent with each request. A hook for an ERP with a login of its own."""
        self.client.authenticate()

    @abstractmethod
    def look_up(self, order: Order, names: ExportContext | Awaited) -> list[Placed]:
        """Return the orders at the ERP that come from this export; two of them are enough.

        Cancelled ones are among them: an order that somebody cancelled there is not made again.

        Raises:
            ConnectorError: they cannot be told.
        """

    @abstractmethod
    def create(self, document: Document, context: ExportContext) -> Placed | None:
        """Make the order in one request, lines and all.

        Returns:
            The order; None where the ERP says that it has it already.

        Raises:
            ConnectorError: the subclass says whether it may have been made.
        """

    def complete(self, placed: Placed, context: ExportContext) -> Placed:
        """Do what is still to be done with an order that was made, such as confirming it. May be called again.

        Raises:
            ConnectorError: it was not done, or nobody knows.
        """
        raise NotImplementedError(f"{context.export_id}: nothing is left to be done with {placed.key}")

    @abstractmethod
    def check_access(self, note: StepNote) -> None:
        """Read, without changing anything, what an export needs.

        Raises:
            ConnectorError: something is missing.
        """

    def identity(self) -> RemoteIdentity:
        """Return who the far end says it is; only where the connector `supports_identify`."""
        return RemoteIdentity()

    # Subclasses should not need to override.

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""
        self.context = context
        document = context.document or self.connector.render(order, self.config, context)
        if self.connector.looks_first(self.config) and (found := self._found(order, context)):
            return self._finished(found, order, document, context, already_delivered=True)
        with context.steps.step("create"):
            made = self.create(document, context)
        if made is not None:
            return self._finished(made, order, document, context, already_delivered=False)
        found = self._found(order, context)
        if found is None:
            raise OutcomeUnknown  # it says that it has it, and does not show it
        return self._finished(found, order, document, context, already_delivered=True)

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:
        """Look an export up, and finish what is found half done; see `ERPConnectorPort.find_export`."""
        self.context = context
        found = self._found(order, context)
        if found is None and context.doubt is not None:
            time.sleep(max(0.0, min(self.config.settle_s, context.remaining_s - _LAST_SECONDS)))
            found = self._found(order, context)
        if found is None:
            return None
        document = context.document or self.connector.render(order, self.config, context)
        return self._finished(found, order, document, context, already_delivered=True, otherwise=TemporaryError)

    def ask(self, awaited: Awaited) -> Acknowledgement | None:
        """Return what the ERP says of an export now; None as long as that is no news."""
        try:
            with self.context.steps.step("ask"):
                found = self.look_up(awaited.order, awaited)
        except DocumentError:  # the numbers it is found by are gone: others must not wait for it
            return None
        if len(found) > 1:  # copied there, our mark included: ours is the one whose number we know
            found = [placed for placed in found if placed.number and placed.number == awaited.erp_order_id]
        if len(found) != 1:
            return None
        placed = found[0]
        is_news = awaited.location is None or placed.number not in (None, awaited.erp_order_id)
        if placed.status is None and not is_news:
            return None
        return Acknowledgement(
            filename=awaited.filename,
            status=placed.status or AckStatus.RECEIVED,
            erp_order_id=placed.number or awaited.erp_order_id,
            error_code=placed.said.code,
            message=placed.said.message,
            warnings=placed.remarks(awaited.order),
        )

    def cut(self) -> None:
        """Break off, called by another thread."""
        self.client.session.close()

    def _found(self, order: Order, context: ExportContext) -> Placed | None:
        with context.steps.step("look_up"):
            found = self.look_up(order, context)
            if len(found) > 1:
                first, second = (placed.number or placed.key for placed in found[:2])
                raise OutcomeUnknown(Code.FOUND_TWICE, path=first, other=second)
        return found[0] if found else None

    def _finished(
        self,
        placed: Placed,
        order: Order,
        document: Document,
        context: ExportContext,
        *,
        already_delivered: bool,
        otherwise: type[ConnectorError] = OutcomeUnknown,
    ) -> ExportResult:
        """Complete an order and return what became of it.

        Args:
            otherwise: what is raised when it may still become complete: nobody may claim that nothing has arrived, and
                once it is looked up nobody that it is not known.
        """
        if not placed.is_complete and placed.status is not AckStatus.REJECTED:
            with context.steps.step("complete"), _passing_as(otherwise):
                placed = self.complete(placed, context)
        if placed.status is AckStatus.REJECTED:
            raise RejectedByERP(said=placed.said)
        return ExportResult(
            receipt=Receipt(
                transport="http",
                location=placed.location,
                size=document.size,
                sha256=document.sha256,
                already_delivered=already_delivered,
            ),
            erp_order_id=placed.number,
            acknowledged=placed.status is AckStatus.ACKED,
            warnings=(*self.connector.left_out(order, self.config), *placed.remarks(order)),
        )


class HttpErpConnector(ERPConnectorPort[ConfigT]):
    """Makes each order at an ERP by its HTTP interface, and reads its number and state from there."""

    Session: ClassVar[type[HttpErpSession[Any]]]
    rules: ClassVar[tuple[ErrorRule, ...]] = ()
    """What this ERP's answers mean beyond the usual."""
    keep_cookies: ClassVar[bool] = False
    """Whether the ERP keeps a session by cookies."""

    guarantee: ClassVar[Guarantee] = Guarantee.LOOKUP
    raises: ClassVar[frozenset[type[ConnectorError]]] = HTTP_ERRORS
    supports_render: ClassVar[bool] = True
    supports_find_export: ClassVar[bool] = True
    supports_acknowledgements: ClassVar[bool] = True
    supports_session: ClassVar[bool] = True

    # Hooks, besides `render`.

    def not_proven(self, config: ConfigT) -> tuple[str, ...]:  # noqa: ARG002  # for those that ask
        """Return what a test of this configuration cannot show, in sentences."""
        return ("That orders may be created: a test creates none.",)

    def unpack(self, body: Any) -> Any:
        """Return a JSON body in which the ERP's reason stands where most say it, for one that wraps it up."""
        return body

    def left_out(self, order: Order, config: ConfigT) -> tuple[str, ...]:  # noqa: ARG002  # as above
        """Return a sentence for each part of an order that this ERP has no place for."""
        return ()

    def looks_first(self, config: ConfigT) -> bool:
        """Return whether an order is looked up before it is made: needless where the ERP refuses a second one."""
        return self.guarantee_of(config) is not Guarantee.HARD

    # Subclasses should not need to override.

    def export(self, order: Order, config: ConfigT, context: ExportContext) -> ExportResult:
        with self.open_session(config, context) as session:
            return session.export(order, context)

    def find_export(self, order: Order, config: ConfigT, context: ExportContext) -> ExportResult | None:
        with self.open_session(config, context) as session:
            return session.find(order, context)

    def test_connection(self, config: ConfigT, context: Context) -> TestResult:
        identity: RemoteIdentity | None = None
        with context.steps.plan(*HTTP_TEST_STEPS), self._session(config, context) as session:
            with context.steps.step("authenticate"):
                session.authenticate()
            with context.steps.step("read") as note:
                session.check_access(note)
                if self.supports_identify:
                    identity = session.identity()
                    context.recognise(identity)
        return context.steps.result(not_proven=self.not_proven(config), identity=identity)

    def poll_acknowledgements(
        self, config: ConfigT, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        waiting = iter(context.awaited())
        first = next(waiting, None)
        if first is None:
            return 0
        applied = 0
        with self.open_session(config, context) as session:
            for awaited in (first, *waiting):
                if context.remaining_s < _LAST_SECONDS:
                    break
                answer = session.ask(awaited)
                applied += answer is not None and settle(answer) is Settlement.APPLIED
        return applied

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.supports_identify:
            cls.identify = ERPConnectorPort.identify  # type: ignore[method-assign]  # there is no such verb then

    def identify(self, config: ConfigT, context: Context) -> RemoteIdentity:
        with self._session(config, context) as session:
            return session.identity()

    @contextmanager
    def open_session(self, config: ConfigT, context: Context) -> Iterator[HttpErpSession[ConfigT]]:
        with self._session(config, context) as session:
            if self.supports_identify and context.pinned_identity is not None:
                context.recognise(session.identity())
            yield session

    @contextmanager
    def _session(self, config: ConfigT, context: Context) -> Iterator[HttpErpSession[ConfigT]]:
        rules = (*config.error_rules, *self.rules)
        with open_client(config, context, rules, keep_cookies=self.keep_cookies, unpack=self.unpack) as client:
            yield self.Session(self, config, client, context)


def _difference(order: Order, net_total: object) -> Iterator[str]:
    """Yield a sentence where a total is not that of the order; a cent a line may get lost by rounding."""
    if isinstance(net_total, bool) or not isinstance(net_total, int | Decimal):
        return
    with localcontext(_WIDE):
        amounts = [(line.qty * line.unit_price).quantize(_CENT, ROUND_HALF_UP) for line in order.lines]
        ours, theirs = sum(amounts, Decimal(0)), Decimal(net_total).quantize(_CENT, ROUND_HALF_UP)
        if abs(ours - theirs) > _CENT * len(amounts):
            yield f"The ERP comes to a net total of {theirs:f}, the order to {ours:f}: it may round or change prices."


@contextmanager
def _passing_as(kind: type[ConnectorError]) -> Iterator[None]:
    """Raise what passes by itself as an error of this class."""
    try:
        yield
    except (TemporaryError, OutcomeUnknown) as error:
        if isinstance(error, kind):
            raise
        raise kind(error.code, said=error.said, **error.params) from None


def unknown(where: str) -> DocumentError:
    """Return the error for a number in an order that the ERP does not know.

    Args:
        where: the field of the order, such as `customer.erp_customer_number`.
    """
    return DocumentError(where=f" (at {where}: the ERP does not know it)")


def ambiguous(where: str) -> DocumentError:
    """Return the error for a number in an order that the ERP has more than once."""
    return DocumentError(where=f" (at {where}: the ERP has more than one of it)")
