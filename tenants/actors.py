"""Who acts: a person, an API key, or the system itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from tenants.models import ApiKey


class ActorKind(models.TextChoices):
    """What kind of actor did something."""

    USER = "USER", "person"
    API_KEY = "API_KEY", "API key"
    SYSTEM = "SYSTEM", "system"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who did something, from where, in which request; what the audit trail records."""

    kind: ActorKind
    id: str
    label: str
    address: str | None = None
    request_id: str = ""

    @classmethod
    def system(cls, label: str) -> Self:
        """Return the system, acting through a command or a background task of this name."""
        return cls(kind=ActorKind.SYSTEM, id="", label=label)

    @classmethod
    def user(cls, user: AbstractBaseUser, *, address: str | None = None, request_id: str = "") -> Self:
        """Return a signed-in person."""
        return cls(
            kind=ActorKind.USER, id=str(user.pk), label=user.get_username(), address=address, request_id=request_id
        )

    @classmethod
    def api_key(cls, key: ApiKey, *, address: str | None = None, request_id: str = "") -> Self:
        """Return the holder of an API key."""
        return cls(kind=ActorKind.API_KEY, id=key.pk, label=key.name, address=address, request_id=request_id)
