"""The samples of REST_API: one for each kind of credentials."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, Sample, over_http, rsa_key

_BASE: Config = {"create_path": "orders"}
_TOKENS: Config = {"token_url": "https://127.0.0.1:1/token", "client_id": "shop", "scope": "orders", "audience": "erp"}
_ALSO: dict[str, Config] = {
    "create_method": {"create_method": "PUT", "create_path": "orders/{export_id}"},
    "create_path": {"create_path": "other/orders"},
    "query": {"query": {"tenant": "mallory"}},
    "headers": {"headers": {"X-Tenant": "mallory"}},
}


def _pem(passphrase: str | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return rsa_key().private_bytes(*form).decode()


@cache
def _certificate(name: str) -> str:
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(names).issuer_name(names).public_key(rsa_key().public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=9))
    return builder.sign(rsa_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


_ALSO_SIGNED: dict[str, Config] = {
    "client_certificate": {"client_certificate": _certificate("mallory")},
    "signature_header": {"signature_header": "X-Other"},
    "signing": {"signing": "none", "client_certificate": None},
}


def _signed(canaries: Canaries) -> Config:
    passphrase = canaries.plant_token("client_key_passphrase")
    return _BASE | {
        "auth_kind": "none",
        "client_certificate": _certificate("shop"),
        "client_key": canaries.plant_pem("client_key", _pem(passphrase)),
        "client_key_passphrase": passphrase,
        "signing": "hmac",
        "signing_secret": canaries.plant("signing_secret"),
    }


def _rest(name: str, **fields: str) -> Sample:
    """Return a sample; each of the fields is planted by the method of the canaries that it names."""

    def config(canaries: Canaries) -> Config:
        planted = {field: getattr(canaries, how)(field) for field, how in fields.items()}
        more = {"basic": {"username": "shop"}, "oauth2": _TOKENS}
        return _BASE | {"auth_kind": name, **more.get(name, {})} | planted

    return over_http("REST_API", name, config, also=_ALSO, thorough=name == "basic")


def _jwt(canaries: Canaries) -> Config:
    key = canaries.plant_pem("private_key", _pem())
    return _BASE | _TOKENS | {"auth_kind": "jwt", "private_key": key, "key_id": "k-1"}


SAMPLES = (
    _rest("basic", password="plant"),
    _rest("bearer", token="plant_token"),
    _rest("api_key", api_key="plant_token"),
    _rest("oauth2", client_secret="plant"),
    over_http("REST_API", "jwt", _jwt, also=_ALSO),
    over_http("REST_API", "signed", _signed, also=_ALSO_SIGNED),
)
