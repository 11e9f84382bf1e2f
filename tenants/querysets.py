"""Rows that belong to one organisation each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import models

if TYPE_CHECKING:
    from tenants.models import Organization


class OrganizationScopedQuerySet(models.QuerySet[Any]):
    """A queryset of rows that belong to one organisation each."""

    def of(self, org: Organization) -> Self:
        """Return only the rows of `org`."""
        return self.filter(org=org)
