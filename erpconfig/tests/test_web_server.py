"""gunicorn as it runs in production, and callers who do not speak HTTP as they should."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from erpconfig.headers import HEADERS
from erpconfig.paths import BASE_DIR

pytestmark = pytest.mark.slow

APPLICATION = "django.core.wsgi:get_wsgi_application()"
PATIENCE = 1
"""Seconds that this server gives to a head and to a body."""


class Server:
    """One process with two threads, so that two callers who are let wait would be enough to stop it."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = probe.getsockname()
        changed = {"WEB_CONCURRENCY": "1", "WEB_THREADS": "2", "HTTPS": "false", "ALLOWED_HOSTS": "erp.example.com"}
        limits = {"WEB_HEAD_SECONDS": str(PATIENCE), "WEB_BODY_SECONDS": str(PATIENCE)}
        bind = f"{self.address[0]}:{self.address[1]}"
        self.process = subprocess.Popen(
            # Nothing here needs a database, so there is none that would have to be migrated first.
            [sys.executable, "-m", "gunicorn", "--config", "python:erpconfig.gunicorn", "--bind", bind, APPLICATION],
            cwd=BASE_DIR,
            env=os.environ | changed | limits | {"DJANGO_SETTINGS_MODULE": "erpconfig.settings"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def ask(self, request: bytes) -> tuple[HTTPResponse, bytes]:
        """Send these bytes, and return what comes back first."""
        with self.connect() as connection:
            connection.sendall(request)
            return read(connection)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                assert self.ask(get("/livez"))[0].status == 200
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None
                time.sleep(0.05)
        pytest.fail("the server did not become ready")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.terminate()
        said, _ = server.process.communicate(timeout=30)
        assert b"s3cret" not in said
        assert b"Traceback" not in said


def read(connection: socket.socket) -> tuple[HTTPResponse, bytes]:
    answer = HTTPResponse(connection)
    answer.begin()
    return answer, answer.read()


def get(target: str, *headers: str, host: str = "erp.example.com") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode("latin-1")


def post(target: str, *headers: str) -> bytes:
    return get(target, *headers).replace(b"GET", b"POST", 1)


REFUSED = {
    "length and chunks": (400, post("/livez", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "two lengths": (400, post("/livez", "Content-Length: 1", "Content-Length: 2") + b"ab"),
    "a signed length": (400, post("/livez", "Content-Length: +1") + b"a"),
    "a disguised coding": (400, post("/livez", "Transfer-Encoding: \x0bchunked")),
    "an unknown coding": (400, post("/livez", "Transfer-Encoding: gzip")),
    "a space before the colon": (400, get("/livez", "X-Name : s3cret")),
    "a folded header": (400, get("/livez", "X-Name: a", " s3cret")),
    "no header at all": (400, get("/livez", "s3cret")),
    "an underscore": (400, get("/livez", "X_Forwarded_For: s3cret")),
    "a NUL": (400, get("/livez", "X-Name: s3cret\0")),
    "a method in small letters": (400, get("/livez").replace(b"GET", b"get")),
    "no version": (400, b"GET /livez\r\nHost: erp.example.com\r\n\r\n"),
    "a long address": (414, get("/livez?s3cret=" + "x" * 4100)),
    "a long header": (431, get("/livez", "X-Name: s3cret" + "x" * 8200)),
    "many headers": (431, get("/livez", *(f"X-{n}: s3cret" for n in range(70)))),
    "another host": (400, get("/livez", host="evil.example.com")),
    "two hosts": (400, get("/livez", "Host: evil.example.com")),
    "an address for a host": (400, get("http://evil.example.com/livez", host="evil.example.com")),
    "chunks": (411, post("/livez", "Transfer-Encoding: chunked") + b"6\r\ns3cret\r\n0\r\n\r\n"),
    "a body beyond all limits": (413, post("/api/v1/exports", "Content-Length: 99999999999")),
}


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_request_is_refused_without_repeating_it(server: Server, status: int, request_: bytes) -> None:
    answer, content = server.ask(request_)

    assert answer.status == status
    assert {name: answer.getheader(name) for name in HEADERS} == HEADERS
    assert b"s3cret" not in content
    assert b"evil" not in content


def test_a_header_names_no_other_path(server: Server) -> None:
    answer, _ = server.ask(get("/livez", "SCRIPT-NAME: /admin", "X-Forwarded-Prefix: /admin", "X-Original-URL: /admin"))

    assert answer.status == 200


def test_whoever_says_nothing_keeps_no_thread(server: Server) -> None:
    silent = [server.connect() for _ in range(8)]
    began = time.monotonic()

    answer, _ = server.ask(get("/livez"))

    assert answer.status == 200
    assert time.monotonic() - began < PATIENCE
    for connection in silent:
        connection.close()


def test_whoever_is_slow_is_cut_off(server: Server) -> None:
    """Heads that do not end, also when something comes in time and again, and a body that does not come."""
    began = time.monotonic()
    stalled, trickling, without_body = (server.connect() for _ in range(3))
    stalled.sendall(b"GET /livez HTTP/1.1\r\nHost: erp")
    trickling.sendall(b"GET /livez HTTP/1.1\r\n")
    trickling.settimeout(PATIENCE / 5)
    ended = False
    while not ended and time.monotonic() - began < 10 * PATIENCE:
        try:
            ended = trickling.recv(1) == b""
        except TimeoutError:
            trickling.sendall(b"X")
        except ConnectionError:
            ended = True
    assert ended
    assert stalled.recv(1) == b""

    form = "Content-Type: application/x-www-form-urlencoded"
    without_body.sendall(post("/admin/login/", form, "Content-Length: 100") + b"username=")
    answer, _ = read(without_body)

    assert answer.status == 403
    assert time.monotonic() - began < 10 * PATIENCE
    assert json.loads(server.ask(get("/livez"))[1]) == {"status": "ok"}
    for connection in (stalled, trickling, without_body):
        connection.close()
