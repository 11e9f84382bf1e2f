"""What X12 partners answer to an 850: TA1 (the envelope), 997 or 999 (its syntax), 855 (the order itself)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from connectors.formats.edi import ALREADY_THERE, answer, malformed, number_of, range_name
from connectors.formats.x12 import Interchange, Segment, TransactionSet, parse
from connectors.formats.x12_850 import GROUP, STANDARD, X12Fields
from connectors.results import Acknowledgement, AckStatus, Numbered

_TA1: Final = {
    **{"001": "control numbers of header and trailer differ", "002": "standard not supported"},
    **{"003": "version not supported", "006": "invalid sender", "007": "invalid qualifier of the recipient"},
    **{"008": "unknown recipient", "016": "invalid standard or version", "018": "invalid control number"},
    **{"020": "invalid test indicator", "021": "invalid number of groups", "022": "invalid control structure"},
    **{"023": "unexpected end", "024": "invalid content", "026": "invalid separator", "027": "invalid separator"},
}
_SET_FAULTS: Final = {
    **{"1": "transaction set not supported", "2": "trailer missing", "3": "control numbers differ"},
    **{
        "4": "segment count is wrong",
        "5": "segments in error",
        "6": "invalid identifier",
        "7": "invalid control number",
    },
}
_SEGMENT_FAULTS: Final = {
    **{"1": "unknown", "2": "unexpected", "3": "missing", "4": "loop too often", "5": "too often", "6": "not defined"},
    **{"7": "not in sequence", "8": "has element errors"},
}
_ELEMENT_FAULTS: Final = {
    **{"1": "missing", "2": "missing with another", "3": "one too many", "4": "too short", "5": "too long"},
    **{"6": "invalid character", "7": "invalid code", "8": "invalid date", "9": "invalid time", "10": "excluded"},
}
"""What some of the codes say."""

_ACCEPTED: Final = ("A", "E", "P")
_REJECTED: Final = ("R", "M", "W", "X")
_RESPONSE_NO: Final = ("RD", "RF", "RJ")
_HELD: Final = ("AH",)
_LINES: Final = {
    **{"IB": "back-ordered", "IC": "accepted with changes", "ID": "deleted", "IH": "on hold", "IP": "price changed"},
    **{"IQ": "quantity changed", "IR": "rejected", "IS": "substituted", "BP": "shipped in part, the rest back-ordered"},
    **{"DR": "date changed", "R1": "rejected", "R2": "rejected", "R3": "rejected", "R4": "rejected"},
}


def read(content: bytes, fields: X12Fields) -> list[Acknowledgement]:
    """Return what a file says of our orders; nothing where it is meant for somebody else, or of another kind.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED with a reason; nothing else, whatever the bytes are.
    """
    found: list[Acknowledgement] = []
    for interchange in parse(content):
        if interchange.header.get(8).strip() != fields.sender_id:
            continue
        pair = range_name(STANDARD, fields.sender_id, interchange.header.get(6))
        found += (ack for segment in interchange.acknowledged if (ack := _ta1(segment, pair, fields)))
        found += _of_sets(interchange, pair, fields)
    return found


def _of_sets(interchange: Interchange, pair: str, fields: X12Fields) -> Iterator[Acknowledgement]:
    for each in interchange.sets:
        if each.type in ("997", "999"):
            yield from _functional(each, pair, fields)
        elif each.type == "855":
            yield _response(each, pair, fields)


def _ta1(segment: Segment, pair: str, fields: X12Fields) -> Acknowledgement | None:
    number, verdict, note = number_of(segment.get(1)), segment.get(4).strip(), segment.get(5).strip()
    if number is None:
        raise malformed("TA1 names no control number")
    numbered = Numbered(range_name=pair, number=number)
    if note == "025":
        return answer(numbered, fields.level("syntax"), warnings=[ALREADY_THERE])
    if verdict in ("A", "E"):
        return answer(numbered, AckStatus.RECEIVED)
    if verdict == "R":
        return answer(numbered, AckStatus.REJECTED, code=f"TA1 {note}", message=_TA1.get(note, ""))
    raise malformed("TA1 neither accepts nor rejects")


# 997 and 999


def _functional(each: TransactionSet, pair: str, fields: X12Fields) -> Iterator[Acknowledgement]:
    group = each.first("AK1")
    if group is None or group.get(1).strip() != GROUP:
        return  # of another group than those we send
    number = number_of(group.get(2))
    if number is None:
        raise malformed("AK1 names no control number")
    numbered = Numbered(range_name=pair, number=number)
    of_set, of_group = each.first("AK5", "IK5"), each.first("AK9")
    deciding = of_set or of_group
    if deciding is None:
        raise malformed("it has neither AK5, IK5 nor AK9")
    set_errors = [code.strip() for code in of_set.elements[1:]] if of_set else []
    group_errors = [code.strip() for code in of_group.elements[4:]] if of_group else []
    verdict = deciding.get(1).strip()
    if "23" in set_errors or "19" in group_errors:
        yield answer(numbered, fields.level("syntax"), warnings=[ALREADY_THERE])
    elif verdict in _ACCEPTED:
        yield answer(numbered, fields.level("syntax"))
    elif verdict in _REJECTED:
        code = " ".join(filter(None, (each.type, *set_errors, *group_errors)))
        yield answer(numbered, AckStatus.REJECTED, code=code, message=_explained(each, set_errors))
    else:
        raise malformed("it neither accepts nor rejects")


def _explained(each: TransactionSet, set_errors: list[str]) -> str:
    """Return where the partner found which faults."""
    said = [_SET_FAULTS.get(code, "") for code in set_errors]
    for segment in each.all("AK3", "IK3", "AK4", "IK4"):
        if segment.tag in ("AK3", "IK3"):
            fault = _SEGMENT_FAULTS.get(segment.get(4), f"error {segment.get(4)}")
            said.append(f"segment {segment.get(1)} at {segment.get(2)}: {fault}")
        else:
            fault = _ELEMENT_FAULTS.get(segment.get(3), f"error {segment.get(3)}")
            said.append(f"element {segment.get(1)}: {fault}")
    return "; ".join(filter(None, said))


# 855


def _response(each: TransactionSet, pair: str, fields: X12Fields) -> Acknowledgement:
    bak = each.first("BAK")
    if bak is None or not bak.get(3).strip():
        raise malformed("it has no BAK with the number of the order")
    numbered = Numbered(range_name=pair, reference=bak.get(3).strip()[:255].replace("\0", "?"))
    verdict, number = bak.get(2).strip(), bak.get(8).strip()
    lines = list(_lines(each))
    if verdict in _RESPONSE_NO or (verdict not in _HELD and lines and all(_is_rejected(code) for _, code, _ in lines)):
        return answer(numbered, AckStatus.REJECTED, number=number, code=f"855 {verdict}", message=_texts(each))
    level = AckStatus.RECEIVED if verdict in _HELD else fields.level("response")
    warnings = list(_changes(lines)) or (["The ERP accepted the order with changes."] if verdict == "AC" else [])
    return answer(numbered, level, number=number, warnings=warnings)


def _is_rejected(code: str) -> bool:
    return code in ("IR", "ID", "R1", "R2", "R3", "R4")


def _lines(each: TransactionSet) -> Iterator[tuple[str, str, Segment]]:
    """Yield the number of each line, what becomes of it, and the segment that says so."""
    number = ""
    for segment in each.segments:
        if segment.tag == "PO1":
            number = segment.get(1).strip()
        elif segment.tag == "ACK":
            yield number, segment.get(1).strip(), segment


def _changes(lines: list[tuple[str, str, Segment]]) -> Iterator[str]:
    for number, code, ack in lines:
        if what := _LINES.get(code):
            quantity = f", quantity {ack.get(2)} {ack.get(3)}" if ack.get(2) else ""
            yield f"Line {number}: {what}{quantity}."


def _texts(each: TransactionSet) -> str:
    return "; ".join(filter(None, (segment.get(1).strip() for segment in each.all("MSG"))))
