"""Whose database this is: a copy that is restored elsewhere must not send the original's orders."""

from __future__ import annotations

from typing import Final, Self

from django.conf import settings
from django.db import models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

_DATABASE: Final = """(
    SELECT system_identifier || '/' || oid FROM pg_control_system(), pg_database WHERE datname = current_database()
)"""
"""What PostgreSQL drew when the cluster was made, and its number for this database: a restored dump has others."""


class InstallationQuerySet(models.QuerySet["Installation"]):
    """The installation, if it is this one."""

    def here(self) -> Self:
        """Return the row if this very installation was armed."""
        return self.filter(name=this_installation())


class Installation(models.Model):
    """The one installation that may send what stands in this database: a single row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    name = models.CharField(max_length=200)
    """INSTALLATION_ID of the installation that was armed, or what PostgreSQL calls its database."""
    armed_at = models.DateTimeField(default=timezone.now, db_default=Now())

    objects = InstallationQuerySet.as_manager()

    class Meta:
        db_table = "erp_installation"
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="erp_installation_single_row"),)

    def __str__(self) -> str:
        return self.name


def this_installation() -> models.Expression:
    """Return the name of the installation that asks, as an expression for a query."""
    if settings.INSTALLATION_ID:
        return models.Value(settings.INSTALLATION_ID, output_field=models.CharField())
    return RawSQL(_DATABASE, (), output_field=models.CharField())  # noqa: S611  # nosec B611  # it has no parameters
