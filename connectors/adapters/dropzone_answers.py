"""The answers of the ERP behind DROPZONE_JSON_V1: how its acknowledgement files are read and put away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from connectors.adapters.dropzone_config import DropzoneConfig
from connectors.adapters.dropzone_diagnosis import MAX_LISTED
from connectors.exceptions import DocumentError, TemporaryError
from connectors.formats import orderflow_json_v1
from connectors.results import Acknowledgement, Document, Receipt, Settlement
from connectors.transports.drop import CUT, ERROR, PROCESSED, Entry, FileStore, Folder, put_away

_MAX_READ_PER_POLL: Final = 1000
_STILL_GROWING_S: Final = 0.5


def find_answer(store: FileStore, config: DropzoneConfig, document: Document) -> Receipt | None:
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


class Poll:
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
        listed = self._folder.entries(orderflow_json_v1.is_acknowledgement, limit=MAX_LISTED)
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
