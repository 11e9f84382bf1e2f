"""The admin pages of connections, exports, tests and master keys. Everything is done through `connectors.services`."""

from connectors.admin import connections, exports, history, keys

__all__ = ["connections", "exports", "history", "keys"]
