"""Far ends that record, secrets to plant there, and everybody who could send one astray."""

from __future__ import annotations

import pytest

from connectors.tests.admin.conftest import person, sign_in, superuser  # noqa: F401  # fixtures
from connectors.tests.api.conftest import _fresh, api, caller, stranger  # noqa: F401  # fixtures
from connectors.tests.peers.fixtures import host_names  # noqa: F401  # a fixture
from connectors.tests.security.belongings import Belongings
from connectors.tests.security.canaries import Canaries
from connectors.tests.security.recorders import SshRecorder


@pytest.fixture
def canaries():
    return Canaries()


@pytest.fixture(scope="session")
def _home(tmp_path_factory):
    with SshRecorder(tmp_path_factory.mktemp("home")) as recorder:
        yield recorder


@pytest.fixture(scope="session")
def _other(tmp_path_factory):
    with SshRecorder(tmp_path_factory.mktemp("other")) as recorder:
        yield recorder


@pytest.fixture
def home(_home):
    """Where the secrets belong."""
    _home.forget()
    return _home


@pytest.fixture
def other(_other):
    """Where no stored secret may ever arrive; it takes any login."""
    _other.forget()
    return _other


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings):
    settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def _no_limits(settings):
    settings.TESTS_PER_MINUTE_AND_KEY = settings.TESTS_PER_MINUTE_AND_ORGANISATION = 10_000
    settings.TESTS_PER_MINUTE_AND_DESTINATION = 10_000


@pytest.fixture
def own(db):
    """One of everything of the organisation that asks."""
    return Belongings.of("zqacmezq")


@pytest.fixture
def foreign(db):
    """One of everything of the organisation that is nobody's business."""
    return Belongings.of("xkglobexxk")
