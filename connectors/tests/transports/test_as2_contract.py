"""Over AS2, too, an EDI connector keeps the contract that every connector keeps, but for what AS2 has no word for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from connectors.adapters.edifact_orders import EdifactOrdersConnector
from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, DocumentError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.order import Order
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract, Provocation
from connectors.tests.adapters.provocations import Failures
from connectors.tests.transports import as2


class TestEdifactOverAs2(ConnectorContract):
    connector_class = EdifactOrdersConnector

    @pytest.fixture(autouse=True)
    def station(self, tmp_path: Any, start_https: Any, authority: Any, host_names: Any) -> None:
        self.partner = as2.partner(tmp_path)
        self.there = {
            "as2_url": start_https(self.partner).url("erp.test", "/receive"),
            "ca_bundle": authority.certificate,
        }

    def config(self) -> dict[str, Any]:
        login = {"username": "acme", "password": "s3cret-passw0rd"}
        return as2.settings(character_set="UNOY", recognises_duplicates=True, **login, **self.there)

    def far_end(self) -> Mapping[str, bytes]:
        return {taken.filename: taken.content for taken in self.partner.taken.values()}

    def complete_order(self) -> Order:
        order = sample_orders.complete().as_json()
        order["lines"][1]["unit_price"] = "12345678901.5678"  # EDIFACT has no room for 18 digits
        order["lines"][2]["qty"] = "123456789012.1"
        return Order.parse(order)

    def broken_configs(self) -> list[dict[str, Any]]:
        return [self.config() | {"as2_url": "https://127.0.0.1:1/"}]

    def failures(self) -> Failures:
        def answering(disposition: str) -> Any:
            def arrange() -> Provocation:
                self.partner.disposition = f"processed/error: {disposition}"
                return Provocation()

            return arrange

        def lost() -> Provocation:
            self.partner.faults.append(self.partner.drop)
            return Provocation()

        nameless = Order.parse(sample_orders.minimal().as_json() | {"order_id": "O" * 60})
        return {
            TemporaryError: answering("unexpected-processing-error"),
            AuthenticationFailed: answering("decryption-failed"),
            RejectedByERP: answering("closed for ever"),
            OutcomeUnknown: lost,
            DocumentError: lambda: Provocation(order=nameless),
        }

    # Nobody can be asked what arrived: what was sent may be sent again, and what else is unknown stays so.

    def test_find_export_tells_what_arrived(self) -> None:
        order, attempt = sample_orders.minimal(), self._export_context()
        self._connector().export(order, self._parsed(), attempt)

        for doubt in (None, Code.OUTCOME_UNKNOWN, Code.WORKER_LOST):
            asked = as2.with_(attempt, doubt=doubt)
            assert self._connector().find_export(order, self._parsed(), asked) is None

    def test_a_session_finds_what_it_sent(self) -> None:
        with self._connector().open_session(self._parsed(), self._context()) as session:
            assert session.find(sample_orders.minimal(), self._export_context()) is None
