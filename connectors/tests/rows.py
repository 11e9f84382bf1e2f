"""Connections, exports and acknowledgements in any state, written straight into their tables."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from connectors.models import AcknowledgementRecord, ERPConnection, ERPExport
from connectors.testing import sample_orders
from tenants.models import AuditEvent, Invitation, Organization

_numbers = count(1)


def things_done() -> QuerySet[AuditEvent]:
    """Return what the audit trail knows beyond who came in and who was refused."""
    return AuditEvent.objects.exclude(action="access.denied").exclude(action__startswith="sign_in.")


def a_connection(org: Organization, **columns: Any) -> ERPConnection:
    """Return a connection of `org`, healthy and active unless `columns` say otherwise."""
    connection = ERPConnection(
        org=org, connector_type="MOCK", **{"name": f"{org.name} ERP", "health": "HEALTHY"} | columns
    )
    connection.write_config({"account": "demo"})
    connection.save()
    return connection


def an_export(
    connection: ERPConnection, status: str = "PENDING", *, ago: timedelta = timedelta(), **columns: Any
) -> ERPExport:
    """Return an export that was accepted so long ago and is in this state now."""
    order = sample_orders.minimal(columns.pop("order_id", f"SO-{next(_numbers)}"))
    return ERPExport.objects.create(
        org_id=connection.org_id,
        connection=connection,
        status=status,
        order_id=order.order_id,
        order=order.as_json(),
        order_fingerprint=order.fingerprint(),
        created_at=timezone.now() - ago,
        actor_kind="SYSTEM",
        actor_label="test",
        **columns,
    )


def an_acknowledgement(connection: ERPConnection, **columns: Any) -> AcknowledgementRecord:
    """Return an answer that came through this connection, which nobody knows what to do with."""
    number = next(_numbers)
    return AcknowledgementRecord.objects.create(
        org_id=connection.org_id,
        connection=connection,
        **{"name": f"ack_{number}.json", "fingerprint": f"{number:064}", "outcome": "UNMATCHED", "status": "ACKED"}
        | columns,
    )


def an_invitation(org: Organization, **columns: Any) -> Invitation:
    """Return an open invitation whose mail nobody has."""
    number = next(_numbers)
    return Invitation.objects.create(
        org=org,
        **{
            "email": f"invited-{number}@mail.test",
            "role": "VIEWER",
            "token_sha256": f"{number:064}",
            "invited_by": "test",
            "expires_at": timezone.now() + timedelta(days=7),
        }
        | columns,
    )
