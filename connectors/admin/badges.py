"""What connections, tests and exports are, in a word, a symbol and a colour."""

from __future__ import annotations

from typing import Final

from django.utils.safestring import SafeString

from connectors.models import (
    ConnectionStatus,
    ConnectionTest,
    ERPConnection,
    ERPExport,
    ExportStatus,
    Health,
    Outcome,
    TestState,
)
from tenants.admin import badge

_HEALTH_KIND: Final = {
    Health.UNTESTED: "wait",
    Health.HEALTHY: "good",
    Health.FAILING: "bad",
    Health.AUTH_FAILED: "bad",
    Health.UNREADABLE: "bad",
}

_EXPORT_KIND: Final = {
    ExportStatus.PENDING: "wait",
    ExportStatus.SENDING: "wait",
    ExportStatus.SENT: "good",
    ExportStatus.ACKED: "good",
    ExportStatus.REJECTED: "bad",
    ExportStatus.UNCONFIRMED: "warn",
    ExportStatus.FAILED: "bad",
    ExportStatus.CANCELLED: "off",
}
ATTEMPT_KIND: Final = {
    Outcome.SENT: "good",
    Outcome.FOUND: "good",
    Outcome.TEMPORARY: "warn",
    Outcome.UNKNOWN: "warn",
    Outcome.AUTH_FAILED: "bad",
    Outcome.REJECTED: "bad",
    Outcome.FAILED: "bad",
    Outcome.WORKER_LOST: "warn",
}


def health_badge(health: str) -> SafeString:
    """Return what the last contact with the far end showed."""
    return badge(_HEALTH_KIND[Health(health)], Health(health).label)


def status_badge(status: str) -> SafeString:
    """Return whether a connection takes orders."""
    return badge("good" if status == ConnectionStatus.ACTIVE else "off", ConnectionStatus(status).label)


def tested_badge(connection: ERPConnection, *, changed: str) -> SafeString:
    """Return whether what is stored is what a person's test has succeeded with.

    Args:
        connection: whose state it is.
        changed: what to say when it was changed since.
    """
    if connection.is_tested:
        return badge("good", "tested OK")
    if connection.last_test_at is None:
        return badge("off", "never tested")
    if connection.health in (Health.FAILING, Health.AUTH_FAILED):
        return badge("bad", "last test failed")
    if connection.tested_revision is None and connection.health == Health.HEALTHY:
        return badge("off", "only checked")
    return badge("warn", changed)


def outcome_badge(test: ConnectionTest) -> SafeString:
    """Return how a test ended, or how far it is."""
    if not test.has_ended:
        return badge("wait", test.get_state_display())
    if test.state == TestState.CANCELLED:
        return badge("off", "cancelled")
    return badge("good", "passed") if test.success else badge("bad", "failed")


def export_badge(status: str) -> SafeString:
    """Return where an export is."""
    return badge(_EXPORT_KIND[ExportStatus(status)], ExportStatus(status).label)


def waiting_badge(export: ERPExport) -> SafeString:
    """Return where an export is, and whether a person has to let it go."""
    return badge("warn", "waits for approval") if export.held else export_badge(export.status)
