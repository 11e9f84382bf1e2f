"""What sets the workers going: jobs as rows of the caller's transaction.

A job carries only the id of a connection; what there is to do stands in `erp_export`. So a lost job loses nothing, a
second one does no harm, and the sweep starts whatever was left lying.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateWorker
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.manager import JobManager
from procrastinate.tasks import configure_task

from connectors.models import ERPConnection, ERPExport

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


def wake_due() -> int:
    """Let a worker begin with every connection that could send something now, or look something up.

    Returns:
        How many connections were woken.
    """
    startable = ERPExport.objects.startable().filter(connection=OuterRef("pk"))
    ids = ERPConnection.objects.usable().filter(Exists(startable)).values_list("pk", flat=True)
    return sum(_enqueue_once(DRAIN, connection_id) for connection_id in ids)


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


def _enqueue_once(task: str, connection_id: UUID) -> bool:
    lock = f"{task.rpartition('.')[2]}:{connection_id}"
    with suppress(AlreadyEnqueued), transaction.atomic():  # a savepoint: the refusal must not spoil the caller's work
        configure_task(name=task, job_manager=_manager, queueing_lock=lock).defer(connection_id=str(connection_id))
        return True
    return False
