"""What fifty far ends that never answer do to everybody else: the API's latency with and without their tests running.

A web server and a worker run as in production on a throw-away PostgreSQL; fifty organisations ask for the test of a
connection to a port that swallows every attempt, all at once and each waiting for its report.

Run from the root: python -m bench.blackholes
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import django
import httpx2
from django.core.management import call_command

from bench.measure import Report
from erpconfig.paths import BASE_DIR
from erpconfig.testing.postgres import TestRun
from tenants import scope

TESTS = 50
TIMEOUT_S = 10
REQUESTS = 400


def main() -> int:
    """Print the ratio; return 1 when the target is missed."""
    run = TestRun()
    try:
        run.prepare_environment()
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "erpconfig.settings",
            "LOG_LEVEL": "ERROR",
            "EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TESTS_PER_MINUTE_AND_DESTINATION": "1000",
        }
        django.setup()
        scope.enter(scope.EVERYTHING)
        call_command("migrate", verbosity=0)
        with blackhole() as port, application() as url:
            keys = _organisations(port)
            return _measure(url, keys)
    finally:
        from django.db import connections

        connections.close_all()
        connections["default"].pool.close()
        run.end()


def _measure(url: str, keys: list[tuple[str, str]]) -> int:
    with httpx2.Client(base_url=url, timeout=60) as client:
        _latencies(client, keys)  # the first requests pay for imports and caches
        idle = _latencies(client, keys)
        with ThreadPoolExecutor(TESTS) as crowd:
            reports = [crowd.submit(_test, url, *key) for key in keys]
            time.sleep(1)  # all of them have been asked for
            busy = _latencies(client, keys)
            during = sum(not report.done() for report in reports)
            codes = {report.result() for report in reports}
    report = Report()
    report.at_most("API p99, 50 blackholes", p99(busy), floor=p99(idle), floor_name="idle p99", times=2)
    print(f"median {statistics.median(busy) / statistics.median(idle):.2f}x of idle; {during} tests were still running")
    print(f"the tests ended with {', '.join(sorted(codes))}")
    return report.exit_code or int(codes != {"CONNECTION_TIMEOUT"}) or int(during == 0)


def _latencies(client: httpx2.Client, keys: list[tuple[str, str]]) -> list[float]:
    """Return how long each of many calls of the API took, at a rate that leaves the machine room."""
    seconds = []
    for number in range(REQUESTS):
        _, token = keys[number % len(keys)]
        started = time.perf_counter()
        client.get("/api/v1/connectors", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
        seconds.append(time.perf_counter() - started)
        time.sleep(0.005)
    return seconds


def p99(seconds: list[float]) -> float:
    """Return the time that 99 of 100 calls stayed under."""
    return statistics.quantiles(seconds, n=100)[98]


def _test(url: str, connection_id: str, token: str) -> str:
    answer = httpx2.post(
        f"{url}/api/v1/connectors/{connection_id}/test", headers={"Authorization": f"Bearer {token}"}, timeout=180
    )
    return str(answer.json().get("code", answer.status_code))


def _organisations(port: int) -> list[tuple[str, str]]:
    """Return the connection and the API key of each of fifty organisations."""
    from connectors.services import connections
    from tenants.actors import Actor
    from tenants.models import ApiKey, Organization, Role

    config = {
        "mode": "sftp",
        "host": "127.0.0.1",
        "port": port,
        "username": "orders",
        "password": "correct horse battery staple",
        "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
        "export_path": "/in",
        "timeout_s": TIMEOUT_S,
    }
    keys = []
    for number in range(TESTS):
        org = Organization.objects.create(slug=f"org-{number}", name=f"Organisation {number}")
        connection = connections.create(org, Actor.system("bench"), connector_type="DROPZONE_JSON_V1", config=config)
        _, token = ApiKey.objects.issue(org=org, role=Role.ADMIN, name="bench")
        keys.append((str(connection.pk), token))
    return keys


@contextmanager
def blackhole() -> Iterator[int]:
    """Let every connection attempt go unanswered, as a firewall that drops does; gives the port."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


@contextmanager
def application() -> Iterator[str]:
    """Run the web server and the worker; gives the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run", "--port", str(port)], cwd=BASE_DIR, stdout=subprocess.DEVNULL
    )
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx2.get(f"{url}/readyz").is_success:
                    break
            except httpx2.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
