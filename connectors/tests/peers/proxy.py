"""A TCP proxy on loopback that cuts, stalls or never answers."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Self


class CuttingProxy:
    """Passes on what both sides send until so many bytes have gone through; then the link breaks.

    Args:
        target: port on loopback.
        after: bytes from the client to the server; None never breaks.
        answers_after: bytes from the server to the client, likewise: what was asked has happened, its answer is lost.
        how: reset (RST to both), close (FIN), or stall (the link stays up and nothing moves).
        times: only the first so many connections break.
        receive_buffer: bytes that may wait before the proxy; None for what the system gives.
    """

    def __init__(
        self,
        target: int,
        *,
        after: int | None,
        answers_after: int | None = None,
        how: Literal["reset", "close", "stall"] = "reset",
        times: int = 1_000_000,
        receive_buffer: int | None = None,
    ) -> None:
        self._target, self._after, self._answers_after = target, after, answers_after
        self._how, self._times = how, times
        self._listener = socket.create_server(("127.0.0.1", 0))
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.port = int(self._listener.getsockname()[1])
        self.passed = 0
        """Bytes from the client to the server on the latest connection."""
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def hold(self) -> None:
        """Break no further connection."""
        self._times = 0

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for connection in (client, server):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open += [client, server]
                asked, answered = (self._after, self._answers_after) if self._times > 0 else (None, None)
                self._times -= 1
                self.passed = 0
                stopped = threading.Event()
                threading.Thread(target=self._send, args=(client, server, asked, stopped), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client, answered, stopped), daemon=True).start()

    def _send(self, client: socket.socket, server: socket.socket, limit: int | None, stopped: threading.Event) -> None:
        with suppress(OSError):
            while limit is None or self.passed < limit:
                data = client.recv(65536)
                if not data:
                    server.shutdown(socket.SHUT_WR)
                    return
                data = data if limit is None else data[: limit - self.passed]
                self.passed += len(data)
                server.sendall(data)
            stopped.set()
            self._break(client, server)

    def _answer(
        self, server: socket.socket, client: socket.socket, limit: int | None, stopped: threading.Event
    ) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(65536):
                if stopped.is_set():
                    continue
                if limit is not None and passed + len(data) > limit:
                    client.sendall(data[: limit - passed])
                    stopped.set()
                    self._break(client, server)
                else:
                    passed += len(data)
                    client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _break(self, *connections: socket.socket) -> None:
        if self._how == "stall":
            return
        for connection in connections:
            if self._how == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD if self._how == "reset" else socket.SHUT_RDWR)
            connection.close()


@contextmanager
def silent_server() -> Iterator[int]:
    """Accept connections and never say a word; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def blackhole() -> Iterator[int]:
    """Let every further connection attempt go unanswered, as a firewall that drops does; gives the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        try:
            yield int(listener.getsockname()[1])
        finally:
            for connection in waiting:
                connection.close()


@contextmanager
def mail_server() -> Iterator[int]:
    """Greet like a mail server and hang up; gives the port."""

    def greet() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.sendall(b"220 mail.example.com ESMTP\r\n")
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, daemon=True).start()
        yield int(listener.getsockname()[1])
