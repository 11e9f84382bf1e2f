"""The SFTP protocol, version 3, as far as a file drop needs it (draft-ietf-secsh-filexfer-02).

Small enough to be sure of: every answer is matched with its request and every status is looked at. paramiko's client
drops errors on close, and loses data in silence where writes are pipelined onto a full disk.

A distant server is waited for as rarely as possible: requests that do not need each other's answers go out together.
"""

from __future__ import annotations

import math
import stat
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from connectors.transports.ssh import SshTransport

MAX_CHUNK: Final = 32 * 1024
"""What every server takes in one write and gives in one read."""

MAX_AT_ONCE: Final = 16
"""How many writes may be under way: half a megabyte."""

_MUCH, _MANY = 16 * 1024, 16
"""How many bytes or questions are enough to be worth a packet of SSH."""
_MAX_LISTS: Final = 8
_MAX_PACKET: Final = 1024 * 1024
_VERSION: Final = 3
_OK: Final = 0
_INIT, _VERSION_REPLY = 1, 2
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED_REPLY = 101, 102, 103, 104, 105, 201

_PACKET: Final = struct.Struct(">IBI")
"""Size, kind and number: how every packet after the first begins."""

_SIZED: Final = struct.Struct(">IQ")
"""How attributes begin that have a size."""
_HAS_SIZE: Final = 0x01

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

    OK = _OK
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
    EOFError or SSHException when the connection breaks. They may be called while other rounds are under way.
    """

    def __init__(self, transport: SshTransport, *, timeout_s: float) -> None:
        """Start the SFTP subsystem.

        Args:
            transport: an authenticated connection.
            timeout_s: seconds to wait for each answer.
        """
        self.deadline = math.inf
        """The moment of `time.monotonic()` after which no answer is waited for."""
        self.answered: deque[Round] = deque()
        """The rounds with an owner whose answers have all come."""
        self._timeout_s = timeout_s
        self._last_id = 0
        self._waiting: dict[int, Round] = {}
        self._outgoing: list[bytes] = []
        self._outgoing_size = 0
        self._incoming = b""
        self._transport = transport
        self._channel = transport.open_session(timeout=timeout_s)
        self._channel.settimeout(timeout_s)
        self._channel.invoke_subsystem("sftp")
        self._extensions = self._greet()

    # Many rounds at once

    def begin(self, questions: Sequence[Question], owner: object = None) -> Round:
        """Put questions into the outgoing heap; `flush` sends it, and `listen` takes in their answers.

        Args:
            questions: what does not need each other's answers.
            owner: whose round it is; the round is found in `answered` when it is over.
        """
        first = self._last_id + 1
        begun = Round(first, questions, owner)
        for number, question in enumerate(questions, first):
            packet = question.packet(number)
            self._waiting[number] = begun
            self._outgoing.append(packet)
            self._outgoing_size += len(packet)
        self._last_id += len(questions)
        return begun

    @property
    def has_much_to_send(self) -> bool:
        """Whether the server should begin with what lies in the outgoing heap, while more is added."""
        return self._outgoing_size >= _MUCH or len(self._outgoing) >= _MANY

    def close(self) -> None:
        """Break the connection off, so that nothing that is still on its way arrives late."""
        self._transport.abort()

    def flush(self) -> None:
        """Send what lies in the outgoing heap, all at once: a packet of SSH costs more than one of SFTP."""
        if self._outgoing:
            heap = b"".join(self._outgoing)
            self._outgoing.clear()
            self._outgoing_size = 0
            self._channel.settimeout(self._patience())
            self._channel.sendall(heap)

    def listen(self) -> None:
        """Wait for an answer, and take in all that have come."""
        until = time.monotonic() + self._patience()
        while not self._take_in():
            self._hear(until)

    @property
    def has_news(self) -> bool:
        """Whether there is anything that `listen` or `answered` would give at once."""
        return bool(self.answered) or self._channel.recv_ready()

    # One request at a time

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Send requests together and return their answers in the same order, refusals included."""
        asked = self.begin(questions)
        self.flush()
        while asked.missing:
            self.listen()
        return asked.answers

    def attributes(self, path: str, *, follow_links: bool = False) -> Attributes | None:
        """Return what the server says of a path; None when there is nothing."""
        (answer,) = self.ask([_attributes_of(Request.STAT if follow_links else Request.LSTAT, path)])
        return found(answer)

    def attributes_of_all(self, paths: Sequence[str]) -> list[Attributes | None]:
        """Return what the server says of each path, asked for together; None where there is nothing."""
        return [found(answer) for answer in self.ask([look_at(path) for path in paths])]

    def writes(self, handle: bytes, content: bytes) -> list[Question]:
        """Return what writes `content` into an open file, and to the disk where the server can."""
        file = _string(handle)
        questions = [
            Question(Request.WRITE, _STATUS, file, _u64(offset), _string(content[offset : offset + MAX_CHUNK]))
            for offset in range(0, len(content), MAX_CHUNK)
        ]
        if b"fsync@openssh.com" in self._extensions:
            questions.append(Question(Request.EXTENDED, _STATUS, _text("fsync@openssh.com"), file))
        return questions

    def read(self, path: str, *, limit: int) -> bytes:
        """Return up to `limit` bytes from the start of a file."""
        handle = self._ask(Question(Request.OPEN, _HANDLE, _text(path), _u32(_READ), _u32(0))).string()
        content = b""
        try:
            while len(content) < limit:
                wanted = _u32(min(MAX_CHUNK, limit - len(content)))
                reply = self._ask(Question(Request.READ, _DATA, _string(handle), _u64(len(content)), wanted))
                content += reply.string()
        except StatusError as error:
            if error.status != Status.EOF:
                self._ask(close(handle))
                raise
        self._ask(close(handle))
        return content[:limit]

    def rename(self, source: str, target: str) -> None:
        """Rename; in version 3 of the protocol that fails when the target exists."""
        self._ask(rename(source, target))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._ask(remove(path))

    def make_folder(self, path: str) -> None:
        """Create a folder."""
        self._ask(Question(Request.MKDIR, _STATUS, _text(path), _u32(0)))

    def list_folder(
        self, path: str, wanted: Callable[[str], bool], *, limit: int, at_most: float = math.inf
    ) -> list[tuple[str, Attributes]]:
        """Return up to `limit` names in a folder that are wanted, with their attributes.

        Args:
            path: the folder.
            wanted: asked for each name.
            limit: how many to find.
            at_most: how many names to look through, roughly.
        """
        listed: list[tuple[str, Attributes]] = []
        seen, together, has_ended = 0, 1, False
        handle = self._ask(Question(Request.OPENDIR, _HANDLE, _text(path))).string()
        while len(listed) < limit and seen < at_most and not has_ended:
            for answer in self.ask([Question(Request.READDIR, _NAME, _string(handle))] * together):
                if answer == Status.EOF:
                    has_ended = True
                    continue
                reply = _Reply(good(answer))
                for _ in range(reply.u32()):
                    seen += 1
                    name = reply.string().decode("utf-8", "surrogateescape")
                    reply.string()  # the line of `ls -l`, for people
                    attributes = _attributes(reply)
                    if wanted(name):
                        listed.append((name, attributes))
            together = min(2 * together, _MAX_LISTS)  # most folders are small
        self._ask(close(handle))
        return listed[:limit]

    def free_bytes(self, path: str) -> int | None:
        """Return how much may still be written there (statvfs@openssh.com); None where the server cannot tell."""
        if b"statvfs@openssh.com" not in self._extensions:
            return None
        reply = self._ask(Question(Request.EXTENDED, _EXTENDED_REPLY, _text("statvfs@openssh.com"), _text(path)))
        _, fragment_size, _, _, available = (reply.u64() for _ in range(5))
        return fragment_size * available

    def _ask(self, question: Question) -> _Reply:
        (answer,) = self.ask([question])
        return _Reply(good(answer))

    # Packets

    def _greet(self) -> set[bytes]:
        """Tell our version, and return the server's extensions."""
        self._outgoing.append(_string(bytes([_INIT]) + _u32(_VERSION)))
        self.flush()
        until = time.monotonic() + self._patience()
        while len(self._incoming) < 4 or len(self._incoming) < 4 + self._size_at(0):
            self._hear(until)
        end = 4 + self._size_at(0)
        reply = _Reply(self._incoming[5:end])
        if self._incoming[4] != _VERSION_REPLY or reply.u32() < _VERSION:
            raise ProtocolError
        self._incoming = self._incoming[end:]
        extensions = set()
        while reply.left:
            extensions.add(reply.string())
            reply.string()  # the extension's own version
        return extensions

    def _take_in(self) -> bool:
        """Give what has come to the rounds that wait for it; return False when nothing has come."""
        heap, at = self._incoming, 0
        while len(heap) - at >= _PACKET.size:
            size, kind, number = _PACKET.unpack_from(heap, at)
            end = at + 4 + size
            if end > len(heap):
                break
            if (waiting := self._waiting.pop(number, None)) is None or size < _PACKET.size - 4:
                raise ProtocolError
            waiting.take(number, kind, heap[at + _PACKET.size : end])
            if not waiting.missing and waiting.owner is not None:
                self.answered.append(waiting)
            at = end
        self._incoming = heap[at:]
        if len(self._incoming) >= 4:
            self._size_at(0)  # which refuses what no server may send
        return at > 0

    def _size_at(self, at: int) -> int:
        size = int.from_bytes(self._incoming[at : at + 4], "big")
        if not _PACKET.size - 4 <= size <= _MAX_PACKET:
            raise ProtocolError
        return size

    def _hear(self, until: float) -> None:
        # Not 0, which would mean not to wait at all for what has already come.
        self._channel.settimeout(max(until - time.monotonic(), 0.001))
        heard = self._channel.recv(_MAX_PACKET)
        if not heard:
            raise EOFError
        self._incoming += heard

    def _patience(self) -> float:
        if (left := self.deadline - time.monotonic()) <= 0:
            raise TimeoutError
        return min(self._timeout_s, left)


Answer = bytes | int
"""The body of an answer, or the status with which the server refused."""


class Question:
    """One request, and the kind of answer that fits it."""

    __slots__ = ("_body", "_request", "expected")

    def __init__(self, request: Request, expected: int, *fields: bytes) -> None:
        self._request, self.expected, self._body = request, expected, b"".join(fields)

    def packet(self, number: int) -> bytes:
        """Return the packet that asks it."""
        return _PACKET.pack(len(self._body) + 5, self._request, number) + self._body


class Round:
    """Questions that were sent together, and their answers as far as they have come."""

    __slots__ = ("_first", "_questions", "answers", "missing", "owner")

    def __init__(self, first: int, questions: Sequence[Question], owner: object) -> None:
        self._first = first
        self._questions = questions
        self.owner = owner
        self.answers: list[Answer] = [b""] * len(questions)
        self.missing = len(questions)

    def take(self, number: int, kind: int, body: bytes) -> None:
        """Note the answer to the question of this number."""
        place = number - self._first
        if kind == _STATUS and (status := int.from_bytes(body[:4], "big")) != _OK:
            self.answers[place] = status
        elif kind == self._questions[place].expected and len(body) >= 4:
            self.answers[place] = body
        else:
            raise ProtocolError
        self.missing -= 1


def create(path: str) -> Question:
    """Create a file that does not exist yet; `handle_in` reads the answer."""
    return Question(Request.OPEN, _HANDLE, _text(path), _u32(_WRITE | _CREATE | _EXCLUSIVE), _u32(0))


def close(handle: bytes) -> Question:
    """Close a file or folder."""
    return Question(Request.CLOSE, _STATUS, _string(handle))


def look_at(path: str) -> Question:
    """Ask what is there, not following links; `found` reads the answer."""
    return _attributes_of(Request.LSTAT, path)


def rename(source: str, target: str) -> Question:
    """Rename; in version 3 of the protocol that fails when the target exists."""
    return Question(Request.RENAME, _STATUS, _text(source), _text(target))


def remove(path: str) -> Question:
    """Remove a file."""
    return Question(Request.REMOVE, _STATUS, _text(path))


def good(answer: Answer) -> bytes:
    """Return the body of an answer that is no refusal."""
    if isinstance(answer, int):
        raise StatusError(answer)
    return answer


def found(answer: Answer) -> Attributes | None:
    """Return what the server says is there; None when there is nothing."""
    return None if answer == Status.NO_SUCH_FILE else _attributes(_Reply(good(answer)))


def size_in(answer: bytes) -> int | None:
    """Return the size of what is there, if the server says it."""
    if len(answer) < _SIZED.size:
        return None
    flags, size = _SIZED.unpack_from(answer)
    return size if flags & _HAS_SIZE else None


def handle_in(answer: Answer) -> bytes:
    """Return the handle of a file that was opened."""
    return _Reply(good(answer)).string()


def _attributes_of(request: Request, path: str) -> Question:
    return Question(request, _ATTRS, _text(path))


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


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _string(data: bytes) -> bytes:
    return _u32(len(data)) + data


@lru_cache(maxsize=1024)  # a path is asked about several times, and soon
def _text(text: str) -> bytes:
    return _string(text.encode("utf-8", "surrogateescape"))


def _attributes(reply: _Reply) -> Attributes:
    size = mode = modified = None
    flags = reply.u32()
    if flags & _HAS_SIZE:
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
