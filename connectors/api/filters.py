"""By what the lists can be narrowed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django_filters import (
    CharFilter,
    FilterSet,
    IsoDateTimeFilter,
    MultipleChoiceFilter,
    TypedChoiceFilter,
    UUIDFilter,
)
from django_filters.fields import IsoDateTimeField

from connectors.models import (
    AcknowledgementRecord,
    AckOutcome,
    ConnectionStatus,
    ERPConnection,
    ERPExport,
    ExportStatus,
    Health,
    WebhookDelivery,
    WebhookState,
)
from connectors.models.acknowledgement import AcknowledgementQuerySet
from connectors.models.export import ExportQuerySet
from connectors.services import configurations
from tenants.models import AuditEvent


class FlagFilter(TypedChoiceFilter):
    """Takes `true` and `false`, and refuses everything else, where django-filter's own would take it for nothing."""

    def __init__(self, **kwargs: Any) -> None:
        choices = (("true", "true"), ("false", "false"))
        super().__init__(choices=choices, coerce=lambda text: text == "true", **kwargs)


class _TimeField(IsoDateTimeField):
    """A time in UTC: the database takes offsets up to 15:59 only, and Python no time beyond its first and last year."""

    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        with suppress(OverflowError):
            return moment and moment.astimezone(UTC)
        raise ValidationError("Enter a valid date/time.", code="invalid")


class TimeFilter(IsoDateTimeFilter):
    """Compares with a time, whatever its offset."""

    field_class = _TimeField


class ConnectionFilter(FilterSet):
    """Filters of GET connectors."""

    status = MultipleChoiceFilter(choices=ConnectionStatus.choices, help_text="One or more statuses.")
    health = MultipleChoiceFilter(choices=Health.choices, method="with_health", help_text="One or more health states.")
    connector_type = CharFilter(help_text="The connector type, exactly.")

    class Meta:
        model = ERPConnection
        fields = ()

    def with_health(self, rows: QuerySet[ERPConnection], name: str, values: list[str]) -> QuerySet[ERPConnection]:
        """Return the connections that are shown with one of these states.

        Whether a row can be read is not known to the database: it depends on the keys of this process.
        """
        shown = [row.pk for row in rows if configurations.describe(row)["health"] in values]
        return rows.filter(pk__in=shown)


class ExportFilter(FilterSet):
    """Filters of GET exports."""

    status = MultipleChoiceFilter(choices=ExportStatus.choices, help_text="One or more statuses.")
    order_id = CharFilter(help_text="The order's id, exactly.")
    connector = UUIDFilter(field_name="connection_id", help_text="The connection's id.")
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte", help_text="At or after this time.")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt", help_text="Before this time.")
    filename = CharFilter(help_text="The document's file name, exactly.")
    held = FlagFilter(help_text="Whether it waits for approval.")
    dismissed = FlagFilter(
        field_name="dismissed_at", lookup_expr="isnull", exclude=True, help_text="Whether a person put it aside."
    )
    overdue = FlagFilter(method="with_overdue", help_text="Whether the ERP should have answered by now.")

    class Meta:
        model = ERPExport
        fields = ()

    def with_overdue(self, rows: ExportQuerySet, name: str, value: bool) -> ExportQuerySet:
        """Return the exports whose acknowledgement is overdue, or all others."""
        return rows.overdue() if value else rows.exclude(pk__in=rows.overdue().order_by().values("pk"))


class AcknowledgementFilter(FilterSet):
    """Filters of GET acknowledgements."""

    export = UUIDFilter(field_name="export_id", help_text="The export's id.")
    connector = UUIDFilter(field_name="connection_id", help_text="The connection's id.")
    outcome = MultipleChoiceFilter(choices=AckOutcome.choices, help_text="One or more outcomes.")
    open = FlagFilter(method="with_open", help_text="Whether it waits for a person.")

    class Meta:
        model = AcknowledgementRecord
        fields = ()

    def with_open(self, rows: AcknowledgementQuerySet, name: str, value: bool) -> AcknowledgementQuerySet:
        """Return the acknowledgements that wait for a person, or all others."""
        return rows.open() if value else rows.exclude(pk__in=rows.open().order_by().values("pk"))


class WebhookDeliveryFilter(FilterSet):
    """Filters of GET webhooks/{id}/deliveries."""

    state = MultipleChoiceFilter(choices=WebhookState.choices, help_text="One or more states.")
    event = CharFilter(help_text="The event, such as export.sent.")
    export = UUIDFilter(field_name="export_id", help_text="The export's id.")

    class Meta:
        model = WebhookDelivery
        fields = ()


class AuditFilter(FilterSet):
    """Filters of GET audit-events."""

    action = CharFilter(help_text="What was done, such as connection.changed.")
    target_id = CharFilter(help_text="The id of what it was done to.")
    actor = CharFilter(method="by_actor", help_text="Id or name of who did it.")

    class Meta:
        model = AuditEvent
        fields = ()

    def by_actor(self, rows: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        """Return what this actor did, named by id or label."""
        return rows.filter(Q(actor_id=value) | Q(actor_label=value))
