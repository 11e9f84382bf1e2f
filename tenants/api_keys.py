"""Issue, change, rotate and revoke API keys, and manage the service accounts that own them.

Who acts with an API key gives nothing that this key has not: no further scope, no other network, no later end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from tenants import networks
from tenants.actors import Actor
from tenants.audit import record
from tenants.authentication import Forbidden
from tenants.errors import (
    AccountDisabled,
    AccountInUse,
    AccountNameTaken,
    AlreadyRotated,
    BeyondAccount,
    KeyIsOver,
    Vanished,
)
from tenants.models import ApiKey, Organization, ServiceAccount
from tenants.roles import Scope, held_by

LONGEST_OVERLAP: Final = timedelta(days=30)

_REACH: Final = frozenset({"scopes", "networks", "expires_at"})
"""What a key may do, where, and for how long."""


def issue(
    org: Organization,
    actor: Actor,
    *,
    name: str,
    role: str,
    scopes: Iterable[str] = (),
    from_networks: Iterable[str] = (),
    expires_at: datetime | None = None,
    account: ServiceAccount | None = None,
    by: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Issue a key.

    Args:
        org: whose it is.
        actor: who issues it.
        name: who or what uses it.
        role: what it may do at most.
        scopes: what of it; none of them is all of it.
        from_networks: where it may be used, in CIDR notation; none is anywhere.
        expires_at: until when.
        account: whose key it is.
        by: the key the actor uses.

    Returns:
        The row and the token, which exists nowhere else.

    Raises:
        Forbidden: it would have more than `by`.
        AccountDisabled, BeyondAccount: the account does not allow it.
    """
    wanted: dict[str, Any] = {
        "name": name,
        "role": role,
        "scopes": tidy_scopes(scopes),
        "networks": tidy_networks(from_networks),
        "expires_at": expires_at,
    }
    with transaction.atomic():
        wanted["account"] = _usable(account) if account else None
        _demand_reach(ApiKey(org=org, **wanted), by)
        key, token = ApiKey.objects.issue(org=org, **wanted)
        record(actor, "api_key.created", org=org, target=key, **_told(key))
    return key, token


def change(key: ApiKey, actor: Actor, wanted: Mapping[str, Any], *, by: ApiKey | None = None) -> ApiKey:
    """Change the name, scopes, networks or expiry of a key.

    Args:
        key: which.
        actor: who changes it.
        wanted: what is to be different; of name, scopes, networks, expires_at.
        by: the key the actor uses.

    Raises:
        KeyIsOver: it is revoked.
        Forbidden: it would have more than `by`.
        BeyondAccount: the account does not allow it.
    """
    tidied = dict(wanted)
    if "scopes" in tidied:
        tidied["scopes"] = tidy_scopes(tidied["scopes"])
    if "networks" in tidied:
        tidied["networks"] = tidy_networks(tidied["networks"])
    with transaction.atomic():
        row = _locked(key)
        if row.revoked_at:
            raise KeyIsOver
        before = {name: getattr(row, name) for name in tidied}
        changed = [name for name in tidied if tidied[name] != before[name]]
        if not changed:
            return row
        for name in changed:
            setattr(row, name, tidied[name])
        if _REACH & set(changed):
            _demand_reach(row, by)
        row.save(update_fields=changed)
        changes = {name: (before[name], tidied[name]) for name in changed}
        record(actor, "api_key.changed", org=row.org, target=row, changes=changes)
    return row


def rotate(key: ApiKey, actor: Actor, overlap: timedelta, *, by: ApiKey | None = None) -> tuple[ApiKey, str]:
    """Issue a successor of a key that may do the same, and let the key end after the overlap.

    A key that was issued for a time is succeeded by one for as long a time, counted from now.

    Args:
        key: which.
        actor: who rotates it.
        overlap: how long both are valid; zero ends the key at once.
        by: the key the actor uses.

    Returns:
        The successor and its token, which exists nowhere else.

    Raises:
        KeyIsOver, AlreadyRotated, AccountDisabled: the key has no more successors.
        Forbidden: the successor would have more than `by`.
    """
    with transaction.atomic():
        row = _locked(key)
        now = timezone.now()
        if row.revoked_at or row.is_expired:
            raise KeyIsOver
        if successor := row.successors.filter(revoked_at=None).first():
            raise AlreadyRotated(id=successor.pk)
        ends = [now + (row.expires_at - row.created_at)] if row.expires_at else []
        ends += [by.expires_at] if by and by.expires_at else []
        same = {name: getattr(row, name) for name in ("name", "role", "scopes", "networks")}
        same |= {"account": _usable(row.account) if row.account else None, "expires_at": min(ends, default=None)}
        _demand_reach(ApiKey(org=row.org, **same), by)
        successor, token = ApiKey.objects.issue(org=row.org, succeeds=row, **same)
        before = row.expires_at
        row.expires_at = min(end for end in (before, now + overlap) if end)
        row.save(update_fields=["expires_at"])
        record(
            actor,
            "api_key.rotated",
            org=row.org,
            target=row,
            successor=successor.pk,
            changes={"expires_at": (before, row.expires_at)},
        )
        record(actor, "api_key.created", org=row.org, target=successor, **_told(successor), succeeds=row.pk)
    return successor, token


def revoke(keys: Iterable[ApiKey], actor: Actor) -> None:
    """Revoke keys; what is revoked already stays as it is."""
    with transaction.atomic():
        rows = ApiKey.objects.select_for_update(of=("self",)).select_related("org").order_by("pk")
        for key in rows.filter(pk__in=[key.pk for key in keys], revoked_at=None):
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
            changes = {"revoked_at": (None, key.revoked_at)}
            record(actor, "api_key.revoked", org=key.org, target=key, name=key.name, changes=changes)


def create_account(
    org: Organization, actor: Actor, *, name: str, role: str, by: ApiKey | None = None
) -> ServiceAccount:
    """Create a service account.

    Raises:
        AccountNameTaken: the organisation has one of this name.
        Forbidden: its role has more than `by`.
    """
    demand_role(role, by)
    try:
        with transaction.atomic():
            account: ServiceAccount = ServiceAccount.objects.create(org=org, name=name, role=role)
            record(actor, "service_account.created", org=org, target=account, name=name, role=role)
            return account
    except IntegrityError:
        raise AccountNameTaken from None


def change_account(
    account: ServiceAccount, actor: Actor, wanted: Mapping[str, Any], *, by: ApiKey | None = None
) -> ServiceAccount:
    """Change the name or role of a service account, disable or enable it.

    Args:
        account: which.
        actor: who changes it.
        wanted: what is to be different; of name, role, disabled.
        by: the key the actor uses.

    Raises:
        AccountNameTaken: the organisation has one of this name.
        Forbidden: the account or one of its keys would have more than `by`.
    """
    try:
        with transaction.atomic():
            row = _locked_account(account)
            before: dict[str, Any] = {"name": row.name, "role": row.role, "disabled": row.disabled_at is not None}
            changes = {field: (before[field], to) for field, to in wanted.items() if to != before[field]}
            if not changes:
                return row
            row.name, row.role = wanted.get("name", row.name), wanted.get("role", row.role)
            if "disabled" in changes:
                row.disabled_at = timezone.now() if wanted["disabled"] else None
            gives = not held_by(row.role) <= held_by(before["role"]) or changes.get("disabled") == (True, False)
            if gives:
                _demand_account(row, by)
            row.save(update_fields=["name", "role", "disabled_at"])
            record(actor, "service_account.changed", org=row.org, target=row, changes=changes)
            return row
    except IntegrityError:
        raise AccountNameTaken from None


def delete_account(account: ServiceAccount, actor: Actor) -> None:
    """Delete a service account to which no key was ever issued.

    Raises:
        AccountInUse: one was.
    """
    with transaction.atomic():
        row = _locked_account(account)
        if row.api_keys.exists():
            raise AccountInUse
        record(actor, "service_account.deleted", org=row.org, target=row, name=row.name, role=row.role)
        row.delete()


def demand_role(role: str, by: ApiKey | None) -> None:
    """Let nobody give a role with an API key that lacks some of its scopes.

    Raises:
        Forbidden: it lacks some.
    """
    if by is not None:
        _demand_rights(held_by(role), by)


def tidy_scopes(names: Iterable[str]) -> list[str]:
    """Return scopes in their usual sequence, each once."""
    wanted = set(names)
    return [scope.value for scope in Scope if scope in wanted]


def tidy_networks(texts: Iterable[str]) -> list[str]:
    """Return networks as they are usually written, each once."""
    return list(dict.fromkeys(str(networks.parse(text)) for text in texts))


def _locked(key: ApiKey) -> ApiKey:
    row: ApiKey = ApiKey.objects.select_for_update(of=("self",)).select_related("org", "account").get(pk=key.pk)
    return row


def _locked_account(account: ServiceAccount) -> ServiceAccount:
    row: ServiceAccount | None = (
        ServiceAccount.objects.select_for_update(of=("self",)).select_related("org").filter(pk=account.pk).first()
    )
    if row is None:
        raise Vanished
    return row


def _usable(account: ServiceAccount) -> ServiceAccount:
    """Return the account as it is now, and keep it so until the transaction ends."""
    row = _locked_account(account)
    if row.disabled_at:
        raise AccountDisabled
    return row


def _demand_account(account: ServiceAccount, by: ApiKey | None) -> None:
    """Check that neither the account nor any of its living keys gets more than the acting key has."""
    if by is None:
        return
    demand_role(account.role, by)
    for key in account.api_keys.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None):
        _demand_within(key, by)


def _demand_reach(key: ApiKey, by: ApiKey | None) -> None:
    if key.account and not held_by(key.role, key.scopes) <= held_by(key.account.role):
        raise BeyondAccount
    if by is not None:
        _demand_within(key, by)


def _demand_within(key: ApiKey, by: ApiKey) -> None:
    _demand_rights(held_by(key.role, key.scopes), by)
    if by.networks and not (key.networks and networks.are_within(key.networks, by.networks)):
        raise _more_than(f"It has to be confined to networks within {', '.join(by.networks)}.")
    if by.expires_at and (key.expires_at is None or key.expires_at > by.expires_at):
        raise _more_than(f"It has to expire no later than {by.expires_at:%Y-%m-%dT%H:%M:%SZ}.")


def _demand_rights(wanted: frozenset[Scope], by: ApiKey) -> None:
    if missing := tidy_scopes(wanted - by.rights):
        raise _more_than(f"It lacks: {', '.join(missing)}.")


def _more_than(hint: str) -> Forbidden:
    return Forbidden("An API key cannot give more than it has.", hint)


def _told(key: ApiKey) -> dict[str, Any]:
    """Return what the audit trail is told of a new key."""
    return {
        "name": key.name,
        "role": key.role,
        "scopes": key.scopes,
        "networks": key.networks,
        "expires_at": key.expires_at,
        "account": str(key.account_id) if key.account_id else None,
    }
