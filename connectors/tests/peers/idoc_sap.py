"""An imitation of SAP's two doors for IDocs over HTTP, and an independent reader of ORDERS05, as strict as SAP.

Written from what SAP documents of idoc_xml, of /sap/bc/srt/idoc (message EA728) and of the basic type ORDERS05.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from connectors.tests.peers.https import Exchange
from connectors.tests.peers.imitation import Imitation, Reply

ONCE = "urn:sap-com:document:sap:idoc:soap:messages"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"

# Each segment with the segments below it, in their sequence, and its fields with their lengths.
_K = "E1EDK01 E1EDK14* E1EDK03* E1EDKA1* E1EDK02* E1EDK17* E1EDKT1*"
BELOW = {
    "IDOC": f"EDI_DC40 {_K} E1EDP01+ E1EDS01*",
    "E1EDKA1": "E1EDKA3*",
    "E1EDKT1": "E1EDKT2*",
    "E1EDP01": "E1EDP02* E1EDP03* E1EDP04* E1EDP05* E1EDP20* E1EDPA1* E1EDP19* E1EDP17* E1EDP18* E1EDPT1*",
    "E1EDPT1": "E1EDPT2*",
}
FIELDS = {
    "EDI_DC40": "TABNAM:10 MANDT:3 DOCNUM:16 DOCREL:4 STATUS:2 DIRECT:1 OUTMOD:1 EXPRSS:1 TEST:1 IDOCTYP:30 CIMTYP:30 "
    "MESTYP:30 MESCOD:3 MESFCT:3 STD:1 STDVRS:6 STDMES:6 SNDPOR:10 SNDPRT:2 SNDPFC:2 SNDPRN:10 RCVPOR:10 RCVPRT:2 "
    "RCVPFC:2 RCVPRN:10 CREDAT:8 CRETIM:6 REFINT:14 REFGRP:14 REFMES:14 ARCKEY:70 SERIAL:20",
    "E1EDK01": "ACTION:3 KZABS:1 CURCY:3 WKURS:12 ZTERM:17 BSART:4 BELNR:35 BSTZD:4 VSART:2 AUTLF:1 AUGRU:3 LIFSK:2",
    "E1EDK14": "QUALF:3 ORGID:35",
    "E1EDK03": "IDDAT:3 DATUM:8 UZEIT:6",
    "E1EDKA1": "PARVW:3 PARTN:17 LIFNR:17 NAME1:35 NAME2:35 NAME3:35 NAME4:35 STRAS:35 STRS2:35 ORT01:35 PSTLZ:9 "
    "LAND1:3 TELF1:25 REGIO:3",
    "E1EDKA3": "QUALP:3 STDPN:70",
    "E1EDK02": "QUALF:3 BELNR:35 POSNR:6 DATUM:8 UZEIT:6",
    "E1EDKT1": "TDID:4 TSSPRAS:3 TSSPRAS_ISO:2",
    "E1EDKT2": "TDLINE:70 TDFORMAT:2",
    "E1EDP01": "POSEX:6 ACTION:3 PSTYP:1 KZABS:1 MENGE:15 MENEE:3 PMENE:3 VPREI:15 PEINH:9 NETWR:18 CURCY:3 MATKL:9 "
    "WERKS:4",
    "E1EDP02": "QUALF:3 BELNR:35 ZEILE:6 DATUM:8",
    "E1EDP03": "IDDAT:3 DATUM:8 UZEIT:6",
    "E1EDP05": "ALCKZ:3 KSCHL:4 KOTXT:80 BETRG:18 KPERC:8 KRATE:15 UPRBS:9 MEAUN:3 KOEIN:3",
    "E1EDP20": "WMENG:15 AMENG:15 EDATU:8 EZEIT:6",
    "E1EDP19": "QUALF:3 IDTNR:35 KTEXT:70",
    "E1EDPT1": "TDID:4 TSSPRAS:3 TSSPRAS_ISO:2",
    "E1EDPT2": "TDLINE:70 TDFORMAT:2",
    "E1EDS01": "SUMID:3 SUMME:18 SUNIT:3 WAERQ:3",
}
_MANDATORY = ("TABNAM", "DIRECT", "IDOCTYP", "MESTYP", "SNDPOR", "SNDPRT", "SNDPRN", "RCVPOR", "RCVPRT", "RCVPRN")


class Refused(Exception):
    """SAP's syntax check says no."""


def read_idoc(idoc: ElementTree.Element) -> ElementTree.Element:
    """Return an IDoc after the syntax check that SAP does when one comes in."""
    if idoc.get("BEGIN") != "1":
        raise Refused("IDOC has no BEGIN")
    _check(idoc)
    control = {field.tag: field.text for field in idoc[0]}
    if missing := [name for name in _MANDATORY if not control.get(name)]:
        raise Refused(f"EDI_DC40 lacks {missing}")
    if (control["TABNAM"], control["DIRECT"]) != ("EDI_DC40", "2"):
        raise Refused("EDI_DC40 is none of an IDoc that comes in")
    if not control.get("DOCNUM", "0" * 16).isdigit() or len(control.get("DOCNUM", "0" * 16)) != 16:
        raise Refused("DOCNUM is no number of 16 digits")
    datetime.strptime(f"{control['CREDAT']}{control['CRETIM']}", "%Y%m%d%H%M%S")
    return idoc


def _check(element: ElementTree.Element) -> None:
    allowed = dict(each.split(":") for each in FIELDS.get(element.tag, "").split())
    below = {each.rstrip("*+"): each for each in BELOW.get(element.tag, "").split()}
    sequence = list(below)
    reached = 0
    seen: set[str] = set()
    for child in element:
        if child.tag in allowed:
            _check_field(element.tag, child, int(allowed[child.tag]), is_late=bool(seen))
        elif child.tag not in below:
            raise Refused(f"{child.tag} has no place in {element.tag}")
        elif sequence.index(child.tag) < reached or (child.tag in seen and below[child.tag] == child.tag):
            raise Refused(f"{child.tag} is out of sequence")
        else:
            if child.get("SEGMENT") != "1":
                raise Refused(f"{child.tag} has no SEGMENT")
            reached = sequence.index(child.tag)
            seen.add(child.tag)
            _check(child)
    if missing := [name for name, often in below.items() if not often.endswith("*") and name not in seen]:
        raise Refused(f"{element.tag} lacks {missing}")


def _check_field(segment: str, field: ElementTree.Element, length: int, *, is_late: bool) -> None:
    text = field.text or ""
    if len(field) or field.attrib or not text:
        raise Refused(f"{segment}-{field.tag} is no text")
    if len(text.encode("utf-16-le")) // 2 > length:
        raise Refused(f"{segment}-{field.tag} is too long")
    if is_late:
        raise Refused(f"{segment}-{field.tag} follows a segment")


def read_file(content: bytes, root: str = "ORDERS05") -> ElementTree.Element:
    """Return the one IDoc of a file, after SAP's syntax check."""
    if b"<!" in content:
        raise Refused("a document type is refused")
    document = ElementTree.fromstring(content)  # noqa: S314  # our own
    if document.tag != root or len(document) != 1:
        raise Refused(f"the root is no {root} with one IDOC")
    return read_idoc(document[0])


class IdocSap(Imitation):
    """SAP's web server with both services active, client 100 and one user."""

    def __init__(self, username: str = "IDOC", password: str = "s3cret") -> None:
        super().__init__()
        self.password, self._username = password, username
        self.idocs: dict[str, bytes] = {}
        """What was taken, by the key under which the archive finds it."""
        self.is_active = True

    def changes(self, exchange: Exchange) -> bool:
        """Return whether an IDoc is sent."""
        return exchange.command == "POST"

    def respond(self, exchange: Exchange) -> Reply:
        """Answer as SAP's web server does."""
        path, _, query = exchange.path.partition("?")
        if path == "/sap/public/ping":
            return Reply(200, "Server reached successfully", {"Content-Type": "text/html"})
        pair = b64encode(f"{self._username}:{self.password}".encode()).decode()
        if exchange.headers.get("Authorization") != f"Basic {pair}" or query != "sap-client=100":
            page = "<html><head><title>Logon Error Message</title></head></html>"
            return Reply(401, page, {"Content-Type": "text/html", "WWW-Authenticate": 'Basic realm="SAP"'})
        services: dict[str, Any] = {"/sap/bc/idoc_xml": self._plain, "/sap/bc/srt/idoc": self._soap}
        if not self.is_active or path not in services:
            return Reply(404, "<html><head><title>Service cannot be reached</title></head></html>")
        if exchange.command != "POST":
            return Reply(405 if path.endswith("idoc") else 500, "<html><title>Method not allowed</title></html>")
        if not (exchange.headers.get("Content-Type") or "").startswith("text/xml"):
            return Reply(415, "")
        reply: Reply = services[path](exchange)
        return reply

    def _plain(self, exchange: Exchange) -> Reply:
        try:
            idoc = read_file(exchange.body)
        except (Refused, ElementTree.ParseError) as error:
            page = f"<html><head><title>{escape(str(error))}</title></head></html>"
            return Reply(400, page, {"Content-Type": "text/html"})
        # It takes everything: the same once more is another one.
        self.idocs[f"{len(self.idocs)} {idoc.findtext('EDI_DC40/ARCKEY')}"] = exchange.body
        page = "<html><head><title>IDoc-XML-inbound ok</title></head><body><h1>IDoc-XML-inbound ok</h1></body></html>"
        return Reply(200, page, {"Content-Type": "text/html"})

    def _soap(self, exchange: Exchange) -> Reply:
        try:
            (body,) = ElementTree.fromstring(exchange.body).iter(f"{{{SOAP}}}Body")  # noqa: S314  # as above
            (message,) = body
            if message.tag != f"{{{ONCE}}}ORDERS05":
                raise Refused("no such message")
            if len(message) != 1:
                raise Refused("IDoc SOAP Namespace - Violation (MULTIPLE_IDOCS_NOT_ALLOWED)")
            idoc = read_idoc(message[0])
        except (Refused, ElementTree.ParseError, ValueError) as error:
            return fault("Client", str(error))
        key = idoc.findtext("EDI_DC40/ARCKEY") or ""
        if not key.startswith("urn:sap.com:msgid=") or len(key) < 30:
            return fault("Client", "IDoc SOAP Namespace - Violation (SOAP_MSGID_PREFIX_INVALID)")
        self.idocs.setdefault(key, exchange.body)  # exactly once
        return envelope(f'<n:ORDERS05.Response xmlns:n="{ONCE}"/>')


def fault(code: str, text: str) -> Reply:
    """Return a SOAP fault."""
    said = f"<faultcode>soap:{code}</faultcode><faultstring>{escape(text)}</faultstring>"
    return envelope(f"<soap:Fault>{said}</soap:Fault>", status=500)


def envelope(body: str, status: int = 200) -> Reply:
    """Return a SOAP answer."""
    content = f'<soap:Envelope xmlns:soap="{SOAP}"><soap:Body>{body}</soap:Body></soap:Envelope>'
    return Reply(status, content, {"Content-Type": "text/xml"})


# What SAP sends back


def answer(message: str, *segments: str, sender: str = "S4DCLNT100", receiver: str = "SHOP") -> bytes:
    """Return a file with one IDoc from SAP."""
    control = seg("EDI_DC40", TABNAM="EDI_DC40", DIRECT="1", MESTYP=message, SNDPRN=sender, RCVPRN=receiver)
    root = {"ALEAUD": "ALEAUD01"}.get(message, "ORDERS05")
    return f'<?xml version="1.0"?><{root}><IDOC BEGIN="1">{control}{"".join(segments)}</IDOC></{root}>'.encode()


def seg(tag: str, *inner: str, **fields: str) -> str:
    """Return a segment."""
    text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return f'<{tag} SEGMENT="1">{text}{"".join(inner)}</{tag}>'


def aleaud(number: int, status: str, *, order: str = "", **fields: str) -> bytes:
    """Return an ALEAUD about one of our IDocs."""
    made = [seg("E1PRTOB", OBJTYPE="BUS2032", OBJKEY=order)] if order else []
    return answer("ALEAUD", seg("E1ADHDR", seg("E1STATE", *made, DOCNUM=f"{number:016d}", STATUS=status, **fields)))


def ordrsp(reference: str, *items: str, order: str = "0000012345", action: str = "") -> bytes:
    """Return an ORDRSP to one of our orders."""
    head = [seg("E1EDK01", ACTION=action, BELNR=order), seg("E1EDK02", QUALF="001", BELNR=reference)]
    return answer("ORDRSP", *head, seg("E1EDK02", QUALF="002", BELNR=order), *items)


def item(position: str, **fields: str) -> str:
    """Return a line of an ORDRSP; WMENG and EDATU stand in a segment of their own."""
    schedule = {name: fields.pop(name) for name in ("WMENG", "EDATU") if name in fields}
    return seg("E1EDP01", *([seg("E1EDP20", **schedule)] if schedule else []), POSEX=position, **fields)


def texts(idoc: ElementTree.Element, path: str) -> Iterator[str]:
    """Yield the texts at a path."""
    return (each.text or "" for each in idoc.iterfind(path))
