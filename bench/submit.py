"""An order submitted through the API, in CPU time of the serving process, against a bare DRF create with one job.

Ours: API key, role, throttle, idempotency, one live export per order, strict JSON, exact amounts, audit trail. The
floor is `bench.stock`: its serializers look into the order; beside it stands one that stores whatever comes.

Run from the root: python -m bench.submit
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from bench.in_process import Caller, application
from bench.measure import Report, medians


def main() -> int:
    """Print the ratio; return 1 when the target is missed."""
    with application():
        from django.test import override_settings

        with override_settings(ROOT_URLCONF="bench.stock"):
            return _measure()


def _measure() -> int:
    from bench import stock
    from connectors.services import connections
    from connectors.testing.sample_orders import large_input
    from tenants.actors import Actor
    from tenants.models import ApiKey, Organization, Role

    org = Organization.objects.create(slug="acme", name="Acme GmbH")
    connection = connections.create(org, Actor.system("bench"), connector_type="MOCK", config={})
    _, token = ApiKey.objects.issue(org=org, role=Role.INTEGRATOR, name="bench")
    numbers = count()
    order: dict[str, Any] = large_input(3)

    def push(caller: Caller, address: str) -> Callable[[], object]:
        def call() -> None:
            number = next(numbers)
            key = f"key-{number}"
            body = {"order": order | {"order_id": f"SO-{number}"}}
            if not address.startswith("/api/"):
                body["idempotency_key"] = key
            caller("POST", address, json.dumps(body).encode(), HTTP_IDEMPOTENCY_KEY=key)

        return call

    seconds, stock_seconds, bare_seconds = medians(
        push(Caller(f"Bearer {token}"), "/api/v1/exports"),
        push(stock.StockCaller(stock.sign_in(connection)), "/stock/exports"),
        push(stock.StockCaller("Token " + "0" * 40), "/bare/exports"),
        rounds=300,
        clock=time.process_time,
    )
    report = Report()
    report.at_most("submit, CPU", seconds, floor=stock_seconds, floor_name="stock DRF create", times=1.5)
    print(f"{'':<24} {seconds / bare_seconds:.2f}x of one that does not look into the order")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
