"""The bytes of one HTTP connection: our own time-outs, our own limits, and whether a request may have arrived."""

from __future__ import annotations

import logging
import select
import socket
from collections.abc import Iterator
from typing import Any, Final

import httpcore2
import httpx2

from connectors.port import Context

# httpcore2 logs the headers of answers, cookies among them.
logging.getLogger("httpcore2").setLevel(logging.CRITICAL + 1)


class Wire(httpcore2.NetworkStream):
    """A connected socket as httpcore2 wants it, with our own time-outs and what tells whether a request left."""

    def __init__(self, connection: socket.socket, timeout_s: float, context: Context) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self.begin(context)

    def begin(self, context: Context) -> None:
        """Prepare for another request, within the deadline of its context."""
        self._context = context
        self.may_have_arrived = False
        self.ended = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  # httpcore2's signature
        """Return what has arrived; nothing at the end."""
        self._wait_at_most()
        data = self._connection.recv(max_bytes)
        self.ended = not data
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  # as above
        """Send everything."""
        rest = memoryview(buffer)
        while rest:
            self._wait_at_most()
            self.may_have_arrived = True
            try:
                rest = rest[self._connection.send(rest) :]
            except TimeoutError:
                raise
            except OSError:
                # httpcore2 goes on to read: a server may answer and hang up before it has read everything.
                raise httpcore2.WriteError from None

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()

    def get_extra_info(self, info: str) -> Any:
        """Return whether something waits to be read, which between two requests can only be the end."""
        if info != "is_readable":
            return None
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(0))

    def _wait_at_most(self) -> None:
        wait_s = min(self._timeout_s, self._context.remaining_s)
        if wait_s <= 0:
            raise TimeoutError
        self._connection.settimeout(wait_s)


class TooLarge(Exception):
    """An answer is larger than we want to hold."""


def read_whole(raw: httpcore2.Response, *, limit: int) -> bytes:
    """Return the body of an answer, unpacked; leaves the connection closed unless the body was read to its end.

    Raises:
        TooLarge: it has more than `limit` bytes, as it arrives or unpacked.
        httpx2.DecodingError: it cannot be unpacked.
    """
    try:
        response = httpx2.Response(raw.status, headers=raw.headers, stream=_Arriving(raw, limit))
        content = bytearray()
        for part in response.iter_bytes():  # httpx2 unpacks in pieces of 1 MiB at most
            content += part
            if len(content) > limit:
                raise TooLarge
        return bytes(content)
    finally:
        raw.close()


class _Arriving(httpx2.SyncByteStream):
    """The body as it arrives, bounded: what unpacks to nothing is no reason to read on for ever."""

    def __init__(self, raw: httpcore2.Response, limit: int) -> None:
        self._parts, self._limit = raw.iter_stream(), limit

    def __iter__(self) -> Iterator[bytes]:
        arrived = 0
        for part in self._parts:
            arrived += len(part)
            if arrived > self._limit:
                raise TooLarge
            yield part


# What httpcore2, httpx2 and the socket raise while bytes are on their way; TimeoutError and SSLError are OSErrors.
BROKEN: Final = (OSError, httpcore2.RemoteProtocolError, httpx2.DecodingError, TooLarge)
