"""Documents dropped durably into a folder, alone and in groups, against the bare system calls that durability takes.

Run from the root: python -m bench.filesystem_drop [FOLDER]
"""

from __future__ import annotations

import os
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Final

from bench.measure import Report, medians
from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.results import Document
from connectors.testing import fakes, sample_orders
from connectors.transports.drop import FileDrop
from connectors.transports.filesystem import FilesystemStore

CONTENT: Final = b"x" * 20_000
"""A typical order of 100 lines."""

GROUP: Final = 50

_numbers: Final = count()


def main() -> int:
    """Print the ratios; return 1 when a target is missed."""
    parent = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()  # not /tmp, which may be memory
    report = Report()
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        alone(report, Path(folder))
        in_groups(report, Path(folder))
    return report.exit_code


def alone(report: Report, folder: Path) -> None:
    """Drop one document, and make the folder durable."""
    with FilesystemStore(folder) as store:
        drop = FileDrop(folder=store.folder("."), atomic=True, temp_suffix=".tmp")
        seconds, floor = medians(lambda: drop.send(_document()), lambda: bare(folder, files=1), rounds=100)
    report.at_least("filesystem drop", seconds, floor=floor, floor_name="bare os calls", times=0.5)


def in_groups(report: Report, folder: Path) -> None:
    """Drop 50 documents through a session, and make the folder durable once."""
    config = DropzoneConfig.parse({"mode": "filesystem", "export_path": "."})
    order = sample_orders.minimal()
    with DropzoneJsonV1Connector().open_session(config, fakes.context(dropzone_root=folder)) as session:

        def ours() -> None:
            exports = [(order, fakes.export_context(document=_document())) for _ in range(GROUP)]
            assert all(delivery.result for delivery in session.export_many(exports, window=GROUP))

        seconds, floor = medians(ours, lambda: bare(folder, files=GROUP), rounds=25)
    report.at_least(f"group of {GROUP}", seconds, floor=floor, floor_name="bare os calls", times=0.8)


def bare(folder: Path, *, files: int) -> None:
    """Do what durability takes: write, fsync and rename each file, and fsync the folder once."""
    names = [f"{folder}/bare_{next(_numbers)}.json" for _ in range(files)]
    for name in names:
        file = os.open(f"{name}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(file, CONTENT)
        os.fsync(file)
        os.close(file)
    for name in names:
        os.rename(f"{name}.tmp", name)  # noqa: PTH104  # the bare call is the point
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def _document() -> Document:
    return Document(filename=f"ours_{next(_numbers)}.json", content=CONTENT, media_type="application/json")


if __name__ == "__main__":
    sys.exit(main())
