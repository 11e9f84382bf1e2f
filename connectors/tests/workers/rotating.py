"""People who edit connections while rotations are killed; a process of its own, which forks them: no start to wait for.

Run with a seed and a file: what each person changed, and how each rotation ended, is written there as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import django

EDITORS = 4
KILLS = 20
BATCH = "50"


def main(seed: int, report: Path) -> None:
    """Edit and rotate at once, kill the rotation again and again, and let two together end it."""
    django.setup()
    from connectors import tasks  # noqa: F401  # loaded here once, and not in each process that is forked

    chance = random.Random(seed)
    editors = [_fork(edit, number, report) for number in range(EDITORS)]
    ends = []
    for _ in range(KILLS):
        process = _fork(rotate)
        time.sleep(chance.uniform(0.02, 0.12))
        os.kill(process, signal.SIGKILL)
        ends.append(_wait(process))
    together = [_fork(rotate) for _ in range(2)]
    ends += [_wait(process) for process in together]
    for process in editors:
        os.kill(process, signal.SIGTERM)
    report.write_text(json.dumps({"rotations": ends, "editors": [_wait(process) for process in editors]}))


def rotate() -> int:
    """Run the command, and return its exit code."""
    from django.core.management import CommandError, call_command

    try:
        call_command("rotate_encryption_key", "--batch", BATCH, stdout=StringIO(), stderr=StringIO())
    except CommandError as error:
        return error.returncode
    return 0


def edit(number: int, report: Path) -> int:
    """Change the passwords of some connections in turn until SIGTERM; write down what was accepted.

    The first person does all that belongs to a change, the others only what touches the envelope, but often.
    """
    from connectors.models import ERPConnection
    from tenants import scope

    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, _: stops.append(signum))
    passwords: dict[str, str] = {}
    edits = 0
    with scope.everything():
        of_some = ERPConnection.objects.filter(org__slug__endswith=number)
        rows = list(of_some.order_by("?")[: 1000 if number else 50])
        while not stops:
            row = rows[edits % len(rows)]
            edits += 1
            password = f"{number}-{edits}"
            rows[(edits - 1) % len(rows)] = _seal(row, password) if number else _change(row, password)
            passwords[str(row.pk)] = password
    report.with_suffix(f".{number}").write_text(json.dumps({"edits": edits, "passwords": passwords}))
    return 0


def _change(row: Any, password: str) -> Any:
    from connectors.services import connections
    from tenants.actors import Actor

    return connections.change(row, Actor.system("editor"), config={"password": password})


def _seal(row: Any, password: str) -> Any:
    from django.db import transaction

    with transaction.atomic():
        row = type(row).objects.select_for_update(no_key=True).get(pk=row.pk)
        row.write_config(row.read_config() | {"password": password})
        row.save(update_fields=["config_encrypted"])
    return row


def _fork(work: Callable[..., int], *arguments: object) -> int:
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        code = work(*arguments)
    finally:
        os._exit(code)


def _wait(process: int) -> int:
    """Return the exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
