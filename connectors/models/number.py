"""The numbers that documents carry, such as the control numbers of EDI interchanges."""

from __future__ import annotations

from django.db import models

from connectors.models.export import ERPExport
from tenants.models import Organization, OrganizationScopedQuerySet


class NumberRangeRecord(models.Model):
    """How far the numbers of one range have been taken."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.CharField(max_length=255)
    last = models.BigIntegerField()

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_number_range"
        constraints = (models.UniqueConstraint(fields=("org", "name"), name="erp_number_range_once"),)

    def __str__(self) -> str:
        return f"{self.name}: {self.last}"


class DocumentNumber(models.Model):
    """The number of one document; it goes with its export, when the organisation keeps that no longer."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    range = models.ForeignKey(NumberRangeRecord, on_delete=models.PROTECT, related_name="numbers", db_index=False)
    number = models.BigIntegerField()
    # Two, where an export was moved to another connection before it arrived and was rendered anew there.
    export = models.ForeignKey(ERPExport, on_delete=models.CASCADE, related_name="numbers")
    reference = models.CharField(max_length=255)
    """What the far end's answers call the order."""

    objects = OrganizationScopedQuerySet.as_manager()

    class Meta:
        db_table = "erp_document_number"
        constraints = (models.UniqueConstraint(fields=("range", "number"), name="erp_document_number_once"),)
        indexes = (models.Index(fields=("range", "reference", "-number"), name="erp_document_number_by_ref"),)

    def __str__(self) -> str:
        return str(self.number)
