"""A real Tryton server on loopback, and what stands in front of it: faults for the calls that change something."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply
from connectors.tests.peers.openssh import free_port
from erpconfig.paths import BASE_DIR

DATABASE = "erp"
PASSWORD = "s3cret-and-never-shown"
"""Of every user: admin, shop, guest and locked; see tryton_database.py."""

_STARTS_WITHIN_S = 60
_FORWARDED = ("Authorization", "Content-Type", "Accept", "Accept-Encoding")
_RETURNED = ("Content-Type", "Content-Encoding", "WWW-Authenticate")
_CHANGES = tuple(f"model.sale.sale.{method}" for method in ("create", "quote", "confirm"))
_OF_SALES = ("sale_line", "sale_sale")
# A password is hashed slowly on purpose, and not ours to test.
_PASSLIB = "[passlib]\nschemes = pbkdf2_sha512, scrypt\ndeprecated = auto\npbkdf2_sha512__default_rounds = 1\n"


def home(version: str) -> Path | None:
    """Return where a version of Tryton is installed with a filled database; None where `.ci/tryton` did not run."""
    folder = BASE_DIR / ".venv-tryton" / version
    return folder if (folder / "ready").exists() else None


class Trytond:
    """One server with a database of its own."""

    def __init__(self, installed: Path) -> None:
        self._installed = installed
        self.port = free_port()
        self.is_old = installed.name == "7.0"
        self._admin: str | None = None
        self._changed: set[str] = set()

    def __enter__(self) -> Self:
        # In memory where there is such a place: Tryton commits several times for each call.
        self._folder = TemporaryDirectory(prefix="trytond-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        folder = Path(self._folder.name)
        self.file = folder / f"{DATABASE}.sqlite"
        shutil.copy(self._installed / self.file.name, self.file)
        (folder / "passlib.ini").write_text(_PASSLIB)
        (folder / "trytond.conf").write_text(
            f"[database]\nuri = sqlite://\npath = {folder}\n[web]\nlisten = 127.0.0.1:{self.port}\n"
            f"[password]\npasslib = {folder}/passlib.ini\n"
        )
        command = [self._installed / "bin" / "trytond", "-c", folder / "trytond.conf", "-d", DATABASE]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._folder.cleanup()

    def forward(self, exchange: Exchange) -> Reply:
        """Let it answer a request."""
        headers = {name: exchange.headers[name] for name in _FORWARDED if name in exchange.headers}
        status, returned, content = self._send(exchange.command, exchange.path, exchange.body, headers)
        return Reply(status, content, {name: returned[name] for name in _RETURNED if name in returned})

    def call(self, method: str, *params: Any) -> Any:
        """Return what a method returns to the administrator."""
        if self._admin is None:
            user, key = self._call("common.db.login", ["admin", {"password": PASSWORD}], {})[:2]
            self._admin = "Session " + b64encode(f"admin:{user}:{key}".encode()).decode()
        environment = {"company": 1, "language": "en"}
        return self._call(method, [*params, environment], {"Authorization": self._admin})

    def sales(self, *fields: str, key: int | None = None) -> list[dict[str, Any]]:
        """Return the sales that it has, or the one with this id."""
        wanted = [["id", "=", key]] if key else []
        return self.call("model.sale.sale.search_read", wanted, 0, None, [["id", "ASC"]], ["id", *fields])

    def change_password(self, login: str, password: str) -> None:
        """Give a user another password; until the server is emptied."""
        (user,) = self.call("model.res.user.search", [["login", "=", login]], 0, 1, None)
        self.call("model.res.user.write", [user], {"password": password})
        self._changed.add(login)

    def lock(self, login: str) -> None:
        """Lock a user, as too many wrong passwords do; each of them makes the next answer slower."""
        attempt = "INSERT INTO res_user_login_attempt (login, create_date) VALUES (?, datetime('now'))"
        with self._opened() as database:
            database.executemany(attempt, [(login,)] * 6)

    def end_sessions(self) -> None:
        """End all sessions, as it does by itself when they lie idle."""
        with self._opened() as database:
            database.execute("DELETE FROM ir_session")
        self._admin = None

    def empty(self) -> None:
        """Forget all sales, begin again to number them, and give users their passwords back."""
        for login in list(self._changed):
            self.change_password(login, PASSWORD)
        self._changed.clear()
        with self._opened() as database:
            for table in _OF_SALES:
                database.execute(f'DELETE FROM "{table}"')  # noqa: S608  # names of our own
            database.execute("UPDATE ir_sequence SET number_next_internal = 1 WHERE name = 'Sale'")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=10)) as database, database:
            yield database

    def _call(self, method: str, params: list[Any], headers: dict[str, str]) -> Any:
        body = json.dumps({"id": 1, "method": method, "params": params}).encode()
        status, _, content = self._send("POST", self._path, body, {"Content-Type": "application/json", **headers})
        answer = json.loads(content, parse_float=Decimal) if status == 200 else {}
        assert "result" in answer, (method, status, content[:500])
        return answer["result"]

    @property
    def _path(self) -> str:
        return f"/{DATABASE}/" if self.is_old else f"/{DATABASE}/rpc/"

    def _send(
        self, command: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(command, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def _wait(self) -> None:
        path = "/" if self.is_old else "/rpc/"
        body = b'{"id":1,"method":"common.server.version","params":[]}'
        for _ in range(_STARTS_WITHIN_S * 20):
            try:
                self._send("POST", path, body, {"Content-Type": "application/json"})
            except ConnectionError:
                assert self._process.poll() is None, (Path(self._folder.name) / "log").read_text()
                time.sleep(0.05)
            else:
                return
        raise AssertionError("Tryton does not answer.")


class TrytonErp(Imitation):
    """Passes everything on to a real server, but for the faults."""

    def __init__(self, server: Trytond) -> None:
        super().__init__()
        self.server = server

    def changes(self, exchange: Exchange) -> bool:
        return method_of(exchange) in _CHANGES

    def respond(self, exchange: Exchange) -> Reply:
        return self.server.forward(exchange)

    def passes(self, exchange: Exchange) -> bool:
        """A fault that is none: the next call that changes something works."""
        return False


def method_of(exchange: Exchange) -> str:
    """Return the method that a request calls."""
    try:
        return str(json.loads(exchange.body)["method"])
    except (ValueError, KeyError, TypeError):
        return ""
