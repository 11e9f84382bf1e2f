"""A progress bar for people who watch a long command; nothing where nobody does."""

from __future__ import annotations

import time
from typing import Final, TextIO

_WIDTH: Final = 30
_EVERY_SECONDS: Final = 0.1


class ProgressBar:
    """One line of a terminal that is drawn anew as the work goes on."""

    def __init__(self, stream: TextIO, what: str) -> None:
        """Prepare a bar.

        Args:
            stream: where it is drawn, if that is a terminal.
            what: is being done, in a word or two.
        """
        self._stream = stream if stream.isatty() else None
        self._what = what
        self._started_at = time.monotonic()
        self._drawn_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Draw how far the work is, at most ten times a second."""
        now = time.monotonic()
        if self._stream is None or (now - self._drawn_at < _EVERY_SECONDS and done < total):
            return
        self._drawn_at = now
        filled = _WIDTH * done // total if total else _WIDTH
        speed = done / max(now - self._started_at, 1e-9)
        self._stream.write(
            f"\r{self._what} [{'#' * filled}{'.' * (_WIDTH - filled)}] {done:,} of {total:,}, {speed:,.0f} a second "
        )
        self._stream.flush()

    def close(self) -> None:
        """Leave the line as it is and go on below it."""
        if self._stream is not None and self._drawn_at:
            self._stream.write("\n")
            self._stream.flush()
