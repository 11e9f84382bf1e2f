"""The master keys this database knows, by their public ids."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from connectors.models import EncryptionKey, KeyState
from tenants.admin import badge


@admin.register(EncryptionKey)
class EncryptionKeyAdmin(admin.ModelAdmin):
    """For superusers, to look at; `manage.py rotate_encryption_key` changes them."""

    list_display = ("short_id", "state_badge", "created_at", "updated_at")
    actions = None

    @admin.display(description="key id", ordering="key_id")
    def short_id(self, key: EncryptionKey) -> str:
        """Return enough of the id to tell keys apart."""
        return f"{key.key_id[:16]}…"

    @admin.display(description="state", ordering="state")
    def state_badge(self, key: EncryptionKey) -> str:
        """Return what the key is still for."""
        kinds = {
            KeyState.ACTIVE: "good",
            KeyState.DECRYPT_ONLY: "wait",
            KeyState.RETIRING: "wait",
            KeyState.RETIRED: "off",
        }
        return badge(kinds[KeyState(key.state)], key.get_state_display())

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Return whether this is a superuser."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether this is a superuser."""
        return bool(request.user.is_active and request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: keys come from the environment."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: keys come from the environment."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: keys come from the environment."""
        return False
