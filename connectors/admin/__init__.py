"""The admin pages of connections and of what passes through them. Everything is done by `connectors.services`."""

from connectors.admin import acknowledgements, connections, exports, history, jobs, keys, webhooks

__all__ = ["acknowledgements", "connections", "exports", "history", "jobs", "keys", "webhooks"]
