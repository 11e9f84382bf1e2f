"""How often one caller may ask."""

from __future__ import annotations

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

DEFAULT_RATE: Final = "1200/min"


class PerCaller(SimpleRateThrottle):
    """Counts per API key or person; the rate is `DEFAULT_THROTTLE_RATES["api"]` in the settings of DRF."""

    scope = "api"

    def get_rate(self) -> str | None:
        """Return the rate as DRF writes it, `1200/min`; None is no limit."""
        rate: str | None = dict[str, Any](api_settings.DEFAULT_THROTTLE_RATES).get(self.scope, DEFAULT_RATE)
        return rate

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Return whose requests are counted together."""
        return f"throttle:{self.scope}:{request.user.pk}"
