"""Folders of an SFTP server, reached through one login."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from types import TracebackType
from typing import ClassVar, Final

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, TemporaryError
from connectors.network import Dialer
from connectors.port import Delivery, StepRecorder
from connectors.results import RemoteIdentity
from connectors.transports.conversation import MY_TURN, Conversation, Outgoing, T, Withdrawn
from connectors.transports.drop import Entry, FileStore, Folder, NameTaken, Place
from connectors.transports.sftp_protocol import (
    MAX_AT_ONCE,
    Answer,
    Question,
    SftpClient,
    Status,
    StatusError,
    close,
    create,
    found,
    good,
    handle_in,
    look_at,
    remove,
    rename,
    size_in,
)
from connectors.transports.sftp_window import SftpWindow
from connectors.transports.ssh import (
    BROKEN,
    SshTarget,
    SshTransport,
    closed_after,
    log_in,
    silence_is_a_timeout,
    translated,
)

_CODES: Final[dict[int, Code]] = {
    Status.NO_SUCH_FILE: Code.PATH_NOT_FOUND,
    Status.PERMISSION_DENIED: Code.PERMISSION_DENIED,
}


@contextmanager
def sftp_store(
    target: SshTarget, dialer: Dialer, steps: StepRecorder, recognise: Callable[[RemoteIdentity], None]
) -> Iterator[SftpStore]:
    """Log in, and log out at the end; see `log_in` for the arguments, steps and errors."""
    transport = log_in(target, dialer, steps, recognise)
    try:
        yield SftpStore(target, transport)
    finally:
        transport.close()


class SftpStore(FileStore):
    """The folders that one login may see; a relative path starts at the login folder."""

    transport: ClassVar[str] = "sftp"

    def __init__(self, target: SshTarget, transport: SshTransport) -> None:
        self.target = target
        self._transport = transport

    @cached_property
    def client(self) -> SftpClient:
        """The SFTP session, started when it is first needed."""
        timeout_s = self.target.timeout_s
        with (
            translated(self.target, " while starting SFTP"),
            silence_is_a_timeout(timeout_s),
            closed_after(timeout_s, self._transport),
        ):
            return SftpClient(self._transport, timeout_s=timeout_s)

    def finish_within(self, seconds: float) -> None:
        self.client.deadline = time.monotonic() + seconds

    def run(self, conversation: Conversation[T]) -> T:
        answers: list[Answer] | None = None
        error: Exception | None = None
        while True:
            try:
                wants = conversation.throw(error) if error else conversation.send(answers)
            except StopIteration as end:
                result: T = end.value
                return result
            answers = error = None
            if wants is not MY_TURN:
                try:
                    answers = self.client.ask(wants)
                except BROKEN as broken:
                    error = broken

    def deliver(self, deliveries: Iterable[Outgoing], *, window: int) -> Iterator[Delivery]:
        return SftpWindow(self.client, deliveries, size=window).run()

    def check(self, path: str) -> None:
        self.finish_within(self.target.timeout_s)
        super().check(path)

    def cut(self) -> None:
        self._transport.abort()

    def folder(self, path: str) -> SftpFolder:
        folder = SftpFolder(self, path)
        if not folder.exists():
            raise TemporaryError(Code.PATH_NOT_FOUND, path=path)
        return folder


class SftpFolder(Folder):
    """One folder of the server."""

    store: SftpStore

    def __init__(self, store: SftpStore, path: str) -> None:
        self.store = store
        self._client = store.client
        self.path = path

    def exists(self) -> bool:
        """Return whether there is a folder at this path."""
        with self._asking(""):
            there = self._client.attributes(self.path, follow_links=True)
        return there is not None and there.is_folder

    def location(self, name: str) -> str:
        host = f"[{self.store.target.host}]" if ":" in self.store.target.host else self.store.target.host
        return f"sftp://{host}:{self.store.target.port}/{self._at(name).removeprefix('/')}"

    def entry(self, name: str) -> Entry | None:
        with self._asking(name):
            there = self._client.attributes(self._at(name))
        if there is None:
            return None
        if not there.is_file:
            raise TemporaryError(Code.PERMISSION_DENIED, path=self._at(name))
        return Entry(name=name, size=there.size or 0, modified=there.modified or 0)

    def exists_in(self, subfolders: Sequence[str], name: str) -> list[bool]:
        names = [f"{subfolder}/{name}" if subfolder else name for subfolder in subfolders]
        with self._asking(name):
            return [bool(there) for there in self._client.attributes_of_all([self._at(name) for name in names])]

    def entries(self, wanted: Callable[[str], bool], *, limit: int, at_most: float = math.inf) -> list[Entry]:
        with self._asking(""):
            listed = self._client.list_folder(self.path, wanted, limit=limit, at_most=at_most)
        files = [
            Entry(name=name, size=attributes.size or 0, modified=attributes.modified or 0)
            for name, attributes in listed
            if attributes.is_file
        ]
        return sorted(files, key=lambda entry: entry.name)

    def read(self, name: str, *, limit: int) -> bytes:
        with self._asking(name):
            return self._client.read(self._at(name), limit=limit)

    def put(self, name: str, content: bytes, *, temporary: Place | None) -> Conversation[None]:
        if temporary is None:
            yield from self._put_directly(name, content)
        else:
            yield from self._put_behind(name, content, f"{temporary.folder.path.rstrip('/')}/{temporary.name}")

    def remove(self, name: str) -> bool:
        with self._asking(name):
            try:
                self._client.remove(self._at(name))
            except StatusError as error:
                if error.status != Status.NO_SUCH_FILE:
                    raise
                return False
        return True

    def move(self, name: str, subfolder: str, new_name: str) -> None:
        target = self._at(f"{subfolder}/{new_name}")
        with self._asking(name):
            folder, taken = self._client.attributes_of_all([self._at(subfolder), target])
            if folder is None:
                self._client.make_folder(self._at(subfolder))
            if taken is not None:
                raise NameTaken
            self._client.rename(self._at(name), target)

    def subfolder(self, name: str) -> SftpFolder | None:
        folder = SftpFolder(self.store, self._at(name))
        return folder if folder.exists() else None

    def _at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}" if name else self.path

    # A delivery, as questions and their answers

    def _put_behind(self, name: str, content: bytes, temporary: str) -> Conversation[None]:
        """Write a file under its temporary path, and give the complete file its name, which must be free."""
        target = self._at(name)
        with _Asking(self, temporary):
            opened, taken = yield [create(temporary), look_at(target)]
            if taken != Status.NO_SUCH_FILE:
                if not isinstance(opened, int):
                    yield [close(handle_in(opened))]
                    yield [remove(temporary)]
                raise self._not_free(taken, target)
            handle = yield from self._opened(opened, temporary, size=len(content))
            answers = yield from self._write(handle, content, [look_at(temporary), look_at(target)])
            yield from self._refuse_unless_good(answers[:-2], temporary, size=len(content))
            written, taken = answers[-2:]
            if not (_has_size(written, len(content)) and taken == Status.NO_SUCH_FILE):
                # Some servers work on several requests at once, and may have looked before the file was closed.
                written, taken = yield [look_at(temporary), look_at(target)]
            yield from self._refuse_unless_complete(written, temporary, size=len(content))
            if taken != Status.NO_SUCH_FILE:  # some servers overwrite on rename: do not let it come to that
                yield [remove(temporary)]
                raise self._not_free(taken, target)
            try:
                yield MY_TURN
            except Withdrawn:
                yield [remove(temporary)]
                raise
        # Cut from here on, nobody knows whether it happened.
        with _Asking(self, target, if_cut=OutcomeUnknown):
            (renamed,) = yield [rename(temporary, target)]
            if isinstance(renamed, int):
                yield from self._explain_refusal(renamed, temporary, target)

    def _put_directly(self, name: str, content: bytes) -> Conversation[None]:
        """Write a file under its name, which must be free."""
        target = self._at(name)
        with _Asking(self, target):
            yield MY_TURN
        # Cut half-way, the beginning lies under the final name; taken at once is what the file is for.
        with _Asking(self, target, if_cut=OutcomeUnknown):
            (opened,) = yield [create(target)]
            if isinstance(opened, int):
                if opened == Status.FAILURE:
                    (there,) = yield [look_at(target)]
                    if there != Status.NO_SUCH_FILE:
                        raise NameTaken
                raise self.failure(opened, target, writing=len(content))
            answers = yield from self._write(handle_in(opened), content, [look_at(target)])
            yield from self._refuse_unless_good(answers[:-1], target, size=len(content))
            written = answers[-1]
            if not _has_size(written, len(content)):
                (written,) = yield [look_at(target)]
            if written != Status.NO_SUCH_FILE:
                yield from self._refuse_unless_complete(written, target, size=len(content))

    def _opened(self, answer: Answer, path: str, *, size: int) -> Conversation[bytes]:
        """Return the handle of a new file, made in the place of whatever an earlier attempt left under its name."""
        if isinstance(answer, int):
            (removed,) = yield [remove(path)]
            if isinstance(removed, int):  # it was not there: that is not why
                raise self.failure(answer, path, writing=size)
            (answer,) = yield [create(path)]
        return handle_in(answer)

    def _write(self, handle: bytes, content: bytes, then: list[Question]) -> Conversation[list[Answer]]:
        """Write and close a new file, and ask what else there is to ask; return the answers, up to the first bad ones.

        As many answers as `then` has questions come last; they are refusals where it did not come to that.
        """
        writes = self._client.writes(handle, content)
        while len(writes) > MAX_AT_ONCE:
            answers: list[Answer] = yield writes[:MAX_AT_ONCE]
            if any(isinstance(answer, int) for answer in answers):
                yield [close(handle)]
                return answers + [Status.FAILURE] * len(then)
            del writes[:MAX_AT_ONCE]
        last: list[Answer] = yield [*writes, close(handle), *then]
        return last

    def _refuse_unless_good(self, answers: list[Answer], path: str, *, size: int) -> Conversation[None]:
        for answer in answers:
            if isinstance(answer, int):
                failure = self.failure(answer, path, writing=size)
                yield [remove(path)]
                raise failure

    def _refuse_unless_complete(self, written: Answer, path: str, *, size: int) -> Conversation[None]:
        if written == Status.NO_SUCH_FILE:
            # A quota may have removed it; or somebody takes even temporary files, and it is on its way into the ERP.
            raise OutcomeUnknown(Code.FILE_VANISHED, path=path)
        if not _has_size(written, size):
            yield [remove(path)]
            good(written)
            raise TemporaryError(Code.NO_SPACE, path=path)

    def _explain_refusal(self, status: int, temporary: str, target: str) -> Conversation[None]:
        """Say why a rename was refused."""
        there, left = map(found, (yield [look_at(target), look_at(temporary)]))
        if there is None and left is None:
            # Either the temporary file had gone before, or it was renamed and taken all the same.
            raise OutcomeUnknown(Code.FILE_VANISHED, path=temporary)
        if there is not None:
            yield [remove(temporary)]
            raise NameTaken
        with _Asking(self, temporary):  # cut here there is no doubt, although neither name may be left
            yield [remove(temporary)]
        raise self.failure(status, target)

    def _not_free(self, answer: Answer, path: str) -> Exception:
        return self.failure(answer, path) if isinstance(answer, int) else NameTaken()

    def failure(self, status: int, path: str, *, writing: int = 0) -> TemporaryError:
        """Say what a status means; version 3 of SFTP has none for a full disk, so ask how much is free."""
        if status == Status.FAILURE and writing:
            with suppress(StatusError):
                free = self._client.free_bytes(self.path)
                if free is not None and free < writing:
                    return TemporaryError(Code.NO_SPACE, path=path)
        if status == Status.NO_SUCH_FILE and writing:
            path = path.rpartition("/")[0]
        code = _CODES.get(status, Code.REMOTE_ERROR)
        return TemporaryError(code, path=path, during=f" for {path} (SFTP status {status})")

    def _asking(self, name: str) -> _Asking:
        return _Asking(self, self._at(name))


class _Asking(translated):
    """Asks the server about a path; also what it refuses is told in our words."""

    __slots__ = ("_folder", "_path")

    def __init__(self, folder: SftpFolder, path: str, *, if_cut: type[ConnectorError] = TemporaryError) -> None:
        super().__init__(folder.store.target, f" for {path}", error_class=if_cut)
        self._folder, self._path = folder, path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        with translated(self._folder.store.target, self._during, error_class=self._error_class):
            if isinstance(error, StatusError):
                raise self._folder.failure(error.status, self._path) from None
        super().__exit__(kind, error, trace)


def _has_size(answer: Answer, size: int) -> bool:
    return not isinstance(answer, int) and size_in(answer) == size
