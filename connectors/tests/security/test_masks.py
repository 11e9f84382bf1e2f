"""What was shown in a secret's place is never taken for the secret, and leaving out, clearing and replacing differ."""

from __future__ import annotations

import pytest

from connectors.exceptions import ConfigurationError
from connectors.models import ConnectionTest
from connectors.services import connections, revisions
from connectors.tests.admin.pages import at
from connectors.tests.api.conftest import paths

MASKS = [
    "********", "***", "•••", "••••••••", "●●●●●●", "······", "xxxxx", "XXXXXXXX", "∗∗∗∗∗∗", "＊＊＊＊", "......",
    "………", "<hidden>", "<HIDDEN>", "hidden", "[hidden]", "(hidden)", "[redacted]", "[REDACTED]", "REDACTED",
    "<redacted>", "[secret]", "<secret>", "[MASKED]", "masked", "***MASKED***", "[FILTERED]", "[Filtered]",
    "(sensitive)", "(sensitive value)", "<sensitive>", "***REDACTED***", " ******** ", "(unchanged)",
    "<unchanged>", "__redacted__",
]  # fmt: skip
SECRETS = [
    "c0rrect horse", "xx", "x", "**", "hidden-valley-7", "xxxxy", "my secret", "redacted?no", "***abc***", "...x",
]  # fmt: skip


@pytest.fixture
def stored(acme, actor, canaries):
    return connections.create(
        acme, actor, connector_type="MOCK", config={"account": "demo", "api_key": canaries.plant("api_key")}
    )


@pytest.fixture
def place(stored):
    return f"connectors/{stored.pk}"


@pytest.mark.parametrize("mask", MASKS)
class TestAMaskIsRefused:
    def test_by_the_api(self, api, place, stored, mask):
        config = {"api_key": mask}
        new = {"connector_type": "MOCK", "config": config, "status": "DISABLED"}
        answers = [
            api.post("connectors", new),
            api.post("connectors/test", {"connector_type": "MOCK", "config": config}),
            api.patch(place, {"config": config}),
            api.patch(place, {"config": config | {"account": "other"}}),
            api.post(f"{place}/test", {"config": config}),
            api.post(f"{place}/staged", {"config": config}),
        ]

        assert [paths(answer) for answer in answers] == [["config.api_key"]] * len(answers)
        assert not ConnectionTest.objects.exists()

    def test_by_the_admin(self, superuser, acme, stored, mask):
        before = stored.read_config()
        change = at("erpconnection", "change", stored.pk)
        add = f"{at('erpconnection', 'add')}?org={acme.pk}&connector_type=MOCK"
        form = {"name": "n", "status": "DISABLED", "revision": "1", "config-account": "demo", "config-api_key": mask}
        form |= {"config-environment": "mock", "config-latency_ms": "0", "config-fail_times": "1"}
        form |= {"config-acknowledgement": "none", "check_minutes": "60"}

        for address in (change, add):
            assert "Is a placeholder" in superuser.post(address, form).content.decode()
        stored.refresh_from_db()
        assert stored.read_config() == before

    def test_by_the_services(self, stored, actor, mask):
        for verb in (
            lambda edit: connections.change(stored, actor, config=edit),
            lambda edit: revisions.stage(stored, actor, edit),
        ):
            with pytest.raises(ConfigurationError):
                verb({"api_key": mask})


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_only_looks_like_one_is_taken(api, place, stored, secret):
    assert api.patch(place, {"config": {"api_key": secret}}).status_code == 200
    stored.refresh_from_db()
    assert stored.read_config()["api_key"] == secret


class TestThreeEdits:
    def test_left_out_it_stays(self, api, place, stored):
        before = stored.read_config()["api_key"]

        assert api.patch(place, {"config": {"latency_ms": 1}}).json()["secrets"]["api_key"]["set"] is True
        stored.refresh_from_db()
        assert stored.read_config()["api_key"] == before

    def test_null_clears_it(self, api, place, stored):
        assert api.patch(place, {"config": {"api_key": None}}).json()["secrets"]["api_key"]["set"] is False
        stored.refresh_from_db()
        assert stored.read_config()["api_key"] is None

    def test_null_with_a_new_destination_drops_it(self, api, place, stored):
        edit = {"api_key": None, "account": "other"}

        assert api.patch(place, {"config": edit}).json()["secrets"]["api_key"]["set"] is False
        stored.refresh_from_db()
        assert stored.read_config()["api_key"] is None

    def test_a_value_replaces_it(self, api, place, stored):
        assert api.patch(place, {"config": {"api_key": "the next"}}).status_code == 200
        stored.refresh_from_db()
        assert stored.read_config()["api_key"] == "the next"
