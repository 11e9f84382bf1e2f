"""What all commands for operators share: help that ends with examples and exit codes, errors of one line, JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import structlog
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.db import DatabaseError, OperationalError, ProgrammingError

from tenants.actors import Actor
from tenants.models import Organization

log = structlog.get_logger(__name__)

FAILED: Final = 1
"""The exit code for: understood and tried, but it did not work."""
USAGE: Final = 2
"""The exit code for: the arguments, the input or the settings are not usable."""

_MANY: Final = 20


class _HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of examples and exit codes."""


class OperatorCommand(BaseCommand):
    """A command whose every outcome has an exit code, and whose help says which."""

    requires_system_checks = ()  # `manage.py check` is a command of its own
    suppressed_base_arguments = {  # noqa: RUF012  # what every command of Django has would bury what this one has
        "--version", "-v", "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color"
    }  # fmt: skip
    examples: ClassVar[tuple[str, ...]]
    exit_codes: ClassVar[tuple[tuple[int, str], ...]]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, with examples and exit codes at the end of its help."""
        lines = ["examples:", *(f"  manage.py {subcommand} {example}".rstrip() for example in self.examples)]
        lines += ["", "exit codes:", *(f"  {code}  {meaning}" for code, meaning in self.exit_codes)]
        return super().create_parser(
            prog_name, subcommand, formatter_class=_HelpFormatter, epilog="\n".join(lines), **kwargs
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; a database that is away or not set up ends it with the remedy, a fault without its text."""
        returncode = USAGE
        try:
            return super().execute(*args, **options)
        except ProgrammingError:
            remedy = "The tables are not as expected. Run: manage.py migrate"
        except OperationalError:
            remedy = "The database does not answer. Check DATABASE_URL and that the server runs."
        except DatabaseError as error:
            remedy = f"The database refused ({type(error).__name__}). Its log says why."
        except (CommandError, ImproperlyConfigured):
            raise
        except Exception as error:
            log.error("command.fault", exc_info=error)
            remedy = f"Something went wrong on our side ({type(error).__name__}). The log line above says where."
            returncode = FAILED
        # Raised out here: a foreign text may hold values of a query, or a secret.
        raise CommandError(remedy, returncode=returncode)

    @property
    def actor(self) -> Actor:
        """Who the audit trail names: the system, through this command."""
        return Actor.system(type(self).__module__.rpartition(".")[2])

    def write_json(self, value: object) -> None:
        """Write one JSON document to stdout."""
        self.stdout.write(json.dumps(value, indent=2, default=str))

    def note(self, text: str) -> None:
        """Tell the operator something that is not the command's result."""
        self.stderr.write(text, lambda line: line)


def find_organization(slug: str) -> Organization:
    """Return the organisation of this slug.

    Raises:
        CommandError: there is none; the message lists what exists.
    """
    organization = Organization.objects.filter(slug=slug).first()
    if organization:
        return organization
    known = list(Organization.objects.values_list("slug", flat=True)[: _MANY + 1])
    if not known:
        raise CommandError(
            "There is no organisation yet. Create one: manage.py create_organization SLUG --name NAME", returncode=USAGE
        )
    listed = ", ".join(known[:_MANY]) + (", …" if len(known) > _MANY else "")
    raise CommandError(f"There is no organisation {slug!r}. There are: {listed}.", returncode=USAGE)


def one_line(error: ValidationError) -> str:
    """Return what a model found wrong, field by field, on one line."""
    return " ".join(f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
