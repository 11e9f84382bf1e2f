"""The verbs of every connector that drops files; a subclass adds what its format knows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, Final, TypeVar

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, RejectedByERP, UnsupportedFeature
from connectors.order import Order
from connectors.port import Context, Delivery, ERPConnectorPort, ExportContext, ExportSession, Guarantee
from connectors.results import Acknowledgement, Document, ExportResult, RemoteIdentity, Settlement, TestResult
from connectors.transports.conversation import Conversation
from connectors.transports.drop import FileDrop, FileStore
from connectors.transports.drop_answers import AnswerFiles, Poll, find_answer
from connectors.transports.drop_config import DropConfig
from connectors.transports.drop_diagnosis import Diagnosis
from connectors.transports.drop_store import export_drop, open_store

_TEST_CONTENT: Final = b"A test of the connection. It is removed at once.\n"

DropConfigT = TypeVar("DropConfigT", bound=DropConfig)


class DropConnector(ERPConnectorPort[DropConfigT]):
    """Writes each order as one file into a folder, and reads the answers from another."""

    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    raises: ClassVar[frozenset[type[ConnectorError]]] = ERPConnectorPort.raises | {RejectedByERP}
    supports_render: ClassVar[bool] = True
    supports_find_export: ClassVar[bool] = True
    supports_acknowledgements: ClassVar[bool] = True
    supports_identify: ClassVar[bool] = True
    supports_session: ClassVar[bool] = True

    # Hooks: what the format knows, besides `render`.

    @abstractmethod
    def answer_files(self, config: DropConfigT) -> AnswerFiles:
        """Return how the files that answer our documents are recognised and read."""

    def answers_to(self, config: DropConfigT, context: Context) -> AnswerFiles:
        """Return the same for a poll, where reading takes more than the configuration, such as the orders answered."""
        return self.answer_files(config)

    def test_file(self, context: Context) -> Document:
        """Return what a connection test writes for a moment: of a name and content that no ERP takes for an order."""
        name = f"test_connection_{context.clock.now():%Y%m%dT%H%M%S%fZ}.txt"
        return Document(filename=name, content=_TEST_CONTENT, media_type="text/plain")

    def try_out(self, config: DropConfigT, context: Context) -> Callable[[], str] | None:
        """Return what writes and reads an invented document in memory; None where the configuration changes none."""
        return None

    def left_out(self, order: Order, config: DropConfigT) -> tuple[str, ...]:
        """Return a sentence for each part of the order that the format has no place for."""
        return ()

    # Subclasses should not need to override.

    def export(self, order: Order, config: DropConfigT, context: ExportContext) -> ExportResult:
        with self.open_session(config, context) as session:
            return session.export(order, context)

    def test_connection(self, config: DropConfigT, context: Context) -> TestResult:
        return Diagnosis(
            config,
            context,
            test_file=self.test_file(context),
            is_answer=self.answer_files(config).is_answer,
            try_out=self.try_out(config, context),
        ).run()

    def find_export(self, order: Order, config: DropConfigT, context: ExportContext) -> ExportResult | None:
        with self.open_session(config, context) as session:
            return session.find(order, context)

    def poll_acknowledgements(
        self, config: DropConfigT, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        if config.ack_path is None:
            return 0
        with open_store(config, context) as store:
            store.finish_within(context.remaining_s)
            return Poll(store.folder(config.ack_path), self.answers_to(config, context), context, settle).run()

    def identify(self, config: DropConfigT, context: Context) -> RemoteIdentity:
        seen: list[RemoteIdentity] = []
        with open_store(config, context, seen.append):
            return seen[0] if seen else RemoteIdentity()  # a folder of this machine says nothing

    def document(self, order: Order, config: DropConfigT, context: ExportContext) -> Document:
        """Return what is to be sent: what was frozen, or where nothing is numbered what is rendered now.

        Raises:
            UnsupportedFeature: it has no number yet; a preview is never sent.
        """
        if context.document is None and context.number is None and self.number_range(config) is not None:
            raise UnsupportedFeature(feature="a document without a number")
        return context.document or self.render(order, config, context)

    @contextmanager
    def open_session(self, config: DropConfigT, context: Context) -> Iterator[ExportSession]:
        with open_store(config, context) as store:
            yield DropSession(self, config, store)


class DropSession(ExportSession):
    """One login that delivers many orders."""

    def __init__(self, connector: DropConnector[Any], config: DropConfig, store: FileStore) -> None:
        self._connector = connector
        self._config = config
        self._store = store

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""
        return self._store.run(self._delivery(order, context))

    def export_many(self, exports: Iterable[tuple[Order, ExportContext]], *, window: int) -> Iterator[Delivery]:
        """Deliver orders in their sequence, with several under way; see `ExportSession.export_many`."""
        deliveries = ((context, self._delivery(order, context)) for order, context in exports)
        return self._store.deliver(deliveries, window=window)

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:
        """Look an export up; see `ERPConnectorPort.find_export`."""
        document = self._connector.document(order, self._config, context)
        files = self._connector.answer_files(self._config)
        with context.steps.step("look_up") as note:
            self._store.finish_within(context.remaining_s)
            receipt = self._drop.find(document, is_answer=files.is_answer)
            receipt = receipt or find_answer(self._store, self._config.ack_path, files, document)
            if receipt is None and context.doubt is Code.OUTCOME_UNKNOWN:
                receipt = self._drop.taken(document)
            elif receipt is None and context.doubt in (Code.FILE_VANISHED, Code.RECEIPT_MISMATCH):
                raise OutcomeUnknown(context.doubt)
            elif receipt is None and context.doubt is Code.WORKER_LOST:
                self._drop.not_begun(document, landmark=context.landmark)
            note.detail = receipt.location if receipt else "Not found."
        return ExportResult(receipt=receipt) if receipt else None

    def check(self) -> None:
        """Find out, in one exchange at most, whether a session that lay idle still works."""
        self._store.check(self._config.export_path)

    def cut(self) -> None:
        """Break off, called by another thread."""
        self._store.cut()

    @cached_property
    def _drop(self) -> FileDrop:
        return export_drop(self._store, self._config)

    def _delivery(self, order: Order, context: ExportContext) -> Conversation[ExportResult]:
        document = self._connector.document(order, self._config, context)
        with context.steps.step("deliver") as note:
            self._store.finish_within(context.remaining_s)
            receipt = yield from self._drop.delivery(document)
            note.detail = receipt.location
        return ExportResult(receipt=receipt, warnings=self._connector.left_out(order, self._config))
