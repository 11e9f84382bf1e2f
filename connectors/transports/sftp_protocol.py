"""The SFTP protocol, version 3, as far as a file drop needs it (draft-ietf-secsh-filexfer-02).

Small enough to be sure of: every answer is matched with its request and every status is looked at. paramiko's client
drops errors on close, and loses data in silence where writes are pipelined onto a full disk.

A distant server is waited for as rarely as possible: requests that do not need each other's answers go out together.
"""

from __future__ import annotations

import math
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import paramiko

MAX_CHUNK: Final = 32 * 1024
"""What every server takes in one write and gives in one read."""

MAX_AT_ONCE: Final = 16
"""How many writes may be under way: half a megabyte."""

_MAX_PACKET: Final = 1024 * 1024
_VERSION: Final = 3
_INIT, _VERSION_REPLY = 1, 2
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED_REPLY = 101, 102, 103, 104, 105, 201

_READ, _WRITE, _CREATE, _EXCLUSIVE = 0x01, 0x02, 0x08, 0x20


class Request(IntEnum):
    """The requests we make."""

    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    STAT = 17
    RENAME = 18
    EXTENDED = 200


class Status(IntEnum):
    """How a server says that a request failed."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4  #: everything without a code of its own: disk full, name taken, not a folder
    UNSUPPORTED = 8


class StatusError(Exception):
    """The server answered with a status other than OK."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


class ProtocolError(EOFError):
    """The server does not speak SFTP; the connection is as good as gone."""


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What a server says of a file."""

    size: int | None
    mode: int | None
    modified: int | None

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder."""
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file; true where the server does not say."""
        return self.mode is None or stat.S_ISREG(self.mode)


class SftpClient:
    """One SFTP session on an SSH connection. Not to be shared between threads.

    Every method raises StatusError when the server refuses, TimeoutError when it is silent for too long, and OSError,
    EOFError or SSHException when the connection breaks.
    """

    def __init__(self, transport: paramiko.Transport, *, timeout_s: float) -> None:
        """Start the SFTP subsystem.

        Args:
            transport: an authenticated connection.
            timeout_s: seconds to wait for each answer.
        """
        self.deadline = math.inf
        """The moment of `time.monotonic()` after which no answer is waited for."""
        self._timeout_s = timeout_s
        self._last_id = 0
        self._channel = transport.open_session(timeout=timeout_s)
        self._channel.settimeout(timeout_s)
        self._channel.invoke_subsystem("sftp")
        self._send(bytes([_INIT]) + _u32(_VERSION))
        kind, reply = self._receive()
        if kind != _VERSION_REPLY or reply.u32() < _VERSION:
            raise ProtocolError
        self._extensions = set()
        while reply.left:
            self._extensions.add(reply.string())
            reply.string()  # the extension's own version

    def attributes(self, path: str, *, follow_links: bool = False) -> Attributes | None:
        """Return what the server says of a path; None when there is nothing."""
        request = Request.STAT if follow_links else Request.LSTAT
        (answer,) = self._ask_all(_Question(request, _ATTRS, _text(path)))
        return _found(answer)

    def attributes_of_both(self, path: str, other: str) -> tuple[Attributes | None, Attributes | None]:
        """Return what the server says of two paths, asked for together; None where there is nothing."""
        answers = self._ask_all(*(_Question(Request.LSTAT, _ATTRS, _text(name)) for name in (path, other)))
        return _found(answers[0]), _found(answers[1])

    def create(self, path: str) -> bytes:
        """Create a file that does not exist yet, and return its handle."""
        return self._ask(Request.OPEN, _HANDLE, _text(path), _u32(_WRITE | _CREATE | _EXCLUSIVE), _u32(0)).string()

    def write_and_close(self, handle: bytes, content: bytes) -> None:
        """Write all of `content`, to the disk where the server can, and close the file when all is confirmed."""
        questions = [
            _Question(
                Request.WRITE, _STATUS, _string(handle), _u64(offset), _string(content[offset : offset + MAX_CHUNK])
            )
            for offset in range(0, len(content), MAX_CHUNK)
        ]
        if b"fsync@openssh.com" in self._extensions:
            questions.append(_Question(Request.EXTENDED, _STATUS, _text("fsync@openssh.com"), _string(handle)))
        try:
            for start in range(0, len(questions), MAX_AT_ONCE):
                for answer in self._ask_all(*questions[start : start + MAX_AT_ONCE]):
                    _good(answer)
        except StatusError:
            self._close(handle)
            raise
        self._close(handle)

    def read(self, path: str, *, limit: int) -> bytes:
        """Return up to `limit` bytes from the start of a file."""
        handle = self._ask(Request.OPEN, _HANDLE, _text(path), _u32(_READ), _u32(0)).string()
        content = b""
        try:
            while len(content) < limit:
                wanted = _u32(min(MAX_CHUNK, limit - len(content)))
                content += self._ask(Request.READ, _DATA, _string(handle), _u64(len(content)), wanted).string()
        except StatusError as error:
            if error.status != Status.EOF:
                self._close(handle)
                raise
        self._close(handle)
        return content[:limit]

    def rename(self, source: str, target: str) -> None:
        """Rename; in version 3 of the protocol that fails when the target exists."""
        self._ask(Request.RENAME, _STATUS, _text(source), _text(target))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._ask(Request.REMOVE, _STATUS, _text(path))

    def make_folder(self, path: str) -> None:
        """Create a folder."""
        self._ask(Request.MKDIR, _STATUS, _text(path), _u32(0))

    def list_folder(self, path: str, wanted: Callable[[str], bool], *, limit: int) -> list[tuple[str, Attributes]]:
        """Return up to `limit` names in a folder that are wanted, with their attributes."""
        found: list[tuple[str, Attributes]] = []
        handle = self._ask(Request.OPENDIR, _HANDLE, _text(path)).string()
        try:
            while len(found) < limit:
                reply = self._ask(Request.READDIR, _NAME, _string(handle))
                for _ in range(reply.u32()):
                    name = reply.string().decode("utf-8", "surrogateescape")
                    reply.string()  # the line of `ls -l`, for people
                    attributes = _attributes(reply)
                    if wanted(name):
                        found.append((name, attributes))
        except StatusError as error:
            if error.status != Status.EOF:
                raise
        self._close(handle)
        return found[:limit]

    def free_bytes(self, path: str) -> int | None:
        """Return how much may still be written there (statvfs@openssh.com); None where the server cannot tell."""
        if b"statvfs@openssh.com" not in self._extensions:
            return None
        reply = self._ask(Request.EXTENDED, _EXTENDED_REPLY, _text("statvfs@openssh.com"), _text(path))
        _, fragment_size, _, _, available = (reply.u64() for _ in range(5))
        return fragment_size * available

    def _close(self, handle: bytes) -> None:
        self._ask(Request.CLOSE, _STATUS, _string(handle))

    def _ask(self, request: Request, expected: int, *fields: bytes) -> _Reply:
        """Send one request and return the body of its answer."""
        (answer,) = self._ask_all(_Question(request, expected, *fields))
        return _good(answer)

    def _ask_all(self, *questions: _Question) -> list[_Answer]:
        """Send requests together and return their answers in the same order, refusals included."""
        first = self._last_id + 1
        self._last_id += len(questions)
        waiting = dict(enumerate(questions, first))
        self._send(*(question.packet(number) for number, question in waiting.items()))
        answers: dict[int, _Answer] = {}
        while waiting:  # they may come in any order
            kind, reply = self._receive()
            number = reply.u32()
            if (question := waiting.pop(number, None)) is None:
                raise ProtocolError
            answers[number] = question.answer(kind, reply)
        return [answers[number] for number in sorted(answers)]

    def _send(self, *packets: bytes) -> None:
        self._channel.settimeout(self._patience())
        self._channel.sendall(b"".join(_string(packet) for packet in packets))

    def _receive(self) -> tuple[int, _Reply]:
        until = time.monotonic() + self._patience()
        size = int.from_bytes(self._read_exactly(4, until), "big")
        if not 1 <= size <= _MAX_PACKET:
            raise ProtocolError
        packet = self._read_exactly(size, until)
        return packet[0], _Reply(packet[1:])

    def _read_exactly(self, size: int, until: float) -> bytes:
        parts, missing = [], size
        while missing:
            # Not 0, which would mean not to wait at all for what has already come.
            self._channel.settimeout(max(until - time.monotonic(), 0.001))
            part = self._channel.recv(missing)
            if not part:
                raise EOFError
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _patience(self) -> float:
        if (left := self.deadline - time.monotonic()) <= 0:
            raise TimeoutError
        return min(self._timeout_s, left)


class _Reply:
    """The body of an answer; reading past its end is a ProtocolError."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ProtocolError
        self._at += size
        return self._body[self._at - size : self._at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "big")

    def string(self) -> bytes:
        return self.take(self.u32())


_Answer = _Reply | int
"""The body of an answer, or the status with which the server refused."""


class _Question:
    """One request, and the kind of answer that fits it."""

    def __init__(self, request: Request, expected: int, *fields: bytes) -> None:
        self._request, self._expected, self._fields = request, expected, fields

    def packet(self, number: int) -> bytes:
        return bytes([self._request]) + _u32(number) + b"".join(self._fields)

    def answer(self, kind: int, reply: _Reply) -> _Answer:
        if kind == _STATUS and (status := reply.u32()) != Status.OK:
            return status
        if kind != self._expected:
            raise ProtocolError
        return reply


def _good(answer: _Answer) -> _Reply:
    if isinstance(answer, int):
        raise StatusError(answer)
    return answer


def _found(answer: _Answer) -> Attributes | None:
    return None if answer == Status.NO_SUCH_FILE else _attributes(_good(answer))


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _string(data: bytes) -> bytes:
    return _u32(len(data)) + data


def _text(text: str) -> bytes:
    return _string(text.encode("utf-8", "surrogateescape"))


def _attributes(reply: _Reply) -> Attributes:
    size = mode = modified = None
    flags = reply.u32()
    if flags & 0x01:
        size = reply.u64()
    if flags & 0x02:
        reply.take(8)  # owner and group
    if flags & 0x04:
        mode = reply.u32()
    if flags & 0x08:
        reply.u32()  # the time of the last access
        modified = reply.u32()
    if flags & 0x80000000:
        for _ in range(reply.u32()):
            reply.string(), reply.string()
    return Attributes(size=size, mode=mode, modified=modified)
