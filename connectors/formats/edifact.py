"""The syntax of EDIFACT (ISO 9735, versions 1 to 4): segments to bytes, and bytes to segments."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.formats.edi import malformed, refuse_too_big

Element = str | Sequence[str]

LEVEL_A: Final = string.ascii_uppercase + string.digits + " .,-()/='+:?!\"%&*;<>"
LEVEL_B: Final = LEVEL_A + string.ascii_lowercase
ENCODINGS: Final = {
    **{"UNOA": "ascii", "UNOB": "ascii", "UNOC": "iso-8859-1", "UNOD": "iso-8859-2", "UNOE": "iso-8859-5"},
    **{"UNOF": "iso-8859-7", "UNOG": "iso-8859-3", "UNOH": "iso-8859-4", "UNOI": "iso-8859-6", "UNOJ": "iso-8859-8"},
    **{"UNOK": "iso-8859-9", "UNOW": "utf-8", "UNOY": "utf-8"},
}
"""What the first element of an interchange says of its bytes."""

DEFAULT: Final = ":+.? '"
"""The service characters of an interchange that has no UNA segment."""

_MAX_SEGMENTS: Final = 200_000


@dataclass(frozen=True)
class Syntax:
    """The six service characters, in the sequence of the UNA segment."""

    characters: str = DEFAULT
    line_break: str = ""
    version: str = "3"

    @property
    def una(self) -> str:
        """The segment that says them."""
        return f"UNA{self.characters}{self.line_break}"

    @property
    def mark(self) -> str:
        """The decimal mark."""
        return self.characters[2]

    def segment(self, tag: str, *elements: Element) -> str:
        """Return one segment without what is empty at its end."""
        component, element, _, _, _, terminator = tuple(self.characters)
        joined = [
            self._escaped(each) if isinstance(each, str) else _trimmed([self._escaped(c) for c in each], component)
            for each in elements
        ]
        return _trimmed([tag, *joined], element) + terminator + self.line_break

    def _escaped(self, value: str) -> str:
        component, element, _, release, repetition, terminator = tuple(self.characters)
        # The release character first, else those that it brings would be doubled. The place of the repetition
        # separator is reserved before version 4; a space there separates nothing.
        special = [release, component, element, terminator]
        if repetition != " ":
            special.append(repetition)
        for character in special:
            value = value.replace(character, release + character)
        return value


def _trimmed(parts: list[str], separator: str) -> str:
    while len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return separator.join(parts)


@dataclass(frozen=True)
class Segment:
    """One segment as it was read."""

    tag: str
    elements: tuple[tuple[str, ...], ...]

    def get(self, element: int, component: int = 0) -> str:
        """Return a component, both counted from 0 behind the tag; empty where there is none."""
        found = self.elements[element] if element < len(self.elements) else ()
        return found[component] if component < len(found) else ""


@dataclass(frozen=True)
class Message:
    """One message: its segments from UNH to UNT."""

    segments: tuple[Segment, ...]

    @property
    def type(self) -> str:
        """Such as ORDRSP."""
        return self.segments[0].get(1)

    def all(self, tag: str, first: str | None = None) -> Iterator[Segment]:
        """Yield the segments of this tag, where `first` is what their first component says."""
        for segment in self.segments:
            if segment.tag == tag and first in (None, segment.get(0)):
                yield segment


@dataclass(frozen=True)
class Interchange:
    """What stands between UNB and UNZ."""

    header: Segment
    messages: tuple[Message, ...]


def parse(content: bytes) -> list[Interchange]:
    """Return the interchanges of a file.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED with a reason; nothing else, whatever the bytes are.
    """
    refuse_too_big(content)
    # Each byte as one character: all service characters are ASCII, so the cut is the same in every character set.
    text = content.decode("latin-1").removeprefix("\xef\xbb\xbf").lstrip("\r\n\t \x00")
    if not text.startswith(("UNA", "UNB")):
        raise malformed("it does not begin with UNA or UNB")
    found: list[Interchange] = []
    open_segments: list[Segment] = []
    for segment in _segments(text):
        if segment.tag == "UNB" and open_segments:
            raise malformed("an interchange has no end")
        open_segments.append(segment)
        if segment.tag == "UNZ":
            found.append(_interchange(open_segments))
            open_segments = []
    if open_segments or not found:
        raise malformed("an interchange has no end")
    return found


def _segments(text: str) -> Iterator[Segment]:
    position, characters = 0, DEFAULT
    encoding = "latin-1"
    for _ in range(_MAX_SEGMENTS):
        while position < len(text) and text[position] in "\r\n\t \x00":
            position += 1
        if position == len(text):
            return
        if text.startswith("UNA", position):
            characters = text[position + 3 : position + 9]
            if len(characters) < 6 or len(set(characters) - {" "}) < 5 or any(map(str.isalnum, characters)):
                raise malformed("its UNA segment cannot be used")
            position += 9
            continue
        elements, position = _cut(text, position, characters)
        if elements[0][0] == "UNB":
            encoding = ENCODINGS.get(elements[1][0] if len(elements) > 1 else "", "latin-1")
        try:
            decoded = tuple(
                tuple(component.encode("latin-1").decode(encoding) for component in element) for element in elements
            )
        except UnicodeDecodeError:
            raise malformed("it holds bytes that its character set does not have") from None
        yield Segment(decoded[0][0], decoded[1:])
    raise malformed(f"it has more than {_MAX_SEGMENTS} segments")


def _cut(text: str, position: int, characters: str) -> tuple[list[list[str]], int]:
    """Return the elements of the segment at a position, each as its components, and where the next one begins."""
    component, element, _, release, _, terminator = tuple(characters)
    elements: list[list[str]] = [[""]]
    start, end = position, len(text)
    value: list[str] = []
    while position < end:
        character = text[position]
        if character == release and release != " ":
            value += (text[start:position], text[position + 1 : position + 2])
            position += 2
            start = position
            continue
        if character in (component, element, terminator):
            value.append(text[start:position])
            elements[-1][-1] = "".join(value)
            value, start = [], position + 1
            if character == terminator:
                return elements, position + 1
            if character == element:
                elements.append([""])
            else:
                elements[-1].append("")
        position += 1
    raise malformed("a segment has no end")


def _interchange(segments: list[Segment]) -> Interchange:
    header, *inner, trailer = segments
    if header.tag != "UNB":
        raise malformed("it does not begin with UNB")
    if trailer.get(1) != header.get(4):
        raise malformed("UNZ names another interchange than UNB")
    messages: list[Message] = []
    open_message: list[Segment] = []
    groups = 0
    for segment in inner:
        if segment.tag in ("UNG", "UNE") and not open_message:
            groups += segment.tag == "UNG"
            continue
        if (segment.tag == "UNH") == bool(open_message):
            raise malformed("a message is not between UNH and UNT")
        open_message.append(segment)
        if segment.tag == "UNT":
            messages.append(_message(open_message))
            open_message = []
    if open_message:
        raise malformed("a message has no end")
    if trailer.get(0).strip().lstrip("0") != (str(groups or len(messages)) if messages else ""):
        raise malformed("UNZ counts other messages than there are")
    return Interchange(header, tuple(messages))


def _message(segments: list[Segment]) -> Message:
    header, trailer = segments[0], segments[-1]
    if trailer.get(1) != header.get(0):
        raise malformed("UNT names another message than UNH")
    if trailer.get(0).strip().lstrip("0") != str(len(segments)):
        raise malformed("UNT counts other segments than there are")
    return Message(tuple(segments))
