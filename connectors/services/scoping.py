"""Whose rows a job may see: those of the organisation whose connection it is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from connectors.models import ERPConnection
from tenants import scope


@contextmanager
def organization_of(connection_id: UUID | str) -> Iterator[None]:
    """Work for the organisation of a connection; for nobody, if it was deleted."""
    with scope.everything():
        org_ids = list(ERPConnection.objects.filter(pk=connection_id).values_list("org", flat=True))
    with scope.only(*org_ids):
        yield
