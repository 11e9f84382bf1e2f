"""What EDIFACT partners answer to ORDERS: CONTRL (its syntax), APERAK (its processing), ORDRSP (the order itself)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from connectors.formats.edi import ALREADY_THERE, answer, malformed, number_of, range_name
from connectors.formats.edifact import Interchange, Message, Segment, parse
from connectors.formats.edifact_orders import MESSAGE, STANDARD, EdifactFields
from connectors.results import Acknowledgement, AckStatus, Numbered

_DUPLICATE: Final = "26"
_UNREAD: Final = ("4", "6")
_READ: Final = ("1", "2", "7")
_FAULTS: Final = {
    **{"2": "syntax version not supported", "3": "message not supported", "7": "recipient not known"},
    **{"12": "invalid value", "13": "missing", "15": "not supported in this position", "16": "too many constituents"},
    **{"17": "no agreement", "21": "invalid character", "22": "invalid service character", "23": "unknown sender"},
    **{"25": "test indicator not supported", "28": "references do not match", "29": "count does not match"},
    **{"35": "too many repetitions", "37": "invalid type of character", "39": "too long", "40": "too short"},
    **{"43": "unknown recipient"},
}
"""What some codes of data element 0085 say."""

_NO: Final = ("27", "RE")
_YES: Final = ("29", "AP")
_CHANGED: Final = ("4", "AC", "CA")
_LINES: Final = {"3": "changed", "6": "accepted with changes", "7": "not accepted", "24": "accepted with changes"}


def read(content: bytes, fields: EdifactFields) -> list[Acknowledgement]:
    """Return what a file says of our orders; nothing where it is meant for somebody else, or of another kind.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED with a reason; nothing else, whatever the bytes are.
    """
    return [
        found
        for interchange in parse(content)
        for message in interchange.messages
        if (reader := _READERS.get(message.type))
        for found in reader(message, interchange, fields)
    ]


# CONTRL


def _contrl(message: Message, _: Interchange, fields: EdifactFields) -> Iterator[Acknowledgement]:
    # Sender and recipient are those of the interchange that is answered, not of this one.
    for uci in message.all("UCI"):
        number = number_of(uci.get(0))
        if uci.get(1).strip() != fields.sender_id or number is None:
            continue
        numbered = Numbered(range_name=range_name(STANDARD, uci.get(1), uci.get(2)), number=number)
        yield _verdict(message, uci, numbered, fields)


def _verdict(message: Message, uci: Segment, numbered: Numbered, fields: EdifactFields) -> Acknowledgement:
    action, error, tag = uci.get(3), uci.get(4), uci.get(5)
    if action == "3" or action in _READ:
        for ucm in message.all("UCM", MESSAGE):
            action, error, tag = ucm.get(2), ucm.get(3), ucm.get(4)
    if error == _DUPLICATE:
        return answer(numbered, fields.level("syntax"), warnings=[ALREADY_THERE])
    if action in _UNREAD or action == "3":
        return answer(numbered, AckStatus.REJECTED, code=f"CONTRL {error}", message=_explained(message, error, tag))
    if action in _READ:
        return answer(numbered, fields.level("syntax"))
    if action in ("5", "8"):
        return answer(numbered, AckStatus.RECEIVED)
    raise malformed("its action code is none that CONTRL knows")


def _explained(message: Message, error: str, tag: str) -> str:
    """Return where the partner found which faults."""
    said = [" ".join(filter(None, (_FAULTS.get(error, f"error {error}" if error else ""), tag and f"in {tag}")))]
    for segment in message.segments:
        if segment.tag == "UCS":
            said.append(f"segment {segment.get(0)} of the message: {_fault(segment.get(1))}")
        elif segment.tag == "UCD":
            place = ".".join(filter(None, (segment.get(1), segment.get(1, 1))))
            said.append(f"element {place}: {_fault(segment.get(0))}")
    return "; ".join(filter(None, said))


def _fault(code: str) -> str:
    return _FAULTS.get(code, f"error {code}" if code else "error")


# APERAK and ORDRSP


def _aperak(message: Message, interchange: Interchange, fields: EdifactFields) -> Iterator[Acknowledgement]:
    numbered = _ours(message, interchange, fields, ("ON", "ACW"))
    if numbered is None:
        return
    codes = [segment.get(0) for segment in message.all("ERC")]
    verdict = _verdicts(message)
    if verdict & set(_NO) or (codes and not verdict & set(_YES)):
        code = f"APERAK {codes[0]}" if codes else "APERAK"
        yield answer(numbered, AckStatus.REJECTED, code=code, message=_texts(message.segments))
    else:
        yield answer(numbered, fields.level("application"), warnings=[_texts(message.segments)] if codes else [])


def _ordrsp(message: Message, interchange: Interchange, fields: EdifactFields) -> Iterator[Acknowledgement]:
    numbered = _ours(message, interchange, fields, ("ON",))
    if numbered is None:
        return
    lines = list(_lines(message))
    actions = [line[0].get(1) for line in lines]
    verdict = _verdicts(message)
    own = next((segment.get(1) for segment in message.all("BGM")), "")
    number = next((each.get(0, 1) for each in _header(message, "RFF") if each.get(0) == "VN"), own)
    if verdict & set(_NO) or (not verdict & {*_YES, *_CHANGED} and actions and set(actions) == {"7"}):
        yield answer(numbered, AckStatus.REJECTED, number=number, code="ORDRSP", message=_texts(message.segments))
        return
    warnings = list(_changes(lines)) or (
        ["The ERP accepted the order with changes."] if verdict & set(_CHANGED) else []
    )
    yield answer(numbered, fields.level("response"), number=number, warnings=warnings)


def _ours(
    message: Message, interchange: Interchange, fields: EdifactFields, qualifiers: tuple[str, ...]
) -> Numbered | None:
    """Return which of our orders a message is about; None where it is for somebody else."""
    header = interchange.header
    if header.get(2).strip() != fields.sender_id:
        return None
    for qualifier in qualifiers:
        for segment in _header(message, "RFF"):
            if segment.get(0) == qualifier and segment.get(0, 1).strip():
                pair = range_name(STANDARD, header.get(2), header.get(1))
                return Numbered(range_name=pair, reference=segment.get(0, 1).strip()[:255].replace("\0", "?"))
    raise malformed(f"it has no RFF+{qualifiers[0]} with the number of the order")


def _header(message: Message, tag: str) -> Iterator[Segment]:
    for segment in message.segments:
        if segment.tag == "LIN":
            return
        if segment.tag == tag:
            yield segment


def _verdicts(message: Message) -> set[str]:
    """Return what BGM says by 1225 and 4343, whichever of them the partner uses."""
    return {code for segment in message.all("BGM") for code in (segment.get(2), segment.get(3)) if code}


def _texts(segments: Iterable[Segment]) -> str:
    texts = (" ".join(filter(None, each.elements[3])) for each in segments if each.tag == "FTX" and each.elements[3:])
    return "; ".join(filter(None, texts))


def _lines(message: Message) -> Iterator[list[Segment]]:
    """Yield the segments of each line, LIN first."""
    line: list[Segment] = []
    for segment in message.segments:
        if segment.tag in ("LIN", "UNS") and line:
            yield line
            line = []
        if segment.tag == "LIN" or line:
            line.append(segment)
    if line:
        yield line


def _changes(lines: list[list[Segment]]) -> Iterator[str]:
    for line in lines:
        amounts = {each.get(0): each.get(0, 1) for each in line if each.tag == "QTY"}
        confirmed = amounts.get("113") or amounts.get("12") or ""
        # Many partners say nothing in LIN and leave it to the quantities.
        differs = bool(confirmed) and "21" in amounts and confirmed != amounts["21"]
        what = _LINES.get(line[0].get(1)) or ("changed" if differs else "")
        if not what:
            continue
        days = [each.get(0, 1) for each in line if each.tag == "DTM" and each.get(0) in ("2", "67", "69")]
        said = [what, confirmed and f"quantity {confirmed}", days and f"delivery {days[0]}", _texts(line)]
        yield f"Line {line[0].get(0)}: {', '.join(str(each) for each in said if each)}."


_READERS: Final = {"CONTRL": _contrl, "APERAK": _aperak, "ORDRSP": _ordrsp}
