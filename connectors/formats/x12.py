"""The syntax of ANSI X12: segments to text, and bytes to segments. Nothing can be escaped, so nothing is."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from connectors.formats.edi import malformed, refuse_too_big

BASIC: Final = string.ascii_uppercase + string.digits + " !\"&'()*+,-./:;?="
EXTENDED: Final = BASIC + string.ascii_lowercase + "%@[]_{}\\|<>~#$"

ISA_LENGTH: Final = 106
"""Of the header, its separators and its terminator: its elements have fixed widths."""

_WIDTHS: Final = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1, 1)
_MAX_SEGMENTS: Final = 200_000


@dataclass(frozen=True)
class Separators:
    """What separates elements, components, repetitions and segments."""

    element: str = "*"
    component: str = ">"
    repetition: str = "^"
    terminator: str = "~"
    line_break: str = ""

    @property
    def never(self) -> str:
        """What no value may hold."""
        return self.element + self.component + self.repetition + self.terminator

    def segment(self, tag: str, *elements: str) -> str:
        """Return one segment without what is empty at its end."""
        parts = [tag, *elements]
        while not parts[-1]:
            parts.pop()
        return self.element.join(parts) + self.terminator + self.line_break

    def header(self, *elements: str) -> str:
        """Return ISA, whose elements have their fixed widths."""
        padded = [element.ljust(width) for element, width in zip(elements, _WIDTHS, strict=True)]
        written = self.element.join(["ISA", *padded]) + self.terminator
        assert len(written) == ISA_LENGTH  # what is too long was refused with the configuration
        return written + self.line_break


@dataclass(frozen=True)
class Segment:
    """One segment as it was read."""

    tag: str
    elements: tuple[str, ...]

    def get(self, position: int) -> str:
        """Return an element, counted from 1 as the standard does; empty where there is none."""
        return self.elements[position - 1] if position <= len(self.elements) else ""


@dataclass(frozen=True)
class TransactionSet:
    """One transaction set: its segments from ST to SE."""

    segments: tuple[Segment, ...]

    @property
    def type(self) -> str:
        """Such as 855."""
        return self.segments[0].get(1)

    def all(self, *tags: str) -> Iterator[Segment]:
        """Yield the segments of these tags."""
        return (segment for segment in self.segments if segment.tag in tags)

    def first(self, *tags: str) -> Segment | None:
        """Return the first segment of these tags."""
        return next(self.all(*tags), None)


@dataclass(frozen=True)
class Interchange:
    """What stands between ISA and IEA."""

    header: Segment
    acknowledged: tuple[Segment, ...]
    """Its TA1 segments."""
    sets: tuple[TransactionSet, ...]
    """Those of all its groups."""


def parse(content: bytes) -> list[Interchange]:
    """Return the interchanges of a file.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED with a reason; nothing else, whatever the bytes are.
    """
    refuse_too_big(content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # X12 does not say what its bytes are
        text = content.decode("latin-1")
    found: list[Interchange] = []
    position = _skip(text, 0)
    while position < len(text) or not found:
        interchange, position = _interchange(text, position)
        found.append(interchange)
        position = _skip(text, position)
    return found


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in "\r\n\t \x00":
        position += 1
    return position


def _interchange(text: str, start: int) -> tuple[Interchange, int]:
    if not text.startswith("ISA", start) or len(text) < start + ISA_LENGTH:
        raise malformed("it does not begin with ISA and its fixed widths")
    element, terminator = text[start + 3], text[start + ISA_LENGTH - 1]
    header = text[start : start + ISA_LENGTH - 1].split(element)
    if tuple(map(len, header[1:])) != _WIDTHS or element == terminator or element.isalnum():
        raise malformed("it does not begin with ISA and its fixed widths")
    isa = Segment("ISA", tuple(header[1:]))
    segments: list[Segment] = []
    position = start + ISA_LENGTH
    for _ in range(_MAX_SEGMENTS):
        end = text.find(terminator, position)
        if end < 0:
            raise malformed("an interchange has no end")
        tag, *elements = text[position:end].strip("\r\n\t ").split(element)
        position = end + 1
        if tag == "IEA":
            iea = Segment(tag, tuple(elements))
            if iea.get(2).strip() != isa.get(13).strip():
                raise malformed("IEA names another interchange than ISA")
            return _read(isa, segments, iea), position
        if tag:
            segments.append(Segment(tag, tuple(elements)))
    raise malformed(f"it has more than {_MAX_SEGMENTS} segments")


def _read(header: Segment, segments: list[Segment], trailer: Segment) -> Interchange:
    acknowledged = tuple(segment for segment in segments if segment.tag == "TA1")
    sets: list[TransactionSet] = []
    in_group = groups = 0
    group: Segment | None = None
    open_set: list[Segment] = []
    for segment in segments:
        match segment.tag:
            case "TA1":
                continue
            case "GS" if group is None:
                group, in_group, groups = segment, 0, groups + 1
            case "GE" if group is not None and not open_set:
                _agree(segment.get(1), in_group, "GE counts other transaction sets than there are")
                if segment.get(2).strip() != group.get(6).strip():
                    raise malformed("GE names another group than GS")
                group = None
            case "ST" if group is not None and not open_set:
                open_set = [segment]
            case "SE" if open_set:
                sets.append(_set([*open_set, segment]))
                in_group, open_set = in_group + 1, []
            case _ if open_set and segment.tag not in ("ST", "GS", "GE"):
                open_set.append(segment)
            case _:
                raise malformed("its segments are not in groups and transaction sets")
    if group is not None:
        raise malformed("a group has no end")
    _agree(trailer.get(1), groups, "IEA counts other groups than there are")
    return Interchange(header, acknowledged, tuple(sets))


def _set(segments: list[Segment]) -> TransactionSet:
    header, trailer = segments[0], segments[-1]
    _agree(trailer.get(1), len(segments), "SE counts other segments than there are")
    if trailer.get(2).strip() != header.get(2).strip():
        raise malformed("SE names another transaction set than ST")
    return TransactionSet(tuple(segments))


def _agree(said: str, counted: int, otherwise: str) -> None:
    if said.strip().lstrip("0") != str(counted or ""):
        raise malformed(otherwise)
