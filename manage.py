#!/usr/bin/env python
"""Runs the management commands."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from erpconfig import bootstrap, telemetry
from tenants import scope


def main() -> None:
    """Make the database reachable, then hand over to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "erpconfig.settings")
    try:
        name = sys.argv[1] if len(sys.argv) > 1 else "help"
        bootstrap.before_command(name)
        telemetry.start()
        with scope.within(bootstrap.scope_of(name)):
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")


if __name__ == "__main__":
    main()
