"""A delivery as a conversation: a generator that says what it needs next, and is told when that has come.

It neither sends nor waits, so that one thread can lead many of them at once, and each is written down as if it were
alone. What a conversation may yield besides `MY_TURN` is between it and its transport.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final, TypeVar

from connectors.exceptions import AuthenticationFailed, ConnectorError, OutcomeUnknown, TemporaryError
from connectors.port import Delivery, ExportContext
from connectors.results import ExportResult

T = TypeVar("T")

Conversation = Generator[Any, Any, T]
Outgoing = tuple[ExportContext, Conversation[ExportResult]]

MY_TURN: Final = object()
"""Yielded before the far end is shown the file: goes on when all before it have been shown, or never will be."""

STOPS_THE_LINE: Final = (TemporaryError, OutcomeUnknown, AuthenticationFailed)
"""After one of these nothing new is begun: an order does not overtake another."""


class Withdrawn(Exception):
    """One before this delivery has failed. Raised in the place of `MY_TURN`: clear away, and let it go on its way."""


class Underway:
    """One of several deliveries, from its first question to its end."""

    __slots__ = ("_conversation", "context", "delivery", "had_its_turn", "place", "wants", "withdrawn")

    def __init__(self, place: int, context: ExportContext, conversation: Conversation[ExportResult]) -> None:
        self.place = place
        """Its number in the sequence."""
        self.context = context
        self._conversation = conversation
        self.wants: Any = None
        """What it has yielded last."""
        self.had_its_turn = False
        self.withdrawn = False
        self.delivery: Delivery | None = None
        """How it ended."""

    @property
    def waits_for_its_turn(self) -> bool:
        return self.delivery is None and self.wants is MY_TURN

    @property
    def error(self) -> ConnectorError | None:
        """What it failed with, if it has ended so."""
        return self.delivery.error if self.delivery else None

    @property
    def stops_the_line(self) -> bool:
        """Whether it ended in a way after which nothing new is begun."""
        return isinstance(self.error, STOPS_THE_LINE)

    def go_on(self, news: object = None) -> None:
        """Tell it what it was waiting for."""
        if self.wants is MY_TURN:
            if self.context.remaining_s <= 0:  # by now somebody else may look after it
                self.fail(TimeoutError())
                return
            self.had_its_turn = True
        try:
            self.wants = self._conversation.send(news)
        except StopIteration as end:
            self.delivery = Delivery(context=self.context, result=end.value)
        except (ConnectorError, Withdrawn) as error:
            self._fail(error)

    def fail(self, error: Exception) -> None:
        """Raise an error in the place of what it was waiting for."""
        try:
            self.wants = self._conversation.throw(error)
        except StopIteration as end:
            self.delivery = Delivery(context=self.context, result=end.value)
        except (ConnectorError, Withdrawn) as raised:
            self._fail(raised)

    def withdraw(self) -> None:
        """Let it clear away instead of having its turn."""
        self.withdrawn = True
        if self.waits_for_its_turn:
            self.fail(Withdrawn())

    def give_up(self) -> None:
        """End it with neither result nor error."""
        self._conversation.close()
        self.delivery = Delivery(context=self.context)

    def _fail(self, error: Exception) -> None:
        # Withdrawn, nothing of it has arrived whatever else went wrong, unless nobody knows even that.
        blameless = self.withdrawn and isinstance(error, Withdrawn | TemporaryError | AuthenticationFailed)
        known = error if isinstance(error, ConnectorError) and not blameless else None
        self.delivery = Delivery(context=self.context, error=known)


class Source:
    """Deliveries yet to be begun, taken one by one.

    What fails while one is taken is kept, so that those that are under way come to their end before it is raised.
    """

    def __init__(self, deliveries: Iterable[Outgoing]) -> None:
        self._deliveries: Iterator[Outgoing] | None = iter(deliveries)
        self._taken = 0
        self._trouble: Exception | None = None

    @property
    def is_dry(self) -> bool:
        return self._deliveries is None

    def take(self) -> Underway | None:
        """Return the next one; None when there is none."""
        if self._deliveries is None:
            return None
        try:
            context, conversation = next(self._deliveries)
        except StopIteration:
            self.close()
        except Exception as trouble:
            self._trouble = trouble
            self.close()
        else:
            self._taken += 1
            return Underway(self._taken, context, conversation)
        return None

    def close(self) -> None:
        """Take no more."""
        self._deliveries = None

    def raise_trouble(self) -> None:
        """Raise what ended it, if that was not its end."""
        if self._trouble is not None:
            raise self._trouble
