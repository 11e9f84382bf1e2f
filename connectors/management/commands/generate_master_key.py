"""Prints a new master key."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from connectors.encryption import providers
from connectors.exceptions import ConfigurationError
from tenants.management.base import FAILED, OperatorCommand


class Command(OperatorCommand):
    help = (
        "Print a new random master key for ENCRYPTION_MASTER_KEY: 64 hexadecimal digits, or wrapped by Vault or AWS "
        "KMS, and then nobody ever sees it. Nothing is stored."
    )
    examples = ("", "> /run/secrets/master_key", "--wrap vault", "--wrap kms")
    exit_codes = ((0, "the key is on stdout"), (FAILED, "Vault or AWS KMS did not make one"))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--wrap", choices=("vault", "kms"), help="who makes it and can open it")

    def handle(self, *, wrap: str | None = None, **_: Any) -> None:
        provider = providers.of_text(f"{wrap}:", settings.ENCRYPTION_KEY_PROVIDERS)
        try:
            self.stdout.write(provider.generate())
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=FAILED) from None
