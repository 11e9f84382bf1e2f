"""Folders that the server of an embedded PostgreSQL can reach, whoever runs the tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from erpconfig.embedded_postgres import Cluster


@pytest.fixture
def reachable_folder() -> Iterator[Path]:
    """An empty folder that other users may pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="erp-test-"))
    folder.chmod(0o711 if os.getuid() == 0 else 0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cluster(reachable_folder: Path) -> Iterator[Cluster]:
    """A cluster that does not exist yet and is stopped at the end."""
    cluster = Cluster(home=reachable_folder, durable=False)
    yield cluster
    cluster.stop()
