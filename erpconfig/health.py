"""What machines ask: is this process alive, may it get requests, and what has it counted."""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from threading import Lock
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from connectors.fields import key_ring
from connectors.services import keys
from connectors.services.backlog import backlog
from connectors.services.metrics import DatabaseCollector
from erpconfig.problems import problem
from tenants import scope

log = structlog.get_logger(__name__)


@never_cache
@require_safe
def livez(_: HttpRequest) -> HttpResponse:
    """Say that this process answers; it asks nobody else, so that a broken database restarts no web server."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
@scope.everything()
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether this process can do its work: 200, or 503 with the name of the first check that failed."""
    checks = READINESS + QUEUE if settings.READY_NEEDS_WORKER else READINESS
    for name, check, detail in checks:
        try:
            passed = check()
        except Exception:  # whatever it is, we are not ready; the log has the type and the place
            log.exception("readiness_check_failed", check=name)
            passed = False
        if not passed:
            return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, code="NOT_READY", detail=detail, check=name)
    return JsonResponse({"status": "ok", "checks": [name for name, _, _ in checks]})


@never_cache
@require_safe
@scope.everything()
def metrics(request: HttpRequest) -> HttpResponse:
    """Expose the counters to the networks in METRICS_ALLOWED_NETWORKS; to others it does not exist."""
    if not _is_allowed(request.META.get("REMOTE_ADDR", "")):
        return problem(request, HTTPStatus.NOT_FOUND, code="NOT_FOUND", detail="There is nothing at this address.")
    text = generate_latest(_counted()) + _stored.text()
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def _is_allowed(address: str) -> bool:
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:  # whoever comes by a socket of the machine has none
        return False
    return any(caller in network for network in settings.METRICS_ALLOWED_NETWORKS)


def _counted() -> CollectorRegistry:
    """Return what this process counted, or what all of them did when they count into one folder."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


class _Stored:
    """What stands in the database, whichever process put it there; asked for once in a while, not by every scrape."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._text = b""
        self._read_at = -math.inf
        self._registry = CollectorRegistry()
        self._registry.register(DatabaseCollector())

    def text(self) -> bytes:
        """Return the gauges, as they were METRICS_CACHE_SECONDS ago at worst."""
        with self._lock:  # who comes meanwhile gets what the first one finds
            if time.monotonic() - self._read_at >= settings.METRICS_CACHE_SECONDS:
                self._text = generate_latest(self._registry)
                self._read_at = time.monotonic()
            return self._text


def _database_answers() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def _migrations_are_applied() -> bool:
    applied = set(MigrationRecorder(connection).applied_migrations())
    return _migrations_of_this_release() <= applied or _has_nothing_to_migrate()


@cache
def _migrations_of_this_release() -> frozenset[tuple[str, str]]:
    """Return what the files of this release say; reading them takes longer than anything else here."""
    return frozenset(MigrationLoader(None).graph.nodes)


def _has_nothing_to_migrate() -> bool:
    """Return what `migrate` would find, which also knows of squashed migrations."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _key_ring_is_whole() -> bool:
    ring = key_ring()
    row, config = UUID(int=0), {"probe": "ready"}
    if ring.open(ring.seal(config, org_id=row, record_id=row), org_id=row, record_id=row) != config:
        return False
    return keys.is_fit_to_serve()


def _queue_is_served() -> bool:
    now = backlog()
    return now.workers > 0 and now.oldest_s <= settings.READY_JOB_SECONDS


_stored: Final = _Stored()


_Check = tuple[str, Callable[[], bool], str]

READINESS: Final[tuple[_Check, ...]] = (
    ("database", _database_answers, "The database does not answer."),
    ("migrations", _migrations_are_applied, "The database lacks migrations. Run: python manage.py migrate"),
    ("encryption", _key_ring_is_whole, "A master key is missing or wrong. Run: python manage.py encryption_status"),
)
QUEUE: Final[tuple[_Check, ...]] = (
    (
        "queue",
        _queue_is_served,
        "No worker is alive, or a job has waited too long. Start: manage.py procrastinate worker",
    ),
)
"""Only where a worker is expected: web servers can take orders without one."""
