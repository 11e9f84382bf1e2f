"""What the imitations of ERPs share: an answer for each request, and faults for those that change something.

    class AcmeErp(Imitation):
        def changes(self, exchange): return exchange.command == "POST"
        def respond(self, exchange): ...; return Reply(201, {"number": "SO-1"})

An imitation stands for an ERP that cannot be installed here. It is written from what its maker documents, and takes
nothing on trust that the real one would refuse.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from connectors.tests.peers.https import Exchange

Fault = Callable[[Exchange], bool]
"""Answers a request in the place of the ERP and says so, or leaves it to the ERP."""


@dataclass(frozen=True)
class Reply:
    """What the ERP answers: bytes and text as they are, everything else as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, exchange: Exchange) -> None:
        """Answer a request with it."""
        is_json = not isinstance(self.body, str | bytes)
        content = json.dumps(self.body, default=str) if is_json else self.body
        named = {name.replace("-", "_"): value for name, value in self.headers.items()}
        exchange.reply(self.status, content, **({"Content_Type": "application/json"} if is_json else {}) | named)


class Imitation(ABC):
    """One ERP on loopback."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        """What happens to the next requests that change something, one after the other."""
        self._lock = threading.Lock()

    # Hooks: what the ERP is like.

    @abstractmethod
    def changes(self, exchange: Exchange) -> bool:
        """Return whether a request changes something."""

    @abstractmethod
    def respond(self, exchange: Exchange) -> Reply:
        """Do what a request asks for and return the answer; called under a lock."""

    # What tests tell it.

    def drop(self, exchange: Exchange) -> bool:
        """A fault: do what is asked for, and cut the connection instead of answering."""
        self._respond(exchange)
        exchange.reset()
        return True

    def cut(self, exchange: Exchange) -> bool:
        """A fault: cut the connection and do nothing."""
        exchange.reset()
        return True

    def later(self, released: threading.Event) -> Fault:
        """Return a fault: nothing is said, and what is asked for is done once the event is set."""

        def fault(exchange: Exchange) -> bool:
            released.wait(10)
            return self.drop(exchange)

        return fault

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        if self.changes(exchange) and self.faults and self.faults.pop(0)(exchange):
            return
        self._respond(exchange).send(exchange)

    def _respond(self, exchange: Exchange) -> Reply:
        with self._lock:
            return self.respond(exchange)


def says(status: int, body: Any = "", **headers: str) -> Fault:
    """Return a fault: this answer, and nothing is done. Underscores in header names become hyphens."""

    def fault(exchange: Exchange) -> bool:
        Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()}).send(exchange)
        return True

    return fault


def read_json(exchange: Exchange) -> Any:
    """Return what a request says, with a Decimal for every number that has a fraction."""
    return json.loads(exchange.body, parse_float=Decimal)
