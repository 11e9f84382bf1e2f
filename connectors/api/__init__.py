"""The HTTP API: thin over `connectors.services`."""
