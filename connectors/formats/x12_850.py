"""The X12 transaction set 850, a purchase order, in the versions 004010 and 005010."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from connectors.config import INERT
from connectors.exceptions import Fault
from connectors.formats.edi import CharacterSet, EdiFields, digits, fit, paragraphs, pieces, refuse
from connectors.formats.x12 import BASIC, EXTENDED, Separators
from connectors.order import Address, Order, OrderLine
from connectors.results import Document, NumberRange

STANDARD: Final = "X12"
MEDIA_TYPE: Final = "application/EDI-X12"  # RFC 1767
LAST_NUMBER: Final = 999_999_999
GROUP: Final = "PO"
SET: Final = "0001"
"""The control number of the one transaction set in each group."""

UNITS: Final = {
    **dict.fromkeys(("PCE", "PC", "PCS", "ST", "STK", "EA", "C62", "H87", "PIECE"), "EA"),
    **{"M": "MR", "MTR": "MR", "KG": "KG", "KGM": "KG", "G": "GR", "GRM": "GR", "L": "LT", "LTR": "LT"},
    **{"M2": "SM", "MTK": "SM", "M3": "CR", "MTQ": "CR", "MM": "MM", "CM": "CM", "H": "HR", "HUR": "HR", "PR": "PR"},
    **{"CT": "CT", "KAR": "CT", "BX": "BX", "LB": "LB", "LBR": "LB", "FT": "FT", "FOT": "FT"},
}
"""Units by names that are common in orders, as X12 data element 355 calls them."""

_STATES_OF: Final = ("US", "CA")
_Id = Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$", min_length=2, max_length=15)]
_GroupId = Annotated[_Id | None, INERT]
_Qualifier = Annotated[str, INERT, Field(pattern=r"^[A-Z0-9]{2}$")]
_Separator = Annotated[str, INERT, Field(pattern=r"^[!-/:-@\[-`{-~]$")]


class X12Fields(EdiFields):
    """What two partners agree upon for the 850."""

    sender_id: Annotated[_Id, INERT, Field(title="Sender", description="You in ISA06.", examples=["SENDERID"])]
    sender_qualifier: Annotated[
        _Qualifier, Field(title="Qualifier of the sender", description="ISA05: ZZ as agreed, 01 DUNS, 08 GS1.")
    ] = "ZZ"
    recipient_id: Annotated[_Id, INERT, Field(title="Recipient", description="ISA08.", examples=["RECEIVERID"])]
    recipient_qualifier: Annotated[
        _Qualifier, Field(title="Qualifier of the recipient", description="ISA07: as that of the sender.")
    ] = "ZZ"
    group_sender: Annotated[
        _GroupId, Field(title="Sender of the group", description="GS02; empty for that of the interchange.")
    ] = None
    group_recipient: Annotated[
        _GroupId, Field(title="Recipient of the group", description="GS03; empty for that of the interchange.")
    ] = None
    version: Annotated[
        Literal["004010", "005010"], INERT, Field(title="Version", description="Of interchange and group.")
    ] = "005010"
    character_set: Annotated[
        Literal["basic", "extended", "latin1", "utf8"],
        INERT,
        Field(
            title="Character set",
            description="basic: upper case. extended: ASCII. latin1 and utf8: as agreed, X12 itself does not say.",
        ),
    ] = "extended"
    element_separator: Annotated[_Separator, Field(title="Element separator", description="Behind ISA.")] = "*"
    component_separator: Annotated[_Separator, Field(title="Component separator", description="ISA16.")] = ">"
    repetition_separator: Annotated[
        _Separator, Field(title="Repetition separator", description="ISA11 of 005010; 004010 has a U there.")
    ] = "^"
    segment_terminator: Annotated[
        _Separator, Field(title="Segment terminator", description="At the end of each segment.")
    ] = "~"
    acknowledgement_request: Annotated[
        bool, INERT, Field(title="Ask for TA1", description="ISA14: whether the partner is to answer with a TA1.")
    ] = False
    order_type: Annotated[
        str,
        INERT,
        Field(
            title="Order type",
            description="BEG02: SA stand-alone, NE new, DS drop shipment.",
            pattern="^[A-Z0-9]{2}$",
        ),
    ] = "SA"
    price_basis: Annotated[
        Annotated[str, Field(pattern="^[A-Z0-9]{2}$")] | None,
        INERT,
        Field(title="Basis of the price", description="PO105: PE per each, CA catalogue, CT contract; empty for none."),
    ] = "PE"
    export_reference: Annotated[
        Annotated[str, Field(pattern="^[A-Z0-9]{2,3}$")] | None,
        INERT,
        Field(title="Reference for the export", description="Which REF01 carries our id of the order; empty for none."),
    ] = "ZZ"
    delivery_date_code: Annotated[
        str,
        INERT,
        Field(
            title="Code of the delivery date", description="DTM01: 002 delivery, 010 shipment.", pattern="^[0-9]{3}$"
        ),
    ] = "002"

    def separators(self) -> Separators:
        """Return what separates."""
        return Separators(
            self.element_separator,
            self.component_separator,
            self.repetition_separator if self.version == "005010" else "",
            self.segment_terminator,
            self.line_break(),
        )

    def characters(self) -> CharacterSet:
        """Return what may stand in a value; nothing can be escaped."""
        never = self.separators().never
        encodings = {"latin1": "iso-8859-1", "utf8": "utf-8"}
        only = {"basic": BASIC, "extended": EXTENDED}.get(self.character_set, "")
        return CharacterSet(encodings.get(self.character_set, "ascii"), only, self.transliterate, never)

    def number_range(self) -> NumberRange:
        """Return the range of the control numbers of interchange and group, which are the same."""
        return self.numbers_to(STANDARD, self.sender_id, self.recipient_id, last=LAST_NUMBER)

    def cross_field_faults(self) -> Iterator[Fault]:
        yield from super().cross_field_faults()
        separators = self.separators()
        if len(set(separators.never)) < len(separators.never):
            yield Fault(path="segment_terminator", message="separators must differ from each other", code="duplicate")
        for name in ("sender_id", "recipient_id", "group_sender", "group_recipient"):
            if not all(map(self.characters().has, getattr(self, name) or "")):
                yield Fault(path=name, message="holds a separator or what the character set lacks", code="characters")


def render(order: Order, fields: X12Fields, *, created_at: datetime, export_id: UUID, number: int | None) -> Document:
    """Return an interchange with one 850; the same arguments always give the same bytes.

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
    return Document(
        filename=fields.filename(order, created_at, export_id, f"{number or 0:09d}"),
        content=writer.interchange(number or 0).encode(fields.characters().encoding),
        media_type=MEDIA_TYPE,
        reference=writer.order_number,
    )


class _Writer:
    """Writes one order."""

    def __init__(self, order: Order, fields: X12Fields, created_at: datetime, export_id: UUID) -> None:
        self._order, self._fields = order, fields
        self._created, self._export = created_at.astimezone(UTC), export_id.hex
        self._separators, self._characters = fields.separators(), fields.characters()
        self._segment = self._separators.segment
        self._is_old = fields.version == "004010"
        self.order_number = self._text(fields.reference(order), 22, fields.reference_from)

    def interchange(self, number: int) -> str:
        """Return the whole text."""
        fields, created, segment = self._fields, self._created, self._segment
        body = [*self._header(), *self._lines(), segment("CTT", str(len(self._order.lines)))]
        return "".join(
            [
                self._separators.header(
                    *("00", "", "00", ""),
                    *(fields.sender_qualifier, fields.sender_id, fields.recipient_qualifier, fields.recipient_id),
                    *(f"{created:%y%m%d}", f"{created:%H%M}"),
                    "U" if self._is_old else self._separators.repetition,
                    fields.version[:5],
                    f"{number:09d}",
                    "1" if fields.acknowledgement_request else "0",
                    "T" if fields.test_indicator else "P",
                    self._separators.component,
                ),
                segment(
                    "GS",
                    GROUP,
                    fields.group_sender or fields.sender_id,
                    fields.group_recipient or fields.recipient_id,
                    f"{created:%Y%m%d}",
                    f"{created:%H%M}",
                    str(number),
                    "X",
                    fields.version,
                ),
                segment("ST", "850", SET),
                *body,
                # SE counts every segment of the set, ST and itself included.
                segment("SE", str(len(body) + 2), SET),
                segment("GE", "1", str(number)),
                segment("IEA", "1", f"{number:09d}"),
            ]
        )

    def _header(self) -> Iterator[str]:
        order, fields, segment = self._order, self._fields, self._segment
        day = f"{fields.order_day(order):%Y%m%d}"
        yield segment("BEG", "00", fields.order_type, self.order_number, "", day)
        yield segment("CUR", "BY", order.header.currency)
        if fields.export_reference:
            # REF02 of 004010 has 30 characters, which tell an id from all others just as well as its 32 do.
            yield segment("REF", fields.export_reference, self._export[: 30 if self._is_old else 32])
        if order.header.requested_delivery_date:
            yield segment("DTM", fields.delivery_date_code, f"{order.header.requested_delivery_date:%Y%m%d}")
        yield from self._notes()
        yield from self._parties()

    def _notes(self) -> Iterator[str]:
        lines = [
            self._characters.written(each, "header.notes") for each in paragraphs(self._fields.notes(self._order) or "")
        ]
        texts = [piece for line in lines for piece in pieces(line, 264, 1000, "header.notes")]
        if texts:
            yield self._segment("N9", "L1", "NOTES")
        yield from (self._segment("MSG", text) for text in texts)

    def _parties(self) -> Iterator[str]:
        order, fields = self._order, self._fields
        number = self._text(fields.customer_number(order), 80, fields.customer_number_from)
        assigned_by = fields.buyer_id_type or ("UL" if fields.has_gln_as_customer_number() else "91")
        name = self._text(order.customer.name or "", 60, "customer.name")
        yield self._segment("N1", "BY", name, assigned_by, number)
        for code, where, address in (("ST", "ship_to", order.ship_to), ("BT", "bill_to", order.bill_to)):
            if address:
                yield from self._address(code, where, address)

    def _address(self, code: str, where: str, address: Address) -> Iterator[str]:
        def text(name: str, limit: int) -> str:
            return self._text(getattr(address, name) or "", limit, f"{where}.{name}")

        gln = ("UL", address.gln) if address.gln else ()
        yield self._segment("N1", code, text("name", 60), *gln)
        if address.name2:
            yield self._segment("N2", text("name2", 60))
        if street := pieces(text("street", 255), 55, 2, f"{where}.street"):
            yield self._segment("N3", *street)
        place = [text("city", 30), "", text("postal_code", 15), address.country or ""]
        if address.region and (address.country or "US") in _STATES_OF:
            place[1] = text("region", 2)
        elif address.region and not self._is_old:
            place += ["", "", text("region", 3)]
        if any(place):
            yield self._segment("N4", *place)

    def _lines(self) -> Iterator[str]:
        for line in self._order.lines:
            yield from self._line(line)

    def _line(self, line: OrderLine) -> Iterator[str]:
        fields, where = self._fields, f"line {line.line_no}"
        if line.currency != self._order.header.currency:
            refuse(f"{where}, currency", "differs from that of the order")
        unit = self._text(fields.unit_code(line, UNITS), 2, f"{where}, uom")
        if len(unit) < 2:
            refuse(f"{where}, uom", "is no code of two characters; the table of units can name it")
        price = digits(line.unit_price, 17, f"{where}, unit_price") if fields.send_prices else ""
        ids = ["VP", self._text(fields.item_number(line), 48, f"{where}, {fields.item_number_from}")]
        if line.customer_sku_raw and fields.item_number_from != "customer_sku_raw":
            ids += ["BP", self._text(line.customer_sku_raw, 48, f"{where}, customer_sku_raw")]
        if line.gtin and fields.item_number_from != "gtin":
            gtin = line.gtin if len(line.gtin) > 8 else line.gtin.zfill(14)
            ids += [_GTIN_CODES[len(gtin)], gtin]
        basis = (fields.price_basis or "") if price else ""
        yield self._segment("PO1", str(line.line_no), digits(line.qty, 15, f"{where}, qty"), unit, price, basis, *ids)
        description = self._text(" ".join(paragraphs(fields.description(line) or "")), 1000, f"{where}, description")
        for piece in pieces(description, 80, 200, f"{where}, description"):
            yield self._segment("PID", "F", "", "", "", piece)
        if line.requested_delivery_date:
            yield self._segment("DTM", fields.delivery_date_code, f"{line.requested_delivery_date:%Y%m%d}")

    def _text(self, text: str, limit: int, where: str) -> str:
        return fit(self._characters.written(text, where), limit, where)


_GTIN_CODES: Final = {12: "UP", 13: "EN", 14: "UK"}


def left_out(order: Order, fields: X12Fields) -> tuple[str, ...]:
    """Return a sentence for each part of the order that the version has no place for."""
    return tuple(
        f"{fields.version} has no place for the region of {name}; it was left out."
        for name, address in (("ship_to", order.ship_to), ("bill_to", order.bill_to))
        if address and address.region and address.country not in _STATES_OF and fields.version == "004010"
    )
