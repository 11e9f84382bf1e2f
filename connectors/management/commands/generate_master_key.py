"""Prints a new master key."""

from __future__ import annotations

import secrets
from typing import Any

from connectors.encryption.keyring import MASTER_KEY_SIZE
from tenants.management.base import OperatorCommand


class Command(OperatorCommand):
    help = "Print a new random master key (64 hexadecimal digits) for ENCRYPTION_MASTER_KEY. Nothing is stored."
    examples = ("", "> /run/secrets/master_key")
    exit_codes = ((0, "the key is on stdout"),)

    def handle(self, **_: Any) -> None:
        self.stdout.write(secrets.token_hex(MASTER_KEY_SIZE))
