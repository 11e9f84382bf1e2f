from connectors.tests.api.conftest import _fresh, api, caller  # noqa: F401  # as below
from connectors.tests.peers.fixtures import *  # noqa: F403  # fixtures are found by name
