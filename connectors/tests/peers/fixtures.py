"""The peers as pytest fixtures; a conftest that wants them imports them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from connectors.tests.peers.faulty_sftp import Faults, FaultySftp
from connectors.tests.peers.openssh import OpenSSH, SmallDisk, missing_packages

__all__ = ["faulty_sftp", "openssh", "small_disk", "start_openssh"]


@pytest.fixture(scope="session")
def openssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSSH]:
    """An OpenSSH server that all tests share; each leaves its folders as it found them."""
    _skip_without(missing_packages())
    with OpenSSH(folder=tmp_path_factory.mktemp("openssh")) as server:
        yield server


@pytest.fixture
def start_openssh(tmp_path: Path) -> Iterator[Callable[..., OpenSSH]]:
    """A function that starts a server of its own kind for one test."""
    with ExitStack() as running:

        def start(**options: object) -> OpenSSH:
            _skip_without(missing_packages(pam=bool(options.get("keyboard_interactive"))))
            folder = tmp_path / f"sshd{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
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


def _skip_without(packages: list[str]) -> None:
    if packages:
        pytest.skip(f"needs apt-get install {' '.join(packages)}")
