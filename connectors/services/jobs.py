"""What sets the workers going: jobs as rows of the caller's transaction.

A job carries only the id of a connection; what there is to do stands in `erp_export`. So a lost job loses nothing, a
second one does no harm, and the sweep starts whatever was left lying.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection as database
from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.manager import JobManager
from procrastinate.tasks import configure_task

from connectors.models import ConnectionStatus, ERPConnection, ERPExport
from connectors.services import gates

# Named, not imported: tasks are built on services, never the other way round.
DRAIN: Final = "connectors.tasks.drain_connection"
POLL: Final = "connectors.tasks.poll_due"
TEST: Final = "connectors.tasks.run_tests"

_HEARTBEAT: Final = timedelta(seconds=30)
"""A worker that said nothing for so long is gone; a living one says something every ten seconds."""

# Always Django's own connection, also inside a worker, whose app brings another one: the job commits with the rows.
_manager: Final = JobManager(connector=DjangoConnector())


def wake(connection_id: UUID | str) -> None:
    """Let a worker send what is due through this connection, once the caller's transaction commits.

    There is no queueing lock: a job that waits already might run before that commit and miss the new row.
    """
    configure_task(name=DRAIN, job_manager=_manager).defer(connection_id=str(connection_id))


def wake_at(connection_id: UUID | str, moment: datetime) -> bool:
    """Let a worker look after this connection at a later moment.

    Returns:
        False when that is planned already for this moment.
    """
    return _enqueue_once(DRAIN, connection_id, schedule_at=moment)


def wake_due() -> int:
    """Let a worker begin with every connection that could send something now, or look something up.

    Returns:
        How many connections were woken.
    """
    exports = ERPExport.objects.filter(connection=OuterRef("pk"))
    moment = Coalesce("next_attempt_at", "created_at")
    # Only the heads of the lines: those behind one that has to wait, wait for it.
    connections = ERPConnection.objects.usable().annotate(
        send_at=Subquery(exports.in_line().values_list(moment)[:1]),
        look_up_at=Subquery(exports.in_line(only_look_ups=True).values_list(moment)[:1]),
    )
    sends, now = Q(status=ConnectionStatus.ACTIVE, paused_at=None), timezone.now()
    due = connections.filter((sends & Q(send_at__lte=now)) | (~sends & Q(look_up_at__lte=now)))
    return sum(
        _enqueue_once(DRAIN, row.pk)
        for row in due.defer("config_encrypted")
        if gates.gate_of(row, now=now, most=1).room
    )


def absorb(connection_id: UUID | str) -> None:
    """Take over the jobs that wait to do what the caller does now: a long queue of one connection delays nobody else.

    To be called before the first claim, which then sees every export that such a job was committed with.
    """
    with database.cursor() as cursor:
        cursor.execute(_ABSORB, [DRAIN, str(connection_id)])


def others_wait(connection_id: UUID | str) -> bool:
    """Return whether another connection's job waits for a free worker."""
    waiting = ProcrastinateJob.objects.filter(_NOW_OR_BEFORE, status="todo")
    return bool(waiting.exclude(args__connection_id=str(connection_id)).exists())


def wake_pollers(count: int) -> None:
    """Let workers fetch the acknowledgements whose time has come, with so many threads at first."""
    for _ in range(count):
        configure_task(name=POLL, job_manager=_manager).defer()


def wake_testers() -> None:
    """Let a worker run the tests that wait, once the caller's transaction commits."""
    configure_task(name=TEST, job_manager=_manager).defer()


def has_worker() -> bool:
    """Return whether any worker is alive."""
    alive: bool = ProcrastinateWorker.objects.filter(last_heartbeat__gt=timezone.now() - _HEARTBEAT).exists()
    return alive


_NOW_OR_BEFORE: Final = Q(scheduled_at=None) | Q(scheduled_at__lte=Now())

_ABSORB: Final = """
    DELETE FROM procrastinate_jobs WHERE id IN (
        SELECT id FROM procrastinate_jobs
         WHERE status = 'todo' AND task_name = %s AND args->>'connection_id' = %s
           AND (scheduled_at IS NULL OR scheduled_at <= now())
           FOR UPDATE SKIP LOCKED)
"""


def _enqueue_once(task: str, connection_id: UUID | str, *, schedule_at: datetime | None = None) -> bool:
    lock = f"{task.rpartition('.')[2]}:{connection_id}"
    if schedule_at is not None:  # what was planned once must not stand in the way when it turns out to be too late
        lock += f"@{schedule_at.isoformat()}"
    job = configure_task(name=task, job_manager=_manager, queueing_lock=lock, schedule_at=schedule_at)
    with suppress(AlreadyEnqueued), transaction.atomic():  # a savepoint: the refusal must not spoil the caller's work
        job.defer(connection_id=str(connection_id))
        return True
    return False
