"""What a sample is, and what those of all adapters over HTTP share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from connectors.registry import registry
from connectors.tests.peers.https import Authority
from connectors.tests.security.canaries import Canaries
from connectors.tests.security.recorders import SshRecorder

Config = dict[str, Any]
KINDS = ("mode", "auth_kind", "signing")
"""The fields that say which secrets there are: with another value, those of the first have no place."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One adapter with one set of secrets."""

    connector_type: str
    name: str
    config: Callable[[Canaries, SshRecorder], Config]
    """Given somewhere to plant secrets and a far end: a configuration that works there."""
    flips: Callable[[Config, SshRecorder], Mapping[str, Config]]
    """Given that configuration and another far end: an edit for each destination field that changes it validly."""
    failures: Mapping[str, Config]
    """Edits with which a test fails, by the code it fails with."""

    thorough: bool = True
    """Whether every way out is tried with it; not needed where another sample takes its secrets the same way."""

    def __str__(self) -> str:
        return f"{self.connector_type}-{self.name}"

    @property
    def config_class(self) -> Any:
        """The configuration class of the adapter."""
        return registry.get(self.connector_type).Config


def secrets_of(sample: Sample, config: Config) -> Config:
    """Return the secrets of a configuration."""
    return {name: config[name] for name in sample.config_class.secret_fields() if name in config}


def over_http(
    connector_type: str,
    name: str,
    config: Callable[[Canaries], Config],
    *,
    also: Mapping[str, Config] | None = None,
    thorough: bool = False,
) -> Sample:
    """Return the sample of an adapter over HTTP.

    Args:
        connector_type: of the adapter.
        name: of the sample.
        config: given somewhere to plant secrets, the configuration without its address.
        also: edits of destination fields that the adapter does not share with others.
        thorough: see `Sample`.
    """

    def flips(whole: Config, other: SshRecorder) -> Mapping[str, Config]:
        edits = _FLIPS | {
            "base_url": {"base_url": f"https://127.0.0.1:{other.port}/"},
            "ca_bundle": {"ca_bundle": authority().certificate},
            **(also or {}),
        }
        # What is only for another kind cannot be set beside this one.
        empty = {field: None for field in _OF_A_KIND if field in whole}
        shapes = registry.get(connector_type).Config.json_schema()["properties"]
        if "none" in shapes["auth_kind"].get("enum", ()):
            edits["auth_kind"] = {"auth_kind": "none", **empty} if whole.get("auth_kind") != "none" else {}
        return {
            field: edit
            for field, edit in edits.items()
            if edit and field in shapes and _has_a_meaning(shapes[field].get("x-when", {}), whole)
        }

    return Sample(
        connector_type=connector_type,
        name=name,
        config=lambda canaries, far_end: {"base_url": f"https://127.0.0.1:{far_end.port}/api"} | config(canaries),
        flips=flips,
        failures={
            "CONNECTION_REFUSED": {"base_url": "https://127.0.0.1:1/"},
            "DNS_FAILURE": {"base_url": "https://no-such-host.invalid/"},
            "EGRESS_DENIED": {"base_url": "https://169.254.169.254/"},
        },
        thorough=thorough,
    )


_OF_A_KIND = ("username", "sap_username", "token_url", "client_id", "scope", "audience", "key_id")
_FLIPS: Mapping[str, Config] = {
    "allow_plain_http": {"allow_plain_http": True},
    "username": {"username": "mallory"},
    "token_url": {"token_url": "https://127.0.0.1:2/token"},
    "client_id": {"client_id": "mallory"},
    "scope": {"scope": "everything"},
    "audience": {"audience": "mallory"},
    "key_id": {"key_id": "another"},
    "client_secret_in": {"client_secret_in": "body"},
    "assertion_algorithm": {"assertion_algorithm": "RS256"},
    "scope_in_assertion": {"scope_in_assertion": True},
    "api_key_name": {"api_key_name": "X-Other"},
    "api_key_in": {"api_key_in": "query"},
}


def _has_a_meaning(when: Mapping[str, list[str]], config: Config) -> bool:
    return all(config.get(field) in values for field, values in when.items())


@cache
def authority() -> Authority:
    """Return an authority that no sample believes."""
    return Authority("Mallory CA")


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Return the RSA key of all samples; making one takes a while."""
    return rsa.generate_private_key(65537, 2048)


def pem(passphrase: str | None = None) -> str:
    """Return the private key that all samples share, under a passphrase or in clear."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return rsa_key().private_bytes(*form).decode()


@cache
def certificate(name: str) -> str:
    """Return a certificate of that key."""
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(names).issuer_name(names).public_key(rsa_key().public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=9))
    return builder.sign(rsa_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
