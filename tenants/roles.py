"""The roles, the scopes they consist of, and which role holds which: the one place that says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from django.db import models


class Role(models.TextChoices):
    """What a member or an API key may do in its organisation."""

    ADMIN = "ADMIN", "Administrator"
    INTEGRATOR = "INTEGRATOR", "Integrator"
    OPS = "OPS", "Operations"
    VIEWER = "VIEWER", "Viewer"


class Scope(models.TextChoices):
    """One thing that may be done; an API key may be confined to some of its role's."""

    EXPORTS_READ = "exports:read", "look at exports"
    EXPORTS_SUBMIT = "exports:submit", "submit and preview exports"
    EXPORTS_MANAGE = "exports:manage", "retry, cancel, resend and dismiss exports"
    EXPORTS_APPROVE = "exports:approve", "approve exports"
    ACKNOWLEDGEMENTS_READ = "acknowledgements:read", "look at acknowledgements"
    ACKNOWLEDGEMENTS_RESOLVE = "acknowledgements:resolve", "put acknowledgements aside"
    CONNECTIONS_READ = "connections:read", "look at connections"
    CONNECTIONS_WRITE = "connections:write", "create, change, activate and delete connections"
    CONNECTIONS_TEST = "connections:test", "test connections"
    CONNECTIONS_PAUSE = "connections:pause", "pause and resume connections"
    WEBHOOKS_READ = "webhooks:read", "look at webhooks"
    WEBHOOKS_WRITE = "webhooks:write", "create, change, test and delete webhooks"
    AUDIT_READ = "audit:read", "read the audit trail"
    KEYS_READ = "keys:read", "look at API keys and service accounts"
    KEYS_MANAGE = "keys:manage", "issue, change, rotate and revoke API keys; manage service accounts"
    MEMBERS_READ = "members:read", "look at members and invitations"
    MEMBERS_MANAGE = "members:manage", "invite and remove members, change their roles"


ALL: Final = frozenset(Role)
"""Everybody of the organisation: look at exports and connector types."""

OPERATE: Final = frozenset({Role.ADMIN, Role.INTEGRATOR, Role.OPS})
"""Submit, preview, retry and cancel exports."""

CONFIGURE: Final = frozenset({Role.ADMIN, Role.INTEGRATOR})
"""Manage connections, read the audit trail."""

APPROVE: Final = frozenset({Role.ADMIN, Role.OPS})
"""Let an order go that waits for approval: not who integrates, and so not the key that submits."""

TEST: Final = CONFIGURE
"""Test connections, which logs in at the far end. A permission of its own: it may be given or taken apart."""

ADMINISTER: Final = frozenset({Role.ADMIN})
"""Manage the members and API keys of the organisation."""

HOLDERS: Final[Mapping[Scope, frozenset[Role]]] = MappingProxyType(
    {
        Scope.EXPORTS_READ: ALL,
        Scope.EXPORTS_SUBMIT: OPERATE,
        Scope.EXPORTS_MANAGE: OPERATE,
        Scope.EXPORTS_APPROVE: APPROVE,
        Scope.ACKNOWLEDGEMENTS_READ: ALL,
        Scope.ACKNOWLEDGEMENTS_RESOLVE: OPERATE,
        Scope.CONNECTIONS_READ: CONFIGURE,
        Scope.CONNECTIONS_WRITE: CONFIGURE,
        Scope.CONNECTIONS_TEST: TEST,
        Scope.CONNECTIONS_PAUSE: OPERATE,
        Scope.WEBHOOKS_READ: CONFIGURE,
        Scope.WEBHOOKS_WRITE: CONFIGURE,
        Scope.AUDIT_READ: CONFIGURE,
        Scope.KEYS_READ: ADMINISTER,
        Scope.KEYS_MANAGE: ADMINISTER,
        Scope.MEMBERS_READ: ADMINISTER,
        Scope.MEMBERS_MANAGE: ADMINISTER,
    }
)

_HELD: Final = {role: frozenset(scope for scope in Scope if role in HOLDERS[scope]) for role in Role}


def held_by(role: str, narrowed_to: Iterable[str] = ()) -> frozenset[Scope]:
    """Return the scopes of a role, or those of them that are named.

    Args:
        role: a Role.
        narrowed_to: names of scopes; none of them narrows nothing. A name that is not known any more gives nothing.
    """
    named = frozenset(narrowed_to)
    return frozenset(scope for scope in _HELD[Role(role)] if scope in named) if named else _HELD[Role(role)]


def beyond(role: str, scopes: Iterable[str]) -> list[str]:
    """Return those of the scopes that a role does not hold."""
    return sorted(set(scopes) - _HELD[Role(role)])
