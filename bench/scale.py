"""What an order and a page cost on top of a thousand exports, and on top of a million: it has to be the same.

Two throw-away databases hold the same organisation with the same day's work; the second one has 999,000 delivered
exports of the years before as well, each with its attempt. Every call takes turns between the two. Beside the times
stands what PostgreSQL plans at the larger size: nothing may walk through a table that grows.

Run from the root: python -m bench.scale
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from typing import Any, Final
from uuid import UUID, uuid4

from bench.in_process import Caller, application
from bench.measure import Report, medians

FEW: Final = 1_000
MANY: Final = 1_000_000
BATCH: Final = 10
"""So many exports are claimed at once."""

_GROWS: Final = re.compile(r"Seq Scan on (erp_export|erp_export_attempt)\b")
_ABOUT_EXPORTS: Final = re.compile(r"\s*(SELECT|WITH)\b.*\berp_export", re.DOTALL)

# The newest are the work of today, of which a tenth waits, a tenth came to nothing and a tenth went through another
# connection: a full page of each. Of what is older one in a hundred came to nothing, and was put aside.
_EXPORTS: Final = """
    INSERT INTO erp_export (
        id, org_id, connection_id, status, order_id, "order", order_fingerprint, idempotency_key, attempts,
        outcome_unknown, held, filename, document_name, document_sha256, document_size, document_media_type,
        erp_order_id, error, warnings, actor_kind, actor_label, request_id, created_at, updated_at, sent_at,
        finished_at, dismissed_at)
    SELECT md5('export ' || n)::uuid, %(org)s,
        CASE WHEN n %% 10 = 9 AND n <= %(few)s THEN %(old)s ELSE %(connection)s END::uuid, status, 'SO-' || n,
        '{"lines": []}', repeat('0', 64), 'key-' || n, 1, false, status = 'PENDING' AND n %% 100 = 0,
        'sales_order_SO-' || n || '.json', '', repeat('0', 64), 20000, 'application/json', 'ERP-' || n,
        CASE WHEN status = 'FAILED' THEN '{"code": "DOCUMENT_INVALID", "message": "It is not valid."}'::jsonb END,
        '[]', 'API_KEY', 'shop', 'request-' || n, at, at,
        CASE WHEN status IN ('SENT', 'ACKED') THEN at + interval '1 second' END,
        CASE WHEN status IN ('ACKED', 'FAILED') THEN at + interval '1 minute' END,
        CASE WHEN status = 'FAILED' AND (n > %(few)s OR n %% 20 = 2) THEN at + interval '1 hour' END
    FROM (
        SELECT n,
            CASE
                WHEN n <= %(few)s AND n %% 10 = 0 THEN 'PENDING'
                WHEN n <= %(few)s AND n %% 20 = 1 THEN 'SENT'
                WHEN n %% 100 = 2 OR n %% 10 = 2 AND n <= %(few)s THEN 'FAILED'
                ELSE 'ACKED'
            END AS status,
            now() - n * interval '80 seconds' AS at
        FROM generate_series(%(first)s, %(last)s) AS n
    ) AS history
"""
_ATTEMPTS: Final = """
    INSERT INTO erp_export_attempt (org_id, export_id, number, started_at, finished_at, outcome, steps)
    SELECT org_id, id, 1, created_at, created_at + interval '1 second',
        CASE status WHEN 'FAILED' THEN 'FAILED' ELSE 'SENT' END, '[]'
    FROM erp_export WHERE status <> 'PENDING' AND created_at <= now() - %(first)s * interval '80 seconds'
"""

_INDICES: Final = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename IN ('erp_export', 'erp_export_attempt')
    AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""
"""Those that are faster made anew than kept up to date row by row."""


def main() -> int:
    """Print the ratios; return 1 when one is too high, or something walks through a table that grows."""
    with application():
        from django.db import connections

        few = connections["default"]
        few.close()
        few.close_pool()
        few.settings_dict["OPTIONS"].pop("pool")  # each database has one connection, which stays
        few.settings_dict["CONN_MAX_AGE"] = None
        calls = _Calls()
        _fill(1, FEW, calls)
        with _copy(few) as many, _in_use(many):
            calls.arm()
            started = time.perf_counter()
            _fill(FEW + 1, MANY, calls)
            print(f"{MANY:,} exports written in {time.perf_counter() - started:.0f} s", flush=True)
            return _measure(calls, few, many)
    return 1


def _measure(calls: _Calls, few: Any, many: Any) -> int:
    report, walks = Report(), 0
    for what, call in calls.all():
        small, large = _on(few, call), _on(many, call)
        walked = _walks(many, call)
        floor, seconds = medians(small, large, rounds=20)
        report.at_most(what, seconds, floor=floor, floor_name=f"that of {FEW:,}", times=1.5)
        for statement in walked:
            print(f"{'':<24} walks through a whole table: {statement}")
        walks += len(walked)
    return report.exit_code or int(walks > 0)


def _walks(wrapper: Any, call: Callable[[], object]) -> list[str]:
    """Return the statements of a call that read a growing table from one end to the other."""
    from django.test.utils import CaptureQueriesContext

    with _in_use(wrapper):
        with CaptureQueriesContext(wrapper) as captured:
            call()
        found = []
        for query in captured:
            if _ABOUT_EXPORTS.match(query["sql"]):
                with wrapper.cursor() as cursor:
                    cursor.execute("EXPLAIN " + query["sql"])
                    if _GROWS.search("\n".join(line for (line,) in cursor.fetchall())):
                        found.append(" ".join(query["sql"].split())[:400])
    return found


class _Calls:
    """One organisation, its people, and all that they do."""

    def __init__(self) -> None:
        from django.contrib.auth.models import User
        from django.test import Client

        from connectors.services import connections
        from tenants.actors import Actor
        from tenants.models import ApiKey, Organization, Role

        self.org = Organization.objects.create(slug="acme", name="Acme GmbH")
        actor = self.actor = Actor.system("bench")
        create = connections.create
        self.old = create(self.org, actor, connector_type="MOCK", config={}, name="Old", status="DISABLED")
        self.connection = create(self.org, actor, connector_type="MOCK", config={}, name="ERP")
        _, token = ApiKey.objects.issue(org=self.org, role=Role.INTEGRATOR, name="bench")
        self.api = Caller(f"Bearer {token}")
        self.browser = Client()
        self.browser.force_login(User.objects.create_superuser("ops"))

    def arm(self) -> None:
        """Let orders leave from a database that is a copy."""
        from connectors.services import installation

        installation.arm(self.actor)

    def all(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield each call with its name."""
        from django.utils import timezone

        yield "submit", self.submit
        yield f"claim {BATCH}", self.claim
        yield f"claim, settle {BATCH}", self.claim_and_settle
        yield "list", lambda: self.api("GET", "/api/v1/exports")
        hour = timezone.now().replace(minute=0, second=0, microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
        for what, query in (
            ("pending", "status=PENDING"),
            ("failed", "status=FAILED"),
            ("two states", "status=FAILED&status=REJECTED"),
            ("cancelled: none", "status=CANCELLED"),
            ("order", "order_id=SO-500"),
            ("unknown order", "order_id=nobody-knows-it"),
            ("file name", "filename=sales_order_SO-500.json"),
            ("connection", f"connector={self.connection.pk}"),
            ("old connection", f"connector={self.old.pk}"),
            ("after", f"created_after={hour}"),
            ("before", f"created_before={hour}"),
            ("held", "held=true"),
            ("not held", "held=false"),
            ("put aside", "dismissed=true"),
            ("not put aside", "dismissed=false"),
            ("overdue", "overdue=true"),
            ("not overdue", "overdue=false"),
        ):
            yield f"list, {what}", self.listed(query)
        yield "export", lambda: self.api("GET", f"/api/v1/exports/{self.export}")
        yield "attempts", lambda: self.api("GET", f"/api/v1/exports/{self.export}/attempts")
        yield "admin, exports", lambda: self.page("/admin/connectors/erpexport/")
        yield "admin, pending", lambda: self.page("/admin/connectors/erpexport/?status__exact=PENDING")
        yield "admin, failed", lambda: self.page("/admin/connectors/erpexport/?status__exact=FAILED")
        yield "dashboard", lambda: self.page("/admin/")
        yield "metrics", lambda: self.page("/metrics")

    export: Final = UUID(bytes=md5(b"export 500", usedforsecurity=False).digest())

    def submit(self) -> None:
        """Push an order through the service, which is the same for API, admin and command."""
        from connectors.services import exports
        from connectors.testing import sample_orders

        order = sample_orders.minimal(f"SO-new-{uuid4()}")
        exports.submit(self.org, self.actor, order, idempotency_key=str(uuid4()))

    def claim(self, *, settle: bool = False) -> None:
        """Claim the next exports; everything is undone."""
        from django.db import transaction
        from django.utils import timezone

        from connectors.results import ExportResult, Receipt
        from connectors.services import claims, verdicts

        receipt = Receipt(transport="bench", location="/in/order.json", size=1, sha256="0" * 64)
        with transaction.atomic():
            exports = claims.claim(self.connection, turn=uuid4(), most=BATCH).exports
            assert len(exports) == BATCH
            for export in exports if settle else ():
                verdict = verdicts.delivered(ExportResult(receipt=receipt), found=False)
                assert claims.settle(export, verdict, started_at=timezone.now(), steps=())
            transaction.set_rollback(True)

    def claim_and_settle(self) -> None:
        """The same, and each is delivered."""
        self.claim(settle=True)

    def listed(self, query: str) -> Callable[[], object]:
        """Return a call for one page of the list."""
        return lambda: self.api("GET", f"/api/v1/exports?{query}")

    def page(self, address: str) -> None:
        """Fetch a page as a superuser."""
        answer = self.browser.get(address)
        assert answer.status_code == 200, (address, answer.status_code)


def _fill(first: int, last: int, calls: _Calls) -> None:
    from django.db import connection

    numbers = {
        "org": calls.org.pk,
        "connection": calls.connection.pk,
        "old": calls.old.pk,
        "first": first,
        "last": last,
        "few": FEW,
    }
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no trigger, and no look at foreign keys
        cursor.execute("SET maintenance_work_mem = '512MB'")
        cursor.execute(_INDICES)
        indices = cursor.fetchall()
        for name, _ in indices:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute(_EXPORTS, numbers)
        cursor.execute(_ATTEMPTS, numbers)
        for _, definition in indices:
            cursor.execute(definition)
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM ANALYZE")


@contextmanager
def _copy(wrapper: Any) -> Iterator[Any]:
    """Copy a database; gives the copy as Django knows databases."""
    from django.db import connections

    name = wrapper.settings_dict["NAME"]
    wrapper.close()
    with wrapper._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}_many" TEMPLATE "{name}"')
    copy = connections.create_connection("default")
    copy.settings_dict = wrapper.settings_dict | {"NAME": f"{name}_many"}
    try:
        yield copy
    finally:
        copy.close()


@contextmanager
def _in_use(wrapper: Any) -> Iterator[None]:
    """Let the application use one of the two databases."""
    from django.db import connections

    before = connections["default"]
    connections["default"] = wrapper
    try:
        yield
    finally:
        connections["default"] = before


def _on(wrapper: Any, call: Callable[[], object]) -> Callable[[], None]:
    def on_that_database() -> None:
        with _in_use(wrapper):
            call()

    return on_that_database


if __name__ == "__main__":
    sys.exit(main())
