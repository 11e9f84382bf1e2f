"""The samples of BUSINESS_CENTRAL: online with a client secret, on premises with a key."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, over_http

_ALSO: dict[str, Config] = {
    "company": {"company": "Mallory AG"},
    "release_action": {"release_action": "api/mallory/orders({order})/Microsoft.NAV.release"},
    "tenant": {"tenant": "mallory.example"},
    "client_secret_in": {"client_secret_in": "header"},
}
_ONLY_ONLINE: dict[str, Config] = {
    "environment": {"environment": "Sandbox"},
    "auth_kind": dict.fromkeys(("tenant", "environment", "token_url", "client_id"))
    | {"auth_kind": "basic", "username": "shop", "password": "of this kind"},
}


def _online(canaries: Canaries) -> Config:
    return {
        "auth_kind": "oauth2",
        "tenant": "contoso.example",
        "environment": "Production",
        "company": "CRONUS AG",
        "token_url": "https://127.0.0.1:1/token",
        "client_id": "shop",
        "client_secret": canaries.plant("client_secret"),
    }


def _on_premises(canaries: Canaries) -> Config:
    return {
        "auth_kind": "basic",
        "username": "shop",
        "password": canaries.plant("password"),
        "company": "CRONUS AG",
    }


SAMPLES = (
    over_http("BUSINESS_CENTRAL", "online", _online, also=_ALSO | _ONLY_ONLINE),
    over_http("BUSINESS_CENTRAL", "on_premises", _on_premises, also=_ALSO),
)
