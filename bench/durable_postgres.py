"""A PostgreSQL of the bench's own that keeps its promises: what is committed is on the disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from erpconfig.embedded_postgres import Cluster


@contextmanager
def durable_postgres() -> Iterator[None]:
    """Let DATABASE_URL name a new server, which is gone afterwards; one that is named already is used instead."""
    if os.environ.get("DATABASE_URL"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="erp-connector-bench-") as folder:
        home = Path(folder)
        home.chmod(0o711 if os.getuid() == 0 else 0o700)
        cluster = Cluster(home=home, durable=True, options={"max_connections": "200"})
        os.environ["DATABASE_URL"] = cluster.ensure_running()
        try:
            yield
        finally:
            del os.environ["DATABASE_URL"]
            cluster.stop()
