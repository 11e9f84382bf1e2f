"""What the workers run. Each task carries only ids and calls one service; each runs in a thread of its own.

No task has a procrastinate `lock` or `retry`: a killed worker's job stays behind as "doing" and would block its lock,
and when to try again stands in `erp_export`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog
from django.conf import settings
from procrastinate import JobContext
from procrastinate.contrib.django import app
from procrastinate.jobs import Status

from connectors.services import (
    acknowledgements,
    audit_seals,
    checks,
    delivery,
    diagnosis,
    digest,
    installation,
    jobs,
    retention,
    webhook_sending,
)
from connectors.services.acknowledgements import pollers
from connectors.services.pooling import give_back
from connectors.services.testers import testers
from connectors.services.webhook_sending import senders
from tenants import scope
from tenants.actors import Actor

_URGENT: Final = 10
"""The sweep must not wait behind the work that it is there to start."""

_NIGHT: Final = 2
"""The hour, in UTC, in which the whole document storage is listed."""

_FINISH_SECONDS: Final = 8.0
_SETTLE_SECONDS: Final = 6.0
"""When a worker is told to stop, what is under way has so long to come to its end, and then, broken off, to be settled;
together less than the 20 s after which a supervisor kills."""


async def _in_thread(work: Callable[[], object]) -> None:
    """Run `work` in a thread that keeps no process alive, and give its database connection back at the end."""
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    done: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        error: BaseException | None = None
        try:
            context.run(work)
        except BaseException as raised:
            error = raised
        finally:
            give_back()
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(_conclude, done, error)

    threading.Thread(target=run, name="task", daemon=True).start()
    await done


def _conclude(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _every(seconds: int) -> str:
    """Return the cron expression, with seconds as sixth field, of the nearest rhythm that cron can say."""
    if seconds < 60:
        return f"* * * * * */{seconds}"
    if seconds < 3600:
        return f"*/{seconds // 60} * * * *"
    return f"0 */{min(seconds // 3600, 23)} * * *"


@app.task(name=jobs.DRAIN, pass_context=True)
async def drain_connection(context: JobContext, *, connection_id: str) -> None:
    """Send what is due through one connection; a worker that is told to stop claims nothing more."""
    turn = delivery.Turn(connection_id)
    with structlog.contextvars.bound_contextvars(job_id=context.job.id, connection_id=connection_id):
        work = asyncio.ensure_future(_in_thread(turn.run))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        turn.stop()
        if not (await asyncio.wait([work], timeout=_FINISH_SECONDS))[0]:
            turn.cut()
            await asyncio.wait([work], timeout=_SETTLE_SECONDS)


@app.task(name=jobs.POLL, priority=_URGENT)
def poll_due() -> None:
    """Fetch the acknowledgements that are due, in threads of their own: slow ones keep no order waiting."""
    pollers.call_one()


@app.task(name=jobs.TEST, priority=_URGENT)
def run_tests() -> None:
    """Run the tests that wait, in threads of their own: a far end that does not answer keeps no order waiting."""
    testers.call_one()


@app.periodic(cron=_every(settings.SWEEP_SECONDS))
@app.task(queueing_lock="sweep", priority=_URGENT)
@scope.everything()
def sweep(timestamp: int) -> None:  # noqa: ARG001  # procrastinate passes the scheduled time
    """Pick up what was left lying, and look after the connections whose time has come."""
    delivery.sweep()
    diagnosis.recover()
    checks.start_due()
    acknowledgements.announce_overdue()


@app.periodic(cron=_every(settings.ACK_POLL_SECONDS))
@app.task(queueing_lock="poll_acknowledgements", priority=_URGENT)
@scope.everything()
def poll_acknowledgements(timestamp: int) -> None:  # noqa: ARG001  # procrastinate passes the scheduled time
    """Let every ERP be asked for its answers."""
    jobs.wake_pollers(min(acknowledgements.due().count(), settings.ACK_POLLS_AT_ONCE))


@app.periodic(cron=_every(settings.WEBHOOK_SECONDS))
@app.task(queueing_lock="send_webhooks", priority=_URGENT)
def send_webhooks(timestamp: int) -> None:  # noqa: ARG001  # procrastinate passes the scheduled time
    """Tell the webhooks what happened, in threads of their own."""
    senders.call_one()


@app.periodic(cron="* * * * *")
@app.task(queueing_lock="seal_audit")
async def seal_audit(timestamp: int) -> None:  # noqa: ARG001  # procrastinate passes the scheduled time
    """Seal what the audit trail has grown by."""
    await _in_thread(scope.everything()(audit_seals.seal_grown))


@app.periodic(cron="*/10 * * * *")
@app.task(queueing_lock="send_digests")
async def send_digests(timestamp: int) -> None:  # noqa: ARG001  # procrastinate passes the scheduled time
    """Tell people once a day what needs them."""
    await _in_thread(scope.everything()(digest.send_due))


@app.periodic(cron="7 * * * *")
@app.task(queueing_lock="keep_house")
@scope.everything()
def keep_house(timestamp: int) -> None:  # noqa: ARG001  # procrastinate passes the scheduled time
    """Warn of credentials that expire, and forget what is no longer kept."""
    webhook_sending.forget_old()
    checks.announce_expiries()
    checks.forget_old_tests()


@app.periodic(cron="37 * * * *")
@app.task(queueing_lock="purge")
async def purge(timestamp: int) -> None:
    """Remove what organisations keep no longer; once a day also what no export names."""

    @scope.everything()
    def work() -> None:
        if installation.is_armed():
            at_night = datetime.fromtimestamp(timestamp, UTC).hour == _NIGHT
            for _ in retention.purge(Actor.system("retention"), orphans=at_night):
                pass

    await _in_thread(work)  # a worker that is told to stop does not wait for it


@app.periodic(cron="*/10 * * * *")
@app.task(queueing_lock="clear_jobs", pass_context=True)
async def clear_jobs(context: JobContext, timestamp: int) -> None:  # noqa: ARG001  # procrastinate passes the time
    """Forget the jobs of killed workers, and those that ended more than a day ago."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs():
        await manager.finish_job(job=job, status=Status.FAILED, delete_job=True)
    await manager.delete_old_jobs(nb_hours=24, include_failed=True, include_cancelled=True, include_aborted=True)
