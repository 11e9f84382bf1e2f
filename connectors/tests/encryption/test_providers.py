"""Master keys that somebody else keeps: handed out whole, or not at all and with a reason that tells nothing."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from connectors.encryption.providers import AwsKms, KeyProvider, PlainKeys, VaultTransit, check, of_text
from connectors.exceptions import ConfigurationError
from connectors.fields import key_ring
from connectors.tests.commands.conftest import run
from connectors.tests.encryption.leaks import everything_shown
from connectors.tests.peers.vault import TransitStandIn

NAME = "ENCRYPTION_MASTER_KEY"
SECRET = "canary-kms-4e"


@pytest.fixture(scope="module")
def transit() -> Iterator[TransitStandIn]:
    with TransitStandIn() as transit:
        yield transit


@pytest.fixture
def vault(transit: TransitStandIn) -> VaultTransit:
    transit.sealed, transit.answer = False, None
    return VaultTransit(address=transit.address, token=transit.token, key=transit.key)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def kms(moto: str, monkeypatch: pytest.MonkeyPatch) -> AwsKms:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_KMS": moto,
    }.items():
        monkeypatch.setenv(name, value)
    return AwsKms(key_id=boto3.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture(params=["plain", "vault", "kms"])
def provider(request: pytest.FixtureRequest) -> KeyProvider:
    return PlainKeys() if request.param == "plain" else request.getfixturevalue(request.param)


def refusal(provider: KeyProvider, text: str) -> str:
    """Return why a key is not handed out, having looked for what must not be told."""
    with pytest.raises(ConfigurationError) as caught:
        provider.unwrap(text, name=NAME)
    shown = everything_shown(caught.value, below="refusal")
    assert TransitStandIn.token not in shown
    assert SECRET not in shown
    assert text not in str(caught.value)
    return str(caught.value)


def test_a_new_key_opens_as_often_as_one_likes_and_is_like_no_other(provider: KeyProvider) -> None:
    text = provider.generate()
    check(text, name=NAME)

    key = provider.unwrap(text, name=NAME)

    assert len(key) == 32
    assert provider.unwrap(text, name=NAME) == key
    assert provider.unwrap(provider.generate(), name=NAME) != key
    assert text.startswith(provider.prefix)
    assert key.hex() not in text or not provider.prefix


def test_the_text_of_a_key_says_who_opens_it(vault: VaultTransit) -> None:
    kms = AwsKms(key_id="k")
    assert of_text("vault:v1:abc", (vault, kms)) is vault
    assert of_text("kms:abc", (vault, kms)) is kms
    assert isinstance(of_text("ab" * 32, (vault, kms)), PlainKeys)


@pytest.mark.parametrize("text", ["vault:", "vault:v1:", "vault:v1:not base64", "kms:", "kms:ä", "kms:abc"])
def test_a_wrapped_key_that_was_not_copied_whole_is_refused_without_asking(text: str) -> None:
    with pytest.raises(ConfigurationError, match=NAME):
        check(text, name=NAME)


class TestVault:
    def test_it_is_asked_as_documented(self, vault: VaultTransit, transit: TransitStandIn) -> None:
        key = secrets.token_bytes(32)

        assert replace(vault, namespace="team").unwrap(transit.encrypt(key), name=NAME) == key
        headers = transit.seen[-1]
        assert (headers["X-Vault-Token"], headers["X-Vault-Request"], headers["X-Vault-Namespace"]) == (
            transit.token, "true", "team"
        )  # fmt: skip

    def test_a_proxy_of_the_environment_never_sees_the_token(
        self, vault: VaultTransit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        assert vault.generate()

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"token": ""}, "VAULT_ADDR and VAULT_TOKEN have to be set"),
            ({"token": "hvs.expired"}, "refused the token"),
            ({"key": "other"}, "has no such transit engine or key"),
            ({"mount": "elsewhere"}, "has no such transit engine or key"),
            ({"address": "http://127.0.0.1:9"}, "did not answer"),
            ({"address": "http://127.0.0.1:99999"}, "did not answer"),
            ({"ca_file": "/nowhere.pem"}, "did not answer"),
        ],
    )
    def test_the_reason_is_told(self, vault: VaultTransit, changes: dict[str, str], reason: str) -> None:
        text = vault.generate()
        message = refusal(replace(vault, **changes), text)
        assert reason in message
        assert message.endswith(f"unwrap {NAME}.")

    def test_a_key_of_another_vault_is_refused(self, vault: VaultTransit) -> None:
        with TransitStandIn() as other:
            assert "wrapped by another key" in refusal(vault, other.encrypt(bytes(32)))

    def test_a_sealed_vault_is_named(self, vault: VaultTransit, transit: TransitStandIn) -> None:
        text = vault.generate()
        transit.sealed = True
        assert "is sealed" in refusal(vault, text)

    @pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"data": null}', b'{"data": "x"}', b'{"data": 7}'])
    def test_an_answer_that_is_not_that_of_vault(
        self, vault: VaultTransit, transit: TransitStandIn, answer: bytes
    ) -> None:
        text = vault.generate()
        transit.answer = answer
        assert "cannot unwrap" in refusal(vault, text)

    @pytest.mark.parametrize("plaintext", [b"", bytes(31), bytes(33), b"0123456789abcdef" * 4])
    def test_what_is_no_key_is_refused(self, vault: VaultTransit, transit: TransitStandIn, plaintext: bytes) -> None:
        assert "no key of 32 bytes" in refusal(vault, transit.encrypt(plaintext))


class TestKms:
    def test_a_key_that_another_one_wrapped_is_refused(self, kms: AwsKms) -> None:
        other = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
        assert "refused (" in refusal(kms, AwsKms(key_id=other).generate())

    def test_a_key_of_another_application_is_refused(self, kms: AwsKms) -> None:
        blob = boto3.client("kms").encrypt(KeyId=kms.key_id, Plaintext=bytes(32))["CiphertextBlob"]
        assert "refused (" in refusal(kms, "kms:" + b64encode(blob).decode())

    def test_an_altered_key_is_refused(self, kms: AwsKms) -> None:
        blob = bytearray(b64decode(kms.generate().removeprefix("kms:")))
        blob[-1] ^= 1
        assert "refused (" in refusal(kms, "kms:" + b64encode(blob).decode())

    def test_without_its_key_nobody_is_asked(self) -> None:
        assert "KMS_KEY_ID has to be set" in refusal(AwsKms(key_id=""), "kms:QUJD")

    @pytest.mark.parametrize("missing", ["AWS_ENDPOINT_URL_KMS", "AWS_SECRET_ACCESS_KEY"])
    def test_one_that_cannot_be_asked_is_named(
        self, kms: AwsKms, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        text = kms.generate()
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv(missing, "http://127.0.0.1:9") if "URL" in missing else monkeypatch.delenv(missing)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        assert "could not be asked (" in refusal(kms, text)


class TestInUse:
    def test_a_ring_of_keys_of_all_kinds(
        self, settings: Any, vault: VaultTransit, kms: AwsKms, transit: TransitStandIn
    ) -> None:
        """How one moves from a plain key to a wrapped one: by a rotation like any other."""
        row = {"org_id": uuid4(), "record_id": uuid4()}
        sealed = key_ring().seal({"a": 1}, **row)
        asked = len(transit.seen)
        settings.ENCRYPTION_KEY_PROVIDERS = (vault, kms)
        settings.ENCRYPTION_PREVIOUS_KEYS = [settings.ENCRYPTION_MASTER_KEY, kms.generate()]
        settings.ENCRYPTION_MASTER_KEY = vault.generate()

        assert key_ring().open(key_ring().reseal(sealed, **row), **row) == {"a": 1}
        assert len(transit.seen) == asked + 2, "made once, unwrapped once"

    @pytest.mark.django_db
    def test_a_vault_that_is_away_stops_the_start(self, settings: Any, vault: VaultTransit) -> None:
        settings.ENCRYPTION_MASTER_KEY = vault.generate()
        settings.ENCRYPTION_KEY_PROVIDERS = (replace(vault, address="http://127.0.0.1:9"),)

        refused = run("procrastinate", "worker")

        assert refused.code == 2
        assert "did not answer, so it cannot unwrap ENCRYPTION_MASTER_KEY" in refused.err

    def test_the_command_makes_a_wrapped_key(self, settings: Any, vault: VaultTransit) -> None:
        settings.ENCRYPTION_KEY_PROVIDERS = (vault, AwsKms(key_id=""))

        assert len(vault.unwrap(run("generate_master_key", "--wrap", "vault").out.strip(), name=NAME)) == 32
        refused = run("generate_master_key", "--wrap", "kms")
        assert (refused.code, refused.out) == (1, "")
        assert "KMS_KEY_ID" in refused.err
