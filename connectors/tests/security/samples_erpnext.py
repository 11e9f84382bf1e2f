"""The sample of ERPNEXT."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, over_http


def _config(canaries: Canaries) -> Config:
    return {"api_key": "a1b2c3d4e5f6a7b", "api_secret": canaries.plant_token("api_secret"), "company": "ACME Europe"}


SAMPLES = (
    over_http(
        "ERPNEXT",
        "token",
        _config,
        also={"api_key": {"api_key": "mallory"}, "site": {"site": "mallory.example.com"}},
    ),
)
