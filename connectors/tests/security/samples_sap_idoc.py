"""The samples of SAP_IDOC_ORDERS05 by HTTP; those of its folders stand beside those of the other file drops."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, certificate, over_http, pem

_BETWEEN: Config = {
    "sender_port": "ACME",
    "sender_number": "ACME",
    "receiver_port": "SAPS4D",
    "receiver_number": "S4DCLNT100",
    "mode": "http",
    "sap_client": "100",
}
_ALSO: dict[str, Config] = {
    "username": {},  # of the folders
    "sap_client": {"sap_client": "200"},
    "sap_username": {"sap_username": "mallory"},
    "http_service": {"http_service": "idoc_xml"},
    "http_path": {"http_path": "other/idoc"},
}
_OTHER_CERTIFICATE: dict[str, Config] = {"client_certificate": {"client_certificate": certificate("mallory")}}


def _by_password(canaries: Canaries) -> Config:
    return _BETWEEN | {"auth_kind": "basic", "sap_username": "IDOC", "sap_password": canaries.plant("sap_password")}


def _by_certificate(canaries: Canaries) -> Config:
    passphrase = canaries.plant_token("client_key_passphrase")
    key = canaries.plant_pem("client_key", pem(passphrase))
    shown = {"client_certificate": certificate("shop"), "client_key": key, "client_key_passphrase": passphrase}
    return _BETWEEN | {"auth_kind": "none", **shown}


SAMPLES = (
    over_http("SAP_IDOC_ORDERS05", "http", _by_password, also=_ALSO),
    over_http("SAP_IDOC_ORDERS05", "certificate", _by_certificate, also=_ALSO | _OTHER_CERTIFICATE),
)
