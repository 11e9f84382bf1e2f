"""Receivers of our messages are servers of their own."""

from connectors.tests.peers.fixtures import authority, host_names, start_https  # noqa: F401  # fixtures
