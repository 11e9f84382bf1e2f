"""The sample of ODOO."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, over_http


def _config(canaries: Canaries) -> Config:
    return {"database": "acme", "username": "shop", "api_key": canaries.plant_token("api_key")}


SAMPLES = (
    over_http(
        "ODOO",
        "api-key",
        _config,
        also={"database": {"database": "mallory"}, "interface": {"interface": "json_rpc"}},
    ),
)
