"""The fault matrix in its long form: `python -m connectors.tests.faults`, on a PostgreSQL of its own.

Round after round all cells are drawn anew, with another sequence of strikes. What a round was made of is printed with
its seed; the same seed draws the same round, though not the same moments.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import django

from erpconfig.embedded_postgres import Cluster
from erpconfig.testing.postgres import TestRun
from tenants import scope

STRIKES = ("kill", "deploy", "drop", "restart", "crash")


def main() -> int:
    """Run the rounds; return how many of them have failed."""
    options = _options()
    run = TestRun()
    try:
        # Unlike in other tests a commit has to survive a crash of the server; the machine does not crash.
        cluster = Cluster(
            home=run.folder / "postgres", durable=False, options={"synchronous_commit": "on", "max_connections": "200"}
        )
        cluster.home.mkdir(mode=run.folder.stat().st_mode & 0o777)
        os.environ["DATABASE_URL"] = cluster.ensure_running()
        run.prepare_environment()
        os.environ |= {"DJANGO_SETTINGS_MODULE": "erpconfig.settings", "LOG_LEVEL": "ERROR"}
        django.setup()
        scope.enter(scope.EVERYTHING)
        return _rounds(options, run.folder, cluster)
    finally:
        cluster.stop()
        run.end()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m connectors.tests.faults", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="of the first round (default: by chance)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how many (default: %(default)s)")
    parser.add_argument("--orders", type=int, default=8, help="of each cell (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=3, help="processes that send (default: %(default)s)")
    parser.add_argument("--strikes", default=",".join(STRIKES), help="what happens to us (default: %(default)s)")
    parser.add_argument("--part", type=int, choices=(0, 1, 2), help="a third of the cells, with each fault and step")
    parser.add_argument("--cells", default="", help="only those whose name contains this")
    return parser.parse_args()


def _rounds(options: argparse.Namespace, folder: Path, cluster: Cluster) -> int:
    from django.core.management import call_command

    from connectors.tests.peers.openssh import OpenSSH, missing_packages

    call_command("migrate", verbosity=0)
    failed = 0
    with ExitStack() as stack:
        openssh = None
        if missing := missing_packages():
            print(f"without OpenSSH: apt-get install {' '.join(missing)}")
        else:
            openssh = stack.enter_context(OpenSSH(folder=_subfolder(folder, "openssh"), extra=("MaxStartups 100",)))
        for seed in range(options.seed, options.seed + options.rounds):
            failed += not _round(seed, options, _subfolder(folder / "dropzone", str(seed)), cluster, openssh)
    print(f"{options.rounds - failed} of {options.rounds} rounds passed")
    return failed


def _round(seed: int, options: argparse.Namespace, folder: Path, cluster: Cluster, openssh: object) -> bool:
    from connectors.tests.faults.matrix import Matrix
    from connectors.tests.faults.storm import Storm
    from erpconfig.testing.emptying import empty_tables

    chance = random.Random(seed)
    cells = [
        cell for cell in Matrix(chance, openssh, options.orders, options.part).cells() if options.cells in cell.name
    ]
    strikes = [strike for strike in options.strikes.split(",") if strike]
    chance.shuffle(strikes)
    storm = Storm(
        random=chance,
        folder=folder,
        cells=cells,
        orders=options.orders,
        workers=options.workers,
        strikes=strikes,
        more_strikes={"restart": lambda: _restart(cluster), "crash": lambda: _crash(cluster)},
    )
    started = time.monotonic()
    storm.run()
    faults = sorted(set(storm.faults))
    verdict, seconds = "FAILED" if faults else "ok", time.monotonic() - started
    print(f"seed {seed}: {len(cells)} cells, strikes {' '.join(strikes)}, {seconds:.0f} s, {verdict}")
    for name, count in sorted(storm.counts.items()):
        print(f"    {count:6} {name}")
    for fault in faults:
        print(f"  ! {fault}")
    sys.stdout.flush()
    empty_tables()
    return not faults


def _restart(cluster: Cluster) -> None:
    cluster.stop()
    cluster.ensure_running()


def _crash(cluster: Cluster) -> None:
    """End the server as a crash does: no farewell to anybody, and a recovery afterwards."""
    process = cluster._process_id()
    assert process is not None
    os.kill(process, signal.SIGQUIT)  # the immediate shutdown
    while cluster._process_id():
        time.sleep(0.01)
    cluster.ensure_running()


def _subfolder(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    return made


if __name__ == "__main__":
    sys.exit(min(main(), 1))
