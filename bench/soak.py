"""Many orders through the whole application: sent by worker processes to an OpenSSH server and into local folders, and
counted at the far ends.

Every tenth order is submitted through the API, one by one; the others are stored in blocks, as if they had been
accepted before, so that the workers always have a backlog and the one client does not set the pace.

Prints the counts, the rate and how the memory of the workers went; exit code 1 when an order is lost, is there twice or
incomplete, or when memory grows.

Run from the root: python -m bench.soak [--orders 100000] [--workers 2]
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from bench.durable_postgres import durable_postgres
from bench.in_process import Caller, application
from connectors.tests.peers.openssh import OpenSSH, missing_packages

ORGANIZATIONS: Final = 4
GROWTH: Final = 1.15
"""The workers may have so much more memory in the last quarter than in the second one."""

_SAMPLE_S: Final = 2.0
_BLOCK: Final = 1_000
_AHEAD: Final = 5_000
"""So many orders may wait before the next one is submitted."""


def main() -> int:
    """Run the soak; return 1 when it shows a fault."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if packages := missing_packages():
        print(f"soak                     skipped: needs apt-get install {' '.join(packages)}")
        return 0
    with tempfile.TemporaryDirectory(prefix="connectors-") as folder:
        Path(folder).chmod(0o755)
        with (
            OpenSSH(folder=Path(folder)) as openssh,
            durable_postgres(),
            application(EGRESS_ALLOWED_NETWORKS="127.0.0.0/8", LOG_LEVEL="WARNING"),
        ):
            return Soak(openssh, options.orders, options.workers).run()


class Soak:
    """One run."""

    def __init__(self, openssh: OpenSSH, orders: int, workers: int) -> None:
        self._openssh, self._orders, self._workers = openssh, orders, workers
        self._memory: list[list[int]] = []
        self._over = threading.Event()
        self._folders: dict[str, Path] = {}
        """Where the orders of each organisation arrive, by its slug."""

    def run(self) -> int:
        """Submit, wait, count, and tell."""
        callers = [self._an_organization(number) for number in range(ORGANIZATIONS)]
        started = time.monotonic()
        with ExitStack() as stack:
            processes = [self._worker(stack) for _ in range(self._workers)]
            watch = threading.Thread(target=self._watch, args=([process.pid for process in processes],))
            watch.start()
            try:
                self._submit(callers)
                submitted = time.monotonic() - started
                self._wait()
            finally:
                self._over.set()
                watch.join()
        seconds = time.monotonic() - started
        print(f"orders                   {self._orders} in {seconds:.0f} s, {self._orders / seconds:.0f} a second")
        print(f"accepted                 in {submitted:.0f} s")
        return 1 if self._faults() + self._growth() else 0

    def _an_organization(self, number: int) -> Caller:
        """Connect one by SFTP or to a local folder, by turns, and return its client."""
        from django.conf import settings

        from connectors.services import connections
        from tenants.actors import Actor
        from tenants.models import ApiKey, Organization, Role

        org = Organization.objects.create(slug=f"soak-{number}", name=f"Soak {number}")
        if number % 2:
            folder = Path(settings.DROPZONE_ROOT) / org.slug
            config: dict[str, Any] = {"mode": "filesystem", "export_path": str(folder)}
        else:
            folder = self._openssh.home / "inbox" / org.slug
            key = self._openssh.client_key("ed25519")
            config = self._openssh.config(
                export_path=f"inbox/{org.slug}", ack_path=None, password=None, private_key=key
            )
        folder.mkdir(parents=True)
        os.chown(folder, *[self._openssh.uid] * 2)
        self._folders[org.slug] = folder
        connections.create(org, Actor.system("soak"), connector_type="DROPZONE_JSON_V1", config=config)
        _, token = ApiKey.objects.issue(org=org, role=Role.INTEGRATOR, name="soak")
        return Caller(f"Bearer {token}")

    def _worker(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "manage.py", "procrastinate", "worker"], stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return process

    def _submit(self, callers: list[Caller]) -> None:
        from connectors.testing.sample_orders import large_input

        order = large_input(3)
        for first in range(0, self._orders, _BLOCK):
            numbers = range(first, min(first + _BLOCK, self._orders))
            self._accept(order, [number for number in numbers if number % 10])
            for number in numbers[::10]:
                body = {"order": order | {"order_id": f"SO-{number}"}}
                caller = callers[number // 10 % len(callers)]
                caller("POST", "/api/v1/exports", json.dumps(body).encode(), HTTP_IDEMPOTENCY_KEY=f"key-{number}")
            while self._unfinished() > _AHEAD:
                time.sleep(0.2)

    def _accept(self, order: dict[str, Any], numbers: list[int]) -> None:
        """Store orders as they are after their submission, and wake the workers."""
        from connectors.models import ERPConnection, ERPExport
        from connectors.order import Order
        from connectors.services import jobs

        connections = list(ERPConnection.objects.order_by("org__slug"))
        parsed = Order.parse(order)
        plain, fingerprint = parsed.as_json(), parsed.fingerprint()
        ERPExport.objects.bulk_create(
            ERPExport(
                org_id=connection.org_id,
                connection=connection,
                order_id=f"SO-{number}",
                order=plain | {"order_id": f"SO-{number}"},
                order_fingerprint=fingerprint,
                actor_kind="SYSTEM",
                actor_label="soak",
            )
            for number, connection in zip(numbers, cycle(connections), strict=False)
        )
        for connection in connections:
            jobs.wake(connection.pk)

    def _unfinished(self) -> int:
        from connectors.models import ERPExport

        return int(ERPExport.objects.filter(status__in=("PENDING", "SENDING")).count())

    def _wait(self) -> None:
        while self._unfinished():
            time.sleep(0.2)

    def _watch(self, pids: list[int]) -> None:
        """Note the resident memory of each worker again and again."""
        while not self._over.wait(_SAMPLE_S):
            self._memory.append([_resident_kb(pid) for pid in pids])

    def _faults(self) -> int:
        from connectors.models import ERPExport

        states = Counter(ERPExport.objects.values_list("status", flat=True))
        expected = dict(ERPExport.objects.values_list("filename", "document_sha256"))
        lost = twice = incomplete = 0
        arrived: Counter[str] = Counter()
        for folder in self._folders.values():
            for file in folder.iterdir():
                sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
                incomplete += expected.get(file.name) != sha256
                arrived[file.name.split("_")[2]] += 1
        twice = sum(count - 1 for count in arrived.values() if count > 1)
        lost = self._orders - len(arrived)
        print(f"states                   {dict(states)}")
        print(f"at the far ends          {lost} lost, {twice} twice, {incomplete} incomplete or left over")
        return lost + twice + incomplete + (states != {"SENT": self._orders})

    def _growth(self) -> bool:
        quarter = max(1, len(self._memory) // 4)
        early, late = self._memory[quarter : 2 * quarter], self._memory[-quarter:]
        grown = False
        for number in range(self._workers):
            before, after = (statistics.median(sample[number] for sample in part) for part in (early, late))
            grown |= after > before * GROWTH
            print(f"memory of worker {number + 1}       {before / 1024:.0f} MiB, at the end {after / 1024:.0f} MiB")
        return grown


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
