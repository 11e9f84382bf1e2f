"""Which master keys this database has been encrypted with, and what none of them opens."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from tenants.models import Organization


class KeyState(models.TextChoices):
    """What a master key is still for. A key only moves down this list, unless a person turns a rotation back."""

    ACTIVE = "ACTIVE", "active"  #: seals everything new; there is one
    DECRYPT_ONLY = "DECRYPT_ONLY", "decrypt only"  #: was active before, and opens what was sealed then
    RETIRING = "RETIRING", "retiring"  #: the same, and a rotation is taking its rows away
    RETIRED = "RETIRED", "retired"  #: nothing needs it, and the database refuses whatever is sealed with it


class EncryptionKey(models.Model):
    """A master key by its public id; the key itself is never stored.

    A key is entered when it seals here for the first time. One that only opens, because it is about to become the
    active one, is not.
    """

    key_id = models.CharField(primary_key=True, max_length=64)
    """Its fingerprint: the 32 bytes of the envelope's header, in hex."""
    state = models.CharField(max_length=16, choices=KeyState)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "erp_encryption_key"
        constraints = (
            models.UniqueConstraint(
                fields=("state",), condition=models.Q(state="ACTIVE"), name="erp_encryption_key_one_active"
            ),
        )

    def __str__(self) -> str:
        return f"{self.key_id[:16]}… ({self.get_state_display()})"


class QuarantinedRow(models.Model):
    """A row that a rotation could not open. The row stays as it is, and each rotation tries it again."""

    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    table = models.CharField(max_length=63)
    column = models.CharField(max_length=63)
    row_id = models.UUIDField()
    reason = models.CharField(max_length=32)
    """The kind of EncryptionError."""
    found_at = models.DateTimeField(default=timezone.now)
    tried_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "erp_quarantined_row"
        constraints = (models.UniqueConstraint(fields=("table", "column", "row_id"), name="erp_quarantined_row_once"),)

    def __str__(self) -> str:
        return f"{self.table} {self.row_id}: {self.reason}"
