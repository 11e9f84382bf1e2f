"""Shows one stored configuration in clear, for an emergency."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from connectors.exceptions import EncryptionError
from connectors.models import ERPConnection
from tenants.management.base import FAILED, USAGE, OperatorCommand
from tenants.models import record


class Command(OperatorCommand):
    help = (
        "Print the configuration of one connection as JSON, secrets included. "
        "The audit trail records it, with the reason, before anything is printed."
    )
    examples = (
        '6f0c… --reason "partner lost the password, ticket 4711"',
        '6f0c… --reason "move" --force > config.json',
    )
    exit_codes = (
        (0, "printed"),
        (1, "it cannot be decrypted"),
        (2, "no reason, no such connection, or stdout is not a terminal and --force is missing"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=UUID, help="id of the connection")
        parser.add_argument("--reason", required=True, help="why; stands in the audit trail")
        parser.add_argument("--force", action="store_true", help="also into a file or a pipe")

    def handle(self, *, id: UUID, reason: str, force: bool = False, **_: Any) -> None:
        if not reason.strip():
            raise CommandError("--reason must say why.", returncode=USAGE)
        if not (force or self.stdout.isatty()):
            raise CommandError(
                "stdout is not a terminal: the secrets would end in a file or a log. Add --force if that is meant.",
                returncode=USAGE,
            )
        connection = ERPConnection.objects.select_related("org").filter(pk=id).first()
        if connection is None:
            raise CommandError(f"There is no connection {id}. The admin and the API list them.", returncode=USAGE)
        try:
            config = connection.read_config()
        except EncryptionError as error:
            raise CommandError(f"{id} cannot be decrypted: {error}", returncode=FAILED) from None
        with transaction.atomic():
            record(self.actor, "connection.decrypted", org=connection.org, target=connection, reason=reason.strip())
        self.write_json(config)
