"""A document dropped durably into a folder, against the bare system calls that durability takes.

Run from the root: python -m bench.filesystem_drop [FOLDER]
"""

from __future__ import annotations

import os
import sys
import tempfile
from itertools import count
from pathlib import Path

from bench.measure import Report, medians
from connectors.results import Document
from connectors.transports.drop import FileDrop
from connectors.transports.filesystem import FilesystemStore

CONTENT = b"x" * 20_000
"""A typical order of 100 lines."""


def main() -> int:
    parent = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()  # not /tmp, which may be memory
    with tempfile.TemporaryDirectory(dir=parent) as folder, FilesystemStore(Path(folder)) as store:
        numbers = count()
        drop = FileDrop(folder=store.folder("."), atomic=True, temp_suffix=".tmp")

        def ours() -> None:
            name = f"ours_{next(numbers)}.json"
            drop.send(Document(filename=name, content=CONTENT, media_type="application/json"))

        def bare() -> None:
            name = f"{folder}/bare_{next(numbers)}.json"
            file = os.open(f"{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(file, CONTENT)
            os.fsync(file)
            os.close(file)
            os.rename(f"{name}.tmp", name)  # noqa: PTH104  # the bare call is the point
            directory = os.open(folder, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)

        seconds, floor = medians(ours, bare, rounds=100)
    report = Report()
    report.at_least("filesystem drop", seconds, floor=floor, floor_name="bare os calls", times=0.5)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
