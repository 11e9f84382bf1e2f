"""Issues an API key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from tenants.management.base import USAGE, OperatorCommand, find_organization, one_line
from tenants.models import ApiKey, Role, record


class Command(OperatorCommand):
    help = "Issue an API key. It is printed once, alone on stdout, and is stored only as a hash."
    examples = (
        "acme --role INTEGRATOR --name shop",
        "acme --role OPS --name night-shift --expires-in-days 90 > key.txt",
    )
    exit_codes = ((0, "the key is on stdout"), (2, "no such organisation, or an argument is not usable"))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", metavar="ORG", help="slug of the organisation")
        parser.add_argument("--role", required=True, type=str.upper, choices=Role.values, help="what the key may do")
        parser.add_argument("--name", required=True, help="who or what uses it; stands in the audit trail")
        parser.add_argument("--expires-in-days", type=int, metavar="N", help="after N days it is refused")

    def handle(self, *, organization: str, role: str, name: str, expires_in_days: int | None = None, **_: Any) -> None:
        if expires_in_days is not None and not 1 <= expires_in_days <= 36_500:
            raise CommandError("--expires-in-days takes 1 to 36500.", returncode=USAGE)
        org = find_organization(organization)
        expires_at = timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None
        try:
            ApiKey(org=org, role=role, name=name).clean_fields(exclude=["id", "secret_sha256"])
        except ValidationError as error:
            raise CommandError(one_line(error), returncode=USAGE) from None
        with transaction.atomic():
            key, token = ApiKey.objects.issue(org=org, role=role, name=name, expires_at=expires_at)
            record(self.actor, "api_key.created", org=org, target=key, name=name, role=role)
        self.stdout.write(token)
        expiry = f"until {expires_at:%Y-%m-%d}" if expires_at else "until it is revoked"
        self.note(f"This key of {org.slug} ({role}, {name}) is valid {expiry} and is not shown again.")
