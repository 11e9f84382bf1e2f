"""Which master keys this database has been encrypted with."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class KeyState(models.TextChoices):
    """What a master key is still for."""

    ACTIVE = "ACTIVE", "active"  #: seals everything new
    DECRYPT_ONLY = "DECRYPT_ONLY", "decrypt only"  #: opens what was sealed before the last rotation
    RETIRED = "RETIRED", "retired"  #: nothing needs it any more


class EncryptionKey(models.Model):
    """A master key by its public id; the key itself is never stored."""

    key_id = models.CharField(primary_key=True, max_length=64)
    """The 32 bytes of the envelope's header, in hex."""
    state = models.CharField(max_length=16, choices=KeyState)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "erp_encryption_key"

    def __str__(self) -> str:
        return f"{self.key_id[:16]}… ({self.get_state_display()})"
