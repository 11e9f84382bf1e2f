"""What an IDoc of an order can be told: its control record, where it is booked, how values are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from connectors.config import INERT
from connectors.exceptions import Fault
from connectors.formats.edi import ExchangeFields, FileName, range_name
from connectors.results import NumberRange

STANDARD: Final = "IDOC"
LAST_NUMBER: Final = 10**16 - 1
"""DOCNUM has 16 digits."""

_VISIBLE: Final = r"^[!-~]([ -~]*[!-~])?$"
_Name = Annotated[str, INERT, Field(pattern=_VISIBLE, max_length=10)]
_Kind = Annotated[str, INERT, Field(pattern=r"^[A-Z0-9]{1,2}$")]
_TextId = Annotated[str, INERT, Field(pattern=_VISIBLE, max_length=4)]
_Code1 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=1)] | None, INERT]
_Code2 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=2)] | None, INERT]
_Code3 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=3)] | None, INERT]
_Code4 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=4)] | None, INERT]
_Code6 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=6)] | None, INERT]
_Code10 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=10)] | None, INERT]
_Code17 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=17)] | None, INERT]
_Code30 = Annotated[Annotated[str, Field(pattern=_VISIBLE, max_length=30)] | None, INERT]

# ISO 4217: the currencies that do not have two decimal places.
_PLACES: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"), 0),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


class IdocFields(ExchangeFields):
    """What SAP and its partner agree upon for ORDERS."""

    # The control record EDI_DC40.
    sap_client: Annotated[
        Annotated[str, Field(pattern="^[0-9]{3}$")] | None,
        Field(title="Client", description="MANDT, and sap-client in an address.", examples=["100"]),
    ] = None
    sender_port: Annotated[_Name, Field(title="Port of the sender", description="SNDPOR.", examples=["SHOP"])]
    sender_type: Annotated[
        _Kind, Field(title="Type of the sender", description="SNDPRT: LS logical system, KU customer.")
    ] = "LS"
    sender_function: Annotated[
        _Code2, Field(title="Function of the sender", description="SNDPFC: often AG for a customer.")
    ] = None
    sender_number: Annotated[
        _Name, Field(title="Number of the sender", description="SNDPRN, as in the partner profile.", examples=["SHOP"])
    ]
    receiver_port: Annotated[
        _Name, Field(title="Port of the receiver", description="RCVPOR: SAP and the system.", examples=["SAPS4D"])
    ]
    receiver_type: Annotated[_Kind, Field(title="Type of the receiver", description="RCVPRT.")] = "LS"
    receiver_function: Annotated[_Code2, Field(title="Function of the receiver", description="RCVPFC.")] = None
    receiver_number: Annotated[
        _Name, Field(title="Number of the receiver", description="RCVPRN: its system.", examples=["S4DCLNT100"])
    ]
    release: Annotated[_Code4, Field(title="Release", description="DOCREL.", examples=["740"])] = None
    basic_type: Annotated[
        str,
        INERT,
        Field(title="Basic type", description="IDOCTYP, and the name of the root.", pattern=r"^ORDERS0[1-9]$"),
    ] = "ORDERS05"
    extension: Annotated[_Code30, Field(title="Extension", description="CIMTYP.", examples=["ZORDERS05"])] = None
    message_type: Annotated[
        str, INERT, Field(title="Message type", description="MESTYP.", pattern=r"^[A-Z0-9_/]{1,30}$")
    ] = "ORDERS"
    message_code: Annotated[_Code3, Field(title="Message code", description="MESCOD, as in the partner profile.")] = (
        None
    )
    message_function: Annotated[_Code3, Field(title="Message function", description="MESFCT, as MESCOD.")] = None
    standard: Annotated[_Code1, Field(title="EDI standard", description="STD.")] = None
    standard_version: Annotated[_Code6, Field(title="Version of the standard", description="STDVRS.")] = None
    standard_message: Annotated[_Code6, Field(title="Message of the standard", description="STDMES.")] = None
    number_documents: Annotated[
        bool,
        INERT,
        Field(
            title="Send our number",
            description="DOCNUM, by which ALEAUD names what it answers. Off for a receiver that wants it empty.",
        ),
    ] = True
    first_document_number: Annotated[
        int,
        INERT,
        Field(
            title="First number",
            description="Where SAP knows you from another system: one more than the last DOCNUM sent from there.",
            ge=1,
            le=LAST_NUMBER,
        ),
    ] = 1
    file_name: FileName = "idoc_{order}_{created}_{export}.xml"

    # Where the order is booked.
    sales_organisation: Annotated[_Code4, Field(title="Sales organisation", description="E1EDK14 008.")] = None
    distribution_channel: Annotated[_Code2, Field(title="Distribution channel", description="E1EDK14 007.")] = None
    division: Annotated[_Code2, Field(title="Division", description="E1EDK14 006.")] = None
    sales_group: Annotated[_Code3, Field(title="Sales group", description="E1EDK14 010.")] = None
    sales_office: Annotated[_Code4, Field(title="Sales office", description="E1EDK14 016.")] = None
    purchase_order_type: Annotated[
        _Code4, Field(title="Purchase order type", description="E1EDK14 019; SAP takes DFUE without it.")
    ] = None
    vendor_number: Annotated[
        _Code17,
        Field(title="Vendor number", description="SAP's own at its customer (LF), where that leads to the sales area."),
    ] = None
    partners_by: Annotated[
        Literal["number", "external", "gln"],
        INERT,
        Field(
            title="Partners by",
            description="number: SAP's own (PARTN). external: converted by EDPAR (LIFNR). gln: a GLN (E1EDKA3).",
        ),
    ] = "number"

    # How values are written.
    price_places: Annotated[
        Annotated[int, Field(ge=0, le=4)] | None,
        INERT,
        Field(
            title="Decimal places of prices",
            description="A price with more is written for 10, 100 or more units (PEINH), so that SAP does not round "
            "it; empty for those of the currency.",
        ),
    ] = None
    price_condition: Annotated[
        _Code4,
        Field(
            title="Condition of the price",
            description="A condition type (E1EDP05) that takes over the price of a line, where SAP does not find it.",
            examples=["PR00"],
        ),
    ] = None
    send_totals: Annotated[
        bool, INERT, Field(title="Send totals", description="E1EDS01: number of items and, with prices, their value.")
    ] = True
    language: Annotated[
        str, INERT, Field(title="Language of texts", description="ISO 639-1.", pattern="^[A-Z]{2}$")
    ] = "EN"
    header_text: Annotated[_TextId, Field(title="Text of the header", description="TDID of the notes.")] = "0001"
    item_text: Annotated[_TextId, Field(title="Text of items", description="TDID of long descriptions.")] = "0001"

    # Answers.
    answers_from: Annotated[
        _Code10, Field(title="Answers from", description="SNDPRN of answers; empty for the receiver of orders.")
    ] = None
    answers_to: Annotated[
        _Code10, Field(title="Answers to", description="RCVPRN of answers; empty for the sender of orders.")
    ] = None
    errors_are_final: Annotated[
        bool,
        INERT,
        Field(
            title="Errors are final",
            description="Whether an IDoc in error (status 51, 56 and so on) rejects the order. Off where such IDocs "
            "are corrected in SAP and posted again: the order then waits, with a warning.",
        ),
    ] = True

    @property
    def is_exactly_once(self) -> bool:
        """Whether the receiver takes each message id only once, by SOAP; a hook for a transport that can do so."""
        return False

    def number_range(self) -> NumberRange:
        """Return the range of our document numbers."""
        return NumberRange(name=self.range_name, first=self.first_document_number, last=LAST_NUMBER)

    @property
    def range_name(self) -> str:
        """What tells the documents of these two partners from all others."""
        return range_name(STANDARD, self.sender_number, self.receiver_number)

    def is_for_us(self, sender: str, receiver: str) -> bool:
        """Return whether an answer goes from our receiver to us."""
        pairs = ((sender, self.answers_from or self.receiver_number), (receiver, self.answers_to or self.sender_number))
        return all(_bare(said) == _bare(known) for said, known in pairs)

    def places(self, currency: str) -> int:
        """Return how many decimal places a price has in SAP."""
        return _PLACES.get(currency, 2) if self.price_places is None else self.price_places

    def idoc_faults(self) -> Iterator[Fault]:
        """Yield what is wrong between these settings."""
        if self.partners_by == "gln" and not self.has_gln_as_customer_number():
            message = "must be bill_to_gln or ship_to_gln where partners are named by their GLN"
            yield Fault(path="customer_number_from", message=message, code="not_a_gln")


def currency_places(currency: str) -> int:
    """Return how many decimal places amounts of a currency have (ISO 4217)."""
    return _PLACES.get(currency, 2)


def _bare(number: str) -> str:
    """Return a partner's number as people write it: SAP fills customer numbers up with zeros."""
    number = number.strip()
    return number.lstrip("0") if number.isdigit() else number
