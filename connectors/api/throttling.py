"""How often one caller, one organisation and one address may ask."""

from __future__ import annotations

import ipaddress
import math
from typing import Any, Final
from uuid import UUID

from django.http import HttpResponseBase
from rest_framework.settings import api_settings

from connectors.services import throttles
from connectors.services.throttles import Limit, Verdict
from tenants.authentication import Principal

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_IPV6_SITE: Final = 64
"""Whoever has one address of such a network has all of them."""


def count(caller: Principal) -> Verdict | None:
    """Count a request of a caller, and of the organisation, whose many keys do not get more than its share.

    Returns:
        The tighter of both verdicts; None is no limit.
    """
    org = str(caller.org.pk)
    verdicts = []
    for scope, name in (("api", f"{org}:{caller.pk}"), ("organisation", org)):
        if limit := _limit_of(scope):
            verdicts.append(throttles.take(scope, name, limit))
            if not verdicts[-1].allowed:
                return verdicts[-1]
    return min(verdicts, key=lambda verdict: verdict.remaining, default=None)


def count_failure(address: str | None) -> Verdict | None:
    """Count a request that came without a valid key or session; None is no limit."""
    limit = _limit_of("failures")
    return throttles.take("failures", _site(address or ""), limit) if limit else None


def count_inbound(connection_id: UUID) -> Verdict | None:
    """Count a message for a connection, whoever sends it; None is no limit."""
    limit = _limit_of("inbound")
    return throttles.take("inbound", str(connection_id), limit) if limit else None


def tell(response: HttpResponseBase, verdict: Verdict) -> None:
    """Say in the answer what is left (draft-ietf-httpapi-ratelimit-headers, version 10)."""
    limit, resets_in = verdict.limit, max(0, math.ceil(verdict.resets_in))
    response.headers["RateLimit-Policy"] = f'"default";q={limit.requests};w={limit.seconds}'
    response.headers["RateLimit"] = f'"default";r={verdict.remaining};t={resets_in}'


def _limit_of(scope: str) -> Limit | None:
    """Return what `DEFAULT_THROTTLE_RATES` in the settings of DRF allows, such as `1200/min`.

    None is no limit; where "api" has none, nothing has.
    """
    rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
    rate = rates.get("api") and rates.get(scope)
    if not rate:
        return None
    requests, _, period = rate.partition("/")
    return Limit(requests=int(requests), seconds=_SECONDS[period[0]])


def _site(address: str) -> str:
    """Return whose failures are counted together."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a socket of this machine
        return ""
    return str(ipaddress.ip_network((found, _IPV6_SITE), strict=False)) if found.version == 6 else address
