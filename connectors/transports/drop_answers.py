"""The answers at a file drop: how they are found, read and put away, whatever their format."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from connectors.exceptions import DocumentError, TemporaryError
from connectors.port import Context
from connectors.results import Acknowledgement, Document, MalformedAcknowledgement, Receipt, Settlement
from connectors.transports.drop import CUT, ERROR, PROCESSED, Entry, FileStore, Folder, NameTaken, put_away
from connectors.transports.drop_diagnosis import MAX_LISTED

QUIET_SECONDS: Final = 2.0
"""What cannot be read is put aside when it has not changed for so long: it may only be the beginning of an answer."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""What is bigger is read no further; the format refuses it."""

_MAX_READ_PER_POLL: Final = 1000
_READ_LIMIT: Final = MAX_ANSWER_BYTES + 1
_READ_UNTIL: Final = 0.2
_PUT_ASIDE_UNTIL: Final = 0.05
"""When so small a share of a poll's time is left, no other file is read, or put aside: the next poll goes on."""
_MAX_NAME_BYTES: Final = 255

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class AnswerFiles:
    """What a format knows of the files that answer its documents."""

    is_answer: Callable[[str], bool]
    """Whether a file of this name may answer a document."""
    read: Callable[[str, bytes], Sequence[Acknowledgement]]
    """Returns what a file of this name says, nothing where it is not meant for us; raises DocumentError with a `reason`
    where it cannot be read."""
    names_for: Callable[[str], Sequence[str]] = lambda _: ()
    """The names under which the document of this name may be answered, where names say so."""
    answered: Callable[[str], str | None] = lambda _: None
    """The name of the document that a file of this name answers, where names say so."""


def find_answer(store: FileStore, ack_path: str | None, files: AnswerFiles, document: Document) -> Receipt | None:
    """An answer to a document that was taken away proves that it had arrived."""
    names = files.names_for(document.filename)
    if ack_path is None or not names:
        return None
    waiting = store.folder(ack_path)
    for folder in (waiting, waiting.subfolder(PROCESSED), waiting.subfolder(ERROR)):
        for name in names:
            if folder and folder.entry(name):
                return Receipt(
                    transport=store.transport,
                    location=folder.location(name),
                    size=document.size,
                    sha256=document.sha256,
                    already_delivered=True,
                )
    return None


@dataclass(frozen=True, kw_only=True)
class _Unreadable:
    """A file that makes no sense as it is."""

    entry: Entry
    content: bytes
    error: DocumentError


class Poll:
    """One look into the folder of answers.

    A file is read only when it does not change meanwhile, and put away only as it was read: what somebody still writes,
    or writes anew, is left for the next look.
    """

    def __init__(
        self, folder: Folder, files: AnswerFiles, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> None:
        self._folder = folder
        self._files = files
        self._context = context
        self._settle = settle
        self._budget_s = context.remaining_s
        self._applied = 0
        self._unreadable: list[_Unreadable] = []
        self._trouble: TemporaryError | None = None

    def run(self) -> int:
        """Settle every answer and put it away; a file that makes trouble does not stop the others.

        Returns:
            How many were applied.

        Raises:
            TemporaryError: after all others were settled, for a file that could not be read or moved.
        """
        listed = self._folder.entries(self._files.is_answer, limit=MAX_LISTED)
        # The latest first, so that old files of somebody else do not keep ours waiting.
        latest = sorted(listed, key=lambda entry: entry.modified, reverse=True)[:_MAX_READ_PER_POLL]
        for entry in latest:
            self._guarded(self._take, entry, entry.name, until=_READ_UNTIL)
        if self._unreadable:
            time.sleep(min(QUIET_SECONDS, self._context.remaining_s))
        for unreadable in self._unreadable:
            self._guarded(self._put_aside, unreadable, unreadable.entry.name, until=_PUT_ASIDE_UNTIL)
        if self._trouble is not None:
            raise self._trouble
        return self._applied

    def _take(self, entry: Entry) -> None:
        if not entry.modified:  # some servers list names without saying more of them
            entry = self._folder.entry(entry.name) or entry
        size = min(entry.size, _READ_LIMIT)
        content = self._folder.read(entry.name, limit=size)
        if len(content) != size or not self._is_unchanged(entry):
            return
        try:
            answers = self._files.read(entry.name, content)
        except DocumentError as error:
            self._unreadable.append(_Unreadable(entry=entry, content=content, error=error))
            return
        applied = 0
        for number, answer in enumerate(answers):
            known_by = replace(answer, source=entry.name, fingerprint=fingerprint(content, number))
            applied += self._settle(known_by) is Settlement.APPLIED
        self._applied += applied
        # What says something of an order that is still being sent, or of none of ours, is left as it lies there.
        if answers and applied == len(answers) and self._is_unchanged(entry):
            put_away(self._folder, entry.name, PROCESSED)

    def _put_aside(self, unreadable: _Unreadable) -> None:
        name, error = unreadable.entry.name, unreadable.error
        if not self._is_unchanged(unreadable.entry):
            return
        self._context.report_malformed(
            MalformedAcknowledgement(
                source=name,
                fingerprint=fingerprint(unreadable.content),
                reason=error.params["reason"],
                filename=self._files.answered(name),
            )
        )
        put_as = put_away(self._folder, name, ERROR)
        self._explain(put_as, f"{error.code}\n{error.message}\n{error.hint}\n")

    def _explain(self, put_as: str, text: str) -> None:
        """Write the reason beside a file that was put aside; the one of an earlier file of that name stays."""
        aside = self._folder.subfolder(ERROR)
        if aside is not None:
            with suppress(NameTaken):
                aside.write(_beside(put_as), text.encode())

    def _is_unchanged(self, entry: Entry) -> bool:
        return self._folder.entry(entry.name) == entry

    def _guarded(self, handle: Callable[[T], None], what: T, name: str, *, until: float) -> None:
        if self._context.remaining_s < self._budget_s * until:
            return
        try:
            handle(what)
        except TemporaryError as error:
            if error.code in CUT:
                raise
            if self._folder.entry(name):  # else somebody else has taken it away meanwhile
                self._trouble = error


def fingerprint(content: bytes, number: int = 0) -> str:
    """Return what tells one answer from all others: the content, and which of several in the same file it is."""
    return hashlib.sha256(content + (b"#%d" % number if number else b"")).hexdigest()


def _beside(name: str) -> str:
    """Return the name of the file that says why the one of this name was put aside."""
    suffix = ".reason.txt"
    return os.fsdecode(os.fsencode(name)[: _MAX_NAME_BYTES - len(suffix)]) + suffix
