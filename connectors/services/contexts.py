"""What every call through the port is given besides its configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from connectors.models import ERPConnection
from connectors.network import Dialer, EgressPolicy
from connectors.port import StepRecorder, SystemClock
from connectors.results import RemoteIdentity, TestStep
from tenants.models import Organization

OnStep = Callable[[TestStep], None]


def make_context(
    org: Organization,
    *,
    seconds: float,
    connection: ERPConnection | None = None,
    on_step: OnStep | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Return the arguments that every `Context` of this installation starts with.

    Args:
        org: for whom: it may be confined to networks of its own.
        seconds: until the deadline.
        connection: whose far end has to be the one it was when the connection was activated.
        on_step: called with each step as it ends.
        is_cancelled: asked before each step.
    """
    clock = SystemClock()
    root = settings.DROPZONE_ROOT
    policy = EgressPolicy(
        allowed_networks=tuple(settings.EGRESS_ALLOWED_NETWORKS), confined_to=tuple(org.egress_networks)
    )
    return {
        "dialer": Dialer(policy=policy),
        "deadline": clock.monotonic() + seconds,
        "dropzone_root": Path(root) if root else None,
        "clock": clock,
        "steps": StepRecorder(clock, on_step, is_cancelled),
        "inbound_url": _inbound_url(connection),
        "pinned_identity": RemoteIdentity(**connection.pinned_identity)
        if connection and connection.pinned_identity
        else None,
    }


def _inbound_url(connection: ERPConnection | None) -> str | None:
    """Return where far ends reach a connection; one that is not stored yet has the id of none."""
    place: UUID = connection.pk if connection else UUID(int=0)
    return f"{settings.PUBLIC_URL}/as2/{place}" if settings.PUBLIC_URL else None
