"""The cells of the matrix: which partner, and what goes wrong there. What goes wrong on our side is the storm's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from connectors.tests.faults.partners import Asyncssh, BehindALine, Folder, Partner
from connectors.tests.peers.faulty_sftp import Faults
from connectors.tests.peers.openssh import OpenSSH

STEPS = ("open", "write", "fsync", "close", "stat", "rename")
FAULTS = {
    "cut before": {"fault": "cut_before"},
    "cut after": {"fault": "cut_after"},
    "stall before": {"fault": "stall_before"},
    "stall after": {"fault": "stall_after"},
    "busy": {"fault": "fail", "refusal": "busy"},
    "permission": {"fault": "fail", "refusal": "permission"},
    "no space": {"fault": "fail", "refusal": "no_space"},
    "lying": {"fault": "fail_after"},
}
_LOGIN_BYTES, _ORDER_BYTES = 1300, 1500
"""About what goes through the line until the first request, and for each order."""


@dataclass(frozen=True)
class Cell:
    """One partner with one fault."""

    name: str
    open: Callable[[Path], Partner]
    consumes: bool = False
    """The partner takes files where no look-up sees them: whether one has arrived may remain for a person to decide."""


@dataclass
class Matrix:
    """All cells, with the details drawn by chance: how often a fault strikes, after how much, and where.

    Args:
        random: draws them.
        openssh: the server that the cells of its kind share; None where there is none.
        orders: how many orders each cell gets.
        part: 0, 1 or 2 for a third of them, in which each fault and each step is there; None for all.
    """

    random: Random
    openssh: OpenSSH | None
    orders: int
    part: int | None = None

    def cells(self) -> Iterator[Cell]:
        """Return each once."""
        yield from self._asyncssh()
        yield from self._consuming()
        yield from self._openssh()
        yield from self._filesystem()

    def _asyncssh(self) -> Iterator[Cell]:
        yield self._misbehaving("quiet", Faults())
        for row, step in enumerate(STEPS):
            for column, name in enumerate(FAULTS):
                if self.part is None or (row + column) % 3 == self.part:
                    yield self._misbehaving(f"{name} {step}", self._faults(name, step))

    def _consuming(self) -> Iterator[Cell]:
        for row, name in enumerate(("cut before", "cut after", "stall before", "stall after", "lying", "busy")):
            for column, folder in enumerate(("taken", "inbox/processed")):
                if self.part is not None and (row + column + self.part) % 2:
                    continue
                faults = self._faults(name, "rename")
                faults.take_on, faults.taken_into = "rename", folder
                faults.skip += 1  # that it takes files away is seen by the first of them
                yield self._misbehaving(f"{name} rename, into {folder}", faults, consumes=folder == "taken")

    def _openssh(self) -> Iterator[Cell]:
        if self.openssh is None:
            return
        for how in ("reset", "close", "stall"):
            yield self._behind_a_line(f"{how}", after=self._bytes(), how=how, times=self._times())
            yield self._behind_a_line(f"{how}, answers lost", answers_after=self._bytes(), how=how, times=self._times())
        yield self._behind_a_line("no space", full=True)
        yield self._behind_a_line("permission", forbidden=True)

    def _filesystem(self) -> Iterator[Cell]:
        yield Cell("filesystem quiet", Folder)
        yield Cell("filesystem no space", lambda folder: Folder(folder, full=True))
        yield Cell("filesystem missing", lambda folder: Folder(folder, missing=True))

    def _misbehaving(self, name: str, faults: Faults, *, consumes: bool = False) -> Cell:
        return Cell(f"asyncssh {name}", lambda folder: Asyncssh(folder, faults), consumes)

    def _behind_a_line(self, name: str, **options: object) -> Cell:
        server = self.openssh
        assert server is not None
        return Cell(
            f"openssh {name}", lambda folder: BehindALine(server, f"{folder.parent.name}-{folder.name}", **options)
        )  # type: ignore[arg-type]

    def _faults(self, name: str, step: str) -> Faults:
        options: dict[str, str] = dict(FAULTS[name])
        return Faults(
            **{options.pop("fault"): step, **options},  # type: ignore[arg-type]
            times=self._times(),
            skip=self.random.randrange(self.orders),
        )

    def _times(self) -> int:
        return self.random.randint(1, 3)

    def _bytes(self) -> int:
        return self.random.randrange(_LOGIN_BYTES + self.orders * _ORDER_BYTES)
