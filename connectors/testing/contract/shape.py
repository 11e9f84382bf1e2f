"""The shape of a connector: its class, its configuration, its documents."""

from __future__ import annotations

import json

import jsonschema_rs

from connectors.exceptions import ConfigurationError, Fault
from connectors.registry import ConnectorRegistry
from connectors.testing import sample_orders
from connectors.testing.contract.hooks import ContractHooks
from connectors.testing.fakes import export_context


class ShapeContract(ContractHooks):
    """What can be told without the far end."""

    def test_can_be_registered(self) -> None:
        ConnectorRegistry().register(self.connector_class)

    def test_config_describes_itself(self) -> None:
        schema = self.connector_class.Config.json_schema()

        jsonschema_rs.meta.validate(schema)
        for name, field in schema["properties"].items():
            assert field.get("title"), f"{name} has no title"
            assert field.get("description"), f"{name} has no description"

    def test_config_survives_storage(self) -> None:
        parsed = self._parsed()

        assert self.connector_class.Config.parse({k: v for k, v in parsed.reveal().items() if v is not None}) == parsed

    def test_config_refuses_unknown_fields(self) -> None:
        faults: tuple[Fault, ...] = ()
        try:
            self.connector_class.Config.parse(self.config() | {"no_such_field": 1})
        except ConfigurationError as error:
            faults = error.faults

        assert [fault.path for fault in faults] == ["no_such_field"]

    def test_secrets_are_not_shown(self) -> None:
        parsed = self._parsed()

        shown = f"{parsed!r} {parsed} {json.dumps(parsed.public())} {parsed.model_dump_json()}"
        self._assert_no_secret(shown, self.config())

    def test_config_says_whom_it_talks_to(self) -> None:
        assert self._parsed().endpoint() or not self.uses_network

    def test_expiries_are_moments(self) -> None:
        for expiry in self._parsed().expiries():
            assert expiry.field in self.connector_class.Config.model_fields
            assert expiry.kind
            assert expiry.expires_at.utcoffset() is not None

    def test_same_order_renders_the_same_document(self) -> None:
        if not self.connector_class.supports_render:
            return
        first = self._export_context()
        second = export_context(export_id=first.export_id, created_at=first.created_at, attempt=2)

        for order in (sample_orders.minimal(), self.complete_order()):
            rendered = self._connector().render(order, self._parsed(), first)

            assert rendered == self._connector().render(order, self._parsed(), second)
            assert rendered.content
