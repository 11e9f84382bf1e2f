"""DROPZONE_JSON_V1: JSON files in a folder that the ERP watches, over SFTP or on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import ClassVar

from connectors.adapters.dropzone_answers import Poll, find_answer
from connectors.adapters.dropzone_config import DropzoneConfig
from connectors.adapters.dropzone_diagnosis import Diagnosis
from connectors.adapters.dropzone_store import export_drop, open_store
from connectors.codes import Code
from connectors.exceptions import OutcomeUnknown
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Context, Delivery, ERPConnectorPort, ExportContext, ExportSession, Guarantee
from connectors.results import (
    Acknowledgement,
    Document,
    ExportResult,
    RemoteIdentity,
    Settlement,
    TestResult,
)
from connectors.transports.conversation import Conversation
from connectors.transports.drop import FileDrop, FileStore


class DropzoneJsonV1Connector(ERPConnectorPort[DropzoneConfig]):
    """Drops each order as one JSON file and reads the answers from another folder."""

    connector_type: ClassVar[str] = "DROPZONE_JSON_V1"
    title: ClassVar[str] = "JSON dropzone"
    summary: ClassVar[str] = (
        "Writes each order as one JSON file (orderflow_export_json_v1) into a folder on an SFTP server or on this "
        "machine, and reads the ERP's acknowledgement files."
    )
    Config = DropzoneConfig

    guarantee: ClassVar[Guarantee] = Guarantee.HARD
    supports_render: ClassVar[bool] = True
    supports_find_export: ClassVar[bool] = True
    supports_acknowledgements: ClassVar[bool] = True
    supports_identify: ClassVar[bool] = True
    supports_session: ClassVar[bool] = True

    def export(self, order: Order, config: DropzoneConfig, context: ExportContext) -> ExportResult:
        with self.open_session(config, context) as session:
            return session.export(order, context)

    def test_connection(self, config: DropzoneConfig, context: Context) -> TestResult:
        return Diagnosis(config, context).run()

    def render(self, order: Order, config: DropzoneConfig, context: ExportContext) -> Document:
        return orderflow_json_v1.render(
            order, org_slug=context.org_slug, export_id=context.export_id, created_at=context.created_at
        )

    def find_export(self, order: Order, config: DropzoneConfig, context: ExportContext) -> ExportResult | None:
        with open_store(config, context) as store:
            return DropzoneSession(self, config, store).find(order, context)

    def poll_acknowledgements(
        self, config: DropzoneConfig, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        if config.ack_path is None:
            return 0
        with open_store(config, context) as store:
            store.finish_within(context.remaining_s)
            return Poll(store.folder(config.ack_path), context, settle).run()

    def identify(self, config: DropzoneConfig, context: Context) -> RemoteIdentity:
        seen: list[RemoteIdentity] = []
        with open_store(config, context, seen.append):
            return seen[0] if seen else RemoteIdentity()  # a folder of this machine says nothing

    @contextmanager
    def open_session(self, config: DropzoneConfig, context: Context) -> Iterator[DropzoneSession]:
        with open_store(config, context) as store:
            yield DropzoneSession(self, config, store)


class DropzoneSession(ExportSession):
    """One login that delivers many orders."""

    def __init__(self, connector: DropzoneJsonV1Connector, config: DropzoneConfig, store: FileStore) -> None:
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
        document = self._document(order, context)
        with context.steps.step("look_up") as note:
            self._store.finish_within(context.remaining_s)
            receipt = self._drop.find(document, is_answer=orderflow_json_v1.is_acknowledgement)
            receipt = receipt or find_answer(self._store, self._config, document)
            if receipt is None and context.doubt is Code.OUTCOME_UNKNOWN:
                receipt = self._drop.taken(document)
            elif receipt is None and context.doubt is Code.FILE_VANISHED:
                raise OutcomeUnknown(Code.FILE_VANISHED)
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

    def _document(self, order: Order, context: ExportContext) -> Document:
        return context.document or self._connector.render(order, self._config, context)

    def _delivery(self, order: Order, context: ExportContext) -> Conversation[ExportResult]:
        document = self._document(order, context)
        with context.steps.step("deliver") as note:
            self._store.finish_within(context.remaining_s)
            receipt = yield from self._drop.delivery(document)
            note.detail = receipt.location
        return ExportResult(receipt=receipt, warnings=orderflow_json_v1.left_out(order))
