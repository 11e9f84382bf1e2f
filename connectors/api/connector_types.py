"""GET connector-types: what this installation can connect to."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api.schema import Answer, describe
from connectors.api.shapes import ConnectorType, Page
from connectors.api.views import ApiView
from connectors.exceptions import UnknownConnector
from connectors.port import ERPConnectorPort
from connectors.registry import registry


class ConnectorTypesView(ApiView):
    """All connector types."""

    scopes = {"GET": None}

    @describe(
        "list_connector_types",
        "List connector types",
        answers={200: Answer(description="All of them, on one page.", model=Page[ConnectorType])},
    )
    def get(self, request: Request) -> Response:
        """List the installed connector types with the JSON Schema of their configuration."""
        shown = [_show(registry.get(connector_type)) for connector_type, _ in registry.choices()]
        return Response({"results": shown, "next": None, "previous": None})


class ConnectorTypeView(ApiView):
    """One connector type."""

    scopes = {"GET": None}

    @describe(
        "get_connector_type",
        "Show a connector type",
        answers={200: Answer(description="The connector type.", model=ConnectorType)},
    )
    def get(self, request: Request, connector_type: str) -> Response:
        """Show one connector type with the JSON Schema of its configuration."""
        try:
            return Response(_show(registry.get(connector_type)))
        except UnknownConnector:
            raise Http404 from None


def _show(connector: ERPConnectorPort[Any]) -> dict[str, Any]:
    return ConnectorType(
        connector_type=connector.connector_type,
        title=connector.title,
        summary=connector.summary,
        guarantee=connector.guarantee,
        capabilities=connector.capabilities(),
        config_schema=connector.Config.json_schema(),
    ).as_json()
