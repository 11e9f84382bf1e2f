"""What the pages of connections and tests need to show steps."""

from __future__ import annotations

from typing import Any, Final

from django import template
from django.utils.safestring import SafeString

from connectors.admin import badges, connection_state
from connectors.models import ConnectionTest
from connectors.results import StepStatus
from tenants.admin import badge

register = template.Library()

_KINDS: Final = {
    StepStatus.PASSED: "good",
    StepStatus.FAILED: "bad",
    StepStatus.WARNING: "warn",
    StepStatus.SKIPPED: "off",
}


@register.filter
def step_badge(status: str) -> SafeString:
    """Return how a step ended."""
    return badge(_KINDS[StepStatus(status)], status)


@register.filter
def outcome(test: ConnectionTest) -> SafeString:
    """Return how a test ended, or how far it is."""
    return badges.outcome_badge(test)


@register.filter
def failed_step(test: ConnectionTest) -> dict[str, Any] | None:
    """Return the step with which a test failed."""
    return connection_state.failed_step(test)


@register.filter
def words(name: str) -> str:
    """Return the name of a step, a field or an action as people write it."""
    return name.replace("connection.", "").replace("_", " ")


@register.simple_tag
def blank_steps() -> list[dict[str, Any]]:
    """Return a step of each status with a blank for everything it may say: the moulds for steps that are streamed."""
    return [
        {"status": str(status), "name": " ", "detail": " ", "code": " ", "hint": " ", "latency_ms": " "}
        for status in StepStatus
    ]
