"""Look for a secret where an error report would look."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from types import TracebackType


def everything_shown(error: BaseException, *, below: str) -> str:
    """Return all text that a report of `error` could show.

    That is its message, `repr`, attributes and pickle, those of every exception behind it, and the locals of every
    frame except the caller's own.

    Args:
        error: as caught.
        below: name of the function that caught it; it holds the secret of the test itself.
    """
    return "\n".join(_shown(error, below))


def _shown(error: BaseException | None, below: str) -> Iterator[str]:
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield pickle.dumps(error).decode("latin-1")
        yield from traceback.format_exception_only(error)
        yield from _locals(error.__traceback__, below)
        error = error.__cause__ or error.__context__


def _locals(frames: TracebackType | None, below: str) -> Iterator[str]:
    while frames is not None:
        if frames.tb_frame.f_code.co_name != below:
            yield repr(frames.tb_frame.f_locals)
        frames = frames.tb_next
