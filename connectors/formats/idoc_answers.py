"""What SAP answers to an order: ALEAUD (what became of the IDoc), ORDRSP (the order itself)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Final

from connectors.formats.edi import answer, malformed, number_of
from connectors.formats.edifact_orders import UNITS
from connectors.formats.idoc import Segment, parse
from connectors.formats.idoc_fields import IdocFields
from connectors.order import Order, OrderLine
from connectors.results import Acknowledgement, AckStatus, Numbered

OrderBy = Callable[[str], Order | None]
"""Returns the order that SAP calls by our reference; None where that is not known."""

_POSTED: Final = ("52", "53")
_STATUS: Final = {
    **{"51": "application document not posted", "56": "IDoc with errors added", "60": "syntax error"},
    **{"61": "processing despite syntax error", "63": "error passing IDoc to application"},
    **{"65": "error in ALE service", "68": "no further processing"},
}
"""The status in which an IDoc lies in error, which somebody may correct."""
_SALES_ORDER: Final = ("BUS2032", "VBAK", "")
_NUMBER: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(-?)", re.ASCII)


def read(content: bytes, fields: IdocFields, order_by: OrderBy = lambda _: None) -> list[Acknowledgement]:
    """Return what a file says of our orders; nothing where it is meant for somebody else, or of another kind.

    Args:
        content: of the file.
        fields: what SAP and its partner agreed upon.
        order_by: returns what was ordered, to tell what SAP changed.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED with a reason; nothing else, whatever the bytes are.
    """
    found: list[Acknowledgement] = []
    for idoc in parse(content):
        control = idoc.first("EDI_DC40")
        if control is None:
            raise malformed("it has no control record")
        if not fields.is_for_us(control.get("SNDPRN"), control.get("RCVPRN")):
            continue
        match control.get("MESTYP"):
            case "ALEAUD":
                found += _states(idoc, fields)
            case "ORDRSP":
                found.append(_response(idoc, fields, order_by))
    return found


# ALEAUD


def _states(idoc: Segment, fields: IdocFields) -> Iterator[Acknowledgement]:
    for header in idoc.all("E1ADHDR"):
        of = header.get("MESTYP_LNG") or header.get("MESTYP")
        # Where SAP was given no number, it names its own, which is somebody else's among ours.
        if fields.number_documents and of in (fields.message_type, ""):
            yield from filter(None, (_state(each, fields) for each in header.all("E1STATE")))


def _state(state: Segment, fields: IdocFields) -> Acknowledgement | None:
    number, status = number_of(state.get("DOCNUM")), state.get("STATUS")
    if number is None:
        raise malformed("E1STATE names no IDoc")
    if number == 0:  # sent without a number, by somebody else
        return None
    if not re.fullmatch("[0-9]{2}", status, re.ASCII):
        raise malformed("E1STATE has no status")
    numbered = Numbered(range_name=fields.range_name, number=number)
    if status in _POSTED:
        warnings = [f"SAP posted the order with errors: {_message(state)}"] if status == "52" else []
        return answer(numbered, AckStatus.ACKED, number=_posted_as(state), warnings=warnings)
    if status not in _STATUS:
        return answer(numbered, AckStatus.RECEIVED)
    message = _message(state) or _STATUS[status]
    if fields.errors_are_final:
        code = " ".join(filter(None, (status, state.get("STAMID") + state.get("STAMNO"))))
        return answer(numbered, AckStatus.REJECTED, code=code, message=message)
    warning = f"The IDoc lies in SAP with an error (status {status}): {message}"
    return answer(numbered, AckStatus.RECEIVED, warnings=[warning])


def _message(state: Segment) -> str:
    """Return the text of a status with what stands in the places of its ampersands."""
    said = [state.get(f"STAPA{place}_LNG") or state.get(f"STAPA{place}") for place in range(1, 5)]
    in_turn = iter(said)
    return re.sub(
        "&([1-4]?)", lambda mark: said[int(mark[1]) - 1] if mark[1] else next(in_turn, ""), state.get("STATXT")
    )


def _posted_as(state: Segment) -> str:
    made = (each for each in state.all("E1PRTOB") if each.get("OBJTYPE") in _SALES_ORDER)
    return next((number for each in made if (number := each.get("OBJKEY") or each.get("OBJID"))), "")


# ORDRSP


def _response(idoc: Segment, fields: IdocFields, order_by: OrderBy) -> Acknowledgement:
    header = idoc.first("E1EDK01") or Segment("E1EDK01")
    ours = idoc.first("E1EDK02", QUALF="001")
    reference = ours.get("BELNR") if ours else ""
    if not reference:
        raise malformed("it has no E1EDK02 with the number of our order")
    theirs = idoc.first("E1EDK02", QUALF="002") or header
    number = theirs.get("BELNR") if theirs.get("BELNR") != reference else ""
    numbered = Numbered(range_name=fields.range_name, reference=reference[:255])
    items = list(idoc.all("E1EDP01"))
    if header.get("ACTION") == "003" or (items and all(map(_is_rejected, items))):
        message = "; ".join([*_texts(idoc), *filter(None, map(_reason, items))])
        return answer(numbered, AckStatus.REJECTED, number=number, code="ORDRSP 003", message=message)
    order = order_by(reference)
    if order and not _are_numbered_as(order, items):
        order = None
    warnings = [*_changes(items, order, fields), *_missing(items, order)]
    if not warnings and header.get("ACTION") == "002":
        warnings = ["SAP accepted the order with changes."]
    return answer(numbered, AckStatus.ACKED, number=number, warnings=warnings)


def _is_rejected(item: Segment) -> bool:
    return item.get("ACTION") == "003" or bool(item.get("ABGRU"))


def _reason(item: Segment) -> str:
    return item.get("ABGRT") or item.get("ABGRU")


def _line_no(item: Segment) -> str:
    """Return our number of a line: SAP's own stands in POSEX where ours has a place of its own."""
    ours = item.first("E1EDP02", QUALF="001")
    return ((ours.get("ZEILE") if ours else "") or item.get("POSEX")).lstrip("0")


def _are_numbered_as(order: Order, items: list[Segment]) -> bool:
    """Return whether lines can be told by our numbers: SAP numbers its own by tens, and may not repeat ours."""
    named = all(item.first("E1EDP02", QUALF="001") for item in items)
    return named or set(map(_line_no, items)) == {str(line.line_no) for line in order.lines}


def _changes(items: list[Segment], order: Order | None, fields: IdocFields) -> Iterator[str]:
    lines = {str(line.line_no): line for line in order.lines} if order else {}
    for item in items:
        number = _line_no(item)
        for what in _change(item, lines.get(number), fields, is_known=order is not None):
            yield f"Line {number or '?'}: {what}."


def _change(item: Segment, line: OrderLine | None, fields: IdocFields, *, is_known: bool) -> Iterator[str]:
    if _is_rejected(item):
        yield f"rejected: {_reason(item)}" if _reason(item) else "rejected"
        return
    quantity, unit, price = _number(item.get("MENGE")), item.get("MENEE"), item.get("VPREI")
    differences = list(_differences(item, line, fields)) if line else []
    if differences:
        yield from differences
    elif item.get("ACTION") == "002":
        shown = [f"quantity {_shown(quantity)} {unit}".rstrip()] if quantity is not None else []
        yield ", ".join(["changed", *shown, *([f"price {price}"] if price else [])])
    elif item.get("ACTION") == "005":
        yield "locked"
    elif is_known and line is None:
        yield "added by SAP"
    confirmed = [amount for each in item.all("E1EDP20") if (amount := _number(each.get("WMENG"))) is not None]
    if quantity is not None and confirmed and sum(confirmed) != quantity:
        yield f"{_shown(sum(confirmed, Decimal(0)))} of {_shown(quantity)} confirmed"


def _differences(item: Segment, line: OrderLine, fields: IdocFields) -> Iterator[str]:
    quantity, unit = _number(item.get("MENGE")), item.get("MENEE")
    if quantity is not None and unit in ("", fields.unit_code(line, UNITS)) and quantity != line.qty:
        yield f"quantity {_shown(quantity)} instead of {_shown(line.qty)}"
    price, per = _number(item.get("VPREI")), _number(item.get("PEINH")) or Decimal(1)
    if price is not None and fields.send_prices and price != line.unit_price * per:
        yield f"price {_shown(price)} for {_shown(per)} instead of {_shown(line.unit_price)} for 1"
    days = sorted(filter(None, (_date(each.get("EDATU")) for each in item.all("E1EDP20"))))
    if days and line.requested_delivery_date and days[-1] > line.requested_delivery_date:
        yield f"delivery on {days[-1]} instead of {line.requested_delivery_date}"


def _missing(items: list[Segment], order: Order | None) -> Iterator[str]:
    confirmed = set(map(_line_no, items))
    if order and items:
        yield from (
            f"Line {line.line_no}: not confirmed." for line in order.lines if str(line.line_no) not in confirmed
        )


def _texts(idoc: Segment) -> Iterator[str]:
    for text in idoc.all("E1EDKT1"):
        yield " ".join(filter(None, (line.get("TDLINE") for line in text.all("E1EDKT2"))))


def _shown(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _number(text: str) -> Decimal | None:
    """Return a number as SAP writes it, with its sign at the end; None for what is none."""
    read = _NUMBER.fullmatch(text.strip())
    return Decimal(f"{read[2]}{read[1]}") if read else None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if re.fullmatch("[0-9]{8}", text, re.ASCII) else None
    except ValueError:  # 00000000 is no date to SAP either
        return None
