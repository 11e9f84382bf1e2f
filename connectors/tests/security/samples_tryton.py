"""The sample of TRYTON."""

from __future__ import annotations

from connectors.tests.security.canaries import Canaries
from connectors.tests.security.sample import Config, over_http


def _config(canaries: Canaries) -> Config:
    return {"database": "erp", "username": "shop", "password": canaries.plant("password")}


SAMPLES = (over_http("TRYTON", "session", _config, also={"database": {"database": "another"}}),)
