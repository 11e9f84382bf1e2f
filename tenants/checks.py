"""System checks of who may enter: each names the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Warning, register

from tenants.sign_in import second_factor


@register("tenants", deploy=True)
def second_factor_is_required(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report that a password alone lets staff in."""
    if second_factor.is_required():
        return []
    return [
        Warning(
            "Staff may sign in with a password alone.",
            hint="Set STAFF_SECOND_FACTOR=required: whoever has no second factor is led to set one up.",
            id="tenants.W001",
        )
    ]
