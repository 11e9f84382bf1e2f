"""What EDIFACT and X12 have in common: settings, file names, and values that fit their elements or are refused."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from string import Formatter
from typing import Annotated, Final, Literal, NoReturn
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from connectors.codes import Code
from connectors.config import INERT
from connectors.exceptions import DocumentError, Said
from connectors.formats.order_mapping import OrderMappingFields
from connectors.order import Order, OrderLine, exact
from connectors.results import Acknowledgement, AckStatus, Numbered, NumberRange
from connectors.validation import Line

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Answers of several messages are longer than one, but never so long."""

_IN_NAMES: Final = frozenset({"order", "number", "created", "export"})
_UNSAFE_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]", re.ASCII)

# What is read as the same without the letter or sign that a character set lacks.
_SPELT: Final = {
    **{"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "oe"},
    **{"Ø": "Oe", "å": "aa", "Å": "Aa", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "þ": "th", "Þ": "Th", "œ": "oe"},
    **{"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "’": "'", "‘": "'", "‚": "'", "–": "-", "—": "-", "…": "..."},
    **{"€": "EUR", "×": "x", "\u00a0": " ", "\u202f": " "},
}


def _file_name(pattern: str) -> str:
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError:
        parts = [("", "?", "", None)]
    names = {name for _, name, _, _ in parts if name is not None}
    if names - _IN_NAMES or any(spec or conversion for _, _, spec, conversion in parts):
        raise PydanticCustomError("file_name", "may hold only (order), (number), (created) and (export) in braces")
    if not names & {"number", "export"}:
        raise PydanticCustomError("file_name", "must hold (export) or (number) in braces, so that no two are the same")
    return pattern


FileName = Annotated[
    Line,
    INERT,
    Field(
        title="File name",
        description="With {order}, {number} (of the document), {created} and {export}; the last or {number} is needed.",
        pattern=r"^[A-Za-z0-9._{}-]+$",
        max_length=100,
    ),
    AfterValidator(_file_name),
]


class ExchangeFields(OrderMappingFields):
    """What partners who exchange numbered documents agree upon, whatever the format."""

    test_indicator: Annotated[
        bool,
        INERT,
        Field(title="Test indicator", description="Marks every document as a test, which the partner does not book."),
    ] = False
    file_name: FileName = "order_{order}_{created}_{export}.edi"
    answer_names: Annotated[
        Line,
        INERT,
        Field(title="Names of answers", description="Which files of the answer folder are read; * is anything."),
    ] = "*"

    def unit_code(self, line: OrderLine, standard: dict[str, str]) -> str:
        """Return the code of a line's unit: from the configured table, else from that of the standard."""
        code = self.unit(line)
        return code if line.uom in self.units else standard.get(code.upper(), code)

    def has_gln_as_customer_number(self) -> bool:
        """Return whether customers are named by their GLN."""
        return self.customer_number_from in ("bill_to_gln", "ship_to_gln")

    def filename(self, order: Order, created_at: datetime, export_id: UUID, number: str) -> str:
        """Return the name of the file."""
        return self.file_name.format(
            order=_UNSAFE_IN_NAMES.sub("_", order.order_id),
            number=number,
            created=f"{created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            export=export_id.hex[:8],
        )

    def is_answer(self, name: str) -> bool:
        """Return whether a file of this name is read for answers."""
        return fnmatchcase(name, self.answer_names) and "/" not in name


class EdiFields(ExchangeFields):
    """What both standards let two partners agree upon. None of it decides where a secret is sent."""

    first_control_number: Annotated[
        int,
        INERT,
        Field(
            title="First control number",
            description="Where the partner knows you from another system: one more than the last number used there. "
            "A number that the partner has seen is answered as a duplicate, and the order is not booked.",
            ge=1,
            le=999_999_999,
        ),
    ] = 1
    transliterate: Annotated[
        bool,
        INERT,
        Field(
            title="Replace letters",
            description="Writes what the character set lacks with other letters, such as ue for ü; off refuses the "
            "order.",
        ),
    ] = False
    line_breaks: Annotated[
        Literal["none", "lf", "crlf"],
        INERT,
        Field(title="Line breaks", description="What follows each segment, for partners who want lines."),
    ] = "none"
    accepted_by: Annotated[
        Literal["response", "application", "syntax"],
        INERT,
        Field(
            title="Accepted by",
            description="Which answer makes an order accepted. response: the order response with the ERP's number. "
            "application: APERAK is enough. syntax: so is CONTRL, 997 or 999, where the partner sends nothing more.",
        ),
    ] = "response"
    buyer_id_type: Annotated[
        Annotated[Line, Field(max_length=3)] | None,
        INERT,
        Field(
            title="Who assigned the customer number",
            description="EDIFACT 3055 or X12 66; empty for a GLN where the number is one, else 91: the seller.",
        ),
    ] = None

    def line_break(self) -> str:
        """Return what follows each segment."""
        return {"none": "", "lf": "\n", "crlf": "\r\n"}[self.line_breaks]

    def numbers_to(self, standard: str, sender: str, recipient: str, *, last: int) -> NumberRange:
        """Return the range of the interchanges from one partner to another."""
        return NumberRange(name=range_name(standard, sender, recipient), first=self.first_control_number, last=last)

    def level(self, of: Literal["response", "application", "syntax"]) -> AckStatus:
        """Return what a favourable answer of this kind makes of an order."""
        kinds = ("syntax", "application", "response")
        return AckStatus.ACKED if kinds.index(of) >= kinds.index(self.accepted_by) else AckStatus.RECEIVED


def range_name(standard: str, sender: str, recipient: str) -> str:
    """Return what tells the interchanges of two partners in one direction from all others."""
    return f"{standard} {sender.strip()}>{recipient.strip()}"


# What goes out


def invented_order(fields: OrderMappingFields) -> Order:
    """Return an order of nobody's that can be written with every valid configuration, to try it out in memory."""
    gln = {"name": "TEST", "gln": "4012345000009"}
    unit = next(iter(fields.units), "PCE") if fields.only_known_units else "PCE"
    line = {"line_no": 1, "internal_sku": "TEST", "customer_sku_raw": "TEST", "gtin": "4006381333931", "qty": "1"}
    return Order.parse(
        {
            "order_id": "TEST",
            "approved_at": "2025-01-01T00:00:00Z",
            "customer": {"id": "1", "erp_customer_number": "1"},
            "header": {"currency": "EUR"},
            "ship_to": gln,
            "bill_to": gln,
            "lines": [line | {"uom": unit, "unit_price": "1", "currency": "EUR"}],
        }
    )


def refuse(where: str, why: str) -> NoReturn:
    """Say which field of the order cannot be written, and why.

    Raises:
        DocumentError: always.
    """
    raise DocumentError(where=f" (at {where}: {why})")


@dataclass(frozen=True)
class CharacterSet:
    """The characters that an interchange may hold."""

    encoding: str
    only: str = ""
    """All of them; empty for whatever the encoding has."""
    transliterates: bool = False
    never: str = ""
    """What separates, where nothing can be escaped."""

    def has(self, character: str) -> bool:
        """Return whether a character can be written."""
        if not character.isprintable() or character in self.never:
            return False
        if self.only:
            return character in self.only
        try:
            character.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def written(self, text: str, where: str) -> str:
        """Return a text as it can be written.

        Raises:
            DocumentError: it holds something that cannot be expressed.
        """
        if self.transliterates:
            text = "".join(self._spelt(character) for character in text)
        for character in text:
            if not self.has(character):
                refuse(where, f"the character {_shown(character)} cannot be expressed")
        return text

    def _spelt(self, character: str) -> str:
        bare = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
        for text in (character, character.upper(), _SPELT.get(character, ""), bare):
            for version in (text, text.upper()):
                if text and all(map(self.has, version)):
                    return version
        return character if character not in self.never else " "


def _shown(character: str) -> str:
    name = unicodedata.name(character, "of no name").lower()
    return f"U+{ord(character):04X} ({name})"


def fit(text: str, limit: int, where: str) -> str:
    """Return a text that has to stand in one element.

    Raises:
        DocumentError: it is too long; nothing is cut.
    """
    if len(text) > limit:
        refuse(where, f"has more than {limit} characters")
    return text


def pieces(text: str, width: int, most: int, where: str) -> list[str]:
    """Return a text cut at its spaces into elements.

    Raises:
        DocumentError: there are not enough of them.
    """
    cut = textwrap.wrap(text, width, break_on_hyphens=False)
    if len(cut) > most:
        refuse(where, f"has more than {most} times {width} characters")
    return cut


def paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a text that say something."""
    yield from filter(None, (" ".join(line.split()) for line in text.splitlines()))


def digits(value: Decimal, most: int, where: str, *, mark: str = ".") -> str:
    """Return an amount without zeros that say nothing.

    Raises:
        DocumentError: it has more digits than the element; nothing is rounded.
    """
    text = exact(value)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if sum(character.isdigit() for character in text) > most:
        refuse(where, f"has more than {most} digits")
    return text.replace(".", mark)


# What comes back


def malformed(reason: str) -> DocumentError:
    """Return the error of an answer that cannot be read."""
    return DocumentError(Code.ACKNOWLEDGEMENT_MALFORMED, reason=reason)


def refuse_too_big(content: bytes) -> None:
    """Refuse an answer that is too big to be read as a whole.

    Raises:
        DocumentError: ACKNOWLEDGEMENT_MALFORMED.
    """
    if len(content) > MAX_ANSWER_BYTES:
        raise malformed("it is bigger than 1 MiB")


def number_of(text: str) -> int | None:
    """Return a control number as we draw it; None for what is none of ours."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else None


def answer(
    numbered: Numbered,
    status: AckStatus,
    *,
    number: str = "",
    code: str = "",
    message: str = "",
    warnings: Iterable[str] = (),
) -> Acknowledgement:
    """Return an answer with the partner's words fit to be shown."""
    said = Said(code=code, message=message)
    return Acknowledgement(
        numbered=numbered,
        status=status,
        erp_order_id=shown(number) or None,
        error_code=said.code if status is AckStatus.REJECTED else None,
        message=said.message if status is AckStatus.REJECTED else None,
        warnings=tuple(filter(None, map(shown, warnings)))[:100],
    )


def shown(text: str) -> str:
    """Return a text of the partner on one line, without what cannot be shown."""
    return Said(message=text).message or ""


ALREADY_THERE: Final = "The partner says that it had this interchange already; it was not booked a second time."
