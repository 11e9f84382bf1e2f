"""What goes in and out of the API about API keys, service accounts, members and invitations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone
from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from connectors.api.shapes import ConnectionName, Flag, Shape
from connectors.exceptions import Fault
from connectors.order import Timestamp
from connectors.validation import Line, StrictModel
from tenants import networks
from tenants.models import InvitationState
from tenants.roles import Role, Scope, beyond


def _network(text: str) -> str:
    try:
        return str(networks.parse(text))
    except ValueError:
        pass
    raise PydanticCustomError("network", "must be a network such as 10.20.0.0/16 or 2001:db8::/32")


def _email(text: str) -> str:
    try:
        validate_email(text)
        return text
    except ValidationError:
        pass
    raise PydanticCustomError("email", "must be an e-mail address")


def _future(moment: datetime) -> datetime:
    if moment <= timezone.now():
        raise PydanticCustomError("past", "must be in the future")
    return moment


Scopes = Annotated[
    list[Scope], Field(max_length=len(Scope), description="What of its role it may do; empty: all of it.")
]
Network = Annotated[Line, Field(max_length=49), AfterValidator(_network)]
Networks = Annotated[
    list[Network],
    Field(max_length=50, description="Where it may be used, in CIDR notation; empty: anywhere."),
]
Expiry = Annotated[Timestamp, AfterValidator(_future)]
EmailAddress = Annotated[
    Line, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(_email)
]  # fmt: skip


def _without_null(schema: dict[str, Any]) -> None:
    for name, shape in schema["properties"].items():
        if name != "expires_at" and "anyOf" in shape:
            (only,) = [choice for choice in shape.pop("anyOf") if choice != {"type": "null"}]
            shape.pop("default", None)
            shape |= only


class _Patch(StrictModel):
    """What changes; what is left out stays, and null is for nothing but an expiry."""

    model_config = ConfigDict(json_schema_extra=_without_null)

    def cross_field_faults(self) -> Iterable[Fault]:
        """Refuse null where there is nothing to clear."""
        for name in sorted(self.model_fields_set - {"expires_at"}):
            if getattr(self, name) is None:
                yield Fault(path=name, message="must not be null", code="null")

    def wanted(self) -> dict[str, Any]:
        """Return what was given."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class ApiKeyInput(StrictModel):
    """A new API key."""

    name: Annotated[ConnectionName, Field(description="Who or what uses it; stands in the audit trail.")]
    role: Annotated[Role, Field(description="What it may do at most.")]
    scopes: Scopes = []
    networks: Networks = []
    expires_at: Annotated[Expiry | None, Field(description="Null: until it is revoked.")] = None
    account: Annotated[UUID | None, Field(description="The service account whose key it is.")] = None

    def cross_field_faults(self) -> Iterator[Fault]:
        """Refuse scopes that the role does not hold."""
        yield from scope_faults(self.role, self.scopes)


class ApiKeyPatch(_Patch):
    """What changes in an API key; what is left out stays."""

    name: ConnectionName | None = None
    scopes: Scopes | None = None
    networks: Networks | None = None
    expires_at: Annotated[Expiry | None, Field(description="Null: until it is revoked.")] = None


class RotationInput(StrictModel):
    """How long the old key goes on beside its successor."""

    overlap_hours: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=720)], Field(description="0 ends the old key at once.")
    ] = 24


class ServiceAccountInput(StrictModel):
    """A new service account."""

    name: ConnectionName
    role: Annotated[Role, Field(description="None of its keys may do more.")]


class ServiceAccountPatch(_Patch):
    """What changes in a service account; what is left out stays."""

    name: ConnectionName | None = None
    role: Role | None = None
    disabled: Annotated[Flag | None, Field(description="True stops all of its keys at once.")] = None


class MemberPatch(StrictModel):
    """Another role."""

    role: Role


class InvitationInput(StrictModel):
    """Who is invited, and as what."""

    email: EmailAddress
    role: Role


class ServiceAccountSummary(Shape):
    """Which service account it is."""

    id: UUID
    name: str


class ApiKeyShape(Shape):
    """An API key; never its token."""

    id: Annotated[str, Field(description="Its token begins with erpk_<id>_.")]
    name: str
    role: Role
    scopes: Annotated[list[str], Field(description="What of its role it may do; empty: all of it.")]
    networks: Annotated[list[str], Field(description="Where it may be used; empty: anywhere.")]
    account: ServiceAccountSummary | None
    valid: Annotated[bool, Field(description="Neither revoked nor expired, and its account not disabled.")]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="To the minute.")]
    last_used_from: Annotated[str | None, Field(description="The address it was last used from.")]
    succeeds: Annotated[str | None, Field(description="The key that was rotated into it.")]


class IssuedApiKey(ApiKeyShape):
    """A new API key with its token."""

    token: Annotated[str, Field(description="erpk_<id>_<secret>, shown this once and stored nowhere.")]


class ServiceAccountShape(Shape):
    """A program that acts under a name of its own."""

    id: UUID
    name: str
    role: Role
    disabled: bool
    disabled_at: datetime | None
    created_at: datetime


class Member(Shape):
    """A person of the organisation."""

    id: UUID
    user_name: str
    email: str
    role: Role
    created_at: datetime


class InvitationShape(Shape):
    """An invitation; never its token."""

    id: UUID
    email: str
    role: Role
    state: InvitationState
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None


def scope_faults(role: str, scopes: Iterable[str]) -> Iterator[Fault]:
    """Yield a fault where scopes are named that the role does not hold."""
    if too_much := beyond(role, scopes):
        yield Fault(path="scopes", message=f"must be of the role {role}: not {', '.join(too_much)}", code="beyond_role")
