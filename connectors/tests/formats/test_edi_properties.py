"""Whatever an order holds, a second implementation reads it back; whatever bytes come are read or refused."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mockedi import edifact as partners_edifact
from mockedi import x12 as partners_x12

from connectors.adapters.edifact_orders import EdifactConfig
from connectors.adapters.x12_850 import X12Config
from connectors.codes import Code
from connectors.exceptions import ConfigurationError, DocumentError
from connectors.formats import edifact, edifact_answers, edifact_orders, x12, x12_850, x12_answers
from connectors.order import Order
from connectors.results import AckStatus, Document
from connectors.testing import sample_orders

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pydifact.segmentcollection import Interchange

PAIR = {
    "mode": "filesystem",
    "export_path": "out",
    "sender_id": "US",
    "recipient_id": "THEM",
    "customer_number_from": "id",
}
WHEN = {"created_at": datetime(2026, 1, 15, 9, 30, tzinfo=UTC), "export_id": UUID(int=7)}
SERVICE = "+:?'*~>^"


def edifact_config(**changes: Any) -> EdifactConfig:
    return EdifactConfig.parse(PAIR | {"character_set": "UNOY"} | changes)


def x12_config(**changes: Any) -> X12Config:
    return X12Config.parse(PAIR | {"character_set": "utf8"} | changes)


def order(**header: Any) -> Order:
    changed = sample_orders.complete().as_json()
    changed["lines"][1]["unit_price"] = changed["lines"][2]["qty"] = "3.40"
    changed["header"] |= header
    return Order.parse(changed)


def as_edifact(what: Order, number: int | None = 42, **changes: Any) -> Document:
    return edifact_orders.render(what, edifact_config(**changes), number=number, **WHEN)


def as_x12(what: Order, number: int | None = 42, **changes: Any) -> Document:
    return x12_850.render(what, x12_config(**changes), number=number, **WHEN)


def refused(act: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        act(*args, **kwargs)
    return caught.value.message


class TestEdifact:
    @given(text=st.text(st.sampled_from(SERVICE + "a \u00e4"), min_size=1, max_size=30).filter(str.strip))
    @settings(max_examples=60, deadline=None)
    def test_every_value_is_read_back_by_others(self, text: str) -> None:
        what = order(external_order_number=text)
        content = as_edifact(what).content.decode()

        partners = partners_edifact.parse(content)
        (message,) = [message for group in partners.groups for message in group.messages]
        assert next(segment for segment in message.segments if segment.tag == "BGM").get(2) == text
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has no directory of this version, and says so
            (ours,) = Interchange.from_str(content).get_messages()
        assert next(segment for segment in ours.segments if segment.tag == "BGM")[1] == text
        (own,) = edifact.parse(content.encode())[0].messages
        assert next(own.all("BGM")).get(1) == text

    @pytest.mark.parametrize("directory", ["D.96A", "D.01B"])
    def test_counts_and_references_agree(self, directory: str) -> None:
        content = as_edifact(order(), directory=directory, line_breaks="crlf").content.decode()
        segments = content.split("\r\n")[:-1]

        assert segments[0] == "UNA:+.? '"
        assert segments[1].split("+")[5] == segments[-1].rstrip("'").split("+")[2] == "00000000000042"
        assert segments[-2] == f"UNT+{len(segments) - 3}+1'"
        assert segments[2].endswith({"D.96A": ":D:96A:UN:EAN008'", "D.01B": ":D:01B:UN:EAN010'"}[directory])

    @pytest.mark.parametrize(
        ("settings", "header", "field"),
        [
            ({"character_set": "UNOA"}, {}, "header.notes"),
            ({"character_set": "UNOC"}, {"notes": "5 €"}, "header.notes"),
            ({}, {"external_order_number": "x" * 36}, "external_order_number"),
        ],
    )
    def test_what_cannot_be_expressed_is_refused_by_its_name(self, settings: Any, header: Any, field: str) -> None:
        assert field in refused(as_edifact, order(**header), **settings)

    def test_letters_are_replaced_where_that_is_wanted(self) -> None:
        what = order(notes="Für 5 € “hier”")
        what = what.model_copy(update={"lines": what.lines[1:]})

        content = as_edifact(what, character_set="UNOA", transliterate=True).content

        assert b'FTX+AAI+++FUER 5 EUR "HIER"\'' in content
        assert content == content.upper()

    def test_other_service_characters(self) -> None:
        content = as_edifact(order(external_order_number="a+b|c"), service_characters="|+,! ~").content.decode()

        assert content.startswith("UNA|+,! ~UNB+UNOY|4+")
        assert "BGM+220+a!+b!|c+9~" in content
        assert "QTY+21|3,4|MTR" in content

    @pytest.mark.parametrize(
        "wrong", [{"service_characters": "::.? '"}, {"service_characters": "ab.? '"}, {"file_name": "x"}]
    )
    def test_settings_that_cannot_work(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError):
            edifact_config(**wrong)


class TestX12:
    @pytest.mark.parametrize("version", ["004010", "005010"])
    def test_widths_counts_and_numbers(self, version: str) -> None:
        content = as_x12(order(), version=version).content.decode()
        segments = content.split("~")[:-1]

        assert len(segments[0]) + 1 == x12.ISA_LENGTH
        assert segments[0].split("*")[12] == version[:5]
        assert segments[-3] == f"SE*{len(segments) - 4}*0001"
        assert (segments[-2], segments[-1]) == ("GE*1*42", "IEA*1*000000042")
        read = partners_x12.parse(content)
        assert [message.code for group in read.groups for message in group.messages] == ["850"]
        assert all(not segment.endswith("*") for segment in segments[1:])

    @pytest.mark.parametrize("separator", "*>^~")
    def test_a_separator_in_a_value_is_refused(self, separator: str) -> None:
        assert "external_order_number" in refused(as_x12, order(external_order_number=f"a{separator}b"))

    @pytest.mark.parametrize(
        ("settings", "header", "field"),
        [
            ({}, {"external_order_number": "x" * 23}, "external_order_number"),
            ({"character_set": "extended"}, {}, "customer.name"),
            ({"character_set": "basic"}, {"external_order_number": "po"}, "external_order_number"),
        ],
    )
    def test_what_cannot_be_expressed_is_refused_by_its_name(self, settings: Any, header: Any, field: str) -> None:
        assert field in refused(as_x12, order(**header), **settings)

    def test_an_amount_is_never_rounded(self) -> None:
        assert "unit_price" in refused(as_x12, sample_orders.complete())
        price = Decimal("1234567890123.4567")
        what = order()
        line = what.lines[0].model_copy(update={"unit_price": price})
        assert b"*1234567890123.4567*" in as_x12(what.model_copy(update={"lines": (line,)})).content


# What comes back

CONTRL = "UNB+UNOC:3+THEM+US+260115:0930+1'UNH+1+CONTRL:D:3:UN'UCI+00000000000042+US+THEM+{}'UNT+3+1'UNZ+1+1'"
CONTRL_OF_MESSAGE = (
    "UNB+UNOC:3+THEM+US+260115:0930+1'UNH+1+CONTRL:D:3:UN'UCI+42+US+THEM+7'UCM+1+ORDERS:D:96A:UN+{}'UNT+4+1'UNZ+1+1'"
)
APERAK = "UNB+UNOC:3+THEM+US+260115:0930+1'UNH+1+APERAK:D:96A:UN'BGM+312+1+{}'RFF+ON:PO-1'{}UNT+{}+1'UNZ+1+1'"
ORDRSP = (
    "UNB+UNOC:3+THEM+US+260115:0930+1'UNH+1+ORDRSP:D:96A:UN'BGM+231+R1+{}'RFF+ON:PO-1'RFF+VN:SO-9'{}UNT+{}+1'UNZ+1+1'"
)
ISA = "ISA*00*          *00*          *ZZ*THEM           *ZZ*US             *260115*0930*^*00501*000000001*0*P*>~"
TA1 = ISA + "TA1*000000042*260115*0930*{}~IEA*0*000000001~"
FA = ISA + "GS*FA*THEM*US*20260115*0930*1*X*005010~ST*{0}*0001~AK1*PO*42~{1}SE*{2}*0001~GE*1*1~IEA*1*000000001~"
PR = (
    ISA
    + "GS*PR*THEM*US*20260115*0930*1*X*005010~ST*855*0001~BAK*00*{0}*PO-1*20260115****SO-9~{1}SE*{2}*0001~"
    + "GE*1*1~IEA*1*000000001~"
)

RECEIVED, ACKED, REJECTED = AckStatus.RECEIVED, AckStatus.ACKED, AckStatus.REJECTED


@pytest.mark.parametrize(
    ("content", "accepted_by", "status", "number"),
    [
        (CONTRL.format("8"), "syntax", RECEIVED, None),
        (CONTRL.format("7"), "response", RECEIVED, None),
        (CONTRL.format("7"), "syntax", ACKED, None),
        (CONTRL.format("4+12"), "response", REJECTED, None),
        (CONTRL.format("4+26"), "response", RECEIVED, None),
        (CONTRL_OF_MESSAGE.format("4+29"), "response", REJECTED, None),
        (APERAK.format("29", "", 4), "response", RECEIVED, None),
        (APERAK.format("29", "", 4), "application", ACKED, None),
        (APERAK.format("9", "ERC+12'", 5), "response", REJECTED, None),
        (ORDRSP.format("29", "", 5), "response", ACKED, "SO-9"),
        (ORDRSP.format("27", "", 5), "response", REJECTED, "SO-9"),
        (ORDRSP.format("9+RE", "", 5), "response", REJECTED, "SO-9"),
        (ORDRSP.format("9", "LIN+1+7'", 6), "response", REJECTED, "SO-9"),
        (TA1.format("A*000"), "syntax", RECEIVED, None),
        (TA1.format("R*025"), "response", RECEIVED, None),
        (TA1.format("R*024"), "response", REJECTED, None),
        (FA.format("997", "AK2*850*0001~AK5*A~AK9*A*1*1*1~", 6), "syntax", ACKED, None),
        (FA.format("997", "AK9*A*1*1*1~", 4), "response", RECEIVED, None),
        (FA.format("997", "AK2*850*0001~AK5*R*5~AK9*R*1*1*0~", 6), "response", REJECTED, None),
        (FA.format("999", "AK2*850*0001~IK5*R*23~AK9*R*1*1*0~", 6), "response", RECEIVED, None),
        (FA.format("997", "AK9*R*1*1*0*19~", 4), "response", RECEIVED, None),
        (PR.format("AT", "", 3), "response", ACKED, "SO-9"),
        (PR.format("RJ", "", 3), "response", REJECTED, "SO-9"),
        (PR.format("AH", "", 3), "response", RECEIVED, "SO-9"),
        (PR.format("AE", "PO1*1*1*EA~ACK*IR*1*EA~", 5), "response", REJECTED, "SO-9"),
    ],
)
def test_what_an_answer_comes_to(content: str, accepted_by: str, status: AckStatus, number: str | None) -> None:
    is_x12 = content.startswith("ISA")
    read, config = (x12_answers.read, x12_config) if is_x12 else (edifact_answers.read, edifact_config)

    (found,) = read(content.encode(), config(accepted_by=accepted_by))  # type: ignore[arg-type]

    assert (found.status, found.erp_order_id) == (status, number)
    assert found.numbered
    assert found.numbered.range_name.endswith("US>THEM")
    assert (found.numbered.number, found.numbered.reference) in ((42, ""), (None, "PO-1"))
    assert read(content.replace("US ", "WE ").replace("+US+", "+WE+").encode(), config()) == []  # type: ignore[arg-type]


GOOD = [CONTRL.format("7"), ORDRSP.format("29", "LIN+1+3'", 6), APERAK.format("29", "", 4), TA1.format("A*000")]
GOOD += [FA.format("997", "AK9*A*1*1*1~", 4), PR.format("AT", "PO1*1*1*EA~ACK*IA~", 5)]


@pytest.mark.parametrize("read", [edifact_answers.read, x12_answers.read])
@given(data=st.data())
@settings(max_examples=300, deadline=2000)
def test_a_reader_understands_or_refuses(read: Any, data: st.DataObject) -> None:
    config = edifact_config() if read is edifact_answers.read else x12_config()
    content = data.draw(st.sampled_from([each.encode() for each in GOOD]) | st.binary(max_size=300))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        junk = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"'", b"~", b"?", b"+", b"*", b"UNH", b"UNA", b"ISA"])
        )
        content = content[:at] + junk + content[at + data.draw(st.integers(0, 9)) :]
    try:
        found = read(content, config)
    except DocumentError as error:
        assert error.code is Code.ACKNOWLEDGEMENT_MALFORMED  # noqa: PT017  # or it is understood
        assert re.fullmatch(r"[A-Za-z0-9 ,+]+", error.params["reason"])  # noqa: PT017
    else:
        for each in found:
            assert all(text.isprintable() for text in (each.erp_order_id or "", each.message or "", *each.warnings))
