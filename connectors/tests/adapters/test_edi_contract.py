"""The EDI connectors keep the contract that every connector keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.adapters.edifact_orders import EdifactOrdersConnector
from connectors.adapters.x12_850 import X12OrdersConnector
from connectors.exceptions import AuthenticationFailed, DocumentError, OutcomeUnknown
from connectors.order import Order
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract, Provocation
from connectors.tests.adapters.provocations import Failures, in_a_folder

BETWEEN = {"sender_id": "ACME", "recipient_id": "GLOBEX", "customer_number_from": "id"}


class _OnFilesystem(ConnectorContract):
    settings: dict[str, Any]
    uses_network = False
    out_of_reach = frozenset(
        {AuthenticationFailed, OutcomeUnknown}
    )  # a folder of this machine asks nobody, and answers

    @pytest.fixture(autouse=True)
    def folders(self, tmp_path: Path) -> None:
        self.root = tmp_path
        for name in ("out", "ack"):
            (tmp_path / name).mkdir()

    def dropzone_root(self) -> Path:
        return self.root

    def complete_order(self) -> Order:
        order = sample_orders.complete().as_json()
        order["lines"][1]["unit_price"] = "12345678901.5678"  # neither has room for 18 digits
        order["lines"][2]["qty"] = "123456789012.1"
        return Order.parse(order)

    def config(self) -> dict[str, Any]:
        return {"mode": "filesystem", "export_path": "out", "ack_path": "ack", **BETWEEN, **self.settings}

    def far_end(self) -> Mapping[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "out").iterdir()}

    def broken_configs(self) -> list[dict[str, Any]]:
        return [self.config() | {"export_path": "nowhere"}]

    def failures(self) -> Failures:
        nameless = sample_orders.minimal().as_json() | {"order_id": "O" * 60}  # longer than either has room for
        unwritable = Provocation(order=Order.parse(nameless), config=self.config() | {"reference_from": "order_id"})
        return in_a_folder(self, self.root / "out", "export_path") | {DocumentError: lambda: unwritable}


class TestEdifactOrders(_OnFilesystem):
    connector_class = EdifactOrdersConnector
    settings = {"character_set": "UNOY"}  # noqa: RUF012


class TestX12Orders(_OnFilesystem):
    connector_class = X12OrdersConnector
    settings = {"character_set": "utf8"}  # noqa: RUF012
