"""The registry: one adapter a type, complete and honest about what it can do."""

from importlib.metadata import EntryPoint

import pytest

from connectors import registry as registry_module
from connectors.adapters import built_in
from connectors.config import ConnectorConfig
from connectors.exceptions import UnknownConnector
from connectors.port import ERPConnectorPort
from connectors.registry import ConnectorRegistry
from connectors.registry import registry as installed


class Acme(ERPConnectorPort):
    connector_type = "ACME_V1"
    title = "Acme"
    Config = ConnectorConfig

    def export(self, order, config, context):
        raise NotImplementedError

    def test_connection(self, config, context):
        raise NotImplementedError


def variant(**attributes):
    return type("Variant", (Acme,), attributes)


def test_a_registered_adapter_is_found():
    registry = ConnectorRegistry()

    assert registry.register(Acme) is Acme
    assert isinstance(registry.get("ACME_V1"), Acme)
    assert registry.choices() == [("ACME_V1", "Acme")]


def test_a_taken_type_is_refused():
    registry = ConnectorRegistry()
    registry.register(Acme)

    with pytest.raises(ValueError, match=r"ACME_V1 is already registered by .*Acme"):
        registry.register(variant())


def test_an_unknown_type_lists_what_exists():
    registry = ConnectorRegistry()
    registry.register(Acme)

    with pytest.raises(UnknownConnector, match=r"ACME_V2.*Choose one of: ACME_V1") as refused:
        registry.get("ACME_V2")

    assert refused.value.known == ("ACME_V1",)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"connector_type": "acme"}, "connector_type"),
        ({"connector_type": None}, "connector_type"),
        ({"title": ""}, "title"),
        ({"Config": dict}, "Config"),
        ({"supports_render": True}, r"supports_render does not agree with its render\(\)"),
        ({"find_export": lambda self, order, config, context: None}, "supports_find_export does not agree"),
    ],
)
def test_an_incomplete_adapter_is_refused(attributes, message):
    with pytest.raises(ValueError, match=message):
        ConnectorRegistry().register(variant(**attributes))


def test_only_adapters_are_registered():
    with pytest.raises(TypeError, match="not a subclass"):
        ConnectorRegistry().register(dict)
    with pytest.raises(TypeError, match="abstract"):
        ConnectorRegistry().register(type("Half", (Acme,), {"export": ERPConnectorPort.export}))


def test_the_view_is_read_only():
    with pytest.raises(TypeError):
        ConnectorRegistry().connectors["X"] = Acme()


def test_an_adapter_is_found_by_its_module_alone():
    assert {"DROPZONE_JSON_V1", "MOCK", "REST_API"} <= {connector.connector_type for connector in built_in()}


def test_django_registers_the_built_in_adapters(settings):
    assert {"DROPZONE_JSON_V1", "MOCK"} <= set(dict(installed.choices()))


def test_a_broken_package_leaves_the_others_working(monkeypatch):
    here = "connectors.tests.test_registry"
    found = [EntryPoint("acme", f"{here}:Acme", "erp_connectors"), EntryPoint("bad", f"{here}:Gone", "erp_connectors")]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: found if group == "erp_connectors" else [])
    registry = ConnectorRegistry()

    registry.load_entry_points()

    assert list(registry.connectors) == ["ACME_V1"]
    assert dict(registry.broken) == {"bad": "AttributeError"}
