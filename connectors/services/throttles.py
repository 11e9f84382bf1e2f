"""How often somebody may ask: one count for all web processes, at the cost of a statement now and then.

A process leases requests in blocks from the row of a caller and gives them out from memory. A block is a twentieth of
what is left, so the last requests of a window are counted one by one: together all processes never let in more than
the limit, and less only by what the others still hold. A window begins with the first request after the previous one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import Final

from django.conf import settings
from django.db import connection

_BLOCKS: Final = 20
_MOST_LEASES: Final = 10_000
"""Kept in memory; beyond that, whoever asks has it looked up again."""
_SWEEP_SECONDS: Final = 60
_LEASE: Final = """
INSERT INTO connectors_throttle AS counted (key, resets_at, used)
VALUES (%(key)s, statement_timestamp() + make_interval(secs => %(seconds)s), %(block)s)
ON CONFLICT (key) DO UPDATE SET
    used = excluded.used + CASE WHEN counted.resets_at > statement_timestamp() THEN counted.used ELSE 0 END,
    resets_at = CASE WHEN counted.resets_at > statement_timestamp() THEN counted.resets_at ELSE excluded.resets_at END
RETURNING used, extract(epoch FROM resets_at - statement_timestamp())::float
"""
_SWEEP: Final = """
DELETE FROM connectors_throttle WHERE key IN (
    SELECT key FROM connectors_throttle WHERE resets_at < statement_timestamp() LIMIT 10000 FOR UPDATE SKIP LOCKED
)
"""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """So many requests in so many seconds."""

    requests: int
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a request is let in, how many more there would be, and in how many seconds all are there again."""

    allowed: bool
    limit: Limit
    remaining: int
    resets_in: float


@dataclass(kw_only=True)
class _Lease:
    """What this process knows and holds of one window."""

    used: int
    held: int
    ends: float


_leases: dict[tuple[str, str], _Lease] = {}
_lock = Lock()
_next_sweep = 0.0


def take(scope: str, caller: str, limit: Limit) -> Verdict:
    """Count one request.

    Args:
        scope: what is counted; the same caller may be counted in several.
        caller: whose requests are counted together.
        limit: what is let in.
    """
    name, now = (scope, caller), time.monotonic()
    with _lock:
        lease = _leases.get(name)
        if lease is None or lease.ends <= now:
            lease = _Lease(used=0, held=0, ends=now)
        elif lease.held or lease.used >= limit.requests:
            return _spend(lease, limit, now)
        block = max(1, (limit.requests - lease.used) // _BLOCKS)
    used, seconds = _lease_block(name, limit, block)
    now = time.monotonic()
    with _lock:
        present = _leases.get(name)
        if present is None or present.ends <= now:
            _make_room(now)
            present = _leases[name] = _Lease(used=0, held=0, ends=now + seconds)
        present.used = max(present.used, used)
        present.held += max(0, block - max(0, used - limit.requests))
        return _spend(present, limit, now)


def forget() -> None:
    """Forget what this process holds."""
    with _lock:
        _leases.clear()


def _spend(lease: _Lease, limit: Limit, now: float) -> Verdict:
    allowed = lease.held > 0
    lease.held -= allowed
    remaining = lease.held + max(0, limit.requests - lease.used)
    return Verdict(allowed=allowed, limit=limit, remaining=remaining, resets_in=lease.ends - now)


def _lease_block(name: tuple[str, str], limit: Limit, block: int) -> tuple[int, float]:
    """Return how many requests of the window are leased now, these included, and in how many seconds it ends."""
    global _next_sweep
    # Keyed, so that whoever reads the table cannot try addresses until one fits.
    key = blake2b("\0".join(name).encode(), key=settings.SECRET_KEY.encode()[:64], digest_size=16).digest()
    with connection.cursor() as cursor:
        if time.monotonic() >= _next_sweep:
            _next_sweep = time.monotonic() + _SWEEP_SECONDS
            cursor.execute(_SWEEP)
        cursor.execute(_LEASE, {"key": key, "seconds": limit.seconds, "block": block})
        used, seconds = cursor.fetchone()
    return used, seconds


def _make_room(now: float) -> None:
    if len(_leases) >= _MOST_LEASES:
        for name in [name for name, lease in _leases.items() if lease.ends <= now]:
            del _leases[name]
    if len(_leases) >= _MOST_LEASES:
        _leases.clear()
