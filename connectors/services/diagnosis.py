"""Tests of connections: asked for by anybody, run by a worker, watched by whoever asked.

A test is a row from the first moment, so it outlives the request that asked for it, and whoever claims the row runs it.
That is a worker; only where no worker is alive, the one who waits for the report runs it himself, so that a lone web
process or command can test too.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from connectors.codes import Code, describe
from connectors.config import ConnectorConfig, edit
from connectors.exceptions import ConfigurationError, ConnectorError, EncryptionError, UnknownConnector
from connectors.fields import EncryptedConfigField
from connectors.models import ConnectionTest, ERPConnection, TestState, TestSubject
from connectors.port import Context, ERPConnectorPort, StepRecorder
from connectors.registry import registry
from connectors.results import StepStatus, TestResult, TestStep
from connectors.services import configurations, health, jobs, rationing, revisions
from connectors.services.contexts import OnStep, make_context
from connectors.services.errors import NothingStaged, TestHasEnded, UntestedRevision
from connectors.services.locking import Turn, locked, take
from connectors.services.pooling import DATABASE_AWAY, give_back
from connectors.services.watching import board
from tenants import scope
from tenants.actors import Actor, ActorKind
from tenants.models import Organization, record

log = structlog.get_logger(__name__)

T = TypeVar("T")

TEST_SECONDS: Final = 60.0
"""How long a whole test may take; each step inside it has the connection's own, shorter time-out."""

_LEASE: Final = timedelta(seconds=TEST_SECONDS + 30)
_PATIENCE_S: Final = 2 * TEST_SECONDS
"""How long somebody waits for a report before he is told that it is not there yet."""

_SETTLE_AGAIN_S: Final = (0.1, 0.5, 2.0, 5.0)
"""After so many seconds each, a report is stored once more that the database did not take."""

_free_here: Final = threading.BoundedSemaphore(4)
"""So many tests run at once in a process that is no worker."""


def _ignore(_: TestStep) -> None:
    """Do nothing with a step."""


# Asking


def start(connection: ERPConnection, actor: Actor, *, patch: Mapping[str, Any] | None = None) -> ConnectionTest:
    """Ask for a test of a connection as it is stored, or as it would be after an edit.

    Args:
        connection: whose ERP to talk to.
        actor: who asks for it.
        patch: an edit that is tested without being saved; the rules of `connections.change` apply to it.

    Raises:
        ConfigurationError, SecretsRequired: the patch is not valid.
        TooManyTests: the ration is used up.
    """
    if patch is None:
        return _queue_stored(connection, actor, TestSubject.STORED)
    config = edit(registry.get(connection.connector_type).Config, configurations.stored(connection), patch)
    return _queue(_row(connection, TestSubject.EDIT), actor, config)


def start_staged(connection: ERPConnection, actor: Actor) -> ConnectionTest:
    """Ask for a test with the staged credentials.

    Raises:
        NothingStaged: there are none.
        EncryptionError: they cannot be decrypted here.
        TooManyTests: the ration is used up.
    """
    slot = revisions.staged(connection)
    if slot is None:
        raise NothingStaged
    config = edit(registry.get(connection.connector_type).Config, slot.read_config(), {})
    return _queue(_row(connection, TestSubject.STAGED), actor, config)


def start_new(org: Organization, actor: Actor, *, connector_type: str, config: Mapping[str, Any]) -> ConnectionTest:
    """Ask for a test of a configuration that is not stored anywhere.

    Raises:
        UnknownConnector: there is no such type.
        ConfigurationError: the config is not valid.
        TooManyTests: the ration is used up.
    """
    parsed = edit(registry.get(connector_type).Config, {}, config)
    row = ConnectionTest(org=org, connector_type=connector_type, subject=TestSubject.NEW)
    return _queue(row, actor, parsed)


def start_check(connection: ERPConnection) -> ConnectionTest:
    """Ask for a test that writes nothing at the far end, on behalf of the system."""
    return _queue_stored(connection, Actor.system("scheduled check"), TestSubject.CHECK)


def test(
    connection: ERPConnection,
    actor: Actor,
    *,
    patch: Mapping[str, Any] | None = None,
    on_step: OnStep = _ignore,
) -> ConnectionTest:
    """Test a connection and wait for the report, after which `connection` is up to date; see `start` and `finish`."""
    report = finish(start(connection, actor, patch=patch), on_step=on_step)
    connection.refresh_from_db()
    return report


def testing(save: Callable[[], ERPConnection], actor: Actor) -> ERPConnection:
    """Store a connection and test it; what cannot be tested because the ration is used up is not stored either.

    Args:
        save: creates or changes the connection and returns it.
        actor: who does it.

    Raises:
        TooManyTests: the ration is used up.
    """
    with transaction.atomic():
        connection = save()
        report = start(connection, actor)
    finish(report)
    return connection


def proving(connection: ERPConnection, actor: Actor, activate: Callable[[], T]) -> T:
    """Do what needs a tested configuration or a reason; what was never tested is tested first.

    Args:
        connection: whose configuration it is.
        actor: who does it.
        activate: does it, or raises UntestedRevision.

    Raises:
        UntestedRevision: the test failed; its details have the report.
    """
    with suppress(UntestedRevision):
        return activate()
    report = test(connection, actor)
    if not report.success:
        raise UntestedRevision(revision=connection.revision, test=report.result)
    return activate()


def cancel(test: ConnectionTest, actor: Actor) -> ConnectionTest:
    """End a test that nobody wants to know the rest of; the worker stops before its next step.

    Raises:
        TestHasEnded: there is nothing left to cancel.
    """
    with transaction.atomic():
        row = ConnectionTest.objects.select_for_update(of=("self",)).get(pk=test.pk)
        if row.has_ended:
            raise TestHasEnded
        _end_early(row, Code.TEST_CANCELLED, TestState.CANCELLED)
        record(actor, "connection.test_cancelled", org=test.org, target=test.connection, test_id=str(test.pk))
    test.refresh_from_db()
    return test


def _row(connection: ERPConnection, subject: TestSubject) -> ConnectionTest:
    return ConnectionTest(
        org=connection.org,
        connection=connection,
        connector_type=connection.connector_type,
        subject=subject,
        revision=connection.revision,
    )


def _queue_stored(connection: ERPConnection, actor: Actor, subject: TestSubject) -> ConnectionTest:
    row = _row(connection, subject)
    with suppress(EncryptionError, ConfigurationError, UnknownConnector):  # the test itself will say so
        row.endpoint = configurations.load(connection)[1].endpoint()
    return _queue(row, actor)


def _queue(row: ConnectionTest, actor: Actor, config: ConnectorConfig | None = None) -> ConnectionTest:
    """Store a test and the job that runs it."""
    if config is not None:
        row.endpoint = config.endpoint()
        row.config_encrypted = EncryptedConfigField.of(row).seal(row, config.reveal())
    row.actor_kind, row.actor_id, row.actor_label = actor.kind, actor.id, actor.label
    row.address, row.request_id = actor.address, actor.request_id
    with transaction.atomic():
        if row.connection is not None:
            locked(row.connection)
        rationing.check(row)
        row.save(force_insert=True)
        jobs.wake_testers()
    return row


# Waiting


def finish(test: ConnectionTest, *, on_step: OnStep = _ignore) -> ConnectionTest:
    """Wait for the report, or run the test here when there is no worker to do it.

    Args:
        test: what was asked for.
        on_step: called with each step as it ends.

    Returns:
        The row; it has not ended only if that takes unusually long.
    """
    *_, row = follow(test, on_step=on_step)
    return row


def follow(test: ConnectionTest, *, on_step: OnStep = _ignore) -> Iterator[ConnectionTest]:
    """Yield the row of a test at once, whenever it changes and every few seconds, until it has ended."""
    told = 0
    with board.follow(test.pk, seconds=_PATIENCE_S) as news:
        for row in news:
            if not row.has_ended and not jobs.has_worker():
                _end_lost()
                ran_here = row.state == TestState.QUEUED and _run_here(row, on_step)
                row.refresh_from_db()
                if ran_here:
                    told = len(row.result["steps"])
            for step in row.result.get("steps", ())[told:]:
                on_step(_step(step))
                told += 1
            yield row
            if row.has_ended:
                return


def events(test: ConnectionTest) -> Iterator[str]:
    """Yield a test as server-sent events: `test` with its id, each `step` as it ends, and the report as `result`.

    A comment every few seconds keeps the line from being cut. Without a worker all steps come at the end. What goes
    wrong here, after the status was sent, is told as `problem`; the test itself goes on.
    """
    yield _event("test", {"id": str(test.pk)})
    try:
        with scope.only(test.org_id):  # that of the request has ended by now
            yield from _report_events(test)
    except Exception as error:
        log.error("tests.stream_broken", test_id=str(test.pk), exc_info=error)
        text = describe(Code.INTERNAL_ERROR)
        yield _event("problem", {"code": Code.INTERNAL_ERROR, "detail": text.message, "hint": text.hint})


def _report_events(test: ConnectionTest) -> Iterator[str]:
    told = 0
    for row in follow(test):
        steps = row.result.get("steps", [])
        yield "".join(_event("step", step) for step in steps[told:]) or ": waiting\n\n"
        told = len(steps)
    if row.has_ended:
        yield _event("result", row.result)


def _event(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _run_here(test: ConnectionTest, on_step: OnStep) -> bool:
    """Run a test in this process; return False when it has enough to do, or somebody else has claimed the test."""
    if not _free_here.acquire(blocking=False):
        return False
    try:
        row = _claim(test.pk)
        if row is not None:
            _run(row, on_step)
        return row is not None
    finally:
        _free_here.release()


def _step(plain: Mapping[str, Any]) -> TestStep:
    code = Code(plain["code"]) if plain["code"] else None
    return TestStep(**{**plain, "status": StepStatus(plain["status"]), "code": code})


# Running


def run_next() -> bool:
    """Run the test that has waited longest; return False when none may start right now."""
    row = _claim()
    if row is None:
        return False
    _run(row)
    return True


def recover() -> None:
    """End the tests that are lost, and see to it that those that wait are run."""
    _end_lost()
    if ConnectionTest.objects.filter(state=TestState.QUEUED).exists():
        jobs.wake_testers()


def detach(connection: ERPConnection) -> None:
    """End the tests of a locked connection that is about to be deleted, and keep them: they count in the rations."""
    tests = ConnectionTest.objects.filter(connection=connection)
    for row in tests.unfinished().select_for_update(of=("self",)):
        _end_early(row, Code.TEST_CANCELLED, TestState.CANCELLED)
    tests.update(connection=None)


def _end_lost() -> None:
    lost = ConnectionTest.objects.lost()
    for test_id in lost.values_list("pk", flat=True):
        with transaction.atomic():
            row = lost.select_for_update(of=("self",), skip_locked=True).filter(pk=test_id).first()
            if row is not None:
                _end_early(row, Code.TEST_INTERRUPTED, TestState.FINISHED)


def _claim(test_id: UUID | None = None) -> ConnectionTest | None:
    """Take a waiting test, the longest waiting one by default, unless its organisation has enough of them running."""
    with transaction.atomic():
        take(Turn.CLAIM_TEST)
        running = ConnectionTest.objects.running().values("org").annotate(count=Count("pk"))
        busy = running.filter(count__gte=settings.TESTS_AT_ONCE).values("org")
        waiting = ConnectionTest.objects.filter(state=TestState.QUEUED).exclude(org__in=busy)
        if test_id is not None:
            waiting = waiting.filter(pk=test_id)
        # Whoever is just cancelling one has it locked.
        waiting = waiting.select_for_update(of=("self",), skip_locked=True)
        row = waiting.select_related("org", "connection").order_by("started_at").first()
        if row is None:
            return None
        row.state, row.claim, row.started_at = TestState.RUNNING, uuid4(), timezone.now()
        row.leased_until = row.started_at + _LEASE
        if row.connection is not None and row.config_encrypted is None:
            row.revision = row.connection.revision
        row.save(update_fields=["state", "claim", "started_at", "leased_until", "revision"])
    claimed: ConnectionTest = row
    return claimed


def _run(row: ConnectionTest, on_step: OnStep = _ignore) -> None:
    """Run a claimed test and settle it."""
    with (
        scope.only(row.org_id),
        structlog.contextvars.bound_contextvars(
            test_id=str(row.pk), **({"request_id": row.request_id} if row.request_id else {})
        ),
    ):
        _settle(row, _diagnose(row, _Progress(row, on_step)))


class _Progress:
    """Publishes each step as it ends, and finds out whether anybody still wants the next one."""

    def __init__(self, row: ConnectionTest, on_step: OnStep) -> None:
        self._held = ConnectionTest.objects.filter(pk=row.pk, claim=row.claim, state=TestState.RUNNING)
        self._on_step = on_step
        self._steps: list[TestStep] = []
        self._is_cancelled = False

    def note(self, step: TestStep) -> None:
        """Publish a step."""
        self._steps.append(step)
        so_far = TestResult(steps=tuple(self._steps), latency_ms=sum(each.latency_ms for each in self._steps))
        try:
            self._is_cancelled = not self._held.update(result=so_far.as_json() | {"success": None})
        except DATABASE_AWAY:  # the next step tells of this one too
            log.warning("tests.step_not_published")
        give_back()
        self._on_step(step)

    def is_cancelled(self) -> bool:
        """Return whether the test has been taken from us, as of the last step."""
        return self._is_cancelled


def _diagnose(row: ConnectionTest, progress: _Progress) -> TestResult:
    try:
        connector, config = _what_to_test(row)
    except EncryptionError:
        return _failed_before_start(progress, Code.UNREADABLE_CONFIG)
    except ConfigurationError:
        return _failed_before_start(progress, Code.CONFIGURATION_INVALID)
    except UnknownConnector as error:
        known = ", ".join(error.known)
        return _failed_before_start(progress, error.code, connector_type=error.connector_type, known=known)
    common = make_context(
        row.org,
        seconds=TEST_SECONDS,
        # An unsaved edit may lead elsewhere on purpose.
        connection=row.connection if row.subject != TestSubject.EDIT else None,
        on_step=progress.note,
        is_cancelled=progress.is_cancelled,
    )
    return _call(connector, config, Context(**common, may_write=row.subject != TestSubject.CHECK))


def _what_to_test(row: ConnectionTest) -> tuple[ERPConnectorPort[Any], ConnectorConfig]:
    if row.config_encrypted is None:
        assert row.connection is not None  # only a configuration of its own can do without a connection
        return configurations.load(row.connection)
    connector = registry.get(row.connector_type)
    return connector, edit(connector.Config, EncryptedConfigField.of(row).open(row), {})


def _failed_before_start(progress: _Progress, code: Code, **params: Any) -> TestResult:
    steps = StepRecorder(on_step=progress.note)
    with suppress(ConnectorError), steps.step("configuration"):
        raise ConnectorError(code, **params)
    return steps.result()


def _call(connector: ERPConnectorPort[Any], config: ConnectorConfig, context: Context) -> TestResult:
    give_back()
    try:
        return connector.test_connection(config, context)
    except Exception as error:  # an adapter's fault must end as a failed test, not as a 500
        log.error("connection.adapter_fault", connector_type=connector.connector_type, exc_info=error)
    if not any(step.status is StepStatus.FAILED for step in context.steps.steps):
        with suppress(ConnectorError), context.steps.step("test"):
            raise ConnectorError(Code.INTERNAL_ERROR)
    return context.steps.result()


# Settling


def _settle(row: ConnectionTest, result: TestResult) -> None:
    """Store the report; not at the first attempt if a database connection is cut just then."""
    for seconds in _SETTLE_AGAIN_S:
        try:
            return _store(row, result)
        except DATABASE_AWAY:
            log.warning("tests.report_not_stored")
        give_back()
        time.sleep(seconds)
    return _store(row, result)


def _store(row: ConnectionTest, result: TestResult) -> None:
    """Store the report, and what it says of the connection, unless the test was taken from us meanwhile."""
    failed = result.failed_step
    code = (failed.code or "") if failed else ""
    with transaction.atomic():
        if row.connection is not None:  # before the test, as everybody locks them
            ERPConnection.objects.select_for_update(no_key=True).filter(pk=row.connection_id).first()
        held = ConnectionTest.objects.filter(pk=row.pk, claim=row.claim, state=TestState.RUNNING)
        if not held.update(
            state=TestState.FINISHED,
            success=result.success,
            code=code,
            latency_ms=result.latency_ms,
            result=result.as_json(),
            config_encrypted=None,
            leased_until=None,
        ):
            return
        if row.connection is not None:
            _note(row, row.connection, result, code)
        if row.actor_kind != ActorKind.SYSTEM or row.subject != TestSubject.CHECK:
            _record(row, success=result.success, code=code)
    log.info(
        "connection.tested",
        connection_id=str(row.connection_id) if row.connection_id else None,
        connector_type=row.connector_type,
        subject=row.subject,
        success=result.success,
        code=code or None,
        latency_ms=result.latency_ms,
    )


def _note(row: ConnectionTest, connection: ERPConnection, result: TestResult, code: str) -> None:
    """Let the connection know what its test has shown."""
    if row.subject == TestSubject.STAGED and result.success:
        revisions.note_success(connection, EncryptedConfigField.of(row).open(row))
    if row.subject not in (TestSubject.STORED, TestSubject.CHECK):
        return
    by_person = row.subject == TestSubject.STORED
    health.note_test(
        connection,
        revision=row.revision or 0,
        started_at=row.started_at,
        success=result.success,
        code=code,
        by_person=by_person,
    )
    if result.success and by_person and result.identity is not None:
        _pin(connection, row.revision or 0, result.identity.as_json())


def _pin(connection: ERPConnection, revision: int, identity: dict[str, Any]) -> None:
    """Remember who the far end is, the first time it says so."""
    unknown = ERPConnection.objects.filter(pk=connection.pk, revision=revision, pinned_identity__isnull=True)
    if any(identity.values()) and unknown.update(pinned_identity=identity):
        record(Actor.system("connection test"), "connection.identity_pinned", org=connection.org, target=connection)


def _record(row: ConnectionTest, *, success: bool, code: str) -> None:
    actor = Actor(
        kind=ActorKind(row.actor_kind),
        id=row.actor_id,
        label=row.actor_label,
        address=row.address,
        request_id=row.request_id,
    )
    record(
        actor,
        "connection.tested",
        org=row.org,
        target=row.connection,
        connector_type=row.connector_type,
        success=success,
        code=code,
        subject=row.subject,
        revision=row.revision,
    )


def _end_early(row: ConnectionTest, code: Code, state: TestState) -> None:
    """End a locked test whose report will not be complete."""
    text = describe(code)
    steps = tuple(_step(step) for step in row.result.get("steps", ()))
    last = TestStep(name="test", status=StepStatus.FAILED, detail=text.message, code=code, hint=text.hint)
    report = TestResult(steps=(*steps, last), latency_ms=sum(step.latency_ms for step in steps))
    row.state, row.success, row.code, row.result = state, False, str(code), report.as_json()
    row.latency_ms, row.config_encrypted, row.leased_until = report.latency_ms, None, None
    row.save(update_fields=["state", "success", "code", "result", "latency_ms", "config_encrypted", "leased_until"])
    log.warning("connection.test_ended_early", test_id=str(row.pk), code=str(code))
