"""What formats write numbers with: see `connectors.exact_json`."""

from connectors.exact_json import Json, dumps

__all__ = ["Json", "dumps"]
