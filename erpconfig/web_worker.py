"""gunicorn's threaded worker, made impatient: who sends or reads too slowly is cut off instead of keeping a thread."""

from __future__ import annotations

import errno
import json
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, Self

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

from erpconfig.headers import HEADERS
from erpconfig.settings import WEB_BODY_SECONDS, WEB_HEAD_SECONDS

_STATUSES: Final = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class Client(socket.socket):
    """The socket of a client, which has to have sent by `deadline` what we wait for, and to read what we send."""

    deadline = math.inf

    @classmethod
    def of(cls, plain: socket.socket) -> Self:
        """Return the same connection; `plain` is of no use any more."""
        return cls(fileno=plain.detach())

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive, and take whoever is too late for gone: gunicorn then ends the connection without a word."""
        patience, left = self.gettimeout(), self.deadline - time.monotonic()
        try:
            if left > 0:
                self.settimeout(left if patience is None else min(left, patience))
                return super().recv(size, flags)
        except TimeoutError:
            pass
        finally:
            self.settimeout(patience)
        raise ConnectionResetError(errno.ECONNRESET, "too slow")

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send one piece in the time that a body may take."""
        with self._impatiently():
            super().sendall(data, flags)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file, of which some has to be read within the time that a body may take."""
        with self._impatiently():
            return super().sendfile(file, offset, count)

    @contextmanager
    def _impatiently(self) -> Iterator[None]:
        patience = self.gettimeout()
        self.settimeout(WEB_BODY_SECONDS)
        try:
            yield
            return
        except TimeoutError:
            pass
        finally:
            self.settimeout(patience)
        raise ConnectionResetError(errno.ECONNRESET, "too slow")


class Worker(ThreadWorker):
    """A thread is given to a connection when there is something to read, and for so long as that may take."""

    def handle(self, conn: TConn) -> Any:
        """Read a request and answer it; a connection that says nothing yet is watched without a thread."""
        if not isinstance(conn.sock, Client):
            conn.sock = Client.of(conn.sock)
        if not conn.initialized and not conn.wait_for_data(0):
            return _DEFER
        conn.sock.deadline = time.monotonic() + WEB_HEAD_SECONDS
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer a request whose head was read."""
        conn.sock.deadline = time.monotonic() + WEB_BODY_SECONDS
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Refuse what is no request that we could pass on, and repeat none of it, neither there nor in the log."""
        kind = type(exc).__name__
        if isinstance(exc, errors.ParseException | OSError):
            status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
            self.log.warning("Invalid request from %s: %s", addr[0] if addr else "a socket", kind)
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            self.log.exception("Error handling a request: %s", kind)
        try:
            util.write_nonblock(client, _refusal(status))
        except OSError:
            self.log.debug("Failed to send an error message.")


def _refusal(status: HTTPStatus) -> bytes:
    """Return a whole answer."""
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": status.name}
    content = json.dumps(problem)
    headers = HEADERS | {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", content]).encode("latin-1")
