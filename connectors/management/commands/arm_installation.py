"""Lets a restored database send again."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from connectors.services import installation
from tenants.management.base import FAILED, USAGE, OperatorCommand


class Command(OperatorCommand):
    help = (
        "Let this installation send. A database that was restored under another INSTALLATION_ID, or on another "
        "PostgreSQL where none is set, sends, polls and checks nothing until then. "
        "Make sure that the original no longer runs: both would send the same orders."
    )
    examples = ("", "--yes")
    exit_codes = (
        (0, "armed, or armed already"),
        (FAILED, "not confirmed; nothing was changed"),
        (USAGE, "stdin is not a terminal and --yes is missing"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *, yes: bool = False, **_: Any) -> None:
        if installation.is_armed():
            self.stdout.write("This installation is armed already.")
            return
        held = installation.standstill()
        self.stdout.write(f"{'armed so far':<22} {held.armed_for or 'none'}")
        self.stdout.write(f"{'active connections':<22} {held.active_connections}")
        self.stdout.write(f"{'waiting exports':<22} {held.waiting_exports}")
        if not yes:
            self._ask()
        installation.arm(self.actor)
        self.stdout.write("Armed. Workers begin with their next sweep.")

    def _ask(self) -> None:
        if not sys.stdin.isatty():
            raise CommandError("Nobody can be asked: stdin is not a terminal. Add --yes.", returncode=USAGE)
        self.stdout.write(
            "They begin to move at once. The original must not run any more. Type yes to arm: ", ending=""
        )
        self.stdout.flush()
        if sys.stdin.readline().strip().lower() != "yes":
            raise CommandError("Not confirmed, so nothing was changed.", returncode=FAILED)
