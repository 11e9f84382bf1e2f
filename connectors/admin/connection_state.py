"""What the head of a connection's page says: what it is, why it stands still, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from connectors import maintenance
from connectors.admin.badges import health_badge, status_badge, tested_badge
from connectors.admin.health_picture import BARS, Picture, draw
from connectors.codes import Code
from connectors.models import ConnectionTest, ERPConnection, ERPExport, ExportStatus, Health, TestSubject
from connectors.registry import registry
from connectors.results import StepStatus
from connectors.services import checks, configurations, installation, revisions
from tenants.admin import badge

_PAUSES: Final = {
    Code.AUTHENTICATION_FAILED: (
        "Paused: the far end refused the sign-in.",
        "Nothing is sent until a test succeeds. Correct the credentials below, then save and test.",
    ),
    Code.HOST_KEY_UNKNOWN: (
        "Paused: no host key is pinned.",
        "Nothing is sent until it is clear who answers. Test, compare the fingerprint, and pin it.",
    ),
    Code.HOST_KEY_MISMATCH: (
        "Stopped: the server shows another host key than the pinned one.",
        "Somebody may stand in between. Nothing is sent, and no credentials were given away.",
    ),
    Code.IDENTITY_CHANGED: (
        "Stopped: another system answers than before.",
        "Nothing is sent. Find out whether this is still the right system before you accept it.",
    ),
}
"""Why a connection waits for a person."""

_NO_SIGN_IN: Final = {
    Code.HOST_KEY_UNKNOWN: "host key unknown",
    Code.HOST_KEY_MISMATCH: "host key changed",
    Code.IDENTITY_CHANGED: "identity changed",
}
"""What the health AUTH_FAILED means when nobody refused a sign-in."""

_URGENT_DAYS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that a person has to know before anything else."""

    title: str
    text: str
    is_urgent: bool = True


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that the far end says of itself, before and now."""

    name: str
    before: str
    now: str

    @property
    def is_changed(self) -> bool:
        """Whether it says something else now."""
        return self.before != self.now


class State:
    """What is known of one connection; each part is looked up when the page comes to it."""

    def __init__(self, connection: ERPConnection, described: dict[str, Any]) -> None:
        self.connection = connection
        self.health_name = described["health"]
        self.connector = registry.connectors.get(connection.connector_type)
        self.status: SafeString = status_badge(connection.status)
        self.tested: SafeString = tested_badge(connection, changed="changed since its last test")

    @property
    def health(self) -> SafeString:
        """Return what the last contact with the far end showed."""
        reason = _NO_SIGN_IN.get(self.pause_code) if self.pause_code else None
        return badge("bad", reason) if reason else health_badge(self.health_name)

    # -- What was found out ------------------------------------------------------------------------------------------

    @cached_property
    def latest(self) -> ConnectionTest | None:
        """Return the latest test of whatever kind, even if it still runs."""
        return self.connection.tests.first()

    @cached_property
    def picture(self) -> Picture | None:
        """Return the latest tests and checks, drawn."""
        return draw(self._in_use[:BARS])

    @cached_property
    def _in_use(self) -> QuerySet[ConnectionTest]:
        return self.connection.tests.of_what_is_in_use()

    # -- What stands in the way --------------------------------------------------------------------------------------

    @property
    def notices(self) -> Iterator[Notice]:
        """Yield what a person has to know, gravest first."""
        if not installation.is_armed():
            yield Notice(
                title="Nothing is sent from here.",
                text="This database belongs to another installation. If this one shall send from now on, "
                "its operator runs manage.py arm_installation.",
            )
        if self.connector is None:
            yield Notice(
                title=f"The connector {self.connection.connector_type} is not installed here.",
                text="Install its package again, or disable this connection.",
            )
        if self.health_name == Health.UNREADABLE:
            yield Notice(
                title="The stored configuration cannot be decrypted.",
                text="Restore the master key it was encrypted with (ENCRYPTION_PREVIOUS_KEYS), "
                "or enter the whole configuration again below.",
            )
        if self.pause_code:
            title, text = _PAUSES[self.pause_code]
            yield Notice(title=title, text=text)
        yield from self._steered()
        yield from self._passing()
        yield from self._expiring()

    @cached_property
    def pause_code(self) -> Code | None:
        """Return why the connection waits for a person, if it does."""
        if self.health_name != Health.AUTH_FAILED:
            return None
        test = self._in_use.filter(revision=self.connection.revision, code__in=_PAUSES).first()
        if test is not None:
            return Code(test.code)
        waiting = ERPExport.objects.filter(connection=self.connection, status=ExportStatus.PENDING)
        refused = waiting.filter(error__code__in=list(_PAUSES)).values_list("error__code", flat=True).first()
        return Code(refused) if refused else Code.AUTHENTICATION_FAILED

    @cached_property
    def differences(self) -> list[Difference]:
        """Return who the far end was and who it is now, when that is why nothing is sent."""
        if self.pause_code != Code.IDENTITY_CHANGED or not self.connection.pinned_identity:
            return []
        test = self._in_use.filter(code=Code.IDENTITY_CHANGED).first()
        shown = (test.result.get("identity") if test else None) or {}
        return [
            Difference(name=name, before=before or "—", now=shown.get(name) or "—")
            for name, before in self.connection.pinned_identity.items()
            if before or shown.get(name)
        ]

    def _steered(self) -> Iterator[Notice]:
        connection = self.connection
        if connection.paused_at is not None:
            yield Notice(
                title=f"Paused by a person since {_local(connection.paused_at)}: {connection.pause_reason}",
                text="Orders are accepted and wait until somebody resumes.",
                is_urgent=False,
            )
        windows = maintenance.parse(connection.maintenance_windows)
        if closed_until := maintenance.closed_until(windows, timezone.now()):
            yield Notice(
                title=f"In maintenance until {_local(closed_until)}.",
                text="Nothing is sent meanwhile; what waits goes by itself then.",
                is_urgent=False,
            )

    def _passing(self) -> Iterator[Notice]:
        again, troubles = self.connection.retry_at, self.connection.failures_in_a_row
        if again is not None:
            yield Notice(
                title=f"Paused: {troubles} troubles in a row.",
                text=f"It is looked after again at {_local(again)}. A test that passes ends the pause at once.",
                is_urgent=False,
            )

    def _expiring(self) -> Iterator[Notice]:
        entry = checks.expires_soon(self.connection)
        if entry is None:
            return
        what, days, day = entry["kind"], entry["days_left"], entry["expires_at"][:10]
        what = what[:1].upper() + what[1:]
        if days < 0:
            yield Notice(title=f"{what} expired on {day}.", text="Enter new ones below, or prepare them further down.")
            return
        left = "today" if days == 0 else "tomorrow" if days == 1 else f"in {days} days"
        yield Notice(
            title=f"{what}: expires {left}, on {day}.",
            text="Prepare the next credentials further down; they take over without a gap.",
            is_urgent=days <= _URGENT_DAYS,
        )

    # -- What the latest test calls for ------------------------------------------------------------------------------

    @cached_property
    def host_key_to_pin(self) -> str | None:
        """Return the fingerprint that a person may pin now."""
        if self.connector is None or "host_key" not in self.connector.Config.model_fields:
            return None
        return revisions.shown_host_key(self.connection)

    @cached_property
    def revision_to_return_to(self) -> int | None:
        """Return the last revision that passed, when the present one has just failed."""
        test = self.latest
        if test is None or test.success or not test.has_ended or test.revision != self.connection.revision:
            return None
        if test.subject not in (TestSubject.STORED, TestSubject.CHECK) or self.connection.is_tested:
            return None
        earlier = revisions.to_revert_to(self.connection)
        return earlier.number if earlier else None

    @cached_property
    def planned_steps(self) -> str:
        """Return the names of the steps of the latest whole test: those of the next one, most likely."""
        latest = self._in_use.first()
        return " ".join(step["name"] for step in latest.result["steps"]) if latest else ""


def _local(moment: datetime) -> str:
    return date_format(localtime(moment), "Y-m-d H:i:s T")


def failed_step(test: ConnectionTest) -> dict[str, Any] | None:
    """Return the step with which a test failed."""
    return next((step for step in test.result.get("steps", ()) if step["status"] == StepStatus.FAILED), None)


def describe_state(connection: ERPConnection) -> tuple[State, dict[str, Any]]:
    """Return the state of a connection, and its configuration without secrets."""
    described = configurations.describe(connection)
    return State(connection, described), described
