"""What the workers have before them, and whether there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db import connection

_MANY: Final = 100_000

_BACKLOG: Final = """
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM procrastinate_jobs
            WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) LIMIT %s
        ) counted),
        coalesce((SELECT extract(epoch FROM now() - max(at)) FROM procrastinate_events WHERE job_id = (
            SELECT id FROM procrastinate_jobs
            WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) ORDER BY id LIMIT 1
        )), 0)::float8,
        (SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '30 seconds')
"""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """The queue at one moment."""

    jobs: int
    """Which a worker could begin with now; 100,000 stands for more."""
    oldest_s: float
    """For how long the oldest of them has been due."""
    workers: int
    """That gave a sign of life in the last 30 seconds; a living one does so every ten."""


def backlog() -> Backlog:
    """Return what waits for a worker right now."""
    with connection.cursor() as cursor:
        cursor.execute(_BACKLOG, [_MANY])
        jobs, oldest_s, workers = cursor.fetchone()
    return Backlog(jobs=jobs, oldest_s=max(0.0, oldest_s), workers=workers)
