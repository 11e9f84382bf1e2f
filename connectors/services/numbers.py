"""The numbers of documents: each once, one after the other, and none missing.

A number is taken in the transaction that freezes the document it stands in. What is not frozen has none, so it may be
drawn for another document; what is frozen keeps it, whatever becomes of the export.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connection as database

from connectors.models import DocumentNumber, NumberRangeRecord
from connectors.results import Numbered, NumberRange

# The row stays locked until the transaction ends: whoever wants the same numbers waits here, and then gets none.
_TAKE: Final = """
    WITH range AS (
        INSERT INTO erp_number_range AS known (org_id, name, last) VALUES (%(org)s, %(name)s, %(last)s)
            ON CONFLICT (org_id, name) DO UPDATE SET last = EXCLUDED.last
                  WHERE GREATEST(known.last, %(floor)s) = %(after)s
        RETURNING id)
    INSERT INTO erp_document_number (org_id, range_id, number, export_id, reference)
    SELECT %(org)s, range.id, %(after)s + taken.position, taken.export_id, taken.reference
      FROM range, unnest(%(exports)s::uuid[], %(references)s::text[])
           WITH ORDINALITY AS taken (export_id, reference, position)
"""


def last(org_id: UUID, number_range: NumberRange) -> int:
    """Return the number after which the next one comes."""
    known = NumberRangeRecord.objects.filter(org_id=org_id, name=number_range.name).values_list("last", flat=True)
    return max(known.first() or 0, number_range.first - 1)


@dataclass(frozen=True)
class Taking:
    """The numbers that follow `after`, one for each export in this sequence."""

    org_id: UUID
    number_range: NumberRange
    after: int
    exports: list[tuple[UUID, str]]
    """Each with the reference of its document."""

    def take(self) -> bool:
        """Take the numbers in the caller's transaction; return False when somebody else has taken them."""
        values: dict[str, Any] = {
            "org": self.org_id,
            "name": self.number_range.name,
            "floor": self.number_range.first - 1,
            "after": self.after,
            "last": self.after + len(self.exports),
            "exports": [export for export, _ in self.exports],
            "references": [reference for _, reference in self.exports],
        }
        with database.cursor() as cursor:
            cursor.execute(_TAKE, values)
            return bool(cursor.rowcount == len(self.exports))


def find(org_id: UUID, numbered: Numbered) -> UUID | None:
    """Return the export whose document an answer names."""
    rows = DocumentNumber.objects.filter(org_id=org_id, range__org_id=org_id, range__name=numbered.range_name)
    if numbered.number is not None:
        rows = rows.filter(number=numbered.number)
    if numbered.reference:
        rows = rows.filter(reference=numbered.reference)
    elif numbered.number is None:
        return None
    return rows.order_by("-number").values_list("export_id", flat=True).first()
