"""A file drop: how a document is delivered, found again and put away, whichever way the folder is reached.

`filesystem` and `sftp` say how to reach a folder; what may be done with it, and in which order, stands here once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from typing import ClassVar, Final

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.port import Delivery
from connectors.results import Document, Receipt
from connectors.transports.conversation import Conversation, Outgoing, T

PROCESSED: Final = "processed"
ERROR: Final = "error"

CUT: Final = (Code.CONNECTION_LOST, Code.CONNECTION_TIMEOUT)
"""What says that the connection is gone, and not only this one request."""

TAKEN_INTO: Final = (PROCESSED, "archive", ERROR)
"""The folders below the export folder into which far ends move the files they have taken."""

_MAX_SEARCHED: Final = 10_000
"""How many names of a folder are looked through for one that holds ours."""


class NameTaken(Exception):
    """A file of this name already exists; nothing was overwritten."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A regular file in a folder."""

    name: str
    size: int
    modified: float
    """Seconds of the far end's own clock; only good for telling whether the file changes."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A name in a folder."""

    folder: Folder
    name: str

    @property
    def location(self) -> str:
        """Where that is, as a path or a URL without credentials."""
        return self.folder.location(self.name)


class Folder(ABC):
    """One folder at the far end. Names are plain file names, never paths."""

    store: FileStore
    path: str

    @abstractmethod
    def location(self, name: str) -> str:
        """Return where the file lies, as a path or a URL without credentials."""

    @abstractmethod
    def entry(self, name: str) -> Entry | None:
        """Return the regular file of this name; None when there is none."""

    @abstractmethod
    def exists_in(self, subfolders: Sequence[str], name: str) -> list[bool]:
        """Return for each folder of these names below this one whether it is there and holds a file of this name."""

    @abstractmethod
    def entries(self, wanted: Callable[[str], bool], *, limit: int, at_most: float = math.inf) -> list[Entry]:
        """Return regular files whose names are wanted, by name.

        Args:
            wanted: asked for each name.
            limit: how many to find.
            at_most: how many names to look through, roughly.
        """

    @abstractmethod
    def read(self, name: str, *, limit: int) -> bytes:
        """Return the first `limit` bytes of a file."""

    @abstractmethod
    def put(self, name: str, content: bytes, *, temporary: Place | None) -> Conversation[None]:
        """Write a new file durably and check its size.

        Args:
            name: the final name, which is never overwritten.
            content: all of it.
            temporary: where it lies while it is incomplete; a file that an earlier attempt left there is replaced.
                None writes under the final name at once.

        Raises:
            NameTaken: there is a file of the final name.
            TemporaryError: nothing lies under the final name.
            OutcomeUnknown: it may lie there.
            Withdrawn: it was not to be published any more; nothing of it is left.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a new file under its name at once; see `put`."""
        self.store.run(self.put(name, content, temporary=None))

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
    def run(self, conversation: Conversation[T]) -> T:
        """Lead one delivery alone."""

    @abstractmethod
    def deliver(self, deliveries: Iterable[Outgoing], *, window: int) -> Iterator[Delivery]:
        """Lead many; see `ExportSession.export_many`."""

    def check(self, path: str) -> None:
        """Find out in one exchange, at once or not at all, whether a folder can still be reached."""
        self.folder(path)

    def cut(self) -> None:  # noqa: B027  # nothing of this machine is waited for
        """Break off what is under way; called by another thread."""

    @abstractmethod
    def folder(self, path: str) -> Folder:
        """Return an existing folder.

        Raises:
            TemporaryError: PATH_NOT_FOUND or PERMISSION_DENIED.
        """


@dataclass(frozen=True, kw_only=True)
class FileDrop:
    """Delivers documents into one folder."""

    folder: Folder
    atomic: bool
    """Whether a file gets its final name only when it is complete."""
    temp_suffix: str
    temp_folder: Folder | None = None
    """Where files lie while they are incomplete; None for the folder itself."""

    def send(self, document: Document) -> Receipt:
        """Deliver a document, or prove that it was delivered before; see `delivery`."""
        return self.folder.store.run(self.delivery(document))

    def delivery(self, document: Document, *, again: bool = False) -> Conversation[Receipt]:
        """Deliver a document, or prove that it was delivered before.

        Raises:
            RejectedByERP: TARGET_EXISTS: another file has its name.
            TemporaryError: nothing lies under its name.
            OutcomeUnknown: it may lie there.
        """
        try:
            yield from self.folder.put(
                document.filename, document.content, temporary=self._temporary(document.filename)
            )
        except NameTaken:
            try:
                lies_there = self._lies_there(document)
            except TemporaryError as error:
                if error.code not in CUT:
                    raise
                raise OutcomeUnknown from None  # there was a file of its name: an earlier attempt may have delivered it
            if lies_there:
                self._forget_leftover(document)
                return self.receipt(document, already_delivered=True)
        else:
            return self.receipt(document)
        if again:
            raise TemporaryError(Code.REMOTE_ERROR, during=": another delivery of this file is running")
        return (yield from self.delivery(document, again=True))

    def find(self, document: Document, *, is_answer: Callable[[str], bool] = lambda _: False) -> Receipt | None:
        """Look a document up after an unknown outcome, also where and as what the far end puts what it has taken.

        Args:
            document: what was sent.
            is_answer: whether a name belongs to the ERP's answers, which may lie in the same folder.

        Returns:
            A receipt, or None when it is not there.

        Raises:
            OutcomeUnknown: FOUND_TWICE; or the far end has a file of this name with another content.
        """
        places = self._places(document.filename)
        if len(places) > 1:
            places = self._places(document.filename)  # it was being moved just then
        if not places and not self._is_left_behind(document.filename):
            places = self._other_names(document.filename, is_answer)
        if len(places) > 1:
            raise OutcomeUnknown(Code.FOUND_TWICE, path=places[0].location, other=places[1].location)
        for place in places:
            entry = place.folder.entry(place.name)
            if entry is None:
                raise TemporaryError(Code.REMOTE_ERROR, during=f": {place.location} was moved meanwhile")
            if self._is_same(place.folder, entry, document):
                return self.receipt(document, already_delivered=True, place=place)
            if place.folder is not self.folder:
                raise OutcomeUnknown
        return None

    def taken(self, document: Document) -> Receipt | None:
        """Judge by what is left: nothing, when the far end was asked to accept a document and it is found nowhere.

        Returns:
            A receipt when nothing is left, because only the rename that was asked for ends the temporary name, and
            only the far end takes a file away. None when the document was not accepted.

        Raises:
            OutcomeUnknown: there was no temporary name to judge by.
        """
        if self._is_left_behind(document.filename):
            return None
        if self.atomic:
            return self.receipt(document, already_delivered=True, taken=True)
        if self.folder.entry(document.filename) is None:
            raise OutcomeUnknown
        return None

    def not_begun(self, document: Document, *, landmark: str | None) -> None:
        """Judge by what is left when it is found nowhere, and nobody knows how far the attempt came.

        Args:
            document: what may have been sent.
            landmark: the name of a document that arrived before it; None when there is none.

        Raises:
            OutcomeUnknown: the far end leaves no trace of what it takes, so it may have taken this one.
        """
        if landmark is None or self._is_left_behind(document.filename):
            return
        if not self._places(landmark) and not self._other_names(landmark, lambda _: False):
            raise OutcomeUnknown

    def discard(self, filename: str) -> bool:
        """Remove a file and what an attempt may have left of it; return False when it was not there."""
        if temporary := self._temporary(filename):
            _remove(temporary)
        return _remove(Place(folder=self.folder, name=filename))

    def receipt(
        self, document: Document, *, already_delivered: bool = False, place: Place | None = None, taken: bool = False
    ) -> Receipt:
        """Return the receipt for a document that lies at `place`, by default under its name in this folder."""
        return Receipt(
            transport=self.folder.store.transport,
            location=place.location if place else self.folder.location(document.filename),
            size=document.size,
            sha256=document.sha256,
            already_delivered=already_delivered,
            taken=taken,
        )

    def _temporary(self, filename: str) -> Place | None:
        if not self.atomic:
            return None
        return Place(folder=self.temp_folder or self.folder, name=filename + self.temp_suffix)

    def _lies_there(self, document: Document) -> bool:
        """Return whether the file that has the document's name is the document; False when it is gone again."""
        entry = self.folder.entry(document.filename)
        if entry is None:
            if self.atomic:  # somebody took it this instant: another attempt of ours had delivered it
                raise OutcomeUnknown
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

    def _places(self, filename: str) -> list[Place]:
        """Return where a file of this name lies."""
        # In the order in which it moves, so that it is not missed while it is being moved.
        here, *below = self.folder.exists_in(("", *TAKEN_INTO), filename)
        places = [Place(folder=self.folder, name=filename)] if here else []
        for name, exists in zip(TAKEN_INTO, below, strict=True):
            if exists and (folder := self.folder.subfolder(name)):
                places.append(Place(folder=folder, name=filename))
        return places

    def _is_left_behind(self, filename: str) -> bool:
        """Return whether its temporary file is there: then it has not got its name, under which it could be taken."""
        temporary = self._temporary(filename)
        return temporary is not None and temporary.folder.entry(temporary.name) is not None

    def _other_names(self, filename: str, is_answer: Callable[[str], bool]) -> list[Place]:
        """Return where files lie whose names hold this one: some far ends add the time, or something else."""
        stem = PurePosixPath(filename).stem
        temporary = self._temporary(filename)

        def is_ours(name: str) -> bool:
            return stem in name and not is_answer(name) and not (temporary and name == temporary.name)

        folders = [self.folder, *filter(None, map(self.folder.subfolder, TAKEN_INTO))]
        places = []
        for folder in folders:
            try:
                entries = folder.entries(is_ours, limit=2, at_most=_MAX_SEARCHED)
            except TemporaryError as error:
                if error.code is not Code.PERMISSION_DENIED:  # nobody may list it
                    raise
                continue
            places += [Place(folder=folder, name=entry.name) for entry in entries]
        if any(place.folder is self.folder and _has_addition(place.name, filename) for place in places):
            raise OutcomeUnknown  # renamed by the far end, or left under a temporary name of another configuration
        return places

    def _forget_leftover(self, document: Document) -> None:
        if temporary := self._temporary(document.filename):
            with suppress(TemporaryError):  # what may not be removed does not make a delivered order an undelivered one
                _remove(temporary)


def _has_addition(name: str, filename: str) -> bool:
    return name.startswith(filename) and name != filename


def _remove(place: Place) -> bool:
    try:
        return place.folder.remove(place.name)
    except TemporaryError as error:
        # Where nothing may be removed, a server also says so of what is not there.
        if error.code is Code.PERMISSION_DENIED and place.folder.entry(place.name) is None:
            return False
        raise


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
