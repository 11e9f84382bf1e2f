"""DROPZONE_JSON_V1: JSON files in a folder that the ERP watches, over SFTP or on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from connectors.adapters.dropzone_config import DropzoneConfig
from connectors.adapters.dropzone_diagnosis import MAX_LISTED, Diagnosis
from connectors.adapters.dropzone_store import export_drop, open_store
from connectors.exceptions import DocumentError, TemporaryError
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Context, ERPConnectorPort, ExportContext, ExportSession, Guarantee
from connectors.results import (
    Acknowledgement,
    Document,
    ExportResult,
    Receipt,
    RemoteIdentity,
    Settlement,
    TestResult,
)
from connectors.transports.drop import CUT, ERROR, PROCESSED, Entry, FileStore, Folder, put_away

_MAX_READ_PER_POLL: Final = 1000
_STILL_GROWING_S: Final = 0.5


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
        document = context.document or self.render(order, config, context)
        with open_store(config, context) as store, context.steps.step("look_up") as note:
            store.finish_within(context.remaining_s)
            receipt = export_drop(store, config).find(document) or _find_answer(store, config, document)
            note.detail = receipt.location if receipt else "Not found."
        return ExportResult(receipt=receipt) if receipt else None

    def poll_acknowledgements(
        self, config: DropzoneConfig, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        if config.ack_path is None:
            return 0
        with open_store(config, context) as store:
            store.finish_within(context.remaining_s)
            return _Poll(store.folder(config.ack_path), settle).run()

    def identify(self, config: DropzoneConfig, context: Context) -> RemoteIdentity:
        seen: list[RemoteIdentity] = []
        with open_store(config, context, seen.append):
            return seen[0] if seen else RemoteIdentity()  # a folder of this machine says nothing

    @contextmanager
    def open_session(self, config: DropzoneConfig, context: Context) -> Iterator[DropzoneSession]:
        with open_store(config, context) as store:
            yield DropzoneSession(self, config, store)


class DropzoneSession(ExportSession):
    """One login that delivers many orders, one after the other."""

    def __init__(self, connector: DropzoneJsonV1Connector, config: DropzoneConfig, store: FileStore) -> None:
        self._connector = connector
        self._config = config
        self._store = store
        self._one_at_a_time = threading.Lock()

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""
        document = context.document or self._connector.render(order, self._config, context)
        with self._one_at_a_time, context.steps.step("deliver") as note:
            self._store.finish_within(context.remaining_s)
            receipt = export_drop(self._store, self._config).send(document)
            note.detail = receipt.location
        return ExportResult(receipt=receipt, warnings=orderflow_json_v1.left_out(order))


# Acknowledgements

_is_answer = orderflow_json_v1.is_acknowledgement


def _find_answer(store: FileStore, config: DropzoneConfig, document: Document) -> Receipt | None:
    """An answer to a document that was taken away proves that it had arrived."""
    if config.ack_path is None:
        return None
    waiting = store.folder(config.ack_path)
    for folder in (waiting, waiting.subfolder(PROCESSED)):
        for name in orderflow_json_v1.acknowledgement_names(document.filename):
            if folder and folder.entry(name):
                return Receipt(
                    transport=store.transport,
                    location=folder.location(name),
                    size=document.size,
                    sha256=document.sha256,
                    already_delivered=True,
                )
    return None


class _Poll:
    """One look into the folder of answers."""

    def __init__(self, folder: Folder, settle: Callable[[Acknowledgement], Settlement]) -> None:
        self._folder = folder
        self._settle = settle
        self._applied = 0
        self._malformed: list[Entry] = []
        self._trouble: TemporaryError | None = None

    def run(self) -> int:
        """Settle every answer and put it away; a file that makes trouble does not stop the others.

        Raises:
            TemporaryError: after all others were settled, for a file that could not be read or moved.
        """
        listed = self._folder.entries(_is_answer, limit=MAX_LISTED)
        # The latest first, so that old files of somebody else do not keep ours waiting.
        latest = sorted(listed, key=lambda entry: entry.modified, reverse=True)[:_MAX_READ_PER_POLL]
        for entry in latest:
            self._guarded(self._take, entry)
        if self._malformed:
            time.sleep(_STILL_GROWING_S)
        for entry in self._malformed:
            self._guarded(self._put_aside, entry)
        if self._trouble is not None:
            raise self._trouble
        return self._applied

    def _take(self, entry: Entry) -> None:
        content = self._folder.read(entry.name, limit=orderflow_json_v1.MAX_ACKNOWLEDGEMENT_BYTES + 1)
        try:
            answer = orderflow_json_v1.parse_acknowledgement(entry.name, content)
        except DocumentError:
            self._malformed.append(entry)
            return
        if self._settle(answer) is Settlement.APPLIED:
            self._applied += 1
            put_away(self._folder, entry.name, PROCESSED)

    def _put_aside(self, entry: Entry) -> None:
        # Still being written, it looks malformed too: then the next poll reads it.
        if self._folder.entry(entry.name) == entry:
            put_away(self._folder, entry.name, ERROR)

    def _guarded(self, handle: Callable[[Entry], None], entry: Entry) -> None:
        try:
            handle(entry)
        except TemporaryError as error:
            if error.code in CUT:
                raise
            if self._folder.entry(entry.name):  # else somebody else has taken it away meanwhile
                self._trouble = error
