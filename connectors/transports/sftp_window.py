"""Many deliveries under way over one SFTP session, led by one thread.

What the far end is shown keeps the sequence, although everything before that is done side by side. The questions of
all deliveries that can go on at a moment are sent together.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from connectors.exceptions import OutcomeUnknown
from connectors.port import Delivery
from connectors.transports.conversation import Outgoing, Source, Underway
from connectors.transports.sftp_protocol import SftpClient
from connectors.transports.ssh import BROKEN

_SLOW_S: Final = 0.001
"""When taking the next delivery lasts longer, what is ready is not kept waiting for it."""


class SftpWindow:
    """Leads deliveries, up to `size` of them at once."""

    def __init__(self, client: SftpClient, deliveries: Iterable[Outgoing], *, size: int) -> None:
        self._client = client
        self._source = Source(deliveries)
        self._size = size
        self._under_way: dict[Underway, float] = {}
        """Those that have not ended, in their sequence, and when the time of each is over."""
        self._line: deque[Underway] = deque()
        """Those that have not had their turn, in their sequence; some of them have ended without it."""
        self._ended: deque[Delivery] = deque()

    def run(self) -> Iterator[Delivery]:
        """Return each delivery when its end is known."""
        try:
            while self._under_way or not self._source.is_dry:
                self._fill()
                self._send()
                if self._under_way and not self._ended:
                    self._listen()
                    self._send()
                while self._ended:
                    yield self._ended.popleft()
        finally:
            if self._under_way:  # nobody would hear any more what becomes of them
                self._client.close()
        self._source.raise_trouble()

    def _fill(self) -> None:
        """Begin deliveries while there is room, at least one."""
        while len(self._under_way) < self._size:
            started = time.monotonic()
            begun = self._source.take()
            if begun is None:
                return
            self._begin(begun)
            if time.monotonic() - started > _SLOW_S:
                self._send()
                if self._client.has_news:
                    return

    def _begin(self, begun: Underway) -> None:
        left = begun.context.remaining_s
        self._under_way[begun] = time.monotonic() + left
        self._line.append(begun)
        begun.go_on()
        if left <= 0 and begun.delivery is None:
            begun.fail(TimeoutError())
        self._attend(begun)
        self._give_turns()

    def _send(self) -> None:
        """Send what there is to ask."""
        # What has come already has come in time.
        self._client.deadline = math.inf if self._client.has_news else min(self._under_way.values(), default=math.inf)
        try:
            self._client.flush()
        except BROKEN as error:
            self._lose(error)

    def _listen(self) -> None:
        """Wait for an answer, and let those go on that have all of theirs."""
        try:
            if not self._client.answered:
                self._client.listen()
        except BROKEN as error:
            self._lose(error)
        while self._client.answered:
            answered = self._client.answered.popleft()
            if answered.owner in self._under_way:
                answered.owner.go_on(answered.answers)
                self._attend(answered.owner)
        self._give_turns()

    def _attend(self, delivery: Underway) -> None:
        """See what a delivery wants next."""
        if delivery.delivery is not None:
            self._end(delivery)
        elif not delivery.waits_for_its_turn:
            self._client.begin(delivery.wants, owner=delivery)
            if self._client.has_much_to_send:
                self._send()
        elif delivery.withdrawn:
            delivery.withdraw()
            self._attend(delivery)
        elif delivery.had_its_turn:
            delivery.go_on()
            self._attend(delivery)

    def _give_turns(self) -> None:
        """Let those have their turn before whom there is nobody any more who is still to have his."""
        while self._line and (self._line[0].waits_for_its_turn or self._line[0].delivery):
            first = self._line.popleft()
            if first.delivery is None:
                first.go_on()
                self._attend(first)

    def _end(self, delivery: Underway) -> None:
        assert delivery.delivery is not None
        del self._under_way[delivery]
        self._ended.append(delivery.delivery)
        if delivery.stops_the_line:
            self._source.close()
            while self._line and self._line[-1].place > delivery.place:
                behind = self._line.pop()
                if behind.waits_for_its_turn:
                    behind.withdraw()
                    self._attend(behind)
                else:
                    behind.withdrawn = True

    def _lose(self, error: Exception) -> None:
        """End all that are under way: the connection is gone."""
        self._source.close()
        self._client.close()
        self._line.clear()
        one_is_to_blame = False
        for delivery in list(self._under_way):
            delivery.withdrawn |= one_is_to_blame
            delivery.fail(error)
            if delivery.delivery is None:
                delivery.give_up()
            self._end(delivery)
            one_is_to_blame |= delivery.stops_the_line and not isinstance(delivery.error, OutcomeUnknown)
