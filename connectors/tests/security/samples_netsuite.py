"""The samples of NETSUITE: one for each way to log in."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, over_http, pem

_ACCOUNT: Config = {"account": "1234567_SB1"}
_BY_ASSERTION: Config = {"auth_kind": "jwt", "client_id": "shop", "key_id": "k-1"}
_BY_SIGNATURE: Config = {"auth_kind": "oauth1", "consumer_key": "shop", "token_id": "t-1"}
_OTHER_ACCOUNT: dict[str, Config] = {"account": {"account": "7654321"}}
_OTHER_ASSERTION: dict[str, Config] = {
    "assertion_algorithm": {"assertion_algorithm": "PS384"},
    "auth_kind": {"client_id": None, "key_id": None, "consumer_secret": "of this", "token_secret": "kind"}
    | _BY_SIGNATURE,
}
_OTHER_SIGNATURE: dict[str, Config] = {
    "consumer_key": {"consumer_key": "mallory"},
    "token_id": {"token_id": "mallory"},
}


def _by_assertion(canaries: Canaries) -> Config:
    return _ACCOUNT | _BY_ASSERTION | {"private_key": canaries.plant_pem("private_key", pem())}


def _by_signature(canaries: Canaries) -> Config:
    planted = {name: canaries.plant(name) for name in ("consumer_secret", "token_secret")}
    return _ACCOUNT | _BY_SIGNATURE | planted


SAMPLES = (
    over_http("NETSUITE", "jwt", _by_assertion, also=_OTHER_ACCOUNT | _OTHER_ASSERTION),
    over_http("NETSUITE", "oauth1", _by_signature, also=_OTHER_ACCOUNT | _OTHER_SIGNATURE),
)
