"""Folders of this machine, confined below one root folder.

A path is resolved once, symbolic links included, and then opened step by step from the root without following any
link. Whoever swaps a folder for a link in between is refused, not followed.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from connectors.codes import Code
from connectors.exceptions import OutcomeUnknown, TemporaryError
from connectors.port import Delivery
from connectors.transports.conversation import MY_TURN, Conversation, Outgoing, Source, T, Underway, Withdrawn
from connectors.transports.drop import Entry, FileStore, Folder, NameTaken, Place

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe somebody put there must not hold us up.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_CODES: Final[dict[int, Code]] = {
    errno.ENOENT: Code.PATH_NOT_FOUND,
    errno.ENOTDIR: Code.PATH_NOT_FOUND,
    errno.EACCES: Code.PERMISSION_DENIED,
    errno.EPERM: Code.PERMISSION_DENIED,
    errno.EROFS: Code.PERMISSION_DENIED,
    errno.ELOOP: Code.PERMISSION_DENIED,  # a symbolic link where none may be
    errno.ENOSPC: Code.NO_SPACE,
    errno.EDQUOT: Code.NO_SPACE,
    errno.EFBIG: Code.NO_SPACE,
}

_MAX_GROUP: Final = 50
"""How many files share one fsync of their folder."""

_ANOTHER_DELIVERY: Final = ": another delivery of this file is running"
_NO_HARD_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)  # FAT and some network file systems
_RENAME_NOREPLACE: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


class FilesystemStore(FileStore):
    """The folders below one root; a context manager that closes what it opened."""

    transport: ClassVar[str] = "filesystem"

    def __init__(self, root: Path | None) -> None:
        """Confine everything below `root`; None forbids every folder."""
        self._root = root
        self._folders: dict[str, FilesystemFolder] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def finish_within(self, seconds: float) -> None:
        """Do nothing: the operating system knows no time limit for local files."""

    def run(self, conversation: Conversation[T]) -> T:
        try:
            wants = next(conversation)
            while True:
                trouble = None if wants is MY_TURN else _sync(wants)
                wants = conversation.throw(trouble) if trouble else conversation.send(None)
        except StopIteration as end:
            result: T = end.value
            return result

    def deliver(self, deliveries: Iterable[Outgoing], *, window: int) -> Iterator[Delivery]:
        source = Source(deliveries)
        while not source.is_dry:
            group = list(_begun(source, min(window, _MAX_GROUP)))
            _make_durable(source, group)
            _publish(source, group)
            _make_durable(source, group)
            for each in group:
                assert each.delivery is not None
                yield each.delivery
        source.raise_trouble()

    def folder(self, path: str) -> FilesystemFolder:
        """Return a folder below the root; a relative path starts there.

        Raises:
            TemporaryError: PATH_NOT_FOUND, or PERMISSION_DENIED also for whatever lies outside the root.
        """
        if path not in self._folders:
            with _translated(path):
                descriptor = self._open(path)
            self._opened.callback(os.close, descriptor)
            self._folders[path] = FilesystemFolder(self, path, descriptor)
        return self._folders[path]

    def _open(self, path: str) -> int:
        if self._root is None:
            raise TemporaryError(Code.PERMISSION_DENIED, path=path)
        root = self._root.resolve(strict=True)
        target = (root / path).resolve()
        if not target.is_relative_to(root):
            raise TemporaryError(Code.PERMISSION_DENIED, path=path)
        descriptor = os.open(root, _FOLDER)
        for part in target.relative_to(root).parts:
            try:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


class FilesystemFolder(Folder):
    """One open folder; everything happens relative to its descriptor."""

    store: FilesystemStore

    def __init__(self, store: FilesystemStore, path: str, descriptor: int) -> None:
        self.store = store
        self.path = path
        self._fd = descriptor

    def location(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def entry(self, name: str) -> Entry | None:
        with _translated(self.location(name)), suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                return Entry(name=name, size=found.st_size, modified=found.st_mtime)
            raise TemporaryError(Code.PERMISSION_DENIED, path=self.location(name))
        return None

    def exists_in(self, subfolders: Sequence[str], name: str) -> list[bool]:
        folders = (self.subfolder(subfolder) if subfolder else self for subfolder in subfolders)
        return [folder is not None and folder._holds(name) for folder in folders]

    def entries(self, wanted: Callable[[str], bool], *, limit: int, at_most: float = math.inf) -> list[Entry]:
        found: list[Entry] = []
        with _translated(self.path), os.scandir(self._fd) as scan:
            for seen, item in enumerate(scan):
                if len(found) == limit or seen >= at_most:
                    break
                with suppress(FileNotFoundError):  # gone since it was listed
                    if wanted(item.name) and item.is_file(follow_symlinks=False):
                        state = item.stat(follow_symlinks=False)
                        found.append(Entry(name=item.name, size=state.st_size, modified=state.st_mtime))
        return sorted(found, key=lambda entry: entry.name)

    def read(self, name: str, *, limit: int) -> bytes:
        with _translated(self.location(name)):
            descriptor = os.open(name, _READ, dir_fd=self._fd)
            with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, not a path
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise TemporaryError(Code.PERMISSION_DENIED, path=self.location(name))
                return file.read(limit)

    def put(self, name: str, content: bytes, *, temporary: Place | None) -> Conversation[None]:
        with _translated(self.location(name)):
            if self._holds(name):
                raise NameTaken
            if temporary is None:
                yield MY_TURN
                self._put_at_once(name, content)
            else:
                assert isinstance(temporary.folder, FilesystemFolder)
                yield from self._put_behind(name, content, temporary.folder, temporary.name)
        try:
            yield self._fd
        except OSError:
            raise OutcomeUnknown from None

    def remove(self, name: str) -> bool:
        with _translated(self.location(name)):
            try:
                os.unlink(name, dir_fd=self._fd)
            except FileNotFoundError:
                return False
        return True

    def move(self, name: str, subfolder: str, new_name: str) -> None:
        with _translated(self.location(name)):
            with suppress(FileExistsError):
                os.mkdir(subfolder, dir_fd=self._fd)
            target = self.store.folder(self.location(subfolder))
            _rename_without_replacing(self._fd, name, target._fd, new_name)

    def subfolder(self, name: str) -> FilesystemFolder | None:
        try:
            return self.store.folder(self.location(name))
        except TemporaryError as error:
            if error.code is Code.PATH_NOT_FOUND:
                return None
            raise

    def _holds(self, name: str) -> bool:
        with _translated(self.location(name)), suppress(FileNotFoundError):
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            return True
        return False

    def _put_at_once(self, name: str, content: bytes) -> None:
        file = self._create(name)
        try:
            self.store.run(self._fill(file, name, content))
        finally:
            os.close(file)

    def _put_behind(self, name: str, content: bytes, folder: FilesystemFolder, temp_name: str) -> Conversation[None]:
        """Write a file under a temporary name, and give the complete file its own."""
        file = folder._create_anew(temp_name)
        try:
            yield from folder._fill(file, temp_name, content)
            try:
                yield MY_TURN
            except Withdrawn:
                folder._discard(temp_name)
                raise
            folder._check_is(file, temp_name)
            # The link is made from the file we hold open, so that it is our complete file even if another delivery
            # puts a file of its own under the temporary name meanwhile.
            try:
                _link_without_replacing(file, folder._fd, temp_name, self._fd, name)
            finally:
                folder._discard(temp_name)
        finally:
            os.close(file)

    def _create(self, name: str) -> int:
        return os.open(name, _NEW_FILE, 0o666, dir_fd=self._fd)

    def _create_anew(self, name: str) -> int:
        """Create a file in the place of what an earlier attempt may have left."""
        with suppress(FileExistsError):
            return self._create(name)
        self.remove(name)
        try:
            return self._create(name)
        except FileExistsError:
            raise TemporaryError(Code.REMOTE_ERROR, during=_ANOTHER_DELIVERY) from None

    def _fill(self, file: int, name: str, content: bytes) -> Conversation[None]:
        """Write a new file to the disk and check its size; remove it when that fails."""
        try:
            remaining = memoryview(content)
            while remaining:
                remaining = remaining[os.write(file, remaining) :]
            # The disk begins at once, so that the files of a group are written while the next ones are being made.
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            yield file
            if os.fstat(file).st_size != len(content):
                raise TemporaryError(Code.NO_SPACE, path=self.location(name))
        except Exception:
            self._discard(name)
            raise

    def _check_is(self, file: int, name: str) -> None:
        """Refuse to go on when another delivery of the same document took the file for a leftover."""
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(name, dir_fd=self._fd, follow_symlinks=False)):
                return
        raise TemporaryError(Code.REMOTE_ERROR, during=_ANOTHER_DELIVERY)

    def _discard(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._fd)


def _begun(source: Source, size: int) -> Iterator[Underway]:
    """Write the files of a group, none of which has its name yet."""
    for _ in range(size):
        if (begun := source.take()) is None:
            return
        begun.go_on()
        if begun.stops_the_line:
            source.close()
        yield begun


def _publish(source: Source, group: list[Underway]) -> None:
    """Give them their names in their sequence, up to the first that fails."""
    failed = False
    for each in group:
        if failed:
            each.withdraw()
        while each.waits_for_its_turn:
            each.go_on()
        if each.stops_the_line:
            failed = True
            source.close()


def _make_durable(source: Source, group: list[Underway]) -> None:
    """Write to the disk what they ask for: first their files, at the end which names their folder holds."""
    waiting = [each for each in group if each.delivery is None and not each.waits_for_its_turn]
    troubles = {descriptor: _sync(descriptor) for descriptor in {each.wants for each in waiting}}
    for each in waiting:
        trouble = troubles[each.wants]
        each.fail(trouble) if trouble else each.go_on()
        if each.stops_the_line:
            source.close()


def _sync(descriptor: int) -> OSError | None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return error
    return None


def _link_without_replacing(file: int, source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Give the open file a second name, or raise FileExistsError."""
    try:
        os.link(f"/proc/self/fd/{file}", target, dst_dir_fd=target_fd, follow_symlinks=True)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _rename_without_replacing(source_fd, source, target_fd, target)


def _rename_without_replacing(source_fd: int, source: str, target_fd: int, target: str) -> None:
    """Rename atomically, or raise FileExistsError (renameat2(2), RENAME_NOREPLACE)."""
    if _libc.renameat2(source_fd, os.fsencode(source), target_fd, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    # NFS cannot do it, but has hard links.
    os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    os.unlink(source, dir_fd=source_fd)


class _translated:  # noqa: N801  # used as a function, and as cheap as can be: several times for every file
    """Turn what the operating system raises into our errors."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, FileExistsError):
            raise NameTaken from None
        if isinstance(error, OSError):
            code = _CODES.get(error.errno or 0, Code.REMOTE_ERROR)
            raise TemporaryError(code, path=self._path, during=f" for {self._path}") from None
        if isinstance(error, ValueError | RuntimeError):  # a NUL in the path, or links that go round in circles
            raise TemporaryError(Code.PATH_NOT_FOUND, path=self._path) from None
