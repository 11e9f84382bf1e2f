"""The syntax of IDoc XML: segments to text, and bytes to segments.

A segment is an element with its fields, then its children; the root is named as the basic type. What an XML document
can do beyond that (document types, entities, processing instructions) is neither written nor read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final
from xml.parsers import expat

from connectors.formats.edi import malformed, refuse, refuse_too_big

_MAX_DEPTH: Final = 16
_MAX_ELEMENTS: Final = 100_000
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2

LENGTHS: Final[dict[str, dict[str, int]]] = {
    "EDI_DC40": {
        **{"TABNAM": 10, "MANDT": 3, "DOCNUM": 16, "DOCREL": 4, "DIRECT": 1, "TEST": 1, "IDOCTYP": 30, "CIMTYP": 30},
        **{"MESTYP": 30, "MESCOD": 3, "MESFCT": 3, "STD": 1, "STDVRS": 6, "STDMES": 6},
        **{"SNDPOR": 10, "SNDPRT": 2, "SNDPFC": 2, "SNDPRN": 10},
        **{"RCVPOR": 10, "RCVPRT": 2, "RCVPFC": 2, "RCVPRN": 10},
        **{"CREDAT": 8, "CRETIM": 6, "REFMES": 14, "ARCKEY": 70, "SERIAL": 20},
    },
    "E1EDK01": {"CURCY": 3, "BELNR": 35},
    "E1EDK14": {"QUALF": 3, "ORGID": 35},
    "E1EDK03": {"IDDAT": 3, "DATUM": 8},
    "E1EDKA1": {
        **{"PARVW": 3, "PARTN": 17, "LIFNR": 17, "NAME1": 35, "NAME2": 35, "NAME3": 35, "NAME4": 35},
        **{"STRAS": 35, "STRS2": 35, "ORT01": 35, "PSTLZ": 9, "LAND1": 3, "REGIO": 3},
    },
    "E1EDKA3": {"QUALP": 3, "STDPN": 70},
    "E1EDK02": {"QUALF": 3, "BELNR": 35, "DATUM": 8},
    "E1EDKT1": {"TDID": 4, "TSSPRAS_ISO": 2},
    "E1EDKT2": {"TDLINE": 70, "TDFORMAT": 2},
    "E1EDP01": {
        **{"POSEX": 6, "ACTION": 3, "MENGE": 15, "MENEE": 3, "PMENE": 3, "VPREI": 15, "PEINH": 9, "NETWR": 18},
        **{"CURCY": 3},
    },
    "E1EDP02": {"QUALF": 3, "BELNR": 35, "ZEILE": 6, "DATUM": 8},
    "E1EDP03": {"IDDAT": 3, "DATUM": 8},
    "E1EDP05": {
        **{"ALCKZ": 3, "KSCHL": 4, "BETRG": 18, "KRATE": 15, "UPRBS": 9, "MEAUN": 3, "KOEIN": 3},
    },
    "E1EDP20": {"WMENG": 15, "EDATU": 8},
    "E1EDP19": {"QUALF": 3, "IDTNR": 35, "KTEXT": 70},
    "E1EDPT1": {"TDID": 4, "TSSPRAS_ISO": 2},
    "E1EDPT2": {"TDLINE": 70, "TDFORMAT": 2},
    "E1EDS01": {"SUMID": 3, "SUMME": 18, "SUNIT": 3, "WAERQ": 3},
}
"""Which fields we write, in the sequence of their segment, and how many characters each may have."""


# What goes out


@dataclass(frozen=True)
class Value:
    """A text of the order, and where it stands there."""

    text: str | None
    where: str


def segment(tag: str, /, *inner: str, **values: Value | str | None) -> str:
    """Return a segment with what it holds of these fields, and the segments below it. Empty fields are left out: some
    receivers clear what they find empty.

    Raises:
        DocumentError: a value is too long or holds what XML cannot; it is named, and nothing is cut.
    """
    lengths = LENGTHS[tag]
    assert values.keys() <= lengths.keys(), values.keys() - lengths.keys()
    fields = [
        f"<{name}>{_written(given, f'{tag}-{name}', length)}</{name}>"
        for name, length in lengths.items()
        if (given := _given(values.get(name), tag)).text
    ]
    return f'<{tag} SEGMENT="1">{"".join([*fields, *inner])}</{tag}>'


def _given(value: Value | str | None, tag: str) -> Value:
    return value if isinstance(value, Value) else Value(value, tag)


def _written(value: Value, name: str, length: int) -> str:
    text = value.text or ""
    if forbidden := _FORBIDDEN.search(text):
        refuse(value.where, f"the character U+{ord(forbidden[0]):04X} cannot stand in XML ({name})")
    if width(text) > length:
        refuse(value.where, f"has more than {length} characters ({name})")
    return escape(text, quote=False)


def width(text: str) -> int:
    """Return how many characters a text has as SAP counts them, in UTF-16: those beyond the first 65,536 twice."""
    return len(text) + sum(character > "\uffff" for character in text)


# What comes back


@dataclass
class Segment:
    """One element as it was read."""

    tag: str
    text: str = ""
    inner: list[Segment] = field(default_factory=list)

    def get(self, name: str) -> str:
        """Return the text of a field; empty where there is none."""
        return next((each.text.strip() for each in self.inner if each.tag == name and not each.inner), "")

    def all(self, tag: str) -> Iterator[Segment]:
        """Yield the segments of this name directly below."""
        return (each for each in self.inner if each.tag == tag)

    def first(self, tag: str, **fields: str) -> Segment | None:
        """Return the first segment of this name directly below that has these values."""
        return next(
            (each for each in self.all(tag) if all(each.get(name) == value for name, value in fields.items())), None
        )


def parse(content: bytes) -> list[Segment]:
    """Return the IDocs of a file, whatever stands around them, such as a SOAP envelope.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED with a reason; nothing else, whatever the bytes are.
    """
    refuse_too_big(content)
    reader = _Reader()
    try:
        reader.parser.Parse(content, True)
    except expat.ExpatError:
        pass
    except (LookupError, ValueError):  # an encoding that nobody knows, or that has more than one byte per character
        raise malformed("its encoding is not known") from None
    else:
        if not reader.idocs:
            raise malformed("it holds no IDoc")
        return reader.idocs
    raise malformed("it is not well-formed XML")


class _Reader:
    """Builds the tree below each IDOC while expat reads; refuses a document type as soon as it begins."""

    def __init__(self) -> None:
        self.idocs: list[Segment] = []
        self.parser: Any = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._open: list[Segment] = []
        self._depth = self._count = 0

    def _doctype(self, *_: object) -> None:
        raise malformed("it has a document type, which an IDoc has not")

    def _start(self, name: str, _: object) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > _MAX_DEPTH or self._count > _MAX_ELEMENTS:
            raise malformed("it has too many segments, or too many in one another")
        tag = name.rpartition(":")[2]
        if self._open:
            below = Segment(tag)
            self._open[-1].inner.append(below)
            self._open.append(below)
        elif tag == "IDOC":
            self._open.append(Segment(tag))
            self.idocs.append(self._open[0])

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._open:
            self._open.pop()

    def _text(self, text: str) -> None:
        if self._open and not self._open[-1].inner:  # what stands between segments says nothing
            self._open[-1].text += text
