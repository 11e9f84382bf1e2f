"""Measure a thing against its floor: interleaved medians, one line per result, exit code 1 on a missed target."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

_ROUND_S = 0.002


def medians(
    *calls: Callable[[], object], rounds: int = 200, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the median time of each call in seconds.

    The calls take turns, forwards and backwards, so that whatever else the machine does hits all of them alike. Each
    turn repeats its call for about 2 ms, so that the clock's own cost does not show; a slower call runs once.

    Args:
        calls: what to time; each must be repeatable.
        rounds: turns per call.
        clock: seconds of what; `time.process_time` for CPU time instead of time passed.
    """
    repeats = [_repeats(call, clock) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    turns = list(range(len(calls)))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for turn in turns:
                samples[turn].append(_time(calls[turn], repeats[turn], clock))
            turns.reverse()
    finally:
        if collecting:
            gc.enable()
    return [statistics.median(sample) for sample in samples]


def _repeats(call: Callable[[], object], clock: Callable[[], float]) -> int:
    call()  # the first call pays for imports and caches
    return max(1, round(_ROUND_S / max(_time(call, 3, clock), 1e-9)))


def _time(call: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


class Report:
    """Prints results as they come and remembers whether every target was met."""

    def __init__(self) -> None:
        self.missed = 0

    @property
    def exit_code(self) -> int:
        """0 when every target was met, else 1."""
        return 1 if self.missed else 0

    def at_most(self, what: str, seconds: float, *, floor: float, floor_name: str, times: float) -> None:
        """`what` may cost at most `times` its floor, both in seconds of the same `medians` run."""
        ratio = seconds / floor
        self._line(what, f"{ratio:.2f}x of {floor_name}", seconds, floor, f"<= {times:g}x", ratio <= times)

    def at_least(self, what: str, seconds: float, *, floor: float, floor_name: str, times: float) -> None:
        """`what` must be at least `times` as fast as its floor, both in seconds of the same `medians` run."""
        speed = floor / seconds
        self._line(what, f"{speed:.2f}x as fast as {floor_name}", seconds, floor, f">= {times:g}x", speed >= times)

    def under(self, what: str, seconds: float, *, limit: float) -> None:
        """`what` must take less than `limit` seconds."""
        self._line(what, f"{seconds / limit:.2f}x of its limit", seconds, limit, f"< {_si(limit)}", seconds < limit)

    def _line(self, what: str, ratio: str, seconds: float, reference: float, target: str, met: bool) -> None:
        self.missed += not met
        times = f"({_si(seconds)} / {_si(reference)})"
        print(f"{what:<24} {ratio:<30} {times:<22} target {target:<10} {'ok' if met else 'MISSED'}", flush=True)


def _si(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
