"""Many orders through one session into a folder of this machine: one fsync of the folder for a group, in sequence."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.order import Order
from connectors.port import ExportContext
from connectors.testing import fakes, sample_orders

CONNECTOR = DropzoneJsonV1Connector()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def names(count: int) -> list[str]:
    return [f"sales_order_SO-{number}_20251226T100000Z_{number:08x}.json" for number in range(count)]


def send(
    out: Path, count: int, *, window: int = 16, before_each: Callable[[int], None] = lambda _: None, **config: object
) -> list[object]:
    """Return for each order that was taken True, its error, or None for neither."""
    parsed = DropzoneConfig.parse({"mode": "filesystem", "export_path": "out"} | config)

    def exports() -> Iterator[tuple[Order, ExportContext]]:
        for number, name in enumerate(names(count)):
            before_each(number)
            order, context = sample_orders.minimal(f"SO-{number}"), fakes.export_context(dropzone_root=out.parent)
            document = CONNECTOR.render(order, parsed, context)
            object.__setattr__(document, "filename", name)
            object.__setattr__(context, "document", document)
            yield order, context

    with CONNECTOR.open_session(parsed, fakes.context(dropzone_root=out.parent)) as session:
        return [True if each.result else each.error for each in session.export_many(exports(), window=window)]


def lying(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("atomic", [True, False])
def test_a_group_shares_one_fsync_of_its_folder(out: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def count(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)

    assert send(out, 25, window=10, atomic_write=atomic) == [True] * 25

    assert lying(out) == sorted(names(25))
    suffix = ".tmp" if atomic else ""  # on the disk before they get their names
    assert sorted(name for name in synced if name != "out") == sorted(name + suffix for name in names(25))
    assert [at for at, name in enumerate(synced) if name == "out"] == [10, 10 + 1 + 10, 20 + 2 + 5]


def test_temporary_files_lie_in_their_own_folder(out: Path) -> None:
    (out.parent / "hidden").mkdir()
    seen: list[list[str]] = []

    assert (
        send(out, 3, temp_path="hidden", before_each=lambda _: seen.append(lying(out.parent / "hidden"))) == [True] * 3
    )

    assert seen[2] == [f"{name}.tmp" for name in names(2)]
    assert lying(out) == names(3)
    assert lying(out.parent / "hidden") == []


def test_nothing_is_taken_after_one_that_cannot_be_written(out: Path) -> None:
    (out / f"{names(9)[2]}.tmp").mkdir()

    ends = send(out, 9)

    assert ends[:2] == [True, True]
    assert isinstance(ends[2], TemporaryError)
    assert len(ends) == 3
    assert lying(out) == [*names(2), f"{names(9)[2]}.tmp"]


def test_those_behind_one_that_cannot_be_published_are_cleared_away(out: Path) -> None:
    def disturb(number: int) -> None:
        if number == 4:  # those before have been written
            (out / "other").write_text("of another delivery")
            (out / "other").replace(out / f"{names(9)[2]}.tmp")

    ends = send(out, 9, before_each=disturb)

    assert ends[:2] == [True, True]
    assert isinstance(ends[2], TemporaryError)
    assert ends[3:] == [None] * 6
    assert lying(out) == [*names(2), f"{names(9)[2]}.tmp"]


@pytest.mark.parametrize("atomic", [True, False])
def test_one_that_the_disk_does_not_keep_is_not_published_nor_those_behind_it(
    out: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if names(9)[2] in os.readlink(f"/proc/self/fd/{descriptor}"):  # noqa: PTH115
            raise OSError(errno.ENOSPC, "full")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    *sent, failed = send(out, 9, atomic_write=atomic)[:3]

    assert sent == [True, True]
    assert isinstance(failed, TemporaryError)
    assert failed.code is Code.NO_SPACE
    assert lying(out) == names(2)
    assert len(os.listdir("/proc/self/fd")) == open_before  # noqa: PTH208


def test_one_whose_name_is_taken_holds_back_nobody(out: Path) -> None:
    ends = send(out, 5, before_each=lambda number: number == 4 and (out / names(5)[2]).write_text("other"))

    assert isinstance(ends.pop(2), RejectedByERP)
    assert ends == [True] * 4
    assert lying(out) == names(5)


def test_a_folder_that_cannot_be_made_durable_leaves_all_of_its_group_in_doubt(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    ends = send(out, 9, window=3)

    assert [type(end) for end in ends] == [OutcomeUnknown] * 3
    assert all(isinstance(end, ConnectorError) and end.code is Code.OUTCOME_UNKNOWN for end in ends)
