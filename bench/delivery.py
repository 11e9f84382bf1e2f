"""Orders from the database to an OpenSSH server and back into the books, against other ways to send the same files.

End to end: claimed, rendered, stored, sent, checked by size, renamed and durably committed, each on its own. The
documents have 4 KB. All ways take turns in one run, 20 ms of round trip away and near by. Our login is kept from one
batch to the next, as in service, and the bare window is timed without its own; the programs log in for each batch.
The far end keeps its files in memory: our side syncs each document and each commit to the disk.

Run from the root: python -m bench.delivery [--rounds N]
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench import senders
from bench.durable_postgres import durable_postgres
from bench.in_process import application
from bench.measure import Report
from bench.senders import Sent, Server
from connectors.tests.peers.distance import Distance
from connectors.tests.peers.openssh import OpenSSH, missing_packages

ROUND_TRIP_S: Final = 0.02
LINES: Final = 19
"""So many lines make a document of 4 KB."""

_CONTENT: Final = b"x" * 4096
_numbers: Final = count(1)


def main() -> int:
    """Print the ratios; return 1 when a target is missed."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    missing = missing_packages() + ([] if shutil.which("lftp") else ["lftp"])
    if missing:
        print(f"delivery                 skipped: needs apt-get install {' '.join(missing)}")
        return 0
    memory = Path("/dev/shm")  # noqa: S108  # the disk of the far end is not what is measured
    with tempfile.TemporaryDirectory(prefix="connectors-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        with (
            OpenSSH(folder=Path(folder)) as openssh,
            Distance(openssh.port, round_trip_s=ROUND_TRIP_S) as distance,
            durable_postgres(),
            application(EGRESS_ALLOWED_NETWORKS="127.0.0.0/8", DATABASE_POOL_SIZE="4"),
        ):
            report = Report()
            _far(report, Server(openssh, distance.port), rounds)
            _near(report, Server(openssh, openssh.port), rounds)
    return report.exit_code


@dataclass
class Way:
    """One way to send files, and how it did."""

    send: Callable[[int], Sent]
    files: int
    sent: list[Sent] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median time for a file."""
        return statistics.median(1 / sent.files_per_second for sent in self.sent)

    @property
    def cpu_seconds(self) -> float:
        """The median CPU time for a file."""
        return statistics.median(sent.cpu_seconds / sent.files for sent in self.sent)


def _far(report: Report, server: Server, rounds: int) -> None:
    ways = {
        "ours": Way(Ours(server, window=16), 400),
        "ours, window of 64": Way(Ours(server, window=64), 600),
        "a new connection each": Way(_named(senders.new_connections, server), 4),
        "sftp -b": Way(_named(senders.openssh_batch, server), 40),
        "lftp": Way(_named(senders.lftp, server), 200),
        "a bare window of 16": Way(_bare(server, window=16), 400),
        "a bare window of 64": Way(_bare(server, window=64), 600),
    }
    _take_turns(ways, rounds)
    print("20 ms away")
    _print(ways)
    for floor, times in (
        ("a new connection each", 45),
        ("sftp -b", 15),
        ("lftp", 1.7),
        ("a bare window of 16", 0.75),
    ):
        report.at_least("delivery", ways["ours"].seconds, floor=ways[floor].seconds, floor_name=floor, times=times)
    wide = ways["ours, window of 64"].seconds
    report.at_least("delivery, window of 64", wide, floor=ways["lftp"].seconds, floor_name="lftp", times=3.5)


def _near(report: Report, server: Server, rounds: int) -> None:
    ways = {
        "ours": Way(Ours(server, window=16), 400),
        "ours, window of 64": Way(Ours(server, window=64), 600),
        "sftp -b": Way(_named(senders.openssh_batch, server), 40),
    }
    _take_turns(ways, rounds)
    print("near by")
    _print(ways)
    floor = ways["sftp -b"]
    report.at_least("delivery, near", ways["ours"].seconds, floor=floor.seconds, floor_name="sftp -b", times=2.5)


def _take_turns(ways: dict[str, Way], rounds: int) -> None:
    order = list(ways.values())
    for _ in range(rounds):
        for way in order:
            way.sent.append(way.send(way.files))
        order.reverse()


def _print(ways: dict[str, Way]) -> None:
    for name, way in ways.items():
        print(f"  {name:<24} {1 / way.seconds:8.1f} files/s {way.cpu_seconds * 1000:8.2f} ms CPU of the client a file")


def _named(send: Callable[[Server, Sequence[str], bytes], Sent], server: Server) -> Callable[[int], Sent]:
    return lambda files: send(server, [f"floor_{next(_numbers)}.json" for _ in range(files)], _CONTENT)


def _bare(server: Server, *, window: int) -> Callable[[int], Sent]:
    return _named(lambda *args: senders.bare_window(*args, window=window), server)


class Ours:
    """The delivery service on orders that wait in the database."""

    def __init__(self, server: Server, *, window: int) -> None:
        self._server, self._window = server, window
        self._connection: Any = None

    def __call__(self, files: int) -> Sent:
        """Accept so many orders, then measure how they leave."""
        from connectors.models import ERPExport
        from connectors.services import delivery

        connection = self._connection = self._connection or self._connect()
        self._accept(connection, files)
        started, cpu = time.perf_counter(), time.process_time()
        attempts = delivery.drain(connection.pk)
        sent = Sent(files, time.perf_counter() - started, time.process_time() - cpu)
        assert attempts == files, attempts
        assert set(ERPExport.objects.values_list("status", "attempts").distinct()) == {("SENT", 1)}
        return sent

    def _connect(self) -> Any:
        from connectors.models import ERPConnection
        from connectors.services import connections
        from tenants.actors import Actor
        from tenants.models import Organization

        number = next(_numbers)
        org = Organization.objects.create(slug=f"bench-{number}", name="Bench")
        config = self._server.openssh.config(
            port=self._server.port, password=None, private_key=self._server.openssh.client_key("ed25519")
        )
        connection = connections.create(org, Actor.system("bench"), connector_type="DROPZONE_JSON_V1", config=config)
        ERPConnection.objects.filter(pk=connection.pk).update(window=self._window)
        return connection

    def _accept(self, connection: Any, files: int) -> None:
        from connectors.models import ERPExport
        from connectors.order import Order
        from connectors.testing import sample_orders

        order = sample_orders.complete("BENCH").as_json()
        line = order["lines"][0]
        lines = [line | {"line_no": number} for number in range(1, LINES + 1)]
        rows = []
        for _ in range(files):
            parsed = Order.parse(order | {"order_id": f"SO-{next(_numbers)}", "lines": lines})
            rows.append(
                ERPExport(
                    org_id=connection.org_id,
                    connection=connection,
                    order_id=parsed.order_id,
                    order=parsed.as_json(),
                    order_fingerprint=parsed.fingerprint(),
                    actor_kind="SYSTEM",
                    actor_label="bench",
                )
            )
        ERPExport.objects.bulk_create(rows)


if __name__ == "__main__":
    sys.exit(main())
