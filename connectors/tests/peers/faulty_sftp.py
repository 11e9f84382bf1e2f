"""An SFTP server that misbehaves at one exact step of the protocol, which no real one does on request."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import asyncssh

USERNAME, PASSWORD = "quirk", "quirk-pw"

CHANGES = frozenset(
    ("open", "write", "remove", "rename", "posix_rename", "mkdir", "rmdir", "setstat", "lsetstat", "fsetstat",
     "symlink", "link")
)  # fmt: skip
"""The steps that change something, as they are counted; open is counted for reading too."""


Refusal = Literal["failure", "busy", "permission", "no_space"]
_REFUSALS: dict[str, asyncssh.SFTPError] = {
    "failure": asyncssh.SFTPFailure("scripted"),
    "busy": asyncssh.SFTPFailure("Device or resource busy"),
    "permission": asyncssh.SFTPPermissionDenied("Permission denied"),
    "no_space": asyncssh.SFTPFailure("No space left on device"),
}


@dataclass(kw_only=True)
class Faults:
    """What goes wrong; steps are open, write, fsync, close, stat, rename and remove."""

    cut_before: str = ""
    cut_after: str = ""
    """The step has taken effect, its answer is lost."""
    stall_before: str = ""
    """From this step on nothing is done and nothing is answered, while the link stays up."""
    stall_after: str = ""
    """The step has taken effect, and from then on nothing is answered."""
    fail: str = ""
    fail_after: str = ""
    """The step has taken effect, and is answered with a failure."""
    refusal: Refusal = "failure"
    """With what `fail` is answered; where there is no space, the server also says that none is free."""
    lose_writes_over: int | None = None
    """Bytes beyond this are answered with success and dropped."""
    full_after: int | None = None
    """Bytes beyond this are answered with a failure."""
    take_on: str = ""
    """The partner takes the file away at the end of this step: close or rename."""
    taken_into: str = "taken"
    """The folder where it then lies; what is taken again lies in another below."""
    overwriting_rename: bool = False
    refused_suffix: str = ""
    """Nothing may be created whose name ends so."""
    times: int = 1_000_000
    skip: int = 0
    """So many of those steps go well first."""

    def strike(self, step: str, *, before: bool) -> str:
        """Return which fault this step meets before or after it took effect, if any, and count it."""
        fault = next((name for name in (_BEFORE if before else _AFTER) if getattr(self, name) == step), "")
        if not fault or self.times <= 0:
            return ""
        if self.skip > 0:
            self.skip -= 1
            return ""
        self.times -= 1
        return fault


_BEFORE = ("cut_before", "stall_before", "fail")
_AFTER = ("cut_after", "stall_after", "fail_after")


@dataclass
class Step:
    """One request that changes or asks for something, as the server met it."""

    at: float
    """Seconds since 1970."""
    session: int
    name: str
    file: str
    """The name of the file; after a rename the new one."""
    done: bool = False
    """Whether it took effect, whatever the client was told."""


@dataclass
class FaultySftp:
    """A server in a thread of its own; a context manager."""

    root: Path
    faults: Faults = field(default_factory=Faults)
    steps: Counter[str] = field(default_factory=Counter)
    log: list[Step] = field(default_factory=list)
    """Every step in the sequence of their arrival."""
    port: int = 0
    host_key: str = ""

    def __enter__(self) -> Self:
        for name in ("inbox", "ack", "taken"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._files: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._in_loop(self._listen()).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop(self._close()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def config(self, **changes: object) -> dict[str, object]:
        """Return a dropzone configuration for this server."""
        return {
            "mode": "sftp",
            "host": "127.0.0.1",
            "port": self.port,
            "username": USERNAME,
            "password": PASSWORD,
            "host_key": self.host_key,
            "export_path": "/inbox",
            "ack_path": "/ack",
            "timeout_s": 5,
        } | changes

    def done(self, step: str) -> list[str]:
        """Return the files of the steps of this name that took effect, in their sequence."""
        return [entry.file for entry in tuple(self.log) if entry.name == step and entry.done]

    def _in_loop(self, coroutine: Any) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _listen(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = key.export_public_key().decode().strip()
        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Login(self._connections),
            server_host_keys=[key],
            sftp_factory=lambda channel: _Sftp(channel, self),
        )
        self.port = self._server.get_port()

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        for connection in self._connections:
            connection.abort()
            await connection.wait_closed()
        stalled = asyncio.all_tasks() - {asyncio.current_task()}
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        for file in self._files:
            file.close()


@dataclass
class _Login(asyncssh.SSHServer):
    connections: list[asyncssh.SSHServerConnection]

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connections.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USERNAME, PASSWORD)


class _Sftp(asyncssh.SFTPServer):
    def __init__(self, channel: Any, server: FaultySftp) -> None:
        super().__init__(channel, chroot=os.fsencode(server.root))
        self._channel, self._server = channel, server
        self._is_cut = self._is_stalled = False

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        def open_file() -> Any:
            refused = self._server.faults.refused_suffix
            if refused and path.endswith(refused.encode()):
                raise _REFUSALS["permission"]
            file = super(_Sftp, self).open(path, pflags, attrs)
            self._server._files.append(file)
            return file

        return self._step("open", path, open_file)

    def write(self, file_obj: Any, offset: int, data: bytes) -> Any:
        faults = self._server.faults
        if faults.full_after is not None and offset + len(data) > faults.full_after:
            super().write(file_obj, offset, data[: max(0, faults.full_after - offset)])
            raise _REFUSALS["no_space"]
        if faults.lose_writes_over is not None:
            data = data[: max(0, faults.lose_writes_over - offset)]
        return self._step("write", file_obj.name, lambda: super(_Sftp, self).write(file_obj, offset, data))

    def fsync(self, file_obj: Any) -> Any:
        return self._step("fsync", file_obj.name, file_obj.flush)

    def close(self, file_obj: Any) -> Any:
        def close() -> None:
            super(_Sftp, self).close(file_obj)
            if self._server.faults.take_on == "close":
                self._take(Path(os.fsdecode(file_obj.name)))

        return self._step("close", file_obj.name, close)

    def lstat(self, path: bytes) -> Any:
        return self._step("stat", path, lambda: super(_Sftp, self).lstat(path))

    def statvfs(self, path: bytes) -> Any:
        found = list(super().statvfs(path))
        if self._server.faults.refusal == "no_space":
            found[3] = found[4] = 0  # free blocks, those for everybody included
        return os.statvfs_result(found)

    def remove(self, path: bytes) -> Any:
        return self._step("remove", path, lambda: super(_Sftp, self).remove(path))

    def rename(self, oldpath: bytes, newpath: bytes) -> Any:
        def rename() -> None:
            target = Path(os.fsdecode(self.map_path(newpath)))
            if target.exists() and not self._server.faults.overwriting_rename:
                raise asyncssh.SFTPFailure("File exists")
            Path(os.fsdecode(self.map_path(oldpath))).replace(target)
            if self._server.faults.take_on == "rename":
                self._take(target)

        return self._step("rename", newpath, rename)

    def _take(self, path: Path) -> None:
        folder = self._server.root / self._server.faults.taken_into
        while (folder / path.name).exists():
            folder /= "again"
        folder.mkdir(exist_ok=True)
        path.replace(folder / path.name)

    def _step(self, name: str, path: bytes, act: Callable[[], Any]) -> Any:
        """Do what was asked, or what the faults make of it; a future that never ends keeps the session waiting."""
        if self._is_cut or self._is_stalled:  # what was under way behind the fault
            return self._silence()
        step = Step(time.time(), id(self), name, os.fsdecode(path).rpartition("/")[2])
        self._server.steps[name] += 1
        self._server.log.append(step)
        faults = self._server.faults
        if fault := faults.strike(name, before=True):
            if fault == "fail":
                raise _REFUSALS[faults.refusal]
            return self._fall_silent(cut=fault == "cut_before")
        result = act()
        step.done = True
        if fault := faults.strike(name, before=False):
            if fault == "fail_after":
                raise _REFUSALS["failure"]
            return self._fall_silent(cut=fault == "cut_after")
        return result

    def _fall_silent(self, *, cut: bool) -> Any:
        self._is_cut, self._is_stalled = cut, not cut
        if cut:
            self._channel.get_connection()._transport.abort()
        return self._silence()

    def _silence(self) -> Any:
        return asyncio.get_running_loop().create_future()


def _counted(name: str) -> Callable[..., Any]:
    def method(self: _Sftp, *arguments: Any) -> Any:
        return self._step(name, arguments[0], lambda: getattr(super(_Sftp, self), name)(*arguments))

    return method


for _name in CHANGES - vars(_Sftp).keys():
    setattr(_Sftp, _name, _counted(_name))
