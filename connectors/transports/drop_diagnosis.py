"""The connection test of a file drop: everything a delivery needs, tried in its order, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.port import Context, StepNote, StepRecorder
from connectors.results import Document, RemoteIdentity, TestResult
from connectors.transports.drop import CUT, ERROR, PROCESSED, FileDrop, FileStore
from connectors.transports.drop_config import DropConfig
from connectors.transports.drop_store import export_drop, open_store
from connectors.transports.ssh import LOGIN_STEPS

MAX_LISTED: Final = 10_000
"""How many answers are listed at once."""

_FOLDER_STEPS: Final = ("export_path", "read", "write", "clean_up", "ack_path")
_READ_ONLY: Final = "Not tried: this check writes nothing."
_GRACE_S: Final = 10.0
"""How long cleaning up may last when the time of the test is over."""


class Diagnosis:
    """One connection test."""

    def __init__(
        self,
        config: DropConfig,
        context: Context,
        *,
        test_file: Document,
        is_answer: Callable[[str], bool],
        try_out: Callable[[], str] | None = None,
    ) -> None:
        """Prepare one test.

        Args:
            config: what to test.
            context: tools and deadline.
            test_file: what is written for a moment, where that is allowed.
            is_answer: whether a name belongs to the ERP's answers.
            try_out: writes an invented document in memory and says what came of it; None leaves this step out.
        """
        self._config = config
        self._context = context
        self._is_answer = is_answer
        self._try_out = try_out
        self._steps = context.steps
        self._identity: RemoteIdentity | None = None
        self._document = test_file
        self._may_be_listed = True
        self._may_lie_there = False
        """Whether the test file may be at the far end at this moment."""

    def run(self) -> TestResult:
        """Return the report, also when a step failed."""
        login = LOGIN_STEPS if self._config.mode == "sftp" else ()
        tried_out = ("document",) if self._try_out else ()
        with (
            self._steps.plan(*tried_out, *login, *_FOLDER_STEPS),
            self._document_tried_out(),
            self._nothing_left_behind(),
            open_store(self._config, self._context, self._recognise) as store,
        ):
            drop = self._find_export_folder(store)
            self._read(drop)
            self._write(drop)
            self._find_ack_folder(store)
        return self._steps.result(not_proven=tuple(self._not_proven()), identity=self._identity)

    @contextmanager
    def _document_tried_out(self) -> Iterator[None]:
        """Find out before anybody is asked whether the configuration gives a document at all."""
        if self._try_out:
            with self._steps.step("document") as note:
                note.detail = self._try_out()
        yield

    def _recognise(self, identity: RemoteIdentity) -> None:
        self._identity = identity  # the report shows it all the more when it is not the one that was pinned
        self._context.recognise(identity)

    def _find_export_folder(self, store: FileStore) -> FileDrop:
        with self._steps.step("export_path") as note:
            store.finish_within(self._context.remaining_s)
            drop = export_drop(store, self._config)
            note.detail = drop.folder.path
        return drop

    def _read(self, drop: FileDrop) -> None:
        with self._steps.step("read") as note:
            drop.folder.entry(self._document.filename)  # refused, nothing can be delivered either
            try:
                drop.folder.entries(lambda _: True, limit=1)
            except TemporaryError as error:
                if error.code is not Code.PERMISSION_DENIED:
                    raise
                self._may_be_listed = False
                note.warn(Code.FOLDER_NOT_LISTED, path=drop.folder.path)
            else:
                note.detail = "Files can be looked up."

    def _write(self, drop: FileDrop) -> None:
        """Write a file the way orders are written, and remove it."""
        if not self._context.may_write:
            for name in ("write", "clean_up"):
                self._steps.skip(name, _READ_ONLY)
            return
        try:
            with self._steps.step("write") as note:
                self._may_lie_there = True
                note.detail = drop.send(self._document).location
            with self._steps.step("clean_up") as note:
                self._clean_up(drop, note)
        except BaseException as error:
            self._take_back(drop, error)
            raise

    def _clean_up(self, drop: FileDrop, note: StepNote) -> None:
        try:
            # Delivered, it no longer has its temporary name.
            note.detail = "Removed." if drop.folder.remove(self._document.filename) else "The far end has taken it."
        except TemporaryError as error:
            if error.code is not Code.PERMISSION_DENIED:
                raise
            note.warn(Code.TEST_FILE_LEFT, path=drop.folder.location(self._document.filename))
        self._may_lie_there = False

    def _take_back(self, drop: FileDrop, error: BaseException) -> None:
        """Remove the file at once where the connection still stands."""
        if isinstance(error, RejectedByERP):
            self._may_lie_there = False  # it is somebody else's
        elif self._may_lie_there and not _is_cut(error):
            with suppress(ConnectorError):
                drop.discard(self._document.filename)
                self._may_lie_there = False

    @contextmanager
    def _nothing_left_behind(self) -> Iterator[None]:
        """Log in once more to remove what could not be removed before the connection was closed."""
        try:
            yield
        finally:
            if self._may_lie_there:
                clock = self._context.clock
                again = replace(self._context, steps=StepRecorder(clock), deadline=clock.monotonic() + _GRACE_S)
                with suppress(ConnectorError), open_store(self._config, again) as store:
                    store.finish_within(again.remaining_s)
                    export_drop(store, self._config).discard(self._document.filename)
                    self._may_lie_there = False

    def _find_ack_folder(self, store: FileStore) -> None:
        if self._config.ack_path is None:
            return
        with self._steps.step("ack_path") as note:
            folder = store.folder(self._config.ack_path)
            waiting = folder.entries(self._is_answer, limit=MAX_LISTED)
            note.detail = f"{self._config.ack_path}: {len(waiting)} waiting"

    def _not_proven(self) -> Iterator[str]:
        config = self._config
        if self._may_lie_there:
            yield f"That the test file {self._document.filename} in {config.export_path} was removed again."
        if not self._context.may_write:
            yield f"That files can be written into {config.export_path}: this check writes nothing."
        if not self._may_be_listed:
            yield "That an order can be looked up after an unknown outcome: the export folder may not be listed."
        yield "That the ERP picks the files up and can read them."
        if config.ack_path is None:
            yield "That orders arrive in the ERP: without ack_path it cannot answer."
        else:
            yield f"That answers can be moved into {PROCESSED}/ and {ERROR}/ below {config.ack_path}."


def _is_cut(error: BaseException) -> bool:
    return isinstance(error, OutcomeUnknown) or (isinstance(error, ConnectorError) and error.code in CUT)
