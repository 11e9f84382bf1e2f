"""How far a connector can be relied upon: a tier that follows from what it does, not from what it says of itself.

The facts are the flags, the guarantee and the errors of its class. `connectors.testing.contract` proves each of them: a
connector that keeps the contract has the tier that is worked out here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from connectors.exceptions import AuthenticationFailed, RejectedByERP
from connectors.port import ERPConnectorPort, Guarantee

Connector = ERPConnectorPort[Any]


class Tier(StrEnum):
    """What users may expect."""

    BRONZE = "bronze"  #: orders arrive, and a connection can be tested
    SILVER = "silver"  #: no order is ever lost or doubled, and a failure tells who has to act
    GOLD = "gold"  #: and nobody has to look at the ERP to know what became of an order


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One thing that a tier takes, beyond those of the tier below."""

    tier: Tier
    demand: str
    is_met: Callable[[Connector], bool]


CRITERIA: Final = (
    Criterion(
        tier=Tier.SILVER,
        demand="shows what it sends before it is sent",
        is_met=lambda connector: connector.supports_render,
    ),
    Criterion(
        tier=Tier.SILVER,
        demand="keeps an order from arriving twice by itself",
        is_met=lambda connector: connector.guarantee is not Guarantee.AT_MOST_ONCE,
    ),
    Criterion(
        tier=Tier.SILVER,
        demand="finds an order again after an answer got lost",
        is_met=lambda connector: connector.supports_find_export,
    ),
    Criterion(
        tier=Tier.SILVER,
        demand="tells a refused order and refused credentials from a fault",
        is_met=lambda connector: {RejectedByERP, AuthenticationFailed} <= connector.raises,
    ),
    Criterion(
        tier=Tier.GOLD,
        demand="reads what the ERP makes of an order",
        is_met=lambda connector: connector.supports_acknowledgements,
    ),
    Criterion(
        tier=Tier.GOLD,
        demand="notices that it leads to another company or system",
        is_met=lambda connector: connector.supports_identify,
    ),
    Criterion(
        tier=Tier.GOLD,
        demand="takes many orders in one login",
        is_met=lambda connector: connector.supports_session,
    ),
)


def unmet(connector: Connector) -> list[Criterion]:
    """Return what a connector lacks for gold."""
    return [criterion for criterion in CRITERIA if not criterion.is_met(connector)]


def tier_of(connector: Connector) -> Tier:
    """Return the highest tier of which nothing is lacking, and nothing of those below."""
    lacking = {criterion.tier for criterion in unmet(connector)}
    if Tier.SILVER in lacking:
        return Tier.BRONZE
    return Tier.SILVER if Tier.GOLD in lacking else Tier.GOLD
