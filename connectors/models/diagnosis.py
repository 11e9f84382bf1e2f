"""The tests of connections, from the request to the report.

QUEUED ──a worker takes it──> RUNNING ──> FINISHED
   └──────a person──────> CANCELLED <──a person──┘
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Final, Self

from django.db import models
from django.utils import timezone

from connectors.fields import EncryptedConfigField
from connectors.models.connection import ERPConnection
from tenants.actors import ActorKind
from tenants.models import Organization, OrganizationScopedQuerySet

MAX_WAIT: Final = timedelta(minutes=10)
"""How long a test waits for a worker; then it ends without having begun."""


class TestState(models.TextChoices):
    """How far a test is."""

    __test__ = False

    QUEUED = "QUEUED", "waiting"  #: for a worker, and for its turn within the organisation
    RUNNING = "RUNNING", "running"  #: a worker is at it until `leased_until`
    FINISHED = "FINISHED", "finished"  #: there is a whole report
    CANCELLED = "CANCELLED", "cancelled"  #: a person did not want to know the rest


class TestSubject(models.TextChoices):
    """What was tested."""

    __test__ = False

    STORED = "STORED", "as stored"  #: the configuration as it is in use
    CHECK = "CHECK", "scheduled check"  #: the same, by itself and without writing anything at the far end
    STAGED = "STAGED", "staged credentials"  #: the next credentials, before they are promoted
    EDIT = "EDIT", "unsaved edit"  #: an edit that nobody has saved
    NEW = "NEW", "unsaved connection"  #: a configuration that belongs to no connection yet


class ConnectionTestQuerySet(OrganizationScopedQuerySet):
    """Tests of one or all organisations."""

    def of_what_is_in_use(self) -> Self:
        """Return the finished tests that say something about a connection as it is stored."""
        return self.filter(state=TestState.FINISHED, subject__in=(TestSubject.STORED, TestSubject.CHECK))

    def running(self) -> Self:
        """Return the tests that a worker is at."""
        return self.filter(state=TestState.RUNNING)

    def lost(self) -> Self:
        """Return the tests whose worker did not come back, and those for which none ever came."""
        now = timezone.now()
        has_no_worker = models.Q(state=TestState.RUNNING, leased_until__lt=now)
        return self.filter(has_no_worker | models.Q(state=TestState.QUEUED, started_at__lt=now - MAX_WAIT))

    def unfinished(self) -> Self:
        """Return the tests that wait or run."""
        return self.filter(state__in=(TestState.QUEUED, TestState.RUNNING))


class ConnectionTest(models.Model):
    """One run of a connection test: who, on which revision, and the report as far as it is known."""

    __test__ = False

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(ERPConnection, null=True, on_delete=models.CASCADE, related_name="tests")
    """Null for a configuration that belongs to no connection yet."""
    connector_type = models.CharField(max_length=64, db_default="")
    subject = models.CharField(max_length=16, choices=TestSubject, default=TestSubject.STORED, db_default="STORED")
    revision = models.PositiveIntegerField(null=True)
    config_encrypted = EncryptedConfigField(null=True)
    """What is to be tested where it stands nowhere else; erased when the test has ended."""
    endpoint = models.CharField(max_length=300, blank=True, db_default="")
    """Whom it talks to: tests are rationed for each."""
    actor_kind = models.CharField(max_length=16, choices=ActorKind)
    actor_id = models.CharField(max_length=64, blank=True, db_default="")
    actor_label = models.CharField(max_length=150)
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True, db_default="")

    state = models.CharField(max_length=16, choices=TestState, default=TestState.QUEUED, db_default="FINISHED")
    started_at = models.DateTimeField(default=timezone.now)
    """When it began; until then, when it was asked for."""
    claim = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    success = models.BooleanField(null=True)
    code = models.CharField(max_length=64, blank=True)
    """The code of the step that failed."""
    latency_ms = models.PositiveIntegerField(default=0)
    result = models.JSONField(default=dict)
    """The report; while the test runs, the steps that have ended."""

    objects = ConnectionTestQuerySet.as_manager()

    class Meta:
        db_table = "erp_connection_test"
        ordering = ("-started_at", "-id")
        indexes = (
            models.Index(fields=("connection", "-started_at", "-id"), name="erp_connection_test_recent"),
            models.Index(fields=("org", "-started_at"), name="erp_connection_test_by_org"),
            models.Index(
                fields=("started_at",),
                condition=models.Q(state__in=("QUEUED", "RUNNING")),
                name="erp_connection_test_open",
            ),
        )

    def __str__(self) -> str:
        if self.state != TestState.FINISHED:
            return str(self.get_state_display())
        return "passed" if self.success else f"failed: {self.code}"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be known."""
        return self.state in (TestState.FINISHED, TestState.CANCELLED)
