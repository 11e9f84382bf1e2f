"""Submits an order from a file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser

from connectors import strict_json
from connectors.exceptions import InvalidInput
from connectors.management.base import export_as_json
from connectors.models import ERPExport, ExportStatus
from connectors.order import Order
from connectors.services import exports
from connectors.services.errors import IdempotencyKeyReused, Refused
from tenants.management.base import FAILED, USAGE, OperatorCommand, find_organization
from tenants.models import Organization

ON_ITS_WAY: Final = 3
MAX_BYTES: Final = 16 * 1024 * 1024

_DEFAULT_WAIT_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2
_DELIVERED: Final = (ExportStatus.SENT, ExportStatus.ACKED)
_MOVING: Final = (ExportStatus.PENDING, ExportStatus.SENDING)


class Command(OperatorCommand):
    help = (
        "Submit one order (a JSON object as in docs/examples/order.json) through the organisation's active connection."
    )
    examples = (
        "docs/examples/order.json --org acme --wait",
        "- --org acme --wait 300 --json < order.json",
        "order.json --org acme --idempotency-key PO-12345",
    )
    exit_codes = (
        (0, "accepted; with --wait: delivered"),
        (1, "refused; with --wait: rejected, failed, cancelled or unconfirmed"),
        (2, "the file, the order or the organisation is not usable"),
        (ON_ITS_WAY, "still on its way when the wait ended"),
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the order, or - for stdin")
        parser.add_argument("--org", required=True, metavar="SLUG", help="whose order it is")
        parser.add_argument(
            "--wait",
            type=float,
            nargs="?",
            const=_DEFAULT_WAIT_SECONDS,
            metavar="SECONDS",
            help=f"wait until it is delivered ({_DEFAULT_WAIT_SECONDS:g} s unless told)",
        )
        parser.add_argument("--idempotency-key", metavar="KEY", help="repeating the command with it submits only once")
        parser.add_argument("--json", action="store_true", help="write the export as JSON")

    def handle(
        self,
        *,
        file: str,
        org: str,
        wait: float | None = None,
        idempotency_key: str | None = None,
        json: bool = False,
        **_: Any,
    ) -> None:
        organization = find_organization(org)
        export = self._submit(organization, _read_order(file), idempotency_key or str(uuid4()))
        if wait is not None:
            _wait(export, seconds=wait)
        if json:
            self.write_json(export_as_json(export))
        else:
            self.stdout.write(f"{export.pk}  {export.order_id}  {export.status}")
        _judge(export, waited=wait is not None)

    def _submit(self, organization: Organization, order: Order, idempotency_key: str) -> ERPExport:
        if not 1 <= len(idempotency_key) <= 255:
            raise CommandError("--idempotency-key takes 1 to 255 characters.", returncode=USAGE)
        try:
            export, created = exports.submit(organization, self.actor, order, idempotency_key=idempotency_key)
        except Refused as refusal:
            code = USAGE if isinstance(refusal, IdempotencyKeyReused) else FAILED
            where = " ".join(str(value) for value in refusal.details.values() if value)
            raise CommandError(f"{refusal.message} {refusal.hint} {where}".rstrip(), returncode=code) from None
        if not created:
            self.note("This order was submitted before with this key; nothing was sent again.")
        return export


def _read_order(file: str) -> Order:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file} cannot be read ({error.strerror}).", returncode=USAGE) from None
    if len(content) > MAX_BYTES:
        raise CommandError(f"{file} has more than {MAX_BYTES // 1024 // 1024} MiB.", returncode=USAGE)
    try:
        return Order.parse(strict_json.loads(content))
    except InvalidInput as error:
        raise CommandError(f"{file}: {error}", returncode=USAGE) from None


def _wait(export: ERPExport, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while export.status in _MOVING and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(_LOOK_SECONDS, left))
        export.refresh_from_db()


def _judge(export: ERPExport, *, waited: bool) -> None:
    """End with the exit code that says what became of the export."""
    if export.status in _DELIVERED or (export.status in _MOVING and not waited):
        return
    if export.status in _MOVING:
        raise CommandError(
            f"The order is still {export.get_status_display()}{_why(export)} Is a worker running? manage.py run",
            returncode=ON_ITS_WAY,
        )
    raise CommandError(f"The order is {export.get_status_display()}{_why(export)}", returncode=FAILED)


def _why(export: ERPExport) -> str:
    error = export.error or {}
    return f": {error['message']} {error.get('hint', '')}".rstrip() if error.get("message") else "."
