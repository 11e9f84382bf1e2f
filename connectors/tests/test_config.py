"""Configurations: secrets that stay secret, and edits that cannot carry one to a new destination."""

import copy
import pickle
from typing import Annotated

import pytest
from pydantic import Field

from connectors.config import INERT, ConnectorConfig, Secret, edit
from connectors.exceptions import ConfigurationError, Fault, SecretsRequired


class ExampleConfig(ConnectorConfig):
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    password: Secret | None = None
    private_key: Secret | None = None
    timeout_s: Annotated[int, INERT, Field(ge=1)] = 10
    note: Annotated[str | None, INERT] = None

    def cross_field_faults(self):
        if self.password is None and self.private_key is None:
            yield Fault(path="password", message="a password or a private key is needed", code="missing")


class LocalOrRemote(ConnectorConfig):
    mode: str
    password: Secret | None = None

    def cross_field_faults(self):
        if self.mode == "local" and self.password is not None:
            yield Fault(path="password", message="is only for remote", code="not_applicable")


STORED = {"host": "erp.example", "port": 22, "password": "s3cret", "private_key": None, "timeout_s": 10, "note": "n"}


def test_fields_are_told_apart():
    assert ExampleConfig.secret_fields() == ("password", "private_key")
    assert ExampleConfig.destination_fields() == ("host", "port")


def test_schema_marks_secrets_and_destinations():
    properties = ExampleConfig.json_schema()["properties"]

    assert [name for name, field in properties.items() if field.get("writeOnly")] == ["password", "private_key"]
    assert [name for name, field in properties.items() if field.get("x-destination")] == ["host", "port"]
    assert "s3cret" not in str(ExampleConfig.json_schema())


def test_secrets_are_revealed_by_name_only():
    config = ExampleConfig.parse(STORED)

    assert config.reveal() == STORED
    assert config.public() == {"host": "erp.example", "port": 22, "timeout_s": 10, "note": "n"}
    for shown in (repr(config), str(config), config.model_dump_json(), str(config.model_dump())):
        assert "s3cret" not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(config)
    assert copy.deepcopy(config) == config


@pytest.mark.parametrize("mask", ["********", "•••••", "●●●", "xxx", "<hidden>", "[REDACTED]".lower(), "  ***  "])
def test_a_placeholder_is_not_taken_for_a_secret(mask):
    with pytest.raises(ConfigurationError) as refused:
        ExampleConfig.parse({"host": "a", "password": mask})

    assert [(fault.path, fault.code) for fault in refused.value.faults] == [("password", "masked")]


def test_faults_do_not_repeat_a_secret():
    with pytest.raises(ConfigurationError) as refused:
        ExampleConfig.parse({"host": "a", "password": ["c4n4ry"], "private_key": {"c4n4ry": 1}, "c4n4ry": 1})

    assert "'c4n4ry'" not in str([fault.message for fault in refused.value.faults])
    assert refused.value.__context__ is None


class TestEdit:
    def test_absent_keeps(self):
        assert edit(ExampleConfig, STORED, {"timeout_s": 5}).reveal() == STORED | {"timeout_s": 5}

    def test_a_value_replaces(self):
        assert edit(ExampleConfig, STORED, {"password": "new"}).reveal()["password"] == "new"

    def test_null_clears(self):
        edited = edit(ExampleConfig, STORED, {"note": None, "password": None, "private_key": "key"})

        assert edited.reveal() == STORED | {"note": None, "password": None, "private_key": "key"}

    @pytest.mark.parametrize("patch", [{"host": "evil.example"}, {"port": 2222}])
    def test_a_new_destination_asks_for_the_secret_again(self, patch):
        with pytest.raises(SecretsRequired) as refused:
            edit(ExampleConfig, STORED, patch)

        assert [fault.path for fault in refused.value.faults] == ["password"]
        assert edit(ExampleConfig, STORED, patch | {"password": "again"}).reveal()["password"] == "again"

    def test_clearing_is_an_answer_too(self):
        edited = edit(ExampleConfig, STORED, {"host": "new.example", "password": None, "private_key": "key"})

        assert edited.reveal()["password"] is None

    def test_resetting_a_destination_to_its_default_is_a_change(self):
        with pytest.raises(SecretsRequired):
            edit(ExampleConfig, STORED | {"port": 2222}, {"port": None})

    def test_the_same_destination_written_otherwise_is_none(self):
        assert edit(ExampleConfig, STORED, {"host": "erp.example", "port": "22"}).reveal() == STORED

    def test_a_secret_without_a_place_at_the_new_destination_is_asked_for_as_well(self):
        with pytest.raises(SecretsRequired) as refused:
            edit(LocalOrRemote, {"mode": "remote", "password": "s3cret"}, {"mode": "local"})

        assert [fault.path for fault in refused.value.faults] == ["password"]
        assert edit(LocalOrRemote, {"mode": "remote", "password": "s3cret"}, {"mode": "local", "password": None})

    def test_what_is_wrong_beside_the_secret_is_said_as_it_is(self):
        with pytest.raises(ConfigurationError) as refused:
            edit(ExampleConfig, STORED, {"port": 0})

        assert not isinstance(refused.value, SecretsRequired)

    def test_a_field_that_a_later_version_brings_is_no_change(self):
        older = {name: value for name, value in STORED.items() if name != "port"}

        assert edit(ExampleConfig, older, {}).reveal() == STORED
        with pytest.raises(SecretsRequired):
            edit(ExampleConfig, older, {"port": 2222})

    def test_an_inert_field_is_no_destination(self):
        assert edit(ExampleConfig, STORED, {"note": "other"}).reveal()["password"] == "s3cret"

    def test_a_field_that_no_longer_exists_is_forgotten(self):
        assert edit(ExampleConfig, STORED | {"gone": 1}, {}).reveal() == STORED

    def test_an_unknown_field_in_the_patch_is_refused(self):
        with pytest.raises(ConfigurationError) as refused:
            edit(ExampleConfig, STORED, {"passwrd": "x"})

        assert [fault.path for fault in refused.value.faults] == ["passwrd"]
