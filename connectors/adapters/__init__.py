"""One module per ERP: its configuration, and its class that joins a format and a transport.

A module put into this package is found by itself: adding an ERP edits nothing that exists.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from connectors.port import ERPConnectorPort


def built_in() -> list[type[ERPConnectorPort[Any]]]:
    """Import the modules of this package and return the connectors they define, by module name."""
    modules = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ERPConnectorPort) and value.__module__ == module.__name__
    ]
