"""The far ends of the matrix, each with one fault that ends when it is healed.

partner       what it is                                        its faults
asyncssh      a server that misbehaves at one step              cut, stall, lost reply, refusal at each step
openssh       the real server, behind a line that breaks        cut, stall, lost reply at a byte; disk, permission
filesystem    a folder of this machine                          disk, missing
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from connectors.tests.faults.invariants import Arrived
from connectors.tests.peers.faulty_sftp import Faults, FaultySftp
from connectors.tests.peers.openssh import OpenSSH, SmallDisk
from connectors.tests.peers.proxy import CuttingProxy

TIMEOUT_S = 1


class Partner(ABC):
    """One far end; a context manager."""

    heals_itself = True
    """Whether the fault ends after some time."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Open it, fault and all."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Close it."""

    @abstractmethod
    def config(self) -> dict[str, object]:
        """Return the dropzone configuration that leads here."""

    @abstractmethod
    def heal(self) -> None:
        """End the fault."""

    @abstractmethod
    def arrived(self) -> list[Arrived]:
        """Return every file that carries a final name."""


@dataclass
class Asyncssh(Partner):
    """A server whose faults strike at a step of the protocol; `faults.take_on` makes it a partner that consumes."""

    folder: Path
    faults: Faults

    def __enter__(self) -> Self:
        self.server = FaultySftp(self.folder, self.faults).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def config(self) -> dict[str, object]:
        return self.server.config(timeout_s=TIMEOUT_S, ack_path=None)

    def heal(self) -> None:
        self.faults.times = 0

    def arrived(self) -> list[Arrived]:
        published = self._published()
        lying = _listed(self.folder / "inbox", self.folder / "taken")
        since = self._published().keys() - published.keys()  # while we looked, perhaps only some of them were seen
        return [
            replace(file, published_at=published.get(file.name, file.published_at))
            for file in lying
            if file.name not in since
        ]

    def _published(self) -> dict[str, float]:
        return {step.file: step.at for step in tuple(self.server.log) if step.name == "rename" and step.done}


@dataclass
class Folder(Partner):
    """A folder of this machine that can be gone for a while, or full."""

    folder: Path
    full: bool = False
    missing: bool = False

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self._disk = SmallDisk(self.folder / "out")
        self.heals_itself = not (self.full or self.missing)
        self._is_mounted = self.full and self._disk.__enter__()
        (self.folder / "out").mkdir(exist_ok=True)
        if self._is_mounted:
            fill(self.folder / "out")
        if self.missing:
            (self.folder / "out").rename(self.folder / "away")
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_mounted:
            self._disk.__exit__()

    def config(self) -> dict[str, object]:
        return {"mode": "filesystem", "export_path": str(self.folder / "out"), "timeout_s": TIMEOUT_S}

    def heal(self) -> None:
        with suppress(FileNotFoundError):
            (self.folder / "away").rename(self.folder / "out")
        make_room(self.folder / "out")

    def arrived(self) -> list[Arrived]:
        return _as_of_one_moment(self.folder / "out")


@dataclass
class BehindALine(Partner):
    """A folder of a real OpenSSH server that all share, behind a line of its own that breaks."""

    server: OpenSSH
    name: str
    after: int | None = None
    """Bytes from us that go through first; None is a line that holds."""
    answers_after: int | None = None
    """Bytes to us that go through first: the last answer is lost."""
    how: str = "reset"
    times: int = 1
    full: bool = False
    forbidden: bool = False
    folder: Path = field(init=False)

    def __enter__(self) -> Self:
        self.folder = self.server.home / self.name
        self._disk = SmallDisk(self.folder)
        self.heals_itself = not (self.full or self.forbidden)
        self._is_mounted = self.full and self._disk.__enter__()
        self.folder.mkdir(exist_ok=True)
        if self._is_mounted:
            fill(self.folder)
        self._allow(not self.forbidden)
        self._line = CuttingProxy(
            self.server.port, after=self.after, answers_after=self.answers_after, how=self.how, times=self.times
        ).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.__exit__()
        if self._is_mounted:
            self._disk.__exit__()

    def config(self) -> dict[str, object]:
        return self.server.config(port=self._line.port, export_path=self.name, ack_path=None, timeout_s=TIMEOUT_S)

    def heal(self) -> None:
        self._line.hold()
        self._allow(True)
        make_room(self.folder)

    def arrived(self) -> list[Arrived]:
        return _as_of_one_moment(self.folder)

    def _allow(self, yes: bool) -> None:
        if os.getuid() == 0:
            user = self.server.uid if yes else 0
            os.chown(self.folder, user, user)
        self.folder.chmod(0o755 if yes else 0o555)


def fill(disk: Path) -> None:
    """Leave no room on a small disk."""
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def make_room(disk: Path) -> None:
    """Remove the ballast."""
    (disk / "ballast").unlink(missing_ok=True)


def _as_of_one_moment(folder: Path) -> list[Arrived]:
    """List what carries a final name.

    A folder that is listed while files come in may show a later one and not an earlier one: so it is listed twice, and
    what is later than all of the first time is left out.
    """
    latest = max((file.published_at for file in _listed(folder)), default=0.0)
    return [file for file in _listed(folder) if file.published_at <= latest]


def _listed(*folders: Path) -> list[Arrived]:
    """List the files, each once, though it be moved from one folder to the next meanwhile."""
    found: dict[int, Arrived] = {}
    for folder in folders:
        for path in folder.rglob("*.json"):
            with suppress(FileNotFoundError):
                content, state = path.read_bytes(), path.stat()
                found[state.st_ino] = Arrived(
                    name=path.name,
                    sha256=hashlib.sha256(content).hexdigest(),
                    size=len(content),
                    published_at=state.st_ctime_ns / 1e9,
                )
    return list(found.values())
