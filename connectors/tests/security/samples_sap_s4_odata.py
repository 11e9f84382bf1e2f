"""The samples of SAP_S4_ODATA; one for each kind of credentials."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, certificate, over_http, pem

_AREA: Config = {"sales_organization": "1710", "distribution_channel": "10", "division": "00", "sap_client": "100"}
_ALSO: dict[str, Config] = {"sap_client": {"sap_client": "200"}}


def _basic(canaries: Canaries) -> Config:
    return _AREA | {"auth_kind": "basic", "username": "shop", "password": canaries.plant("password")}


def _oauth2(canaries: Canaries) -> Config:
    tokens = {"token_url": "https://127.0.0.1:1/token", "client_id": "shop", "scope": "API_SALES_ORDER_SRV_0001"}
    secret = {"client_secret": canaries.plant("client_secret")}
    return _AREA | {"auth_kind": "oauth2"} | tokens | secret


def _certificate(canaries: Canaries) -> Config:
    passphrase = canaries.plant_token("client_key_passphrase")
    return _AREA | {
        "auth_kind": "none",
        "client_certificate": certificate("shop"),
        "client_key": canaries.plant_pem("client_key", pem(passphrase)),
        "client_key_passphrase": passphrase,
    }


SAMPLES = (
    over_http("SAP_S4_ODATA", "basic", _basic, also=_ALSO),
    over_http("SAP_S4_ODATA", "oauth2", _oauth2, also=_ALSO),
    over_http(
        "SAP_S4_ODATA",
        "certificate",
        _certificate,
        also=_ALSO | {"client_certificate": {"client_certificate": certificate("mallory")}},
    ),
)
