"""DROPZONE_JSON_V1: JSON files in a folder that the ERP watches, over SFTP or on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import ClassVar, Final

from connectors.adapters.dropzone_config import DropzoneConfig
from connectors.codes import Code
from connectors.exceptions import ConnectorError, DocumentError, OutcomeUnknown, TemporaryError
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.port import Context, ERPConnectorPort, ExportContext, StepRecorder
from connectors.results import Acknowledgement, Document, ExportResult, Receipt, Settlement, TestResult
from connectors.transports.drop import ERROR, PROCESSED, Entry, FileDrop, FileStore, Folder, put_away
from connectors.transports.filesystem import FilesystemStore
from connectors.transports.sftp import sftp_store
from connectors.transports.ssh import LOGIN_STEPS, SshTarget

_FOLDER_STEPS: Final = ("export_path", "write", "clean_up", "ack_path")
_TEST_CONTENT: Final = b'{"test_connection": true}\n'
_MAX_LISTED: Final = 10_000
_MAX_READ_PER_POLL: Final = 1000
_STILL_GROWING_S: Final = 0.5
_CUT: Final = (Code.CONNECTION_LOST, Code.CONNECTION_TIMEOUT)


class DropzoneJsonV1Connector(ERPConnectorPort[DropzoneConfig]):
    """Drops each order as one JSON file and reads the answers from another folder."""

    connector_type: ClassVar[str] = "DROPZONE_JSON_V1"
    title: ClassVar[str] = "JSON dropzone"
    summary: ClassVar[str] = (
        "Writes each order as one JSON file (orderflow_export_json_v1) into a folder on an SFTP server or on this "
        "machine, and reads the ERP's acknowledgement files."
    )
    Config = DropzoneConfig

    supports_render: ClassVar[bool] = True
    supports_find_export: ClassVar[bool] = True
    supports_acknowledgements: ClassVar[bool] = True
    supports_session: ClassVar[bool] = True

    def export(self, order: Order, config: DropzoneConfig, context: ExportContext) -> ExportResult:
        with self.open_session(config, context) as session:
            return session.export(order, context)

    def test_connection(self, config: DropzoneConfig, context: Context) -> TestResult:
        steps = context.steps
        with (
            steps.plan(*(LOGIN_STEPS if config.mode == "sftp" else ()), *_FOLDER_STEPS),
            _open_store(config, context) as store,
        ):
            with steps.step("export_path") as note:
                store.finish_within(context.remaining_s)
                drop = _drop(store, config)
                note.detail = drop.folder.path
            _try_to_write(drop, config, context)
            if config.ack_path is not None:
                with steps.step("ack_path") as note:
                    waiting = store.folder(config.ack_path).entries(_is_answer, limit=_MAX_LISTED)
                    note.detail = f"{config.ack_path}: {len(waiting)} waiting"
        return steps.result(not_proven=_not_proven(config))

    def render(self, order: Order, config: DropzoneConfig, context: ExportContext) -> Document:
        return orderflow_json_v1.render(
            order, org_slug=context.org_slug, export_id=context.export_id, created_at=context.created_at
        )

    def find_export(self, order: Order, config: DropzoneConfig, context: ExportContext) -> ExportResult | None:
        document = context.document or self.render(order, config, context)
        with _open_store(config, context) as store, context.steps.step("look_up") as note:
            store.finish_within(context.remaining_s)
            receipt = _drop(store, config).find(document) or _find_answer(store, config, document)
            note.detail = receipt.location if receipt else "Not found."
        return ExportResult(receipt=receipt) if receipt else None

    def poll_acknowledgements(
        self, config: DropzoneConfig, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        if config.ack_path is None:
            return 0
        with _open_store(config, context) as store:
            store.finish_within(context.remaining_s)
            return _Poll(store.folder(config.ack_path), settle).run()

    @contextmanager
    def open_session(self, config: DropzoneConfig, context: Context) -> Iterator[DropzoneSession]:
        with _open_store(config, context) as store:
            yield DropzoneSession(self, config, store)


class DropzoneSession:
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
            receipt = _drop(self._store, self._config).send(document)
            note.detail = receipt.location
        return ExportResult(receipt=receipt, warnings=orderflow_json_v1.left_out(order))


@contextmanager
def _open_store(config: DropzoneConfig, context: Context) -> Iterator[FileStore]:
    if config.mode == "filesystem":
        with FilesystemStore(context.dropzone_root) as files:
            yield files
    else:
        with sftp_store(_ssh_target(config, context), context.dialer, context.steps) as server:
            yield server


def _ssh_target(config: DropzoneConfig, context: Context) -> SshTarget:
    assert config.host is not None  # the configuration demands both for sftp
    assert config.username is not None
    return SshTarget(
        host=config.host,
        port=config.port,
        username=config.username,
        password=config.password.get_secret_value() if config.password else None,
        private_key=config.private_key.get_secret_value() if config.private_key else None,
        passphrase=config.passphrase.get_secret_value() if config.passphrase else None,
        host_key=config.host_key,
        timeout_s=min(config.timeout_s, context.remaining_s),
    )


def _drop(store: FileStore, config: DropzoneConfig) -> FileDrop:
    return FileDrop(
        transport=store.transport,
        folder=store.folder(config.export_path),
        atomic=config.atomic_write,
        temp_suffix=config.temp_suffix,
    )


# Testing


def _try_to_write(drop: FileDrop, config: DropzoneConfig, context: Context) -> None:
    """Write a file the way orders are written, and remove it."""
    name = f"test_connection_{context.clock.now():%Y%m%dT%H%M%S%fZ}.json"
    document = Document(filename=name, content=_TEST_CONTENT, media_type=orderflow_json_v1.MEDIA_TYPE)
    try:
        with context.steps.step("write") as note:
            note.detail = drop.send(document).location
        with context.steps.step("clean_up") as note:
            note.detail = "Removed again." if drop.discard(name) else "The far end had already taken it."
    except ConnectorError as error:
        if error.code in _CUT or isinstance(error, OutcomeUnknown):
            _sweep(name, config, context)
        raise


def _sweep(name: str, config: DropzoneConfig, context: Context) -> None:
    """Log in once more to remove what a test left behind when its connection was cut."""
    unrecorded = replace(context, steps=StepRecorder(context.clock))
    with suppress(ConnectorError), _open_store(config, unrecorded) as store:
        _drop(store, config).discard(name)


def _not_proven(config: DropzoneConfig) -> tuple[str, ...]:
    unseen = "That the ERP picks the files up and can read them."
    if config.ack_path is None:
        return (unseen, "That orders arrive in the ERP: without ack_path it cannot answer.")
    return (unseen, f"That answers can be moved into {PROCESSED}/ and {ERROR}/ below {config.ack_path}.")


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
        listed = self._folder.entries(_is_answer, limit=_MAX_LISTED)
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
            if error.code in _CUT:
                raise
            if self._folder.entry(entry.name):  # else somebody else has taken it away meanwhile
                self._trouble = error
