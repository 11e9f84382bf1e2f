"""Shows one stored configuration in clear, for an emergency."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from connectors.exceptions import EncryptionError
from connectors.models import ConnectionRevision, ERPConnection, Webhook
from tenants import scope
from tenants.management.base import FAILED, USAGE, OperatorCommand
from tenants.models import record

_KINDS: Final[dict[type[ERPConnection | ConnectionRevision | Webhook], str]] = {
    ERPConnection: "connection.decrypted",
    ConnectionRevision: "revision.decrypted",
    Webhook: "webhook.decrypted",
}
"""What can be shown, each with its entry in the audit trail."""


class Command(OperatorCommand):
    help = (
        "Print the configuration of one connection, one of its earlier revisions, or one webhook as JSON, secrets "
        "included. The audit trail records it, with the reason, before anything is printed."
    )
    examples = (
        '6f0c… --reason "partner lost the password, ticket 4711"',
        '6f0c… --reason "move" --force > config.json',
    )
    exit_codes = (
        (0, "printed"),
        (1, "it cannot be decrypted"),
        (2, "no reason, nothing with this id, or stdout is not a terminal and --force is missing"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=UUID, help="id of the connection, revision or webhook")
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
        with scope.everything():
            row = _find(id)
            try:
                config = row.read_config()
            except EncryptionError as error:
                raise CommandError(f"{id} cannot be decrypted: {error}", returncode=FAILED) from None
            with transaction.atomic(durable=True):  # it is in the trail for good before it is shown
                record(self.actor, _KINDS[type(row)], org=row.org, target=row, reason=reason.strip())
        self.write_json(config)


def _find(id: UUID) -> ERPConnection | ConnectionRevision | Webhook:
    for kind in _KINDS:
        row = kind.objects.select_related("org").filter(pk=id).first()
        if row is not None:
            return row
    raise CommandError(
        f"There is no connection, revision or webhook {id}. The admin and the API list them.", returncode=USAGE
    )
