"""The format `orderflow_export_json_v1`: one order per JSON file, answered by acknowledgement files."""

from __future__ import annotations

import codecs
import re
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Annotated, Any, ClassVar, Final, Literal
from uuid import UUID

import jsonschema_rs
from pydantic import BeforeValidator, ConfigDict, Field

from connectors import exact_json, strict_json
from connectors.codes import Code
from connectors.exact_json import Json
from connectors.exceptions import DocumentError, InvalidInput
from connectors.order import Order, OrderLine, Timestamp, utc_text
from connectors.results import Acknowledgement, AckStatus, Document
from connectors.validation import StrictModel

VERSION: Final = "orderflow_export_json_v1"
MEDIA_TYPE: Final = "application/json"
MAX_ACKNOWLEDGEMENT_BYTES: Final = 1024 * 1024

SCHEMA: Final[str] = (files("connectors.formats") / "orderflow_export_json_v1.schema.json").read_text("utf-8")
"""The JSON Schema (2020-12) of the format."""

_VALIDATOR: Final = jsonschema_rs.Draft202012Validator(SCHEMA)
_UNSAFE_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def render(order: Order, *, org_slug: str, export_id: UUID, created_at: datetime) -> Document:
    """Return the order as a document; the same arguments always give the same bytes.

    Args:
        order: the order.
        org_slug: the organisation that sends it.
        export_id: its first 8 hex digits end the file name.
        created_at: when the export was accepted; stands in the file name.

    Raises:
        DocumentError: the document does not satisfy the schema of the format.
    """
    document = _as_json(order, org_slug)
    fault = next(_VALIDATOR.iter_errors(document), None)
    if fault is not None:
        raise DocumentError(where=f" (at {'.'.join(str(part) for part in fault.instance_path) or 'the top'})")
    return Document(
        filename=filename(order.order_id, export_id=export_id, created_at=created_at),
        content=exact_json.dumps(document).encode(),
        media_type=MEDIA_TYPE,
    )


def filename(order_id: str, *, export_id: UUID, created_at: datetime) -> str:
    """Return the name of the export file: sales_order_<order>_<time>_<export>.json."""
    order = _UNSAFE_IN_NAMES.sub("_", order_id)
    return f"sales_order_{order}_{created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{export_id.hex[:8]}.json"


def left_out(order: Order) -> tuple[str, ...]:
    """Return a sentence for each part of the order that this format has no place for."""
    parts = {
        "ship_to": order.ship_to,
        "bill_to": order.bill_to,
        "gtin of the lines": any(line.gtin for line in order.lines),
        "requested_delivery_date of the lines": any(line.requested_delivery_date for line in order.lines),
    }
    return tuple(f"{VERSION} has no place for {part}; it was left out." for part, used in parts.items() if used)


def _as_json(order: Order, org_slug: str) -> dict[str, Json]:
    customer, header, source = order.customer, order.header, order.meta.source_document
    return {
        "export_version": VERSION,
        "org_slug": org_slug,
        "draft_order_id": order.order_id,
        "approved_at": utc_text(order.approved_at),
        "customer": {
            "id": customer.id,
            "erp_customer_number": customer.erp_customer_number,
            "name": customer.name,
        },
        "header": {
            "external_order_number": header.external_order_number,
            "order_date": _iso(header.order_date),
            "currency": header.currency,
            "requested_delivery_date": _iso(header.requested_delivery_date),
            "notes": header.notes,
        },
        "lines": [_line_as_json(line) for line in order.lines],
        "meta": {
            "created_by": order.meta.created_by,
            "source_document": {
                "document_id": source.document_id,
                "file_name": source.file_name,
                "sha256": source.sha256,
            }
            if source
            else None,
        },
    }


def _line_as_json(line: OrderLine) -> dict[str, Json]:
    return {
        "line_no": line.line_no,
        "internal_sku": line.internal_sku,
        "qty": line.qty,
        "uom": line.uom,
        "unit_price": line.unit_price,
        "currency": line.currency,
        "customer_sku_raw": line.customer_sku_raw,
        "description": line.description,
    }


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


# Acknowledgements


def _printable(limit: int) -> Any:
    """Text of the partner: control characters become spaces, and what is too long is cut."""
    return BeforeValidator(lambda text: _CONTROL.sub(" ", text).strip()[:limit] if isinstance(text, str) else text)


class _Answer(StrictModel):
    # A partner may add keys of its own; the ones we read must be as agreed.
    model_config = ConfigDict(extra="ignore", strict=False)

    prefix: ClassVar[str]

    processed_at: Timestamp | None = None


class _Accepted(_Answer):
    prefix: ClassVar[str] = "ack_"

    status: Literal["ACKED"]
    erp_order_id: Annotated[str, _printable(200), Field(min_length=1, max_length=128)] | None = None


class _Refused(_Answer):
    prefix: ClassVar[str] = "error_"

    status: Literal["FAILED"]
    error_code: Annotated[str, _printable(64)] | None = None
    message: Annotated[str, _printable(1000)] | None = None


def is_acknowledgement(name: str) -> bool:
    """Return whether a file of this name answers an export."""
    return name.startswith((_Accepted.prefix, _Refused.prefix)) and name.endswith(".json") and "/" not in name


def acknowledgement_names(export_filename: str) -> tuple[str, ...]:
    """Return the names under which an export may be answered."""
    return (_Accepted.prefix + export_filename, _Refused.prefix + export_filename)


def answered_filename(name: str) -> str:
    """Return the name of the export file that an acknowledgement of this name answers."""
    return name.removeprefix(_kind(name).prefix)


def parse_acknowledgement(name: str, content: bytes) -> Acknowledgement:
    """Return what the ERP answers in one file.

    Args:
        name: `ack_<export file name>` or `error_<export file name>`.
        content: the file.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED with a `reason` in our words: too big, not JSON, a wrong type, or a
            status that contradicts the name.
    """
    if len(content) > MAX_ACKNOWLEDGEMENT_BYTES:
        raise _malformed("it is bigger than 1 MiB")
    answer = _read_answer(_kind(name), content)
    return Acknowledgement(
        filename=answered_filename(name),
        status=AckStatus.ACKED if isinstance(answer, _Accepted) else AckStatus.REJECTED,
        erp_order_id=getattr(answer, "erp_order_id", None),
        error_code=getattr(answer, "error_code", None),
        message=getattr(answer, "message", None),
        processed_at=answer.processed_at,
    )


def _kind(name: str) -> type[_Accepted | _Refused]:
    return _Accepted if name.startswith(_Accepted.prefix) else _Refused


def _read_answer(kind: type[_Accepted | _Refused], content: bytes) -> _Accepted | _Refused:
    try:
        # Windows programs write a byte order mark.
        text = strict_json.loads(content.removeprefix(codecs.BOM_UTF8))
    except InvalidInput:  # its words may repeat a key of the partner
        raise _malformed("it is not valid JSON") from None
    try:
        return kind.parse(text)
    except InvalidInput as error:
        faults = "; ".join(f"{fault.path or 'it'} {fault.message}" for fault in error.faults)
    raise _malformed(faults)


def _malformed(reason: str) -> DocumentError:
    return DocumentError(Code.ACKNOWLEDGEMENT_MALFORMED, reason=reason)
