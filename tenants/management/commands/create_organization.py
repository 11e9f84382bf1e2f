"""Creates an organisation."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from tenants.management.base import FAILED, USAGE, OperatorCommand, one_line
from tenants.models import Organization, record


class Command(OperatorCommand):
    help = "Create an organisation: the owner of connections, exports and API keys."
    examples = ('acme --name "Acme GmbH"',)
    exit_codes = ((0, "created"), (1, "there already is one of this slug"), (2, "the slug or the name is not usable"))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="short name in lower case, digits and hyphens; stands in every exported file")
        parser.add_argument("--name", required=True, help="name for people")

    def handle(self, *, slug: str, name: str, **_: Any) -> None:
        if Organization.objects.filter(slug=slug).exists():
            raise CommandError(f"There already is an organisation {slug!r}.", returncode=FAILED)
        organization = Organization(slug=slug, name=name)
        try:
            organization.full_clean()
        except ValidationError as error:
            raise CommandError(one_line(error), returncode=USAGE) from None
        with transaction.atomic():
            organization.save(force_insert=True)
            record(self.actor, "organization.created", org=organization, target=organization, slug=slug)
        self.stdout.write(f"Created the organisation {slug} ({name}).")
        self.note(f"Next: manage.py create_api_key {slug} --role INTEGRATOR --name NAME")
