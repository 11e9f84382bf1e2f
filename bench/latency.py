"""How soon after its commit the delivery of an order begins, with a worker process that has nothing else to do.

Run from the root: python -m bench.latency
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Final

from bench.durable_postgres import durable_postgres
from bench.in_process import application
from bench.measure import Report

ORDERS: Final = 200
PAUSE_S: Final = 0.05


def main() -> int:
    """Print the percentiles; return 1 when a target is missed."""
    with durable_postgres(), application():
        from procrastinate.contrib.django.models import ProcrastinateWorker

        worker = subprocess.Popen(
            [sys.executable, "manage.py", "procrastinate", "worker"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not ProcrastinateWorker.objects.exists():
                time.sleep(0.05)
            time.sleep(2)  # its periodic tasks run at once
            seconds = sorted(_measure())
        finally:
            worker.terminate()
            worker.wait()
    report = Report()
    report.under("commit to start, p50", statistics.median(seconds), limit=0.010)
    report.under("commit to start, p99", seconds[round(0.99 * len(seconds)) - 1], limit=0.040)
    return report.exit_code


def _measure() -> list[float]:
    from connectors.models import ExportAttempt
    from connectors.services import connections, exports
    from connectors.testing import sample_orders
    from tenants.actors import Actor
    from tenants.models import Organization

    actor = Actor.system("bench")
    org = Organization.objects.create(slug="acme", name="Acme GmbH")
    connections.create(org, actor, connector_type="MOCK", config={})
    committed = {}
    for number in range(ORDERS):
        order = sample_orders.minimal(f"SO-{number}")
        exports.submit(org, actor, order, idempotency_key=order.order_id)
        committed[order.order_id] = time.time()
        time.sleep(PAUSE_S)
    while ExportAttempt.objects.count() < ORDERS:
        time.sleep(0.1)
    begun = ExportAttempt.objects.values_list("export__order_id", "started_at")
    return [started_at.timestamp() - committed[order_id] for order_id, started_at in begun]


if __name__ == "__main__":
    sys.exit(main())
