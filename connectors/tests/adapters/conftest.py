from connectors.tests.peers.fixtures import *  # noqa: F403  # fixtures are found by name
