"""REST_API keeps the contract, against an imitation of an ERP over TLS."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook

from connectors.adapters.rest_api import RestApiConnector
from connectors.exceptions import DocumentError
from connectors.formats import orderflow_json_v1
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract, Provocation
from connectors.tests.adapters.provocations import Failures, over_http
from connectors.tests.peers.https import Authority, Exchange, HttpServer
from connectors.tests.peers.rest_erp import RestErp

SECRET = "whsec_" + b64encode(b"s3cret-of-at-least-24-bytes!").decode()
LOOK_UP = {
    "lookup_path": "orders",
    "lookup_query": {"reference": "{order_id}"},
    "found_at": "$.items",
    "settle_s": 0,
}


@pytest.mark.usefixtures("host_names")
class RestContract(ConnectorContract):
    """The contract for one way to configure it."""

    connector_class = RestApiConnector
    settings: ClassVar[dict[str, Any]]

    @pytest.fixture(autouse=True)
    def server(self, start_https: Callable[..., HttpServer], authority: Authority) -> None:
        self.erp = RestErp(authorised=self.is_authorised)
        self.ca = authority.certificate
        self.http = start_https(self.erp)

    def is_authorised(self, exchange: Exchange) -> bool:
        return exchange.headers.get("Authorization") == "Bearer s3cret-token"

    def config(self) -> dict[str, Any]:
        base = {"base_url": self.http.url(path="/api"), "ca_bundle": self.ca, "create_path": "orders"}
        return base | {"number_at": "$.number", "test_path": "ping", "test_expects": "ok"} | self.settings

    def far_end(self) -> Mapping[str, bytes]:
        created_at = datetime(2025, 12, 26, 10, 0, tzinfo=UTC)
        ids = {number: UUID(key.rpartition("/")[2]) for key, (_, number) in self.erp.by_key.items()}
        return {
            orderflow_json_v1.filename(
                json.loads(body)["draft_order_id"], export_id=ids[number], created_at=created_at
            ): body
            for number, body in self.erp.bodies.items()
        }

    def broken_configs(self) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = [
            {"test_path": "nothing"},
            {"test_expects": "missing"},
            {"ca_bundle": None},
        ]
        return [self.config() | change for change in changes]

    def failures(self) -> Failures:
        from_nobody = sample_orders.minimal("SO-N")
        needs = self.config() | {"create_path": "orders/{reference}/{export_id}"}
        failures = over_http(self, self.erp.faults, self.erp.drop, from_nobody)
        return {**failures, DocumentError: lambda: Provocation(config=needs, order=from_nobody)}


class TestWithIdempotencyKey(RestContract):
    settings: ClassVar[dict[str, Any]] = {
        "auth_kind": "bearer",
        "token": "s3cret-token",
        "idempotency_header": "Idempotency-Key",
        "idempotency_quoted": True,
        "signing": "standard_webhooks",
        "signing_secret": SECRET,
        **LOOK_UP,
    }

    def is_authorised(self, exchange: Exchange) -> bool:
        if exchange.command == "POST":  # an implementation that nobody here wrote
            Webhook(SECRET).verify(exchange.body, dict(exchange.headers))
        return super().is_authorised(exchange)


class TestWithPut(RestContract):
    settings: ClassVar[dict[str, Any]] = {
        "auth_kind": "bearer",
        "token": "s3cret-token",
        "create_method": "PUT",
        "create_path": "orders/{export_id}",
        "create_only": True,
        **LOOK_UP,
    }
