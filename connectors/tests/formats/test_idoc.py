"""An order as SAP's syntax check reads it, whatever it holds; and what is made of whatever SAP sends back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.adapters.sap_idoc_orders05 import SapIdocConfig
from connectors.codes import Code
from connectors.exceptions import ConfigurationError, DocumentError
from connectors.formats import idoc_answers, idoc_orders05
from connectors.order import Order
from connectors.results import AckStatus, Document
from connectors.testing import sample_orders
from connectors.tests.peers.idoc_sap import aleaud, answer, item, ordrsp, read_file, seg, texts

BASE = {
    "mode": "filesystem",
    "export_path": "out",
    "sender_port": "SHOP",
    "sender_number": "SHOP",
    "receiver_port": "SAPS4D",
    "receiver_number": "S4DCLNT100",
    "customer_number_from": "id",
}
BY_SOAP = {"mode": "http", "base_url": "https://sap.example", "sap_username": "IDOC", "sap_password": "s3cret"}
EXPORT = UUID("0123456789abcdef0123456789abcdef")
WHEN = {"created_at": datetime(2026, 1, 15, 9, 30, 5, tzinfo=UTC), "export_id": EXPORT}
RECEIVED, ACKED, REJECTED = AckStatus.RECEIVED, AckStatus.ACKED, AckStatus.REJECTED


def config(**changes: Any) -> SapIdocConfig:
    settings = {name: value for name, value in (BASE | changes).items() if value is not None}
    return SapIdocConfig.parse(settings)


def order(line: dict[str, Any] | None = None, **header: Any) -> Order:
    changed = sample_orders.complete().as_json()
    changed["lines"] = [changed["lines"][0] | {"qty": "10.500", "unit_price": "1.23"} | (line or {})]
    changed["header"] |= header
    return Order.parse(changed)


def render(what: Order, number: int | None = 42, **changes: Any) -> Document:
    return idoc_orders05.render(what, config(**changes), number=number, **WHEN)


def written(what: Order, **changes: Any) -> ElementTree.Element:
    return read_file(render(what, **changes).content)


def refused(what: Order, **changes: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        render(what, **changes)
    return caught.value.message


def values(element: ElementTree.Element) -> dict[str, str]:
    return {field.tag: field.text or "" for field in element if not len(field)}


class TestOrders:
    def test_a_whole_order(self) -> None:
        idoc = written(
            order(notes="First.\n\nSecond."),
            **{"sap_client": "100", "sales_organisation": "1710", "distribution_channel": "10", "division": "00"},
            **{"order_type": "OR", "purchase_order_type": "SHOP", "vendor_number": "V-1", "test_indicator": True},
            **{"sender_type": "KU", "sender_function": "AG", "message_code": "ABC", "extension": "ZORD"},
        )

        assert values(idoc[0]) == {
            **{"TABNAM": "EDI_DC40", "MANDT": "100", "DOCNUM": "0000000000000042", "DIRECT": "2", "TEST": "X"},
            **{"IDOCTYP": "ORDERS05", "CIMTYP": "ZORD", "MESTYP": "ORDERS", "MESCOD": "ABC"},
            **{"SNDPOR": "SHOP", "SNDPRT": "KU", "SNDPFC": "AG", "SNDPRN": "SHOP"},
            **{"RCVPOR": "SAPS4D", "RCVPRT": "LS", "RCVPRN": "S4DCLNT100", "CREDAT": "20260115", "CRETIM": "093005"},
            **{"REFMES": EXPORT.hex[:14], "ARCKEY": str(EXPORT), "SERIAL": "20260115093005"},
        }
        shown = [
            (child.tag, *values(child).values()) for child in idoc if child.tag in ("E1EDK01", "E1EDK02", "E1EDS01")
        ]
        assert shown == [
            ("E1EDK01", "EUR", "PO-12345"),
            ("E1EDK02", "001", "PO-12345", "20251201"),
            ("E1EDS01", "001", "1"),
            ("E1EDS01", "002", "12.92", "EUR", "EUR"),
        ]
        organisation = dict(zip(texts(idoc, "E1EDK14/QUALF"), texts(idoc, "E1EDK14/ORGID"), strict=True))
        assert organisation == {"006": "00", "007": "10", "008": "1710", "012": "OR", "019": "SHOP"}
        days = dict(zip(texts(idoc, "E1EDK03/IDDAT"), texts(idoc, "E1EDK03/DATUM"), strict=True))
        assert days == {"002": "20251210", "012": "20251201", "022": "20251201"}
        assert list(texts(idoc, "E1EDKA1/PARVW")) == ["AG", "WE", "RE", "LF"]
        assert list(texts(idoc, "E1EDKT1/E1EDKT2/TDLINE")) == ["First.", "Second."]
        assert values(idoc.findall("E1EDKA1")[1]) == {
            **{"PARVW": "WE", "NAME1": "Muster GmbH", "NAME2": "Wareneingang", "STRAS": "Große Straße 1"},
            **{"ORT01": "München", "PSTLZ": "80331", "LAND1": "DE", "REGIO": "BY"},
        }

    def test_a_line(self) -> None:
        (line,) = written(order(), price_condition="PR00").findall("E1EDP01")

        assert values(line) == {
            **{"POSEX": "000001", "ACTION": "001", "MENGE": "10.5", "MENEE": "MTR", "PMENE": "MTR"},
            **{"VPREI": "1.23", "PEINH": "1", "NETWR": "12.92", "CURCY": "EUR"},
        }
        below = [(child.tag, *values(child).values()) for child in line if len(child)]
        assert below == [
            ("E1EDP02", "001", "PO-12345", "000001"),
            ("E1EDP03", "002", "20251211"),
            ("E1EDP05", "+", "PR00", "1.23", "1", "MTR", "EUR"),
            ("E1EDP20", "10.5", "20251211"),
            ("E1EDP19", "002", "INT-1", "Kabel NYM-J 3x1,5 ⚡"),
            ("E1EDP19", "003", "4006381333931"),
            ("E1EDP19", "001", "AB-123"),
        ]

    def test_without_prices(self) -> None:
        idoc = written(order(), send_prices=False, number_documents=False)

        assert not {"VPREI", "PEINH", "NETWR"} & set(values(idoc.findall("E1EDP01")[0]))
        assert list(texts(idoc, "E1EDS01/SUMID")) == ["001"]
        assert idoc.find("EDI_DC40/DOCNUM") is None

    @pytest.mark.parametrize(
        ("price", "currency", "places", "expected"),
        [
            ("1.2345", "EUR", None, ("123.45", "100")),
            ("1.2300", "EUR", None, ("1.23", "1")),
            ("0.0010", "EUR", None, ("0.01", "10")),
            ("0", "EUR", None, ("0", "1")),
            ("12.50", "JPY", None, ("125", "10")),
            ("1.2345", "KWD", None, ("12.345", "10")),
            ("1.2345", "EUR", 4, ("1.2345", "1")),
            ("1000000000000.25", "EUR", None, None),
        ],
    )
    def test_a_price_is_exact_in_as_many_places_as_sap_has(self, price, currency, places, expected) -> None:
        what = order({"unit_price": price, "currency": currency, "qty": "1"}, currency=currency)
        if expected is None:
            assert "line 1, unit_price: has more than 15 characters (E1EDP01-VPREI)" in refused(what)
            return
        (line,) = written(what, price_places=places).findall("E1EDP01")

        assert (line.findtext("VPREI"), line.findtext("PEINH")) == expected
        assert Decimal(expected[0]) / Decimal(expected[1]) == Decimal(price)

    def test_the_total_is_that_of_the_lines_as_sap_rounds_them(self) -> None:
        what = order().as_json()
        what["lines"] = [what["lines"][0] | {"line_no": number, "qty": "1", "unit_price": "0.005"} for number in (1, 2)]
        idoc = written(Order.parse(what))

        assert list(texts(idoc, "E1EDP01/NETWR")) == ["0.01", "0.01"]
        assert list(texts(idoc, "E1EDS01/SUMME")) == ["2", "0.02"]

    @given(
        text=st.text(st.sampled_from("<>&\"'] \u00e4\u2028\U0001f600x"), min_size=1, max_size=17).filter(
            str.isprintable
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_every_text_is_read_back(self, text: str) -> None:
        if not text.strip():
            return
        idoc = written(order(external_order_number=text, notes=f"{text}\n{text * 12}"))

        assert idoc.findtext("E1EDK02/BELNR") == text
        said = "".join(
            {"*": "\n", "=": "", "": " "}[line.findtext("TDFORMAT") or ""] + (line.findtext("TDLINE") or "")
            for line in idoc.iterfind("E1EDKT1/E1EDKT2")
        )
        assert said.split("\n") == ["", " ".join(text.split()), " ".join((text * 12).split())]

    def test_a_long_description_is_a_text_of_its_own(self) -> None:
        idoc = written(order({"description": f"{'word ' * 30}\n{'x' * 150}"}), item_text="Z001", language="DE")

        assert idoc.find("E1EDP01/E1EDP19/KTEXT") is None
        assert values(idoc.find("E1EDP01/E1EDPT1") or idoc) == {"TDID": "Z001", "TSSPRAS_ISO": "DE"}
        lines = list(texts(idoc, "E1EDP01/E1EDPT1/E1EDPT2/TDLINE"))
        assert [len(line) for line in lines] == [69, 69, 9, 70, 70, 10]
        marks = [line.findtext("TDFORMAT") for line in idoc.iterfind("E1EDP01/E1EDPT1/E1EDPT2")]
        assert marks == ["*", None, None, "*", "=", "="]

    @pytest.mark.parametrize(
        ("changes", "line", "header", "where"),
        [
            ({}, {}, {"external_order_number": "x" * 36}, "header.external_order_number: has more than 35"),
            ({"reference_from": "order_id"}, {}, {}, None),
            ({}, {}, {"external_order_number": "a\ufffe"}, "header.external_order_number: the character U+FFFE"),
            ({}, {}, {"external_order_number": "\U0001f600" * 18}, "header.external_order_number: has more than 35"),
            ({}, {"internal_sku": "x" * 36}, {}, "line 1, internal_sku: has more than 35"),
            ({}, {"customer_sku_raw": "x" * 36}, {}, "line 1, customer_sku_raw: has more than 35"),
            ({}, {"uom": "PALETTE"}, {}, "line 1, uom: has more than 3"),
            ({"units": {"PALETTE": "PF"}}, {"uom": "PALETTE"}, {}, None),
            ({}, {"qty": "123456789012345.1"}, {}, "line 1, qty: has more than 15"),
            ({}, {"currency": "USD"}, {}, "line 1, currency: differs"),
            ({"customer_number_from": "erp_customer_number"}, {}, {}, None),
            ({"partners_by": "external", "customer_number_from": "ship_to_gln"}, {}, {}, None),
        ],
    )
    def test_what_does_not_fit_is_refused_by_its_name(self, changes, line, header, where) -> None:
        if where is None:
            written(order(line, **header), **changes)
        else:
            assert where in refused(order(line, **header), **changes)

    def test_names_go_on_in_the_next_lines_and_are_never_cut(self) -> None:
        what = order().as_json()
        what["ship_to"] |= {"name": "Erste Zeile mit genau so vielen Wörtern wie hier", "street": "y" * 60}
        what["bill_to"] |= {"region": "Niedersachsen"}
        idoc = written(Order.parse(what))

        assert list(values(idoc.findall("E1EDKA1")[1]).values())[1:6] == [
            *("Erste Zeile mit genau so vielen", "Wörtern wie hier", "Wareneingang"),
            *("y" * 35, "y" * 25),
        ]
        assert idoc.findall("E1EDKA1")[2].find("REGIO") is None
        assert any("region of bill_to" in each for each in idoc_orders05.left_out(Order.parse(what), config()))
        what["ship_to"]["name"] = "x" * 141
        assert "ship_to.name" in refused(Order.parse(what))

    def test_customers_by_three_ways(self) -> None:
        what = order()
        by_number = written(what, customer_number_from="erp_customer_number").find("E1EDKA1")
        external = written(what, partners_by="external").find("E1EDKA1")
        by_gln = written(what, partners_by="gln", customer_number_from="bill_to_gln")

        assert by_number is not None
        assert by_number.findtext("PARTN") == "4711"
        assert external is not None
        assert (external.findtext("PARTN"), external.findtext("LIFNR")) == (None, "c-1")
        assert list(texts(by_gln, "E1EDKA1/E1EDKA3/STDPN")) == ["4012345000009"] * 3
        assert by_gln.find("E1EDKA1/PARTN") is None

    def test_by_soap_each_message_id_is_taken_once(self) -> None:
        document = render(order(), export_path=None, **BY_SOAP)
        root = ElementTree.fromstring(document.content)  # noqa: S314  # our own

        assert root.findtext(".//ARCKEY") == "urn:sap.com:msgid=0123456789abcdef0123456789abcdef"
        assert [child.tag for child in root.iter() if "ORDERS05" in child.tag] == [
            "{urn:sap-com:document:sap:idoc:soap:messages}ORDERS05"
        ]

    @pytest.mark.parametrize(
        ("wrong", "path"),
        [
            ({"partners_by": "gln"}, "customer_number_from"),
            ({"sender_number": "x" * 11}, "sender_number"),
            ({"sap_client": "1"}, "sap_client"),
            ({"file_name": "order.xml"}, "file_name"),
            ({"export_path": None}, "export_path"),
            ({"export_path": "../out"}, "export_path"),
            ({"sap_password": "x"}, "sap_password"),
            ({"mode": "http", "export_path": None, **BY_SOAP, "base_url": None}, "base_url"),
            (BY_SOAP, "export_path"),
            ({**BY_SOAP, "export_path": None, "sap_password": None}, "sap_password"),
            ({**BY_SOAP, "export_path": None, "base_url": "http://sap.example"}, "base_url"),
            ({**BY_SOAP, "export_path": None, "http_path": "sap/../other"}, "http_path"),
            ({**BY_SOAP, "export_path": None, "host": "sftp.example"}, "ack_path"),
            ({**BY_SOAP, "export_path": None, "ack_path": "a", "username": "x"}, "username"),
        ],
    )
    def test_settings_that_cannot_work(self, wrong: dict[str, Any], path: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            config(**wrong)
        assert path in [fault.path for fault in caught.value.faults]


# What comes back


@pytest.mark.parametrize(
    ("content", "status", "number", "code"),
    [
        (aleaud(42, "53", order="0000012345"), ACKED, "0000012345", None),
        (aleaud(42, "53"), ACKED, None, None),
        (aleaud(42, "52", order="12345", STATXT="Credit"), ACKED, "12345", None),
        (aleaud(42, "51", STAMID="VG", STAMNO="204"), REJECTED, None, "51 VG204"),
        *((aleaud(42, status), REJECTED, None, status) for status in ("56", "60", "61", "63", "65", "68")),
        *((aleaud(42, status), RECEIVED, None, None) for status in ("50", "62", "64", "66", "75")),
        (ordrsp("PO-1"), ACKED, "0000012345", None),
        (
            answer("ORDRSP", seg("E1EDK01", BELNR="SO-7"), seg("E1EDK02", QUALF="001", BELNR="PO-1")),
            ACKED,
            "SO-7",
            None,
        ),
        (answer("ORDRSP", seg("E1EDK01", BELNR="PO-1"), seg("E1EDK02", QUALF="001", BELNR="PO-1")), ACKED, None, None),
        (ordrsp("PO-1", item("000010"), item("000020", ACTION="003")), ACKED, "0000012345", None),
        (ordrsp("PO-1", item("000010", ABGRU="01"), item("2", ACTION="003")), REJECTED, "0000012345", "ORDRSP 003"),
        (ordrsp("PO-1", item("000010"), action="003"), REJECTED, "0000012345", "ORDRSP 003"),
    ],
)
def test_what_an_answer_comes_to(content: bytes, status: AckStatus, number: str | None, code: str | None) -> None:
    (found,) = idoc_answers.read(content, config())

    assert (found.status, found.erp_order_id, found.error_code) == (status, number, code)
    assert found.numbered
    assert found.numbered.range_name == config().number_range().name
    assert (found.numbered.number, found.numbered.reference) in ((42, ""), (None, "PO-1"))
    assert idoc_answers.read(content, config(sender_number="OTHER")) == []
    assert idoc_answers.read(content, config(receiver_number="OTHER")) == []


def test_a_status_says_what_is_wrong() -> None:
    told = aleaud(42, "51", STATXT="Sold-to party & not maintained for &", STAPA1="A&B", STAPA2_LNG="1710 <00>")

    (found,) = idoc_answers.read(told, config())
    assert found.message == "Sold-to party A&B not maintained for 1710 <00>"
    (waiting,) = idoc_answers.read(told, config(errors_are_final=False))
    assert (waiting.status, waiting.error_code) == (RECEIVED, None)
    assert "status 51" in waiting.warnings[0]


def test_several_in_one_file_and_zeros_before_a_customer_number() -> None:
    states = [seg("E1STATE", DOCNUM=f"{number:016d}", STATUS="53") for number in (1, 0, 2)]
    other = seg("E1ADHDR", seg("E1STATE", DOCNUM="7", STATUS="53"), MESTYP="INVOIC")
    content = answer("ALEAUD", seg("E1ADHDR", *states, MESTYP="ORDERS"), other, receiver="0000004711")

    found = idoc_answers.read(content, config(sender_number="4711"))
    assert [each.numbered and each.numbered.number for each in found] == [1, 2]
    assert len(idoc_answers.read(content, config(answers_to="4711"))) == 2
    assert idoc_answers.read(content, config(sender_number="4711", number_documents=False)) == []
    assert idoc_answers.read(answer("DESADV"), config()) == []


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        ({"ACTION": "004", "MENGE": "10.500", "VPREI": "1.23"}, []),
        ({"MENGE": "10.5", "MENEE": "MTR", "VPREI": "123.00", "PEINH": "100"}, []),
        ({"ACTION": "002", "MENGE": "8"}, ["Line 1: quantity 8 instead of 10.5."]),
        ({"VPREI": "1.25", "PEINH": "1"}, ["Line 1: price 1.25 for 1 instead of 1.23 for 1."]),
        ({"ACTION": "002"}, ["Line 1: changed."]),
        ({"ACTION": "005"}, ["Line 1: locked."]),
        ({"MENGE": "10.5", "WMENG": "4.000"}, ["Line 1: 4 of 10.5 confirmed."]),
        ({"EDATU": "20251220"}, ["Line 1: delivery on 2025-12-20 instead of 2025-12-11."]),
        ({"EDATU": "00000000", "MENGE": "many", "VPREI": "1,23"}, []),
    ],
)
def test_what_sap_changed_is_told(fields: dict[str, str], warnings: list[str]) -> None:
    (found,) = idoc_answers.read(ordrsp("PO-12345", item("000001", **fields)), config(), lambda _: order())

    assert list(found.warnings) == warnings


def test_what_sap_changed_is_told_without_knowing_the_order() -> None:
    items = [
        item("10", ACTION="002", MENGE="8.000", MENEE="PCE", VPREI="2"),
        item("20", ACTION="003", ABGRT="sold out"),
    ]
    (found,) = idoc_answers.read(ordrsp("PO-1", *items), config())
    assert found.warnings == ("Line 10: changed, quantity 8 PCE, price 2.", "Line 20: rejected: sold out.")


def test_lines_are_told_by_our_numbers_only() -> None:
    (theirs,) = idoc_answers.read(ordrsp("PO-1", item("000010", MENGE="8")), config(), lambda _: order())
    assert theirs.warnings == ()

    named = item("000010", MENGE="8").replace("</E1EDP01>", seg("E1EDP02", QUALF="001", ZEILE="000001") + "</E1EDP01>")
    added = named.replace("<ZEILE>000001", "<ZEILE>000002")
    (ours,) = idoc_answers.read(ordrsp("PO-1", named), config(), lambda _: order())
    (more,) = idoc_answers.read(ordrsp("PO-1", added), config(), lambda _: order())
    assert ours.warnings == ("Line 1: quantity 8 instead of 10.5.",)
    assert more.warnings == ("Line 2: added by SAP.", "Line 1: not confirmed.")


_LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not well-formed XML"),
        (aleaud(1, "53")[:-9], "it is not well-formed XML"),
        (aleaud(1, "53").replace(b'<?xml version="1.0"?>', _LAUGHS.encode()), "it has a document type"),
        (aleaud(1, "53").replace(b"53", b"&b;"), "it is not well-formed XML"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "its encoding is not known"),
        (b"<ORDERS05/>", "it holds no IDoc"),
        (b"<a>" * 17 + b"</a>" * 17, "too many segments"),
        (b"<a>" + b"<b/>" * 100_001 + b"</a>", "too many segments"),
        (b" " * (1024 * 1024 + 1), "bigger than 1 MiB"),
        (b'<ORDERS05><IDOC BEGIN="1"/></ORDERS05>', "no control record"),
        (answer("ORDRSP"), "no E1EDK02"),
        (answer("ALEAUD", seg("E1ADHDR", seg("E1STATE", STATUS="53"))), "names no IDoc"),
        (answer("ALEAUD", seg("E1ADHDR", seg("E1STATE", DOCNUM="1"))), "has no status"),
    ],
)
def test_what_cannot_be_read_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        idoc_answers.read(content, config())
    assert caught.value.code is Code.ACKNOWLEDGEMENT_MALFORMED
    assert reason in caught.value.params["reason"]


GOOD = [
    aleaud(42, "51", STATXT="& wrong", STAPA1="x"),
    ordrsp("PO-1", item("1", ACTION="002", MENGE="1", WMENG="2", EDATU="20260101")),
]


@given(data=st.data())
@settings(max_examples=300, deadline=2000)
def test_a_reader_understands_or_refuses(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(GOOD) | st.binary(max_size=300))
    junk = st.binary(max_size=3) | st.sampled_from(
        [b"<", b"</", b"<!DOCTYPE a>", b"&lt;", b"&#0;", b"<IDOC>", b"\xff\xfe"]
    )
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + data.draw(junk) + content[at + data.draw(st.integers(0, 9)) :]
    try:
        found = idoc_answers.read(content, config(), lambda _: order())
    except DocumentError as error:
        assert error.code is Code.ACKNOWLEDGEMENT_MALFORMED  # noqa: PT017  # or it is understood
        assert re.fullmatch(r"[A-Za-z0-9 ,+-]+", error.params["reason"])  # noqa: PT017
    else:
        for each in found:
            assert all(text.isprintable() for text in (each.erp_order_id or "", each.message or "", *each.warnings))
