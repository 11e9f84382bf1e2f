"""The one way out: an egress policy and the dialer that every transport uses."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EgressPolicy:
    """Which networks may be reached although they are not public."""

    allowed_networks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dialer:
    """Opens TCP connections to addresses that the policy has checked."""

    policy: EgressPolicy

    def connect(self, host: str, port: int, *, timeout_s: float) -> socket.socket:
        """Return a connected socket."""
        raise NotImplementedError
