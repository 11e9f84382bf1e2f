"""What machines ask: is this process alive, may it get requests, and what has it counted."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from connectors.encryption.keyring import KeyRing, parse_master_key
from connectors.services.metrics import ConnectionCollector
from erpconfig.problems import problem

log = structlog.get_logger(__name__)


@never_cache
@require_safe
def livez(_: HttpRequest) -> HttpResponse:
    """Say that this process answers; it asks nobody else, so that a broken database restarts no web server."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether this process can do its work: 200, or 503 with the name of the first check that failed."""
    for name, check, detail in READINESS:
        try:
            passed = check()
        except Exception:  # whatever it is, we are not ready; the log has the type and the place
            log.exception("readiness_check_failed", check=name)
            passed = False
        if not passed:
            return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, code="NOT_READY", detail=detail, check=name)
    return JsonResponse({"status": "ok", "checks": [name for name, _, _ in READINESS]})


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Expose the counters to the networks in METRICS_ALLOWED_NETWORKS; to others it does not exist."""
    if not _is_allowed(request.META.get("REMOTE_ADDR", "")):
        return problem(request, HTTPStatus.NOT_FOUND, code="NOT_FOUND", detail="There is nothing at this address.")
    text = generate_latest(_counted()) + generate_latest(_stored())
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


def _stored() -> CollectorRegistry:
    """Return what stands in the database, whichever process put it there."""
    registry = CollectorRegistry()
    registry.register(ConnectionCollector())
    return registry


def _database_answers() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def _migrations_are_applied() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _key_ring_opens_what_it_seals() -> bool:
    ring = KeyRing(parse_master_key(settings.ENCRYPTION_MASTER_KEY, name="ENCRYPTION_MASTER_KEY"))
    row, config = UUID(int=0), {"probe": "ready"}
    return ring.open(ring.seal(config, org_id=row, record_id=row), org_id=row, record_id=row) == config


READINESS: Final[tuple[tuple[str, Callable[[], bool], str], ...]] = (
    ("database", _database_answers, "The database does not answer."),
    ("migrations", _migrations_are_applied, "The database lacks migrations. Run: python manage.py migrate"),
    ("encryption", _key_ring_opens_what_it_seals, "The key ring cannot open what it sealed."),
)
