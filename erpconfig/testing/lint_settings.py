"""The settings with the migration linter as an app, which nobody but the linter needs."""

from erpconfig.settings import *  # noqa: F403
from erpconfig.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_migration_linter"]
