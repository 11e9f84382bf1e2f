"""The message ORDERS as an IDoc of the basic type ORDERS05, inbound to SAP."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Final
from uuid import UUID

from connectors.formats.edi import paragraphs, pieces, refuse
from connectors.formats.edifact_orders import UNITS
from connectors.formats.idoc import Value, segment, width
from connectors.formats.idoc_fields import IdocFields, currency_places
from connectors.order import Address, Order, OrderLine, exact
from connectors.results import Document

MEDIA_TYPE: Final = "text/xml"
MESSAGE_ID: Final = "urn:sap.com:msgid="
"""What a message id in ARCKEY begins with, where SAP takes each only once."""

_ONCE: Final = "urn:sap-com:document:sap:idoc:soap:messages"
_SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
_ACCORDING_TO: Final = {"number": "PARTN", "external": "LIFNR"}


def render(order: Order, fields: IdocFields, *, created_at: datetime, export_id: UUID, number: int | None) -> Document:
    """Return an IDoc with one order; the same arguments always give the same bytes.

    Args:
        order: the order.
        fields: what SAP and its partner agreed upon.
        created_at: when the export was accepted; the date of the control record.
        export_id: stands in the control record and in the file name.
        number: ours of the document; None for a preview, which shows 0 in its place.

    Raises:
        DocumentError: a field of the order does not fit; it is named, and nothing is cut or rounded.
    """
    docnum = f"{number or 0:016d}"
    control = _control(fields, created_at.astimezone(UTC), export_id, docnum)
    body = "".join([control, *_header(order, fields), *_items(order, fields), *_totals(order, fields)])
    return Document(
        filename=fields.filename(order, created_at, export_id, docnum),
        content=_framed(body, fields).encode(),
        media_type=MEDIA_TYPE,
        reference=fields.reference(order),
    )


def left_out(order: Order, fields: IdocFields) -> tuple[str, ...]:
    """Return a sentence for each part of the order that was left out."""
    said = []
    for name, address in (("ship_to", order.ship_to), ("bill_to", order.bill_to)):
        if address and address.region and len(address.region) > 3:
            said.append(f"The region of {name} is no code of three characters; it was left out.")
        if address and address.gln and fields.partners_by != "gln":
            said.append(f"Partners are not named by their GLN here; that of {name} was left out.")
    return tuple(said)


def _framed(body: str, fields: IdocFields) -> str:
    idoc, root = f'<IDOC BEGIN="1">{body}</IDOC>', fields.basic_type
    if fields.is_exactly_once:
        envelope = f'<soap:Envelope xmlns:soap="{_SOAP}"><soap:Header/><soap:Body>'
        # Only the root has a namespace; that of its segments is none.
        idoc = f'{envelope}<n0:{root} xmlns:n0="{_ONCE}">{idoc}</n0:{root}></soap:Body></soap:Envelope>'
    else:
        idoc = f"<{root}>{idoc}</{root}>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{idoc}\n'


def _control(fields: IdocFields, created: datetime, export_id: UUID, docnum: str) -> str:
    return segment(
        "EDI_DC40",
        TABNAM="EDI_DC40",
        MANDT=fields.sap_client,
        DOCNUM=docnum if fields.number_documents else None,
        DOCREL=fields.release,
        DIRECT="2",  # inbound, as SAP sees it
        TEST="X" if fields.test_indicator else None,
        IDOCTYP=fields.basic_type,
        CIMTYP=fields.extension,
        MESTYP=fields.message_type,
        MESCOD=fields.message_code,
        MESFCT=fields.message_function,
        STD=fields.standard,
        STDVRS=fields.standard_version,
        STDMES=fields.standard_message,
        SNDPOR=fields.sender_port,
        SNDPRT=fields.sender_type,
        SNDPFC=fields.sender_function,
        SNDPRN=fields.sender_number,
        RCVPOR=fields.receiver_port,
        RCVPRT=fields.receiver_type,
        RCVPFC=fields.receiver_function,
        RCVPRN=fields.receiver_number,
        CREDAT=f"{created:%Y%m%d}",
        CRETIM=f"{created:%H%M%S}",
        REFMES=export_id.hex[:14],
        ARCKEY=f"{MESSAGE_ID}{export_id.hex}" if fields.is_exactly_once else str(export_id),
        SERIAL=f"{created:%Y%m%d%H%M%S}",
    )


# The header


def _header(order: Order, fields: IdocFields) -> Iterator[str]:
    reference = Value(fields.reference(order), _origin_of_reference(order, fields))
    yield segment("E1EDK01", CURCY=order.header.currency, BELNR=reference)
    for qualifier, code in (
        ("006", fields.division),
        ("007", fields.distribution_channel),
        ("008", fields.sales_organisation),
        ("010", fields.sales_group),
        ("012", fields.order_type),
        ("016", fields.sales_office),
        ("019", fields.purchase_order_type),
    ):
        if code:
            yield segment("E1EDK14", QUALF=qualifier, ORGID=code)
    day = _day(fields.order_day(order))
    for qualifier, moment in (("002", _day(order.header.requested_delivery_date)), ("012", day), ("022", day)):
        if moment:
            yield segment("E1EDK03", IDDAT=qualifier, DATUM=moment)
    yield from _partners(order, fields)
    yield segment("E1EDK02", QUALF="001", BELNR=reference, DATUM=day)
    yield from _text("E1EDKT", fields.header_text, fields.notes(order), "header.notes", fields)


def _origin_of_reference(order: Order, fields: IdocFields) -> str:
    if fields.reference_from == "external_order_number" and order.header.external_order_number:
        return "header.external_order_number"
    return "order_id"


def _partners(order: Order, fields: IdocFields) -> Iterator[str]:
    number = fields.customer_number(order)
    names = pieces(order.customer.name or "", 35, 4, "customer.name")
    named = {f"NAME{place}": Value(name, "customer.name") for place, name in enumerate(names, start=1)}
    if fields.partners_by == "gln":
        yield segment("E1EDKA1", _gln(number), PARVW="AG", **named)
    else:
        named[_ACCORDING_TO[fields.partners_by]] = Value(number, _origin_of_customer(fields))
        yield segment("E1EDKA1", PARVW="AG", **named)
    for function, where, address in (("WE", "ship_to", order.ship_to), ("RE", "bill_to", order.bill_to)):
        if address:
            yield _address(function, where, address, fields)
    if fields.vendor_number:
        yield segment("E1EDKA1", PARVW="LF", PARTN=fields.vendor_number)


def _origin_of_customer(fields: IdocFields) -> str:
    source = fields.customer_number_from
    return source.replace("_gln", ".gln") if fields.has_gln_as_customer_number() else f"customer.{source}"


def _gln(number: str) -> str:
    return segment("E1EDKA3", QUALP="001", STDPN=number)


def _address(function: str, where: str, address: Address, fields: IdocFields) -> str:
    names = pieces(address.name or "", 35, 4, f"{where}.name")
    more = pieces(address.name2 or "", 35, 4, f"{where}.name2")
    if len(names) + len(more) > 4:
        refuse(f"{where}.name2", "together with the name it has more than 4 times 35 characters (E1EDKA1-NAME4)")
    streets = pieces(address.street or "", 35, 2, f"{where}.street")
    origins = [*(["name"] * len(names)), *(["name2"] * len(more))]
    texts = {
        f"NAME{place}": Value(text, f"{where}.{origin}")
        for place, (text, origin) in enumerate(zip([*names, *more], origins, strict=True), start=1)
    }
    texts |= {name: Value(text, f"{where}.street") for name, text in zip(("STRAS", "STRS2"), streets, strict=False)}
    return segment(
        "E1EDKA1",
        *([_gln(address.gln)] if address.gln and fields.partners_by == "gln" else []),
        PARVW=function,
        **texts,
        ORT01=Value(address.city, f"{where}.city"),
        PSTLZ=Value(address.postal_code, f"{where}.postal_code"),
        LAND1=address.country,
        REGIO=Value(address.region, f"{where}.region") if len(address.region or "") <= 3 else None,
    )


# The items


def _items(order: Order, fields: IdocFields) -> Iterator[str]:
    reference = Value(fields.reference(order), _origin_of_reference(order, fields))
    for line in order.lines:
        yield _item(line, order, fields, reference)


def _item(line: OrderLine, order: Order, fields: IdocFields, reference: Value) -> str:
    where = f"line {line.line_no}"
    if line.currency != order.header.currency:
        refuse(f"{where}, currency", "differs from that of the order")
    position = f"{line.line_no:06d}"
    quantity = Value(_plain(line.qty), f"{where}, qty")
    unit = Value(fields.unit_code(line, UNITS), f"{where}, uom")
    price, per = _price(line, fields)
    prices: dict[str, Value | str] = {}
    if fields.send_prices:
        prices = {"PMENE": unit, "VPREI": price, "PEINH": per, "NETWR": _value(line)}
    wanted = _day(line.requested_delivery_date)
    description = " ".join(paragraphs(fields.description(line) or ""))
    is_short = width(description) <= 70
    long_text = None if is_short else fields.description(line)
    return segment(
        "E1EDP01",
        segment("E1EDP02", QUALF="001", BELNR=reference, ZEILE=position),
        *([segment("E1EDP03", IDDAT="002", DATUM=wanted)] if wanted else []),
        *_condition(line, fields, price, per, unit),
        *([segment("E1EDP20", WMENG=quantity, EDATU=wanted)] if wanted else []),
        *_identities(line, fields, Value(description if is_short else None, f"{where}, description")),
        *_text("E1EDPT", fields.item_text, long_text, f"{where}, description", fields),
        POSEX=position,
        ACTION="001",
        MENGE=quantity,
        MENEE=unit,
        **prices,
        CURCY=line.currency,
    )


def _price(line: OrderLine, fields: IdocFields) -> tuple[Value, str]:
    """Return a price with no more decimal places than SAP has, and for how many units it is."""
    price = line.unit_price.normalize()
    exponent = price.as_tuple().exponent
    assert isinstance(exponent, int)  # a price is finite
    shift = max(0, -exponent - fields.places(line.currency))
    return Value(_plain(price.scaleb(shift)), f"line {line.line_no}, unit_price"), str(10**shift)


def _condition(line: OrderLine, fields: IdocFields, price: Value, per: str, unit: Value) -> list[str]:
    if not fields.price_condition:
        return []
    kind, currency = fields.price_condition, line.currency
    return [segment("E1EDP05", ALCKZ="+", KSCHL=kind, KRATE=price, UPRBS=per, MEAUN=unit, KOEIN=currency)]


def _identities(line: OrderLine, fields: IdocFields, description: Value) -> Iterator[str]:
    """Yield the names of the item in the sequence in which SAP tries them."""
    where = f"line {line.line_no}"
    known = {"internal_sku": "002", "gtin": "003", "customer_sku_raw": "001"}
    source = fields.item_number_from
    first = known[source]
    yield segment(
        "E1EDP19", QUALF=first, IDTNR=Value(fields.item_number(line), f"{where}, {source}"), KTEXT=description
    )
    for name in ("gtin", "customer_sku_raw"):
        if name != source and (number := getattr(line, name)):
            yield segment("E1EDP19", QUALF=known[name], IDTNR=Value(number, f"{where}, {name}"))


# Totals, texts, dates and amounts


def _totals(order: Order, fields: IdocFields) -> Iterator[str]:
    if not fields.send_totals:
        return
    yield segment("E1EDS01", SUMID="001", SUMME=str(len(order.lines)))
    if fields.send_prices:
        with localcontext() as exactly:
            exactly.prec = 60
            total = sum((_amount(line) for line in order.lines), Decimal(0))
        currency = order.header.currency
        yield segment("E1EDS01", SUMID="002", SUMME=Value(exact(total), "lines"), SUNIT=currency, WAERQ=currency)


def _amount(line: OrderLine) -> Decimal:
    """Return the value of a line as SAP works it out: in the smallest unit of the currency."""
    with localcontext() as exactly:
        exactly.prec = 60
        smallest = Decimal(1).scaleb(-currency_places(line.currency))
        return (line.qty * line.unit_price).quantize(smallest, rounding=ROUND_HALF_UP)


def _value(line: OrderLine) -> Value:
    return Value(exact(_amount(line)), f"line {line.line_no}, unit_price")


def _text(tag: str, kind: str, text: str | None, where: str, fields: IdocFields) -> list[str]:
    """Return a text as a segment of its lines; none where there is nothing to say."""
    lines = [segment(f"{tag}2", TDLINE=Value(line, where), TDFORMAT=mark) for mark, line in _lines(text or "")]
    return [segment(f"{tag}1", *lines, TDID=kind, TSSPRAS_ISO=fields.language)] if lines else []


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield lines of 70 characters, each with what SAPscript calls it: * begins a paragraph, = goes on in a word."""
    for paragraph in paragraphs(text):
        at_most = 70 if width(paragraph) == len(paragraph) else 35
        mark, rest = "*", paragraph
        for line in textwrap.wrap(paragraph, at_most, break_on_hyphens=False):
            yield mark, line
            rest = rest[len(line) :]
            mark, rest = ("", rest[1:]) if rest.startswith(" ") else ("=", rest)


def _day(day: date | None) -> str | None:
    return day.isoformat().replace("-", "") if day else None


def _plain(number: Decimal) -> str:
    text = exact(number)
    return text.rstrip("0").rstrip(".") if "." in text else text
