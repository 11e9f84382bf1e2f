"""Takes the second factor from somebody who lost it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from tenants.management.base import FAILED, USAGE, OperatorCommand
from tenants.models import record
from tenants.sign_in import second_factor


class Command(OperatorCommand):
    help = "Remove a person's authenticator and recovery codes and end their sessions. The audit trail has it."
    examples = ('ada --reason "lost the telephone, known by voice"',)
    exit_codes = (
        (0, "removed; at the next sign-in the password is enough, or a new device is set up"),
        (1, "this person has no second factor"),
        (2, "no such person, or no reason"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="whose second factor")
        parser.add_argument("--reason", required=True, help="why, and how you know it is them; into the audit trail")

    def handle(self, *, username: str, reason: str, **_: Any) -> None:
        user = get_user_model()._default_manager.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no account {username!r}.", returncode=USAGE)
        if not 0 < len(reason.strip()) <= 200:
            raise CommandError("--reason takes 1 to 200 characters.", returncode=USAGE)
        with transaction.atomic():
            if not second_factor.remove(user):
                raise CommandError(f"{username} has no second factor.", returncode=FAILED)
            record(self.actor, "second_factor.reset", org=None, target=user, reason=reason.strip())
        self.note(f"The second factor of {username} is removed, and all sessions of {username} are ended.")
