"""What the commands about connections and exports share: how a step, an export and an order look in a terminal."""

from __future__ import annotations

from typing import Any, Final

from connectors.models import ERPExport
from connectors.results import StepStatus, TestStep

_MARKS: Final = {
    StepStatus.PASSED: "ok  ",
    StepStatus.FAILED: "FAIL",
    StepStatus.SKIPPED: "skip",
    StepStatus.WARNING: "warn",
}


def step_line(step: TestStep) -> str:
    """Return one step as a line, with the hint below it when something is wrong."""
    line = f"  {_MARKS[step.status]}  {step.name:<14} {step.latency_ms:>5} ms  {step.detail}".rstrip()
    return f"{line}\n        {step.code}: {step.hint}" if step.code else line


def export_as_json(export: ERPExport) -> dict[str, Any]:
    """Return what a script wants to know about an export."""
    return {
        "id": str(export.pk),
        "organization": export.org.slug,
        "connection_id": str(export.connection_id),
        "order_id": export.order_id,
        "status": export.status,
        "attempts": export.attempts,
        "filename": export.filename or None,
        "erp_order_id": export.erp_order_id or None,
        "error": export.error,
        "created_at": export.created_at.isoformat(),
    }
