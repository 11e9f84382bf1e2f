"""Orders of 4 KB through one SFTP session with many under way, against a bare sender that keeps no books and `sftp -b`.

All ways take turns in one run, 20 ms of round trip away and near by. Each of ours is checked by size, and its sequence
is kept.

Run from the root: python -m bench.sftp_window [--rounds N]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from bench import senders
from bench.measure import Report
from bench.senders import Sent, Server
from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.results import Document
from connectors.testing import fakes, sample_orders
from connectors.tests.peers.distance import Distance
from connectors.tests.peers.openssh import OpenSSH, missing_packages

ROUND_TRIP_S: Final = 0.02

_CONNECTOR: Final = DropzoneJsonV1Connector()
_ORDER: Final = sample_orders.minimal()
_CONTENT: Final = b"x" * 4096
_numbers: Final = count(1)


@dataclass
class Way:
    """One way to send files, and how it did."""

    send: Callable[[Sequence[str]], Sent]
    files: int
    sent: list[Sent] = field(default_factory=list)

    def run(self) -> None:
        """Send once."""
        self.sent.append(self.send([f"order_{next(_numbers)}.json" for _ in range(self.files)]))

    @property
    def seconds(self) -> float:
        """The median time for a file."""
        return statistics.median(sent.seconds / sent.files for sent in self.sent)

    @property
    def cpu_seconds(self) -> float:
        """The median CPU time for a file."""
        return statistics.median(sent.cpu_seconds / sent.files for sent in self.sent)


def main() -> int:
    """Print the ratios; return 1 when a target is missed."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    if packages := missing_packages():
        print(f"SFTP window              skipped: needs apt-get install {' '.join(packages)}")
        return 0
    report = Report()
    memory = Path("/dev/shm")  # noqa: S108  # nosec B108  # how fast the far end's disk is says nothing of us
    with tempfile.TemporaryDirectory(prefix="connectors-", dir=memory if memory.exists() else None) as folder:
        Path(folder).chmod(0o755)
        with OpenSSH(folder=Path(folder)) as openssh, Distance(openssh.port, round_trip_s=ROUND_TRIP_S) as distance:
            far(report, Server(openssh, distance.port), rounds)
            near(report, Server(openssh, openssh.port), rounds)
    return report.exit_code


def far(report: Report, server: Server, rounds: int) -> None:
    """Compare with the bare sender, 20 ms of round trip away."""
    for window in (16, 64):
        mine = Way(partial(ours, server, window=window), 40 * window)
        bare = Way(partial(senders.bare_window, server, content=_CONTENT, window=window), 40 * window)
        _take_turns(rounds, mine, bare)
        name, times = "a bare sender", 0.9 if window == 64 else 0.8
        report.at_least(f"window {window}, 20 ms away", mine.seconds, floor=bare.seconds, floor_name=name, times=times)


def near(report: Report, server: Server, rounds: int) -> None:
    """Compare with `sftp -b`, near by: the time, and our CPU."""
    mine = Way(partial(ours, server, window=64), 1500)
    batch = Way(partial(senders.openssh_batch, server, content=_CONTENT), 1500)
    _take_turns(rounds, mine, batch)
    report.at_least("window 64, near", mine.seconds, floor=batch.seconds, floor_name="sftp -b", times=2.5)
    report.at_most("CPU of window 64, near", mine.cpu_seconds, floor=batch.cpu_seconds, floor_name="sftp -b", times=0.5)


def ours(server: Server, names: Sequence[str], *, window: int) -> Sent:
    """Send them with one session of ours, login included."""
    key = server.key_file.read_text()
    config = DropzoneConfig.parse(server.openssh.config(port=server.port, password=None, private_key=key))
    documents = [Document(filename=name, content=_CONTENT, media_type="application/json") for name in names]
    exports = [(_ORDER, fakes.export_context(document=document)) for document in documents]
    started, cpu = time.perf_counter(), time.process_time()
    with _CONNECTOR.open_session(config, fakes.context()) as session:
        assert all(delivery.result for delivery in session.export_many(exports, window=window))
    return Sent(len(names), time.perf_counter() - started, time.process_time() - cpu)


def _take_turns(rounds: int, *ways: Way) -> None:
    for turn in range(rounds):
        for way in ways if turn % 2 else reversed(ways):
            way.run()


if __name__ == "__main__":
    sys.exit(main())
