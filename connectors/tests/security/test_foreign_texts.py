"""An adapter that says the secret in everything it raises: not one of its words comes out."""

from __future__ import annotations

import threading
from typing import Annotated, Any

import pytest
from django.core.management import CommandError, call_command
from pydantic import AfterValidator

from connectors.config import INERT, ConnectorConfig, Secret
from connectors.models import ConnectionTest
from connectors.port import ERPConnectorPort
from connectors.registry import registry
from connectors.services import connections
from connectors.services.crews import Crew
from connectors.tests.api.conftest import problem

WORDS = RuntimeError, ValueError, AssertionError, KeyError, OSError


def _taken_unless_bad(secret: Secret) -> Secret:
    if secret.get_secret_value().endswith("bad"):
        raise ValueError(f"cannot parse {secret.get_secret_value()!r}")
    return secret


class TalkativeConfig(ConnectorConfig):
    """Raises where it is told to."""

    where: Annotated[str, INERT] = ""
    what: Annotated[int, INERT] = 0
    token: Annotated[Secret, AfterValidator(_taken_unless_bad)]

    def say(self, where: str) -> None:
        """Raise an error with the secret, from another one with the secret."""
        if self.where == where:
            try:
                raise LookupError(self.reveal())
            except LookupError as cause:
                raise WORDS[self.what](f"the token {self.token.get_secret_value()} was wrong") from cause

    def endpoint(self) -> str:
        self.say("endpoint")
        return ""


class Talkative(ERPConnectorPort[TalkativeConfig]):
    connector_type = "TALKATIVE"
    title = "Talkative"
    Config = TalkativeConfig

    def export(self, order: Any, config: Any, context: Any) -> Any:
        config.say("export")

    def test_connection(self, config: Any, context: Any) -> Any:
        with context.steps.step("inside"):
            config.say("step")
        config.say("test")
        return context.steps.result()


@pytest.fixture(autouse=True)
def _talkative():
    registry.register(Talkative)
    yield
    registry._connectors.pop("TALKATIVE")


@pytest.fixture
def config(canaries):
    return {"token": canaries.plant("token")}


@pytest.fixture
def silence(canaries, capfd, caplog):
    """Look at each answer, and in the end at everything that was written."""

    def look(answer: Any) -> Any:
        content = b"".join(answer.streaming_content) if getattr(answer, "streaming", False) else answer.content
        assert not canaries.leaks(content), canaries.where(content)
        return answer

    yield look
    written = "".join(capfd.readouterr())
    assert not canaries.leaks(written), canaries.where(written)


def test_a_validator_cannot_repeat_the_secret(api, canaries, silence, config):
    body = {"connector_type": "TALKATIVE", "config": {"token": f"{config['token']}bad"}}

    for path in ("connectors", "connectors/test"):
        content = problem(silence(api.post(path, body)), 422, "VALIDATION_ERROR")
        assert content["errors"] == [{"path": "config.token", "message": "is not valid", "code": "value_error"}]


@pytest.mark.parametrize("what", range(len(WORDS)))
@pytest.mark.parametrize("where", ["endpoint", "test", "step"])
def test_an_adapter_cannot(api, silence, config, where, what):
    body = {"connector_type": "TALKATIVE", "config": config | {"where": where, "what": what}}
    silence(api.post("connectors/test", body))
    stored = silence(api.post("connectors", body | {"test_on_save": where != "endpoint"})).json()
    status = 500 if where == "endpoint" else 400

    assert problem(silence(api.post(f"connectors/{stored['id']}/test")), status, "INTERNAL_ERROR")
    silence(api.post(f"connectors/{stored['id']}/test", Accept="text/event-stream"))
    silence(api.get(f"connectors/{stored['id']}/tests"))
    silence(api.get("audit-events"))


def test_a_command_cannot(acme, actor, canaries, silence, config):
    connections.create(acme, actor, connector_type="TALKATIVE", config=config | {"where": "endpoint"})

    with pytest.raises(CommandError) as refusal:
        call_command("test_connections")

    assert not canaries.leaks(f"{refusal.value!r} {refusal.value.__context__!r} {refusal.value.__cause__!r}")
    assert "RuntimeError" in str(refusal.value)


def test_a_thread_cannot(acme, actor, config, silence):
    def fail() -> None:
        TalkativeConfig.parse(config | {"where": "thread"}).say("thread")

    testers = Crew("tester", 1, fail)
    before = set(threading.enumerate())

    testers.call_one()

    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert testers._free.acquire(timeout=10)


def test_nothing_of_it_is_stored(api, acme, actor, canaries, config):
    body = {"connector_type": "TALKATIVE", "config": config | {"where": "test"}}
    api.post("connectors/test", body)

    row = ConnectionTest.objects.get()

    assert row.config_encrypted is None
    assert not canaries.leaks(row.result)
