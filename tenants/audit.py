"""The trail of what was done: written once, chained by the database, sealed by the application.

An event is never changed, and only goes with all that came before it when its organisation keeps it no longer. How the
chain is computed and verified stands in docs/audit.md.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.utils import timezone

from tenants.actors import Actor, ActorKind
from tenants.querysets import OrganizationScopedQuerySet

if TYPE_CHECKING:
    from tenants.models import Organization

INSTALLATION: Final = uuid.UUID(int=0)
"""The chain of the events that belong to no organisation."""

LEAST_RETENTION_DAYS: Final = 30
"""No organisation forgets its trail sooner; the database refuses it too."""


Changes = dict[str, tuple[Any, Any]]
"""For each field that was changed, its value before and after; secrets are not among them."""


class AuditEvent(models.Model):
    """One thing that was done. Database triggers refuse to change or delete a row."""

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey("tenants.Organization", null=True, on_delete=models.PROTECT, related_name="audit_events")
    created_at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=16, choices=ActorKind)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_label = models.CharField(max_length=150)
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=64)
    target_type = models.CharField(max_length=64, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict)

    objects = OrganizationScopedQuerySet.as_manager()

    privileges = "SELECT"

    class Meta:
        db_table = "audit_event"
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("org", "-id"), name="audit_event_by_org"),
            models.Index(fields=("target_id", "-id"), name="audit_event_by_target"),
        )

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action}"

    @property
    def changes(self) -> dict[str, list[Any]]:
        """What was changed: for each field its value before and after."""
        if "changes" in self.details:
            changes: dict[str, list[Any]] = self.details["changes"]
            return changes
        # As it was recorded before there were `changes`.
        config = self.details.get("config") if self.action == "connection.changed" else None
        fields = self.details | {f"config.{name}": both for name, both in (config or {}).items()}
        return {
            name: [both["from"], both["to"]]
            for name, both in fields.items()
            if isinstance(both, dict) and both.keys() == {"from", "to"}
        }


class _OfChain(models.Model):
    """A row of the chain of an organisation, or of the installation's own when it has none."""

    org = models.ForeignKey(
        "tenants.Organization",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    class Meta:
        abstract = True


class AuditChain(_OfChain):
    """Where the chain of an organisation begins and where it ends; only the database writes it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    """The organisation's key, or INSTALLATION."""
    sequence = models.BigIntegerField(default=0, db_default=0)
    """Of the last event."""
    hash = models.BinaryField(default=bytes(32), db_default=bytes(32))
    purged_sequence = models.BigIntegerField(default=0, db_default=0)
    """Of the last event that is kept no longer; the chain begins behind it."""
    purged_hash = models.BinaryField(default=bytes(32), db_default=bytes(32))

    privileges = "SELECT"

    class Meta:
        db_table = "audit_chain"

    def __str__(self) -> str:
        return f"{self.org.name if self.org else 'The installation'}: {self.sequence}"


class AuditLink(_OfChain):
    """The place of one event in its chain; only the database writes it."""

    event = models.OneToOneField(
        AuditEvent, primary_key=True, on_delete=models.DO_NOTHING, related_name="link", db_constraint=False
    )
    sequence = models.BigIntegerField()
    hash = models.BinaryField()
    """SHA-256 over the hash before it, the sequence and the event."""

    privileges = "SELECT"

    class Meta:
        db_table = "audit_link"
        constraints = (
            models.UniqueConstraint(fields=("org", "sequence"), name="audit_link_in_sequence", nulls_distinct=False),
        )

    def __str__(self) -> str:
        return f"{self.sequence}: {bytes(self.hash).hex()}"


class AuditSeal(_OfChain):
    """That a chain read so at a time, under a key that the database does not know."""

    id = models.BigAutoField(primary_key=True)
    chain_id = models.UUIDField()
    key_id = models.CharField(max_length=64)
    """The public id of the master key, in hex."""
    sequence = models.BigIntegerField()
    hash = models.BinaryField()
    sealed_at = models.DateTimeField()
    mac = models.BinaryField()

    privileges = "SELECT"

    class Meta:
        db_table = "audit_seal"
        constraints = (
            models.UniqueConstraint(fields=("chain_id", "key_id"), name="audit_seal_once_per_chain_and_key"),
        )

    def __str__(self) -> str:
        return f"{self.sequence} at {self.sealed_at:%Y-%m-%d %H:%M}"


_RECORD: Final = "SELECT id, created_at FROM audit_record(%s, %s, %s, %s, %s::inet, %s, %s, %s, %s, %s::jsonb)"


def record(
    actor: Actor,
    action: str,
    *,
    org: Organization | None,
    target: models.Model | None = None,
    changes: Changes | None = None,
    **details: Any,
) -> AuditEvent:
    """Append one event to the audit trail, in the caller's transaction.

    Args:
        actor: who did it.
        action: what, as `noun.verb` in the past tense, such as `connection.changed`.
        org: whose trail it belongs to; None for the installation's own.
        target: the row it was done to.
        changes: what was changed.
        details: plain JSON values; never a secret.
    """
    if changes:
        details["changes"] = {field: list(both) for field, both in changes.items()}
    event = AuditEvent(
        org=org,
        actor_kind=actor.kind,
        actor_id=_text(actor.id, 64),
        actor_label=_text(actor.label, 150),
        address=actor.address,
        request_id=_text(actor.request_id, 64),
        action=action,
        target_type=(target._meta.model_name or "") if target else "",
        target_id=str(target.pk) if target else "",
        details=details,
    )
    event.id, event.created_at = _append(event)
    event._state.adding, event._state.db = False, connection.alias
    return event


def _append(event: AuditEvent) -> tuple[int, datetime]:
    """Let the database append an event: the trail may be written where it may not be seen."""
    values = [
        event.org_id,
        str(event.actor_kind),
        event.actor_id,
        event.actor_label,
        event.address,
        event.request_id,
        event.action,
        event.target_type,
        event.target_id,
        json.dumps(event.details, cls=DjangoJSONEncoder),
    ]
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, values)
        id_, created_at = cursor.fetchone()
    return id_, created_at


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The oldest events of a trail, which are kept no longer."""

    events: int
    sequence: int
    """Of the last of them."""
    hash: str


def purge(actor: Actor, org: Organization, *, batch: int) -> Removed | None:
    """Remove the oldest events that an organisation keeps no longer, whole days of them, and record it.

    What is not sealed yet stays, and so does the last event: the database refuses to remove them.

    Args:
        actor: whom the trail names.
        org: whose trail it is.
        batch: so many events at most.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT removed, place, link FROM audit_purge(%s, %s)", [org.pk, batch])
            events, sequence, hash_ = cursor.fetchone()
        if not events:
            return None
        removed = Removed(events=events, sequence=sequence, hash=bytes(hash_).hex())
        record(actor, "audit.purged", org=org, **asdict(removed))
    return removed


def _text(text: str, longest: int) -> str:
    """Return what fits the column: who is refused may call themselves anything."""
    return text.encode(errors="replace").decode().replace("\0", "")[:longest]
