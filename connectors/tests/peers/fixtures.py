"""The peers as pytest fixtures; a conftest that wants them imports them."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from connectors.tests.peers.faulty_sftp import Faults, FaultySftp
from connectors.tests.peers.https import Authority, Exchange, HttpServer
from connectors.tests.peers.openssh import OpenSSH, SmallDisk, missing_packages

__all__ = [
    "authority",
    "faulty_sftp",
    "folder_for_everybody",
    "host_names",
    "inbox",
    "openssh",
    "small_disk",
    "start_https",
    "start_openssh",
]


@pytest.fixture(scope="session")
def openssh() -> Iterator[OpenSSH]:
    """An OpenSSH server that all tests share."""
    _skip_without(missing_packages())
    with _folder_for_everybody() as folder, OpenSSH(folder=folder) as server:
        yield server


@pytest.fixture
def inbox(openssh: OpenSSH) -> Iterator[Path]:
    """The folder of the shared server into which orders go; it and the one for answers are emptied after the test."""
    yield openssh.home / "inbox"
    for path in (*(openssh.home / "inbox").iterdir(), *(openssh.home / "ack").iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def start_openssh() -> Iterator[Callable[..., OpenSSH]]:
    """A function that starts a server of its own kind for one test."""
    with ExitStack() as running:

        def start(**options: object) -> OpenSSH:
            _skip_without(missing_packages(pam=bool(options.get("keyboard_interactive"))))
            folder = running.enter_context(_folder_for_everybody())
            return running.enter_context(OpenSSH(folder=folder, **options))

        yield start


@pytest.fixture
def small_disk(openssh: OpenSSH) -> Iterator[Path]:
    """A folder of the server that holds 64 KB."""
    mount_point = openssh.home / "small"
    try:
        with SmallDisk(mount_point) as mounted:
            if not mounted:
                pytest.skip("needs root and the right to mount a tmpfs")
            yield mount_point
    finally:
        mount_point.rmdir()


@pytest.fixture
def faulty_sftp(tmp_path: Path) -> Iterator[Callable[..., FaultySftp]]:
    """A function that starts an SFTP server with the given faults."""
    with ExitStack() as running:

        def start(**faults: object) -> FaultySftp:
            return running.enter_context(FaultySftp(tmp_path / "faulty", Faults(**faults)))

        yield start


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The certificate authority that all tests share."""
    return Authority("Partner CA")


@pytest.fixture
def start_https(authority: Authority, host_names: object) -> Iterator[Callable[..., HttpServer]]:
    """A function that starts a server under the names erp.test and other.test."""
    with ExitStack() as running:

        def start(answer: Callable[[Exchange], None] = Exchange.reply, **options: object) -> HttpServer:
            certificate = authority.issue("erp.test", "other.test")
            return running.enter_context(HttpServer(answer, **{"certificate": certificate, **options}))

        yield start


@pytest.fixture
def host_names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and the addresses they stand for, one answer after the other; the questions are under "asked"."""
    names = {"erp.test": ["127.0.0.1"], "other.test": ["127.0.0.1"], "asked": []}
    ask = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: object, **options: object) -> list[tuple[object, ...]]:
        names["asked"].append(host)
        answers = names.get(host, [host])
        return ask(answers.pop(0) if len(answers) > 1 else answers[0], port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
def folder_for_everybody() -> Iterator[Path]:
    """A folder that other users of this machine get to; those of pytest are private."""
    with _folder_for_everybody() as folder:
        yield folder


@contextmanager
def _folder_for_everybody() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="connectors-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _skip_without(packages: list[str]) -> None:
    if packages:
        pytest.skip(f"needs apt-get install {' '.join(packages)}")
