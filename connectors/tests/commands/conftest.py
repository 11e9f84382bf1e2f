"""Running commands as an operator does, and a filesystem dropzone for them to work on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from connectors.models import ERPConnection
from connectors.services import connections
from tenants.actors import Actor
from tenants.models import Organization


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str
    """stderr, with the final error line."""

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal(StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


def run(*arguments: str, terminal: bool = False) -> Outcome:
    out, err = Terminal() if terminal else StringIO(), StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except CommandError as error:
        return Outcome(code=error.returncode, out=out.getvalue(), err=f"{err.getvalue()}{error}")
    return Outcome(code=0, out=out.getvalue(), err=err.getvalue())


@pytest.fixture
def dropzone(settings: Any, tmp_path: Path) -> Path:
    """Return DROPZONE_ROOT, with the folders that the `connect` fixture uses."""
    settings.DROPZONE_ROOT = str(tmp_path)
    for name in ("outbox", "acks"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def connect(dropzone: Path, actor: Actor) -> Callable[..., ERPConnection]:
    def create(org: Organization, *, status: str = "ACTIVE", **config: Any) -> ERPConnection:
        whole = {"mode": "filesystem", "export_path": "outbox", "ack_path": "acks", **config}
        return connections.create(org, actor, connector_type="DROPZONE_JSON_V1", config=whole, status=status)

    return create
