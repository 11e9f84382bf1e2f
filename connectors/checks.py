"""System checks: each names the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Warning, register

from connectors.registry import ENTRY_POINT_GROUP, registry


@register("connectors")
def entry_points_load(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report installed adapters that could not be registered."""
    return [
        Warning(
            f"The adapter {name!r} of the entry-point group {ENTRY_POINT_GROUP} was not registered ({kind}).",
            hint="Run `manage.py list_connectors`, then repair or uninstall that package.",
            id="connectors.W001",
        )
        for name, kind in registry.broken.items()
    ]
