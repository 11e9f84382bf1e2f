"""Where a turn keeps its books: at once, or in threads beside the one that talks to the far end."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from connectors.services.pooling import give_back

T = TypeVar("T")


class Books:
    """Keeps them at once, in the thread that asks."""

    looks_ahead = False
    """Whether a task runs while the asker goes on."""

    def ask(self, task: Callable[[], T]) -> Future[T]:
        """Have something done; the future tells what came of it."""
        done: Future[T] = Future()
        try:
            done.set_result(task())
        except Exception as error:
            done.set_exception(error)
        return done

    def look_ahead(self, task: Callable[[], T]) -> Future[T]:
        """Have something done that no other task waits for."""
        return self.ask(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all is done."""


class BooksBeside(Books):
    """Keeps them in one thread and looks ahead in another: far end, commits and what comes next wait for nobody."""

    looks_ahead = True

    def __init__(self) -> None:
        self._clerk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="books")
        self._scout = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")

    def ask(self, task: Callable[[], T]) -> Future[T]:
        return self._clerk.submit(contextvars.copy_context().run, task)

    def look_ahead(self, task: Callable[[], T]) -> Future[T]:
        return self._scout.submit(contextvars.copy_context().run, task)

    def __exit__(self, *raised: Any) -> None:
        for thread in (self._scout, self._clerk):
            thread.submit(give_back)
            thread.shutdown()
