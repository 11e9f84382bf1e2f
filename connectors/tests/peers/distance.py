"""A TCP proxy on loopback that makes its target seem far away; a process of its own, so that it is on time."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import Self

_Line = SimpleQueue[tuple[float, bytes]]


class Distance:
    """A process that passes everything on, later; a context manager."""

    def __init__(self, target: int, *, round_trip_s: float) -> None:
        """Stand before `target`, a port on loopback, and add `round_trip_s` to every round trip."""
        self._arguments = [str(target), str(round_trip_s / 2)]
        self.port = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, *self._arguments], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def _serve(target: int, delay_s: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_meet, args=(client, target, delay_s), daemon=True).start()


def _meet(client: socket.socket, target: int, delay_s: float) -> None:
    time.sleep(2 * delay_s)  # loopback opens a connection at once; across a distance that takes a round trip
    server = socket.create_connection(("127.0.0.1", target))
    for source, sink in ((client, server), (server, client)):
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line: _Line = SimpleQueue()
        threading.Thread(target=_take, args=(source, line, delay_s), daemon=True).start()
        threading.Thread(target=_give, args=(sink, line), daemon=True).start()


def _take(source: socket.socket, line: _Line, delay_s: float) -> None:
    data = b"begin"
    while data:
        try:
            data = source.recv(65536)
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the distance adds nothing but itself
        except OSError:
            data = b""
        line.put((time.monotonic() + delay_s, data))


def _give(sink: socket.socket, line: _Line) -> None:
    with suppress(OSError):
        while True:
            due, data = line.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
