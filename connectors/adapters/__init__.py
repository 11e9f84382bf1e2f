"""One module per ERP: its configuration, and its class that joins a format and a transport."""

from typing import Any

from connectors.adapters.dropzone_json_v1 import DropzoneJsonV1Connector
from connectors.adapters.mock import MockConnector
from connectors.port import ERPConnectorPort

BUILT_IN: tuple[type[ERPConnectorPort[Any]], ...] = (DropzoneJsonV1Connector, MockConnector)
"""The connectors that come with this package."""
