"""Where master keys come from: the text of a key says who opens it.

    64 hexadecimal digits      the key itself, from the environment or a file (NAME_FILE)
    vault:v1:…                 wrapped by the transit engine of HashiCorp Vault
    kms:…                      wrapped by AWS KMS, as base64

A wrapped key is unwrapped once, when a process starts, and lives in its memory only. There is no fallback: a provider
that does not hand a key out stops the start. No message has a key, a token or what a provider answered.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from connectors.encryption.keyring import MASTER_KEY_SIZE, parse_master_key
from connectors.exceptions import ConfigurationError

_SECONDS: Final = 10.0
_CONTEXT: Final = {"application": "erp-connector-framework"}
"""Bound to every key that AWS KMS wraps for us, and shown in its log."""


class KeyProvider(ABC):
    """Makes master keys and opens them, by their text."""

    prefix: ClassVar[str]
    """How the text of its keys begins."""

    @abstractmethod
    def generate(self) -> str:
        """Return the text of a new master key.

        Raises:
            ConfigurationError: the provider does not make one; the message says why, without a secret.
        """

    @abstractmethod
    def unwrap(self, text: str, *, name: str) -> bytes:
        """Return the 32 bytes of a master key.

        Args:
            text: the key, as it is configured.
            name: where it is configured, for the message.

        Raises:
            ConfigurationError: as for `generate`.
        """


class PlainKeys(KeyProvider):
    """Keys that are written down as they are."""

    prefix = ""

    def generate(self) -> str:
        """Return 64 random hexadecimal digits."""
        return secrets.token_hex(MASTER_KEY_SIZE)

    def unwrap(self, text: str, *, name: str) -> bytes:
        """Return the key that 64 hexadecimal digits say."""
        return parse_master_key(text, name=name)


@dataclass(frozen=True, kw_only=True)
class VaultTransit(KeyProvider):
    """The transit engine of HashiCorp Vault (https://developer.hashicorp.com/vault/api-docs/secret/transit)."""

    prefix = "vault:"

    address: str
    """As VAULT_ADDR of Vault's own tools: https://vault.example.com:8200."""
    token: str = field(repr=False)
    key: str
    """Name of the key inside the engine."""
    mount: str = "transit"
    namespace: str = ""
    ca_file: str = ""
    """The certificates to trust instead of the system's."""

    def generate(self) -> str:
        """Let Vault make a key that nobody sees."""
        data = self._ask(f"datakey/wrapped/{self.key}", {"bits": 8 * MASTER_KEY_SIZE}, "make a key")
        text = data.get("ciphertext")
        if not isinstance(text, str) or not text.startswith(self.prefix):
            raise ConfigurationError(f"Vault at {self.address} answered without a key.")
        return text

    def unwrap(self, text: str, *, name: str) -> bytes:
        """Let Vault decrypt a key."""
        return _sized(
            _base64(self._ask(f"decrypt/{self.key}", {"ciphertext": text}, f"unwrap {name}").get("plaintext")), name
        )

    def _ask(self, path: str, body: dict[str, Any], verb: str) -> dict[str, Any]:
        if not (self.address and self.token):
            raise ConfigurationError(f"VAULT_ADDR and VAULT_TOKEN have to be set to {verb}.")
        import httpx2  # only where it is used: most installations have no Vault

        headers = {"X-Vault-Token": self.token, "X-Vault-Request": "true"}
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        problem = "did not answer"
        try:
            # The token follows no redirect, and no proxy of the environment sees it.
            with httpx2.Client(verify=_trust(self.ca_file), timeout=_SECONDS, trust_env=False) as client:
                answer = client.post(f"{self.address}/v1/{self.mount}/{path}", json=body, headers=headers)
            if answer.is_success:
                data = answer.json()["data"]
                if isinstance(data, dict):
                    return data
            problem = _VAULT_SAYS.get(answer.status_code, f"answered with status {answer.status_code}")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            pass
        except (ValueError, KeyError, TypeError):
            problem = "answered something else than Vault does"
        del headers
        # Raised out here: the handler's exception holds the request, and with it the token.
        raise ConfigurationError(f"Vault at {self.address} {problem}, so it cannot {verb}.")


_VAULT_SAYS: Final = {
    400: "refused the request: the key was wrapped by another key or altered",
    403: "refused the token: it is wrong, expired, or lacks the policy",
    404: "has no such transit engine or key (VAULT_TRANSIT_MOUNT, VAULT_TRANSIT_KEY)",
    503: "is sealed or in maintenance",
}


@dataclass(frozen=True, kw_only=True)
class AwsKms(KeyProvider):
    """AWS Key Management Service (https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html).

    Credentials, region and endpoint come from where boto3 looks for them.
    """

    prefix = "kms:"

    key_id: str
    """Id, alias or ARN of the key; what another key wrapped is refused."""

    def generate(self) -> str:
        """Let KMS make a key that nobody sees."""
        answer = self._ask("generate_data_key_without_plaintext", "make a key", NumberOfBytes=MASTER_KEY_SIZE)
        return self.prefix + b64encode(answer["CiphertextBlob"]).decode("ascii")

    def unwrap(self, text: str, *, name: str) -> bytes:
        """Let KMS decrypt a key."""
        check(text, name=name)
        blob = b64decode(text.removeprefix(self.prefix))
        return _sized(self._ask("decrypt", f"unwrap {name}", CiphertextBlob=blob)["Plaintext"], name)

    def _ask(self, operation: str, verb: str, **arguments: Any) -> dict[str, Any]:
        if not self.key_id:
            raise ConfigurationError(f"KMS_KEY_ID has to be set to {verb}.")
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise ConfigurationError(f"boto3 is missing to {verb}. Run: pip install boto3") from None
        try:
            patience = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 2})
            # The region of an ARN, else the one of the environment.
            region = self.key_id.split(":")[3] if self.key_id.startswith("arn:") else None
            client = boto3.Session().client("kms", region_name=region, config=patience)
            answer: dict[str, Any] = getattr(client, operation)(
                KeyId=self.key_id, EncryptionContext=_CONTEXT, **arguments
            )
            return answer
        except ClientError as error:
            problem = f"refused ({error.response.get('Error', {}).get('Code', 'unknown')})"
        except (BotoCoreError, ValueError, IndexError, OSError) as error:
            problem = f"could not be asked ({type(error).__name__})"
        raise ConfigurationError(f"AWS KMS {problem}, so it cannot {verb}.")


def of_text(text: str, providers: Iterable[KeyProvider]) -> KeyProvider:
    """Return the provider of a key, by how its text begins; plain keys are those of no other."""
    return next((provider for provider in providers if text.startswith(provider.prefix)), PlainKeys())


def check(text: str, *, name: str) -> None:
    """Look at the text of a key, without asking anybody.

    Args:
        text: the key, as it is configured.
        name: where it is configured, for the message.

    Raises:
        ConfigurationError: says which setting, why and what to do, never the value.
    """
    wrapper = next((kind.prefix for kind in (VaultTransit, AwsKms) if text.startswith(kind.prefix)), None)
    if wrapper is None:
        parse_master_key(text, name=name)
    elif not _base64(text.rpartition(":")[2]):
        raise ConfigurationError(f"{name} is no wrapped key: what follows {wrapper} is not whole. Copy it again.")


def _trust(ca_file: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=ca_file or None)


def _base64(text: object) -> bytes | None:
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else None
    except (Base64Error, ValueError):
        return None


def _sized(key: bytes | None, name: str) -> bytes:
    if key is None or len(key) != MASTER_KEY_SIZE:
        del key  # an error report shows the locals of every frame
        raise ConfigurationError(f"{name} was unwrapped, but it is no key of {MASTER_KEY_SIZE} bytes.")
    return key
