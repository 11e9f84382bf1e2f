"""No adapter escapes: each has samples that use all its secrets and change all its destinations."""

from __future__ import annotations

import pytest

from connectors.registry import registry
from connectors.tests.security.samples import KINDS, SAMPLES, secrets_of

_HOW = "add it to connectors/tests/security/samples_<adapter>.py"


@pytest.mark.parametrize("connector_type", sorted(registry.connectors))
class TestEveryAdapter:
    def test_every_secret_is_planted_in_a_sample(self, connector_type, canaries, home):
        config_class = registry.get(connector_type).Config
        planted = set()
        for sample in SAMPLES:
            if sample.connector_type == connector_type:
                planted |= set(secrets_of(sample, sample.config(canaries, home)))

        missing = set(config_class.secret_fields()) - planted
        assert not missing, f"{connector_type} has secrets without a sample: {sorted(missing)}; {_HOW}"

    def test_every_destination_is_changed_in_a_sample(self, connector_type, canaries, home, other):
        config_class = registry.get(connector_type).Config
        changed = set()
        for sample in SAMPLES:
            if sample.connector_type == connector_type:
                changed |= set(sample.flips(sample.config(canaries, home), other))

        missing = set(config_class.destination_fields()) - changed
        assert not missing, f"{connector_type} has destinations that no sample changes: {sorted(missing)}; {_HOW}"


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_sample_is_valid_before_and_after_each_change(sample, canaries, home, other):
    config = sample.config(canaries, home)

    for field, flip in sample.flips(config, other).items():
        whole = {name: value for name, value in (config | flip).items() if value is not None}
        if field in KINDS:
            whole = {name: value for name, value in whole.items() if name not in secrets_of(sample, config)}
        assert sample.config_class.parse(config) != sample.config_class.parse(whole)
