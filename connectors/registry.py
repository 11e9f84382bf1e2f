"""Which adapter serves which connector type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, TypeVar

from connectors.config import ConnectorConfig
from connectors.exceptions import UnknownConnector
from connectors.port import OPTIONAL_VERBS, ERPConnectorPort, Guarantee

ENTRY_POINT_GROUP: Final = "erp_connectors"

_TYPE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,63}", re.ASCII)

ConnectorClass = TypeVar("ConnectorClass", bound=type[ERPConnectorPort[Any]])


class ConnectorRegistry:
    """Maps each `connector_type` to its adapter."""

    def __init__(self) -> None:
        self._connectors: dict[str, ERPConnectorPort[Any]] = {}
        self._broken: dict[str, str] = {}

    def register(self, connector_class: ConnectorClass) -> ConnectorClass:
        """Add an adapter; usable as a class decorator.

        Raises:
            ValueError: the type is taken or badly formed, or the class promises what it does not have.
            TypeError: the class is not a complete ERPConnectorPort.
        """
        _check_shape(connector_class)
        name = connector_class.connector_type
        if name in self._connectors:
            taken = type(self._connectors[name])
            raise ValueError(f"{name} is already registered by {taken.__module__}.{taken.__qualname__}")
        self._connectors[name] = connector_class()
        return connector_class

    def get(self, connector_type: str) -> ERPConnectorPort[Any]:
        """Return the adapter of this type.

        Raises:
            UnknownConnector: there is none; the error lists what exists.
        """
        try:
            return self._connectors[connector_type]
        except KeyError:
            raise UnknownConnector(connector_type, sorted(self._connectors)) from None

    def choices(self) -> list[tuple[str, str]]:
        """Return (connector_type, title) of every adapter, by title."""
        return sorted(((name, connector.title) for name, connector in self._connectors.items()), key=lambda c: c[1])

    @property
    def connectors(self) -> Mapping[str, ERPConnectorPort[Any]]:
        """A read-only view of all adapters."""
        return MappingProxyType(self._connectors)

    @property
    def broken(self) -> Mapping[str, str]:
        """The entry points that could not be registered, each with the kind of error."""
        return MappingProxyType(self._broken)

    def load_entry_points(self) -> None:
        """Register the adapters of installed packages (entry-point group `erp_connectors`).

        A package that cannot be loaded is listed in `broken` and leaves the others working.
        """
        for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
            self._load(entry_point)

    def _load(self, entry_point: EntryPoint) -> None:
        try:
            self.register(entry_point.load())
        except Exception as error:  # foreign code: whatever it raises must not stop the others
            self._broken[entry_point.name] = type(error).__name__


def _check_shape(connector_class: type[ERPConnectorPort[Any]]) -> None:
    if not (isinstance(connector_class, type) and issubclass(connector_class, ERPConnectorPort)):
        raise TypeError(f"{connector_class!r} is not a subclass of ERPConnectorPort")
    name = getattr(connector_class, "connector_type", "")
    if not (isinstance(name, str) and _TYPE.fullmatch(name)):
        raise ValueError(f"{connector_class.__qualname__}.connector_type must look like DROPZONE_JSON_V1")
    if not getattr(connector_class, "title", ""):
        raise ValueError(f"{connector_class.__qualname__} needs a title")
    config_class = getattr(connector_class, "Config", None)
    if not (isinstance(config_class, type) and issubclass(config_class, ConnectorConfig)):
        raise ValueError(f"{connector_class.__qualname__}.Config must be a subclass of ConnectorConfig")
    for verb, flag in OPTIONAL_VERBS.items():
        implemented = getattr(connector_class, verb) is not getattr(ERPConnectorPort, verb)
        if implemented is not bool(getattr(connector_class, flag)):
            raise ValueError(f"{connector_class.__qualname__}.{flag} does not agree with its {verb}()")
    if connector_class.guarantee is Guarantee.LOOKUP and not connector_class.supports_find_export:
        raise ValueError(f"{connector_class.__qualname__} guarantees a look-up but has no find_export()")


registry: Final = ConnectorRegistry()
"""The registry of this process, filled when Django starts."""
