"""A file drop: how a document is delivered, found again and put away, whichever way the folder is reached.

`filesystem` and `sftp` say how to reach a folder; what may be done with it, and in which order, stands here once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from typing import ClassVar, Final

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.results import Document, Receipt

PROCESSED: Final = "processed"
ERROR: Final = "error"

CUT: Final = (Code.CONNECTION_LOST, Code.CONNECTION_TIMEOUT)
"""What says that the connection is gone, and not only this one request."""

TAKEN_INTO: Final = (PROCESSED, "archive", ERROR)
"""The folders below the export folder into which far ends move the files they have taken."""


class NameTaken(Exception):
    """A file of this name already exists; nothing was overwritten."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A regular file in a folder."""

    name: str
    size: int
    modified: float
    """Seconds of the far end's own clock; only good for telling whether the file changes."""


class Folder(ABC):
    """One folder at the far end. Names are plain file names, never paths."""

    path: str

    @abstractmethod
    def location(self, name: str) -> str:
        """Return where the file lies, as a path or a URL without credentials."""

    @abstractmethod
    def entry(self, name: str) -> Entry | None:
        """Return the regular file of this name; None when there is none."""

    @abstractmethod
    def entries(self, wanted: Callable[[str], bool], *, limit: int) -> list[Entry]:
        """Return up to `limit` regular files whose names are wanted, by name."""

    @abstractmethod
    def read(self, name: str, *, limit: int) -> bytes:
        """Return the first `limit` bytes of a file."""

    @abstractmethod
    def put(self, name: str, content: bytes, *, temp_name: str | None) -> None:
        """Write a new file durably and check its size.

        Args:
            name: the final name, which is never overwritten.
            content: all of it.
            temp_name: the name it has while it is incomplete; a file that an earlier attempt left there is replaced.
                None writes under the final name at once.

        Raises:
            NameTaken: there is a file of the final name.
            TemporaryError: nothing lies under the final name.
            OutcomeUnknown: it may lie there.
        """

    @abstractmethod
    def remove(self, name: str) -> bool:
        """Remove a file; return False when there was none."""

    @abstractmethod
    def move(self, name: str, subfolder: str, new_name: str) -> None:
        """Move a file into a folder below this one, which is created when it is missing.

        Raises:
            NameTaken: there is a file of the new name.
        """

    @abstractmethod
    def subfolder(self, name: str) -> Folder | None:
        """Return the folder of this name below this one; None when there is none."""


class FileStore(ABC):
    """A place that has folders."""

    transport: ClassVar[str]

    @abstractmethod
    def finish_within(self, seconds: float) -> None:
        """Let nothing that is asked for from now on last longer than this altogether."""

    @abstractmethod
    def folder(self, path: str) -> Folder:
        """Return an existing folder.

        Raises:
            TemporaryError: PATH_NOT_FOUND or PERMISSION_DENIED.
        """


@dataclass(frozen=True, kw_only=True)
class FileDrop:
    """Delivers documents into one folder."""

    transport: str
    folder: Folder
    atomic: bool
    """Whether a file gets its final name only when it is complete."""
    temp_suffix: str

    def send(self, document: Document) -> Receipt:
        """Deliver a document, or prove that it was delivered before.

        Raises:
            RejectedByERP: TARGET_EXISTS: another file has its name.
            TemporaryError: nothing lies under its name.
            OutcomeUnknown: it may lie there.
        """
        if self._lies_there(document):
            self._forget_leftover(document)
            return self.receipt(document, already_delivered=True)
        try:
            self.folder.put(document.filename, document.content, temp_name=self._temp_name(document.filename))
        except NameTaken:  # somebody was faster than our look: another attempt of ours, or a stranger
            if not self._lies_there(document):
                raise TemporaryError(Code.REMOTE_ERROR, during=" and the file vanished again") from None
            self._forget_leftover(document)
            return self.receipt(document, already_delivered=True)
        return self.receipt(document)

    def find(self, document: Document) -> Receipt | None:
        """Look a document up after an unknown outcome, also where the far end moves what it has taken.

        Returns:
            A receipt, or None when it is not there.

        Raises:
            OutcomeUnknown: the far end has a file of this name with another size.
        """
        if (entry := self.folder.entry(document.filename)) and self._is_same(self.folder, entry, document):
            return self.receipt(document, already_delivered=True)
        for name in TAKEN_INTO:
            taken_into = self.folder.subfolder(name)
            entry = taken_into.entry(document.filename) if taken_into else None
            if taken_into and entry:
                if not self._is_same(taken_into, entry, document):
                    raise OutcomeUnknown
                return self.receipt(document, already_delivered=True, folder=taken_into)
        return None

    def discard(self, filename: str) -> bool:
        """Remove a file and what an attempt may have left of it; return False when it was not there."""
        if (temp_name := self._temp_name(filename)) is not None:
            self._remove(temp_name)
        return self._remove(filename)

    def receipt(self, document: Document, *, already_delivered: bool = False, folder: Folder | None = None) -> Receipt:
        """Return the receipt for a document that lies in `folder`, by default in this one."""
        return Receipt(
            transport=self.transport,
            location=(folder or self.folder).location(document.filename),
            size=document.size,
            sha256=document.sha256,
            already_delivered=already_delivered,
        )

    def _temp_name(self, filename: str) -> str | None:
        return filename + self.temp_suffix if self.atomic else None

    def _lies_there(self, document: Document) -> bool:
        entry = self.folder.entry(document.filename)
        if entry is None:
            return False
        if self._is_same(self.folder, entry, document):
            return True
        if not self.atomic and self._is_our_beginning(entry, document):
            self.folder.remove(document.filename)
            return False
        raise RejectedByERP(Code.TARGET_EXISTS, path=self.folder.location(document.filename))

    def _is_same(self, folder: Folder, entry: Entry, document: Document) -> bool:
        if entry.size != document.size:
            return False
        try:
            return folder.read(entry.name, limit=document.size + 1) == document.content
        except ConnectorError as error:
            # A far end that lets nobody read, or that took the file this instant: the size has to do.
            if error.code in (Code.PERMISSION_DENIED, Code.PATH_NOT_FOUND):
                return True
            raise

    def _is_our_beginning(self, entry: Entry, document: Document) -> bool:
        # The name holds the export's id, so a beginning of our bytes is what an interrupted attempt of ours left.
        if entry.size >= document.size:
            return False
        return document.content.startswith(self.folder.read(entry.name, limit=document.size))

    def _remove(self, name: str) -> bool:
        try:
            return self.folder.remove(name)
        except TemporaryError as error:
            # Where nothing may be removed, a server also says so of what is not there.
            if error.code is Code.PERMISSION_DENIED and self.folder.entry(name) is None:
                return False
            raise

    def _forget_leftover(self, document: Document) -> None:
        if temp_name := self._temp_name(document.filename):
            self._remove(temp_name)


def put_away(folder: Folder, name: str, subfolder: str) -> str:
    """Move a file into a folder below, under a name of its own if need be; nothing is overwritten.

    Returns:
        Its name there.
    """
    for new_name in _alternatives(name):
        try:
            folder.move(name, subfolder, new_name)
        except NameTaken:
            continue
        break
    return new_name


def _alternatives(name: str) -> Iterator[str]:
    yield name
    path = PurePosixPath(name)
    for number in count(1):
        yield f"{path.stem}.{number}{path.suffix}"
