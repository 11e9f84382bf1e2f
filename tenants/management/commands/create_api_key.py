"""Issues an API key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from tenants import api_keys
from tenants.errors import Conflict
from tenants.management.base import USAGE, OperatorCommand, find_organization, one_line
from tenants.models import ApiKey, Organization, Role, ServiceAccount


class Command(OperatorCommand):
    help = "Issue an API key. It is printed once, alone on stdout, and is stored only as a hash."
    examples = (
        "acme --role INTEGRATOR --name shop",
        "acme --role OPS --name night-shift --expires-in 90d > key.txt",
        'acme --role OPS --name till --account "web shop" --scope exports:submit --network 203.0.113.0/24',
    )
    exit_codes = ((0, "the key is on stdout"), (2, "no such organisation, or an argument is not usable"))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", metavar="ORG", help="slug of the organisation")
        parser.add_argument("--role", required=True, type=str.upper, choices=Role.values, help="what the key may do")
        parser.add_argument("--name", required=True, help="who or what uses it; stands in the audit trail")
        expiry = parser.add_mutually_exclusive_group()
        expiry.add_argument("--expires-in", metavar="TIME", help="after 30m, 12h or 90d it is refused")
        expiry.add_argument("--expires-in-days", dest="expires_in", metavar="N", help="the same in days")
        parser.add_argument("--scope", action="append", default=[], metavar="SCOPE", help="only this; may be repeated")
        parser.add_argument("--network", action="append", default=[], metavar="CIDR", help="only from here; likewise")
        parser.add_argument("--account", metavar="NAME", help="the service account whose key it is")

    def handle(
        self,
        *,
        organization: str,
        role: str,
        name: str,
        expires_in: str | None = None,
        scope: Sequence[str] = (),
        network: Sequence[str] = (),
        account: str | None = None,
        **_: Any,
    ) -> None:
        expires_at = timezone.now() + _duration(expires_in) if expires_in is not None else None
        org = find_organization(organization)
        owner = _account(org, account) if account else None
        try:
            draft = ApiKey(org=org, role=role, name=name, scopes=list(scope), networks=list(network))
            draft.clean_fields(exclude=["id", "secret_sha256"])
            draft.clean()
        except ValidationError as error:
            raise CommandError(one_line(error), returncode=USAGE) from None
        try:
            token = api_keys.issue(
                org,
                self.actor,
                name=name,
                role=role,
                scopes=scope,
                from_networks=network,
                expires_at=expires_at,
                account=owner,
            )[1]
        except Conflict as error:
            raise CommandError(f"{error.message} {error.hint}", returncode=USAGE) from None
        self.stdout.write(token)
        expiry = f"until {expires_at:%Y-%m-%d}" if expires_at else "until it is revoked"
        self.note(f"This key of {org.slug} ({role}, {name}) is valid {expiry} and is not shown again.")


def _duration(text: str) -> timedelta:
    """Return 30m, 12h or 90d; a number alone is days."""
    match = re.fullmatch(r"([0-9]{1,6})([mhd]?)", text, re.ASCII)
    unit = {"m": "minutes", "h": "hours", "d": "days", "": "days"}
    lasts = timedelta(**{unit[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < lasts <= timedelta(days=36_500):
        raise CommandError("An expiry is from 1m to 36500d: 30m, 12h, 90d.", returncode=USAGE)
    return lasts


def _account(org: Organization, name: str) -> ServiceAccount:
    account: ServiceAccount | None = ServiceAccount.objects.of(org).filter(name=name).first()
    if account is None:
        raise CommandError(f"{org.slug} has no service account {name!r}.", returncode=USAGE)
    return account
