"""The EDIFACT message ORDERS, in the directories D.96A and D.01B, with EANCOM's association codes where agreed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from connectors.config import INERT
from connectors.exceptions import Fault
from connectors.formats.edi import CharacterSet, EdiFields, digits, fit, paragraphs, pieces, refuse
from connectors.formats.edifact import DEFAULT, ENCODINGS, LEVEL_A, LEVEL_B, Syntax
from connectors.order import Address, Order, OrderLine
from connectors.results import Document, NumberRange
from connectors.validation import Line

STANDARD: Final = "EDIFACT"
MEDIA_TYPE: Final = "application/EDIFACT"  # RFC 1767
MESSAGE: Final = "1"
"""The reference of the one message in each interchange."""

UNITS: Final = {
    **dict.fromkeys(("EA", "PC", "PCS", "ST", "STK", "STCK", "PIECE"), "PCE"),
    **{"M": "MTR", "KG": "KGM", "G": "GRM", "L": "LTR", "M2": "MTK", "M3": "MTQ", "MM": "MMT", "CM": "CMT", "T": "TNE"},
    **{"H": "HUR", "STD": "HUR", "PAA": "PR", "KAR": "CT", "PAL": "PF"},
}
"""Units by names that are common in orders, as UN/ECE recommendation 20 and 21 call them."""

_ASSOCIATION: Final = {"D.96A": "EAN008", "D.01B": "EAN010"}
_SERVICE: Final = r"^[!-/:-@\[-`{-~]{2}[.,][!-/:-@\[-`{-~][ !-/:-@\[-`{-~][!-/:-@\[-`{-~]$"
_Party = Annotated[Line, Field(max_length=35)]
_Qualifier = Annotated[Annotated[Line, Field(max_length=4)] | None, INERT]


class EdifactFields(EdiFields):
    """What two partners agree upon for ORDERS."""

    sender_id: Annotated[
        _Party, INERT, Field(title="Sender", description="You in UNB, such as a GLN.", examples=["4012345000009"])
    ]
    sender_qualifier: Annotated[
        _Qualifier, Field(title="Qualifier of the sender", description="14 for a GLN, 1 for DUNS, ZZZ as agreed.")
    ] = "14"
    recipient_id: Annotated[
        _Party, INERT, Field(title="Recipient", description="The partner in UNB.", examples=["5412345000013"])
    ]
    recipient_qualifier: Annotated[
        _Qualifier, Field(title="Qualifier of the recipient", description="As that of the sender.")
    ] = "14"
    directory: Annotated[
        Literal["D.96A", "D.01B"], INERT, Field(title="Directory", description="The version of the message.")
    ] = "D.96A"
    eancom: Annotated[
        bool,
        INERT,
        Field(title="EANCOM", description="Names the GS1 subset in UNH: EAN008 for D.96A, EAN010 for D.01B."),
    ] = True
    association_code: Annotated[
        Annotated[Line, Field(max_length=6)] | None,
        INERT,
        Field(title="Association code", description="Another code for UNH 0057 than that of EANCOM."),
    ] = None
    character_set: Annotated[
        Literal["UNOA", "UNOB", "UNOC", "UNOD", "UNOE", "UNOF", "UNOW", "UNOY"],
        INERT,
        Field(
            title="Character set",
            description="UNOA: upper case only. UNOB: ASCII. UNOC to UNOF: ISO 8859-1, -2, -5, -7. UNOW, UNOY: UTF-8.",
        ),
    ] = "UNOC"
    syntax_version: Annotated[
        Literal["1", "2", "3", "4"] | None,
        INERT,
        Field(title="Syntax version", description="Empty for 3, and 4 where the character set is UTF-8."),
    ] = None
    service_characters: Annotated[
        Line,
        INERT,
        Field(
            title="Service characters",
            description="Those of UNA: component, element, decimal mark, release, space or repetition, terminator.",
            pattern=_SERVICE,
        ),
    ] = DEFAULT
    reference_digits: Annotated[
        int,
        INERT,
        Field(title="Digits of the reference", description="How long the interchange's number is.", ge=4, le=14),
    ] = 14
    acknowledgement_request: Annotated[
        bool, INERT, Field(title="Ask for CONTRL", description="Whether UNB asks the partner for a CONTRL.")
    ] = True
    application_reference: Annotated[
        Annotated[Line, Field(max_length=14)] | None,
        INERT,
        Field(title="Application reference", description="UNB 0026, such as ORDERS; empty for none."),
    ] = None
    order_type: Annotated[
        Literal["220", "221", "224", "226"],
        INERT,
        Field(title="Order type", description="BGM 1001: 220 order, 221 blanket, 224 rush, 226 call-off."),
    ] = "220"
    export_reference: Annotated[
        Literal["CR", "ACD"] | None,
        INERT,
        Field(title="Reference for the export", description="Which RFF carries our id of the order; empty for none."),
    ] = "CR"

    def syntax(self) -> Syntax:
        """Return the service characters and what else the syntax leaves open."""
        return Syntax(self.service_characters, self.line_break(), self.version())

    def version(self) -> str:
        """Return the version of the syntax."""
        return self.syntax_version or ("4" if self.character_set in ("UNOW", "UNOY") else "3")

    def characters(self) -> CharacterSet:
        """Return what may stand in a value."""
        only = {"UNOA": LEVEL_A, "UNOB": LEVEL_B}.get(self.character_set, "")
        return CharacterSet(ENCODINGS[self.character_set], only, self.transliterate)

    def number_range(self) -> NumberRange:
        """Return the range of the interchange control references."""
        last = int("9" * self.reference_digits)
        return self.numbers_to(STANDARD, self.sender_id, self.recipient_id, last=last)

    def reference_of(self, number: int) -> str:
        """Return the interchange control reference."""
        return f"{number:0{self.reference_digits}d}"

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from super().cross_field_faults()
        if self.version() != "4" and self.character_set in ("UNOW", "UNOY"):
            yield Fault(path="syntax_version", message="must be 4 for this character set", code="not_applicable")
        used = self.service_characters.replace(" ", "")
        if len(set(used)) < len(used):
            yield Fault(path="service_characters", message="must be different from each other", code="duplicate")
        for name in ("sender_id", "recipient_id"):
            if not all(map(self.characters().has, getattr(self, name))):
                yield Fault(path=name, message="cannot be written in this character set", code="characters")
        if self.version() != "4" and self.service_characters[4] != " ":
            message = "must have a space in the fifth place before syntax version 4"
            yield Fault(path="service_characters", message=message, code="not_applicable")


def render(
    order: Order, fields: EdifactFields, *, created_at: datetime, export_id: UUID, number: int | None
) -> Document:
    """Return an interchange with one ORDERS message; the same arguments always give the same bytes.

    Args:
        order: the order.
        fields: what the partners agreed upon.
        created_at: when the export was accepted; the date of the interchange.
        export_id: stands in the interchange and in the file name.
        number: the control number; None for a preview, which shows 0 in its place.

    Raises:
        DocumentError: a field of the order does not fit; it is named, and nothing is cut or rounded.
    """
    writer = _Writer(order, fields, created_at, export_id)
    reference = fields.reference_of(number or 0)
    return Document(
        filename=fields.filename(order, created_at, export_id, reference),
        content=writer.interchange(reference).encode(fields.characters().encoding),
        media_type=MEDIA_TYPE,
        reference=writer.order_number,
    )


class _Writer:
    """Writes one order."""

    def __init__(self, order: Order, fields: EdifactFields, created_at: datetime, export_id: UUID) -> None:
        self._order, self._fields = order, fields
        self._created, self._export = created_at.astimezone(UTC), export_id.hex
        self._syntax, self._characters = fields.syntax(), fields.characters()
        self._segment = self._syntax.segment
        self._is_old = fields.directory == "D.96A"
        self.order_number = self._text(fields.reference(order), 35, fields.reference_from)

    def interchange(self, reference: str) -> str:
        """Return the whole text."""
        message = [*self._header(), *self._lines(), *self._summary()]
        # UNT counts every segment of the message, UNH and itself included.
        message.append(self._segment("UNT", str(len(message) + 1), MESSAGE))
        trailer = self._segment("UNZ", "1", reference)
        return "".join([self._syntax.una, self._unb(reference), *message, trailer])

    def _unb(self, reference: str) -> str:
        fields, created = self._fields, self._created
        day = f"{created:%Y%m%d}" if self._syntax.version == "4" else f"{created:%y%m%d}"
        return self._segment(
            "UNB",
            (fields.character_set, self._syntax.version),
            (fields.sender_id, fields.sender_qualifier or ""),
            (fields.recipient_id, fields.recipient_qualifier or ""),
            (day, f"{created:%H%M}"),
            reference,
            "",
            fields.application_reference or "",
            "",
            "1" if fields.acknowledgement_request else "",
            "",
            "1" if fields.test_indicator else "",
        )

    def _header(self) -> Iterator[str]:
        order, fields, segment = self._order, self._fields, self._segment
        code = fields.association_code or (_ASSOCIATION[fields.directory] if fields.eancom else "")
        yield segment("UNH", MESSAGE, ("ORDERS", "D", fields.directory[2:], "UN", code))
        yield segment("BGM", fields.order_type, self.order_number, "9")
        yield self._day("137", fields.order_day(order))
        yield from self._delivery(order.header.requested_delivery_date)
        yield from self._notes()
        if fields.export_reference:
            yield segment("RFF", (fields.export_reference, self._export))
        yield from self._parties()
        yield segment("CUX", ("2", order.header.currency, "9"))

    def _notes(self) -> Iterator[str]:
        width = 70 if self._is_old else 512
        texts = [
            piece
            for line in paragraphs(self._fields.notes(self._order) or "")
            for piece in pieces(self._characters.written(line, "header.notes"), width, 495, "header.notes")
        ]
        if len(texts) > 99 * 5:
            refuse("header.notes", "is too long")
        for start in range(0, len(texts), 5):
            yield self._segment("FTX", "AAI", "", "", texts[start : start + 5])

    def _parties(self) -> Iterator[str]:
        order, fields = self._order, self._fields
        number = self._text(fields.customer_number(order), 35 if not self._is_old else 17, fields.customer_number_from)
        assigned_by = fields.buyer_id_type or ("9" if fields.has_gln_as_customer_number() else "91")
        name = self._name("customer.name", order.customer.name)
        yield self._segment("NAD", "BY", (number, "", assigned_by), "", name)
        if fields.recipient_qualifier == "14":
            yield self._segment("NAD", "SU", (fields.recipient_id, "", "9"))
        for code, where, address in (("DP", "ship_to", order.ship_to), ("IV", "bill_to", order.bill_to)):
            if address:
                yield self._address(code, where, address)

    def _address(self, code: str, where: str, address: Address) -> str:
        def text(name: str, limit: int) -> str:
            return self._text(getattr(address, name) or "", limit, f"{where}.{name}")

        street = pieces(text("street", 255), 35, 3 if self._is_old else 4, f"{where}.street")
        region = text("region", 9)
        return self._segment(
            "NAD",
            code,
            (address.gln, "", "9") if address.gln else "",
            "",
            self._name(f"{where}.name", address.name, address.name2),
            street,
            text("city", 35),
            region if self._is_old or not region else ("", "", "", region),
            text("postal_code", 9 if self._is_old else 17),
            address.country or "",
        )

    def _name(self, where: str, *names: str | None) -> list[str]:
        found = [piece for name in names for piece in pieces(self._characters.written(name or "", where), 35, 5, where)]
        return found if len(found) <= 5 else refuse(where, "has more than 5 times 35 characters")

    def _lines(self) -> Iterator[str]:
        for line in self._order.lines:
            yield from self._line(line)

    def _line(self, line: OrderLine) -> Iterator[str]:
        segment, where = self._segment, f"line {line.line_no}"
        if line.currency != self._order.header.currency:
            refuse(f"{where}, currency", "differs from that of the order")
        item = self._text(self._fields.item_number(line), 35, f"{where}, {self._fields.item_number_from}")
        gtin_code = "EN" if self._is_old else "SRV"
        yield segment("LIN", str(line.line_no), "", (line.gtin, gtin_code) if line.gtin else "")
        yield segment("PIA", "1" if line.gtin else "5", (item, "SA"))
        if line.customer_sku_raw and self._fields.item_number_from != "customer_sku_raw":
            yield segment("PIA", "1", (self._text(line.customer_sku_raw, 35, f"{where}, customer_sku_raw"), "IN"))
        yield from self._description(line, f"{where}, description")
        unit = self._text(self._fields.unit_code(line, UNITS), 3, f"{where}, uom")
        most = 15 if self._is_old else 35
        yield segment("QTY", ("21", digits(line.qty, most, f"{where}, qty", mark=self._syntax.mark), unit))
        yield from self._delivery(line.requested_delivery_date)
        if self._fields.send_prices:
            price = digits(line.unit_price, 15, f"{where}, unit_price", mark=self._syntax.mark)
            yield segment("PRI", ("AAA", price, "CT", "", "1", unit))

    def _description(self, line: OrderLine, where: str) -> Iterator[str]:
        width = 35 if self._is_old else 256
        text = self._characters.written(" ".join(paragraphs(self._fields.description(line) or "")), where)
        found = pieces(text, width, 99 * 2, where)
        for start in range(0, len(found), 2):
            yield self._segment("IMD", "F", "", ("", "", "", *found[start : start + 2]))

    def _summary(self) -> Iterator[str]:
        yield self._segment("UNS", "S")
        yield self._segment("CNT", ("2", str(len(self._order.lines))))

    def _delivery(self, day: date | None) -> Iterator[str]:
        if day:
            yield self._day("2", day)

    def _day(self, code: str, day: date) -> str:
        return self._segment("DTM", (code, f"{day:%Y%m%d}", "102"))

    def _text(self, text: str, limit: int, where: str) -> str:
        return fit(self._characters.written(text, where), limit, where)
