"""Where documents lie: a folder of this machine, or whatever else Django's storage API reaches.

A name is written once and its bytes never change, so writing it again is harmless. It also makes the object young
again, by which `retention` knows that somebody has just put it there.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final, Protocol, TypeVar
from uuid import uuid4

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages

STORAGE: Final = "documents"
"""The alias in STORAGES."""

_THREADS: Final = 8
_FEW: Final = 4

_libc: Final = ctypes.CDLL(None, use_errno=True)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Shelf(Protocol):
    """A place for bytes by name. What the storage raises comes through as it is."""

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Keep these bytes; when this returns they survive a loss of power."""

    def read(self, names: Iterable[str]) -> list[bytes | None]:
        """Return what lies under each name; None where nothing does."""

    def names(self, folder: str) -> Iterator[str]:
        """Yield the name of every object below `folder`, also of what an interrupted write left."""

    def written_at(self, name: str) -> datetime | None:
        """Return when the object was last written; None when it is gone."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove these objects, as far as they are there."""


def shelf() -> Shelf:
    """Return the place that DOCUMENT_STORAGE names."""
    storage = storages[STORAGE]
    return _Folder(storage) if isinstance(storage, FileSystemStorage) else _Remote(storage)


class _Remote:
    """Any storage of Django's: several objects at once, because each is a journey."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def write(self, contents: Mapping[str, bytes]) -> None:
        _for_each(lambda item: self._storage.save(item[0], ContentFile(item[1])), contents.items())

    def read(self, names: Iterable[str]) -> list[bytes | None]:
        return _for_each(self._read, names)

    def _read(self, name: str) -> bytes | None:
        try:
            with self._storage.open(name, "rb") as file:
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> Iterator[str]:
        with suppress(FileNotFoundError):
            folders, files = self._storage.listdir(folder)
            yield from (str(PurePosixPath(folder, file)) for file in files)
            for each in folders:
                yield from self.names(str(PurePosixPath(folder, each)))

    def written_at(self, name: str) -> datetime | None:
        try:
            return self._storage.get_modified_time(name) if self._storage.exists(name) else None
        except FileNotFoundError:
            return None

    def delete(self, names: Iterable[str]) -> None:
        _for_each(self._storage.delete, names)


class _Folder(_Remote):
    """Local files. A document gets its name when it is whole: a torso only ever has a temporary one."""

    def __init__(self, storage: FileSystemStorage) -> None:
        super().__init__(storage)
        self._files = storage

    def write(self, contents: Mapping[str, bytes]) -> None:
        torsos: dict[Path, Path] = {}
        try:
            for name, content in contents.items():
                path = Path(self._files.path(name))
                torsos[path] = self._write_torso(path, content)
            self._sync(torsos.values())
            for path, torso in torsos.items():
                torso.replace(path)
            self._sync({path.parent for path in torsos})
        except BaseException:
            for torso in torsos.values():
                with suppress(OSError):
                    torso.unlink(missing_ok=True)
            raise

    def _write_torso(self, path: Path, content: bytes) -> Path:
        torso = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
        try:
            handle = self._open_new(torso)
        except FileNotFoundError:
            self._make(path.parent)
            handle = self._open_new(torso)
        try:
            with open(handle, "wb", buffering=0) as file:  # noqa: PTH123  # a handle, no path
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
        except BaseException:
            torso.unlink(missing_ok=True)
            raise
        return torso

    def _sync(self, paths: Collection[Path]) -> None:
        """Wait until these are on the disk; from a few on, the whole file system costs less than each on its own."""
        if len(paths) > _FEW:
            _sync(Path(self._files.location), _syncfs)
        else:
            for path in paths:
                _sync(path, os.fsync)

    def _open_new(self, path: Path) -> int:
        mode = self._files.file_permissions_mode
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if mode is None else mode)

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, so that they survive as well."""
        mode = self._files.directory_permissions_mode
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o777 if mode is None else mode, exist_ok=True)
            _sync(each.parent, os.fsync)

    def read(self, names: Iterable[str]) -> list[bytes | None]:
        return [self._read(name) for name in names]

    def _read(self, name: str) -> bytes | None:
        path = Path(self._files.path(name))
        try:
            return path.read_bytes()
        except FileNotFoundError:
            # One document can be lost; a whole organisation's are rather not mounted.
            if not path.parent.parent.exists():
                raise
            return None


def _sync(path: Path, sync: Callable[[int], object]) -> None:
    """Wait until a file, the entries of a folder, or all of a file system are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)


def _syncfs(handle: int) -> None:
    """Call syncfs(2), which Python has not."""
    if _libc.syncfs(handle) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")


def _for_each(act: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return what `act` makes of each item; several at a time, because each only waits."""
    items = list(items)
    return [act(item) for item in items] if len(items) < 2 else list(_threads().map(act, items))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="documents")
