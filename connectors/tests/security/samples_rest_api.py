"""The samples of REST_API: one for each kind of credentials."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, Sample, certificate, over_http, pem

_BASE: Config = {"create_path": "orders"}
_TOKENS: Config = {"token_url": "https://127.0.0.1:1/token", "client_id": "shop", "scope": "orders", "audience": "erp"}
_ALSO: dict[str, Config] = {
    "create_method": {"create_method": "PUT", "create_path": "orders/{export_id}"},
    "create_path": {"create_path": "other/orders"},
    "query": {"query": {"tenant": "mallory"}},
    "headers": {"headers": {"X-Tenant": "mallory"}},
}


_ALSO_SIGNED: dict[str, Config] = {
    "client_certificate": {"client_certificate": certificate("mallory")},
    "signature_header": {"signature_header": "X-Other"},
    "signing": {"signing": "none", "client_certificate": None},
}


def _signed(canaries: Canaries) -> Config:
    passphrase = canaries.plant_token("client_key_passphrase")
    return _BASE | {
        "auth_kind": "none",
        "client_certificate": certificate("shop"),
        "client_key": canaries.plant_pem("client_key", pem(passphrase)),
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
    key = canaries.plant_pem("private_key", pem())
    return _BASE | _TOKENS | {"auth_kind": "jwt", "private_key": key, "key_id": "k-1"}


SAMPLES = (
    _rest("basic", password="plant"),
    _rest("bearer", token="plant_token"),
    _rest("api_key", api_key="plant_token"),
    _rest("oauth2", client_secret="plant"),
    over_http("REST_API", "jwt", _jwt, also=_ALSO),
    over_http("REST_API", "signed", _signed, also=_ALSO_SIGNED),
)
