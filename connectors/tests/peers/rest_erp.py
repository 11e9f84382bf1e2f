"""An imitation of an ERP with a JSON interface of calls, written for these tests: it answers, stalls, forgets and lies.

POST /api/orders, PUT /api/orders/<key>      create; Idempotency-Key, If-None-Match
GET  /api/orders?reference=…                 look up
GET  /api/orders/<number>                    number and state
GET  /api/jobs/<n>                           a 202 that became an order
GET  /api/ping                               needs the same credentials
POST /token                                  OAuth 2 client credentials
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from connectors.tests.peers.https import Exchange

Answer = Callable[[Exchange], bool]
"""Answers a request and says so, or leaves it to the ERP."""


@dataclass
class RestErp:
    """Everything the ERP knows."""

    authorised: Callable[[Exchange], bool] = lambda _: True
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By number."""
    by_key: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """The body and the number that belong to an idempotency key."""
    bodies: dict[str, bytes] = field(default_factory=dict)
    faults: list[Answer] = field(default_factory=list)
    """What happens to the next requests that create something, one after the other."""
    state: str = "accepted"
    is_asynchronous: bool = False
    tokens: list[str] = field(default_factory=list)
    token_forms: list[dict[str, str]] = field(default_factory=list)
    refuses_client: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        url = urlsplit(exchange.path)
        if url.path == "/token":
            self._token(exchange)
        elif not self.authorised(exchange):
            exchange.reply(401, '{"error": "invalid_token"}', Content_Type="application/json")
        elif exchange.command in ("POST", "PUT"):
            if not (self.faults and self.faults.pop(0)(exchange)):
                self.create(exchange)
        elif url.path == "/api/orders":
            wanted = parse_qs(url.query).get("reference", [""])[0]
            self._json(exchange, 200, {"items": [o for o in self.orders.values() if o["reference"] == wanted]})
        else:
            self._get(exchange, url.path.rpartition("/")[2])

    def create(self, exchange: Exchange, *, answers: bool = True) -> None:
        """Take an order once for each key."""
        key = self._key(exchange)
        with self._lock:
            known = self.by_key.get(key) if key else None
            if known and exchange.command == "PUT" and exchange.headers.get("If-None-Match") == "*":
                exchange.reply(412)
                return
            if known and known[0] != exchange.body:
                self._problem(exchange, 422, "This key belongs to another order.")
                return
            number = known[1] if known else self._add(exchange, key)
        if answers:
            self._created(exchange, number, replayed=known is not None)

    def drop(self, exchange: Exchange) -> bool:
        """Take the order, and cut the connection instead of answering."""
        self.create(exchange, answers=False)
        exchange.reset()
        return True

    def later(self, released: threading.Event) -> Answer:
        """Return a fault: nothing is said, and the order is taken once the event is set."""

        def answer(exchange: Exchange) -> bool:
            released.wait(10)
            self.create(exchange, answers=False)
            exchange.reset()
            return True

        return answer

    def _add(self, exchange: Exchange, key: str | None) -> str:
        number = f"SO-{1000 + len(self.orders)}"
        document = json.loads(exchange.body, parse_float=Decimal)
        self.orders[number] = {"number": number, "status": self.state, "reference": _reference(document)}
        self.bodies[number] = exchange.body
        if key:
            self.by_key[key] = (exchange.body, number)
        return number

    def _created(self, exchange: Exchange, number: str, *, replayed: bool) -> None:
        headers = {"Idempotent_Replayed": "true"} if replayed else {}
        if self.is_asynchronous:
            exchange.reply(202, "", Location=f"/api/jobs/{number}", **headers)
        else:
            self._json(exchange, 201, self.orders[number], Location=f"/api/orders/{number}", **headers)

    def _get(self, exchange: Exchange, name: str) -> None:
        if name == "ping":
            self._json(exchange, 200, {"ok": True})
        elif name in self.orders:
            self._json(exchange, 200, self.orders[name])
        else:
            self._problem(exchange, 404, "There is no such thing.")

    def _token(self, exchange: Exchange) -> None:
        self.token_forms.append(dict(parse_qsl(exchange.body.decode())))
        if self.refuses_client:
            self._json(exchange, 401, {"error": "invalid_client", "error_description": "s3cret leaked"})
            return
        self.tokens.append(f"token-{len(self.tokens) + 1}")
        self._json(exchange, 200, {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": 3600})

    def _key(self, exchange: Exchange) -> str | None:
        if exchange.command == "PUT":
            return urlsplit(exchange.path).path
        key = exchange.headers.get("Idempotency-Key")
        return key.strip('"') if key else None

    @staticmethod
    def _json(exchange: Exchange, status: int, body: Any, **headers: str) -> None:
        exchange.reply(status, json.dumps(body), Content_Type="application/json", **headers)

    @staticmethod
    def _problem(exchange: Exchange, status: int, detail: str) -> None:
        body = json.dumps({"title": "No", "status": status, "detail": detail})
        exchange.reply(status, body, Content_Type="application/problem+json")


def _reference(document: dict[str, Any]) -> str:
    return str(document.get("reference") or document.get("draft_order_id"))


def says(status: int, body: str = "", **headers: str) -> Answer:
    """Return a fault: this answer and nothing else."""

    def answer(exchange: Exchange) -> bool:
        exchange.reply(status, body, **headers)
        return True

    return answer
