"""ACME keeps the contract of all connectors, against a small Acme on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from erp_acme import AcmeConnector

from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
)
from connectors.quality import Tier, tier_of
from connectors.testing.contract import ConnectorContract, Provocation

TOKEN = "s3cret-token"  # noqa: S105  # of a throw-away server
COMPANY = {"name": "Acme GmbH", "environment": "production", "currency": "EUR"}


class Acme(ThreadingHTTPServer):
    """Keeps the orders it is sent; `fault` is the status of its next answer to a POST, 0 for none at all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.bodies: dict[str, bytes] = {}
        self.fault: int | None = None

    def order(self, external_id: str) -> dict[str, Any]:
        number = list(self.bodies).index(external_id)
        return {"id": number, "number": f"SO-{1000 + number}", "state": "open"}


class Requests(BaseHTTPRequestHandler):
    """Acme's interface."""

    protocol_version = "HTTP/1.1"
    server: Acme

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"error": {"code": "TOKEN", "message": f"Unknown: {self.headers['Authorization']}"}})
        elif url.path == "/company":
            self._answer(200, COMPANY)
        else:
            names = parse_qs(url.query)["externalId"]
            self._answer(200, {"orders": [self.server.order(name) for name in names if name in self.server.bodies]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = json.loads(body)["externalId"]
        fault, self.server.fault = self.server.fault, None
        if fault:
            self._answer(fault, {"error": {"code": "FAULT", "message": "No."}})
        elif name in self.server.bodies:
            self._answer(409, {"error": {"code": "DUPLICATE", "message": "It is there."}})
        else:
            self.server.bodies[name] = body
            if fault is None:
                self._answer(201, self.server.order(name))
            else:
                self.close_connection = True

    def _answer(self, status: int, said: object) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class TestAcme(ConnectorContract):
    connector_class = AcmeConnector

    @pytest.fixture(autouse=True)
    def acme(self) -> Iterator[None]:
        with Acme() as self.server:
            threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
            yield
            self.server.shutdown()

    def config(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.server.server_port}"
        return {"base_url": url, "allow_plain_http": True, "token": TOKEN, "customer_number_from": "id"}

    def far_end(self) -> Mapping[str, bytes]:
        return {f"{name}.json": body for name, body in self.server.bodies.items()}

    def broken_configs(self) -> list[dict[str, Any]]:
        return [self.config() | {"token": "an0ther-s3cret"}, self._nobody()]

    def failures(self) -> Mapping[type[ConnectorError], Callable[[], Provocation]]:
        by_erp_number = self.config() | {"customer_number_from": "erp_customer_number"}  # which a minimal order lacks
        return {
            TemporaryError: lambda: Provocation(config=self._nobody()),
            RateLimited: lambda: self._next_is(429),
            OutcomeUnknown: lambda: self._next_is(0),
            AuthenticationFailed: lambda: self._next_is(401),
            RejectedByERP: lambda: self._next_is(422),
            DocumentError: lambda: Provocation(config=by_erp_number),
        }

    def test_it_is_gold(self) -> None:
        assert tier_of(AcmeConnector()) is Tier.GOLD

    def _next_is(self, status: int) -> Provocation:
        self.server.fault = status
        return Provocation()

    def _nobody(self) -> dict[str, Any]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return self.config() | {"base_url": f"http://127.0.0.1:{free.getsockname()[1]}"}
