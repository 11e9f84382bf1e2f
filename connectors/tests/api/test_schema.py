"""The description says what the API does."""

import json

import pytest
from django.core.management import call_command
from django.test import Client

from connectors.api import examples, shapes
from connectors.api.urls import urlpatterns
from connectors.registry import registry

METHODS = ("get", "post", "patch", "delete")


@pytest.fixture(scope="module")
def described():
    return json.loads(Client().get("/api/v1/schema", headers={"Accept": "application/json"}).content)


def test_it_is_valid_without_a_warning(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))


def test_every_operation_is_described(described):
    operations = [each for path in described["paths"].values() for each in path.values()]
    offered = sum(method in METHODS for route in urlpatterns for method in route.callback.view_class.__dict__)

    assert described["openapi"].startswith("3.1")
    assert len(operations) == offered
    assert all(each["summary"] and {"401", "403", "422"} <= each["responses"].keys() for each in operations)
    assert all(each["security"] == [{"apiKey": []}, {"session": []}] for each in operations)


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        (shapes.ExportInput, examples.EXPORT_INPUT),
        (shapes.connection_request(), examples.CONNECTION_INPUT),
        (shapes.unsaved_test_request(), examples.UNSAVED_TEST_INPUT),
        (shapes.ConnectionPatch, examples.CONNECTION_PATCH),
        (shapes.WebhookInput, examples.WEBHOOK_INPUT),
        (shapes.Connection, examples.CONNECTION),
        (shapes.DeliveryPatch, examples.DELIVERY_PATCH),
        (shapes.Delivery, examples.DELIVERY),
        (shapes.Export, examples.EXPORT),
        (shapes.Export, examples.PENDING_EXPORT),
        (shapes.Acknowledgement, examples.RESOLVED_ACKNOWLEDGEMENT),
        (shapes.TestReport, examples.TEST_REPORT),
        (shapes.TestReport, examples.FAILED_TEST_REPORT),
    ],
)
def test_the_examples_are_true(shape, example):
    shape.model_validate(example)


def test_each_connector_type_is_a_variant(described):
    request = described["components"]["schemas"]["ConnectionRequest"]

    assert request["discriminator"]["propertyName"] == "connector_type"
    assert set(request["discriminator"]["mapping"]) == set(registry.connectors)
