"""What a connector's own tests tell the contract, and what the parts of the contract share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from connectors.codes import Code
from connectors.config import ConnectorConfig
from connectors.exceptions import ConnectorError
from connectors.order import Order
from connectors.port import Context, ERPConnectorPort, ExportContext
from connectors.results import TestResult
from connectors.testing import sample_orders
from connectors.testing.fakes import context, export_context


@dataclass(frozen=True, kw_only=True)
class Provocation:
    """An export that ends with an error."""

    config: dict[str, Any] | None = None
    """None for that of `config()`."""
    order: Order | None = None
    """None for a minimal one."""
    attempt: ExportContext | None = None
    """None for a new one."""


class ContractHooks(ABC):
    """What the subclass gives."""

    connector_class: ClassVar[type[ERPConnectorPort[Any]]]
    uses_network: ClassVar[bool] = True
    """Does it connect to anybody? Then its configuration says to whom."""
    out_of_reach: ClassVar[frozenset[type[ConnectorError]]] = frozenset()
    """The classes of error that this configuration cannot bring about, of those that the connector declares."""

    # Hooks: what the subclass gives.

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return a complete configuration that works, with a value for every secret it can have."""

    @abstractmethod
    def far_end(self) -> Mapping[str, bytes]:
        """Return everything that lies at the far end now, by name."""

    def broken_configs(self) -> list[dict[str, Any]]:
        """Return valid configurations with which a connection test fails, secrets included."""
        return []

    def failures(self) -> Mapping[type[ConnectorError], Callable[[], Provocation]]:
        """Return, for each class of error that the connector declares in `raises`, what lets an export end with it."""
        return {}

    def dropzone_root(self) -> Path | None:
        """Return the root folder of filesystem connections."""
        return None

    def complete_order(self) -> Order:
        """Return an order with every field that the format can express."""
        return sample_orders.complete()

    # Shared by the parts.

    def _connector(self) -> ERPConnectorPort[Any]:
        return self.connector_class()

    def _parsed(self) -> ConnectorConfig:
        return self.connector_class.Config.parse(self.config())

    def _test(self, context: Context) -> TestResult:
        return self._connector().test_connection(self._parsed(), context)

    def _context(self) -> Context:
        return context(dropzone_root=self.dropzone_root())

    def _export_context(self) -> ExportContext:
        return export_context(dropzone_root=self.dropzone_root())

    def _assert_no_secret(self, text: str, config: Mapping[str, Any]) -> None:
        for name in self.connector_class.Config.secret_fields():
            assert str(config.get(name) or "\0") not in text, f"{name} is shown"


def failure(act: Callable[[], object]) -> Code | None:
    """Return the code with which a call fails; None when it does not."""
    try:
        act()
    except ConnectorError as error:
        return error.code
    return None
