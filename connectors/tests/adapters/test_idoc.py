"""SAP_IDOC_ORDERS05: in a folder (OpenSSH), by HTTP (an imitation of SAP's two services, and mock-sap)."""

from __future__ import annotations

import functools
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import mocksap
import pytest

from connectors.adapters.sap_idoc_orders05 import SapIdocConnector
from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    DocumentError,
    OutcomeUnknown,
    RateLimited,
    RejectedByERP,
    TemporaryError,
    UnsupportedFeature,
)
from connectors.formats import idoc
from connectors.models import AcknowledgementRecord, DocumentNumber, ERPConnection, ERPExport
from connectors.order import Order
from connectors.port import Guarantee
from connectors.services import acknowledgements, connections, delivery
from connectors.testing import sample_orders
from connectors.testing.contract import ConnectorContract, Provocation
from connectors.testing.contract.conduct import ConductContract
from connectors.testing.contract.diagnosis import DiagnosisContract
from connectors.testing.fakes import context, export_context
from connectors.tests.adapters.over_http import SECRET, FrontDoor
from connectors.tests.adapters.provocations import Failures, in_a_folder, over_http
from connectors.tests.peers.https import Authority, HttpServer
from connectors.tests.peers.idoc_sap import IdocSap, aleaud, fault, item, ordrsp, read_file
from connectors.tests.peers.imitation import Imitation, says

BETWEEN = {
    "sender_port": "SHOP",
    "sender_number": "SHOP",
    "receiver_port": "SAPS4D",
    "receiver_number": "S4DCLNT100",
    "customer_number_from": "id",
}
BY_HTTP = {"mode": "http", "sap_client": "100", "sap_username": "IDOC", "sap_password": SECRET, **BETWEEN}


def small(order_id: str = "SO-1") -> dict[str, Any]:
    """Return an order with amounts that fit."""
    order = sample_orders.complete(order_id).as_json()
    order["lines"] = [order["lines"][0]]
    return order


def unwritable() -> Order:
    return Order.parse(sample_orders.minimal().as_json() | {"order_id": "O" * 60})


class TestInAFolder(ConnectorContract):
    connector_class = SapIdocConnector
    uses_network = False
    out_of_reach = frozenset({AuthenticationFailed, OutcomeUnknown, RateLimited})  # a folder of this machine answers

    @pytest.fixture(autouse=True)
    def folders(self, tmp_path: Path) -> None:
        self.root = tmp_path
        for name in ("out", "ack"):
            (tmp_path / name).mkdir()

    def dropzone_root(self) -> Path:
        return self.root

    def complete_order(self) -> Order:
        return Order.parse(small("SO-2025/0042"))

    def config(self) -> dict[str, Any]:
        return {"mode": "filesystem", "export_path": "out", "ack_path": "ack", **BETWEEN}

    def far_end(self) -> Mapping[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "out").iterdir()}

    def broken_configs(self) -> list[dict[str, Any]]:
        unmapped = {"only_known_units": True, "units": {"PCE": "PALETTE"}}
        return [self.config() | {"export_path": "nowhere"}, self.config() | unmapped]

    def failures(self) -> Failures:
        return in_a_folder(self, self.root / "out", "export_path") | {
            DocumentError: lambda: Provocation(
                order=unwritable(), config=self.config() | {"reference_from": "order_id"}
            )
        }


@pytest.mark.usefixtures("host_names")
class TestByHttp(ConductContract, DiagnosisContract):
    """What the contract asks of a far end that only says that it took an IDoc."""

    connector_class = SapIdocConnector

    @pytest.fixture(autouse=True)
    def server(self, start_https: Callable[..., HttpServer], authority: Authority, tmp_path: Path) -> None:
        self.erp, self.ca, self.root = IdocSap(password=SECRET), authority.certificate, tmp_path
        self.http = start_https(self.erp)
        (tmp_path / "ack").mkdir()

    def dropzone_root(self) -> Path:
        return self.root

    def config(self) -> dict[str, Any]:
        return {"base_url": self.http.url(), "ca_bundle": self.ca, "settle_s": 0, "ack_path": "ack", **BY_HTTP}

    def far_end(self) -> Mapping[str, bytes]:
        return self.erp.idocs

    def broken_configs(self) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = [
            {"sap_password": "another-secret"},
            {"http_path": "sap/bc/nothing"},
            {"ack_path": "nowhere"},
        ]
        return [self.config() | change for change in changes]

    def failures(self) -> Failures:
        return over_http(self, self.erp.faults, self.erp.drop, unwritable())

    def test_says_which_service_answers(self) -> None:
        steps = {step.name: step.detail for step in self._test(self._context()).steps}

        assert steps["read"] == "sap/bc/srt/idoc answers. So does sap/public/ping."
        assert steps["ack_path"] == "ack: 0 waiting"
        assert [exchange.command for exchange in self.http.requests] == ["GET", "GET"]

    @pytest.mark.parametrize(
        ("answer", "service", "kind"),
        [
            (fault("Server", "IDoc SOAP Namespace - Violation (MSGID_LOCKED)"), "soap", TemporaryError),
            (fault("Client", "Violation (SOAP_MSGID_INITIAL)"), "soap", RejectedByERP),
            (fault("Client", "Violation (MULTIPLE_IDOCS_NOT_ALLOWED)"), "soap", RejectedByERP),
            (fault("Client", "XML is not well-formed"), "soap", RejectedByERP),
            (fault("Server", "short dump"), "soap", OutcomeUnknown),
            ((200, fault("Server", "short dump").body), "soap", OutcomeUnknown),
            ((200, "<html>ok</html>"), "soap", OutcomeUnknown),
            ((202, ""), "soap", None),
            ((403, "<html>Forbidden</html>"), "soap", AuthenticationFailed),
            ((404, "not here"), "idoc_xml", AuthenticationFailed),
            ((200, "<HTML><form>user</form></HTML>"), "idoc_xml", OutcomeUnknown),
            ((200, "<html><title>IDoc-XML-inbound ok</title></html>"), "idoc_xml", None),
            ((200, ""), "idoc_xml", None),
            ((400, "<html><title>Wrong control record</title></html>"), "idoc_xml", RejectedByERP),
            ((503, ""), "idoc_xml", OutcomeUnknown),
        ],
    )
    def test_what_an_answer_means(self, answer: Any, service: str, kind: type[ConnectorError] | None) -> None:
        status, body = answer if isinstance(answer, tuple) else (answer.status, answer.body)
        self.erp.faults.append(says(status, body, Content_Type="text/xml"))
        parsed = self.connector_class.Config.parse(self.config() | {"http_service": service})

        def export() -> None:
            self._connector().export(sample_orders.minimal(), parsed, self._export_context())

        if kind is None:
            export()
        else:
            with pytest.raises(ConnectorError) as caught:
                export()
            assert type(caught.value) is kind

    def test_a_region_without_a_place_is_told(self) -> None:
        order = small() | {"bill_to": small()["bill_to"] | {"region": "Niedersachsen"}}

        result = self._connector().export(Order.parse(order), self._parsed(), self._export_context())

        assert any("bill_to" in warning for warning in result.warnings)

    def test_what_has_no_number_is_never_sent(self) -> None:
        with pytest.raises(UnsupportedFeature):
            self._connector().export(
                sample_orders.minimal(), self._parsed(), replace(self._export_context(), number=None)
            )
        assert not self.erp.idocs

    def test_promises_what_the_service_can_keep(self) -> None:
        def promised(**changes: Any) -> Guarantee:
            connector = SapIdocConnector()
            return connector.guarantee_of(connector.Config.parse(self.config() | changes))

        assert promised() is Guarantee.HARD
        assert promised(http_service="idoc_xml") is Guarantee.AT_MOST_ONCE
        assert promised(http_service="idoc_xml", receiver_refuses_duplicates=True) is Guarantee.HARD


class BySoap(FrontDoor):
    """Through the front door; SAP gives no number before it answers."""

    connector_type = "SAP_IDOC_ORDERS05"
    number = ""
    final_status = "SENT"
    settings: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def erp(self) -> IdocSap:
        return IdocSap(password=SECRET)

    def config(self) -> dict[str, Any]:
        return BY_HTTP | self.settings

    def orders_of(self, erp: Imitation) -> Mapping[str, bytes]:
        assert isinstance(erp, IdocSap)
        return erp.idocs

    def refuse(self, erp: Imitation) -> None:
        assert isinstance(erp, IdocSap)
        erp.password = "another"

    def double(self, erp: Imitation) -> None:
        raise NotImplementedError

    def order(self) -> dict[str, Any]:
        return small()


class TestBySoap(BySoap):
    test_found_twice_is_for_a_person = None  # nobody looks

    def test_a_lost_reply_makes_no_second_order(self, connect, push, erp):
        erp.faults.append(erp.drop)

        export = push(connect(), times=2)

        assert (export.status, export.attempts, len(erp.idocs)) == ("SENT", 2, 1)


class TestToThePlainService(BySoap):
    settings: ClassVar[dict[str, Any]] = {"http_service": "idoc_xml"}
    test_found_twice_is_for_a_person = None  # nobody looks
    test_a_request_that_got_lost_is_sent_again = None  # nobody knows that it got lost
    test_an_order_that_is_made_after_we_stopped_waiting = None  # as below
    test_a_page_for_an_answer_is_no_order = None  # as below

    def test_a_lost_reply_makes_no_second_order(self, connect, push, erp):
        erp.faults.append(erp.drop)

        export = push(connect(), times=3)

        assert (export.status, len(erp.idocs)) == ("UNCONFIRMED", 1)

    def test_where_sap_refuses_duplicates_it_is_sent_again(self, connect, push, erp):
        erp.faults.append(erp.drop)

        export = push(connect(receiver_refuses_duplicates=True), times=2)

        first, second = erp.idocs.values()
        assert (export.status, first) == ("SENT", second)


@pytest.mark.sftp
class TestAnswers:
    """SAP reads the orders and answers into a folder of an SFTP server."""

    @pytest.fixture(autouse=True)
    def _loopback_is_allowed(self, settings):
        settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]

    @pytest.fixture
    def connect(self, acme, actor, openssh, inbox) -> Callable[..., ERPConnection]:
        def connect(**changes: Any) -> ERPConnection:
            config = {**openssh.config(), **BETWEEN, **changes}
            given = {name: value for name, value in config.items() if value is not None}
            return connections.create(acme, actor, connector_type="SAP_IDOC_ORDERS05", config=given)

        return connect

    @pytest.fixture
    def push(self, api) -> Callable[..., ERPExport]:
        def push(connection: ERPConnection, order_id: str = "SO-1") -> ERPExport:
            created = api.submit(small(order_id), key=order_id)
            assert created.status_code == 202, created.json()
            delivery.drain(connection.pk)
            return ERPExport.objects.get(pk=created.json()["id"])

        return push

    def test_come_back_with_the_number(self, connect, push, openssh, inbox, api):
        connection = connect()
        assert api.post(f"connectors/{connection.pk}/test").status_code == 200
        first, second = push(connection, "SO-1"), push(connection, "SO-2")
        idocs = [read_file((inbox / export.filename).read_bytes()) for export in (first, second)]
        assert [int(each.findtext("EDI_DC40/DOCNUM")) for each in idocs] == [1, 2]

        (openssh.home / "ack" / "a.xml").write_bytes(aleaud(2, "51", STATXT="Sold-to party & unknown", STAPA1="c-1"))
        (openssh.home / "ack" / "b.xml").write_bytes(aleaud(1, "53", order="0000012345"))
        (openssh.home / "ack" / "c.xml").write_bytes(aleaud(9, "53", order="1"))
        assert acknowledgements.poll(connection.pk) == 2

        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.status, first.erp_order_id) == ("ACKED", "0000012345")
        assert (second.status, second.error["erp"]["message"]) == ("REJECTED", "Sold-to party c-1 unknown")
        assert sorted(path.name for path in (openssh.home / "ack").iterdir()) == ["c.xml", "processed"]

    def test_tell_what_sap_changed(self, connect, push, openssh):
        connection = connect()
        export = push(connection)
        line = item("000001", ACTION="002", MENGE="8", MENEE="MTR")
        (openssh.home / "ack" / "r.xml").write_bytes(ordrsp("PO-12345", line))

        assert acknowledgements.poll(connection.pk) == 1

        export.refresh_from_db()
        assert (export.status, export.erp_order_id) == ("ACKED", "0000012345")
        assert export.warnings[-1] == "Line 1: quantity 8 instead of 10.5."

    def test_that_make_no_sense_are_put_aside(self, connect, push, openssh, monkeypatch):
        monkeypatch.setattr("connectors.transports.drop_answers.QUIET_SECONDS", 0)
        connection = connect()
        export = push(connection)
        laughs = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
        (openssh.home / "ack" / "x.xml").write_bytes(laughs)

        assert acknowledgements.poll(connection.pk) == 0

        export.refresh_from_db()
        assert export.status == "SENT"
        assert "document type" in AcknowledgementRecord.objects.get().error["message"]
        assert (openssh.home / "ack" / "error" / "x.xml").exists()

    def test_to_orders_by_http_are_fetched_by_sftp(self, connect, push, openssh, start_https, authority):
        erp = IdocSap(password=SECRET)
        by_http = {"base_url": start_https(erp).url(), "ca_bundle": authority.certificate, **BY_HTTP}
        connection = connect(**by_http, export_path=None, http_service="idoc_xml", timeout_s=2)
        erp.faults.append(erp.drop)
        export = push(connection)
        ERPExport.objects.update(next_attempt_at=None)
        delivery.drain(connection.pk)
        export.refresh_from_db()
        assert export.status == "UNCONFIRMED"

        (openssh.home / "ack" / "a.xml").write_bytes(aleaud(1, "53", order="12345"))
        assert acknowledgements.poll(connection.pk) == 1

        export.refresh_from_db()
        assert (export.status, export.erp_order_id, len(erp.idocs)) == ("ACKED", "12345", 1)

    def test_a_preview_and_what_cannot_be_written_use_up_no_number(self, connect, push, api):
        connection = connect(reference_from="order_id")
        preview = api.post("exports/preview", {"order": small("SO-0")})
        wrong, last = push(connection, "O" * 60), push(connection, "SO-2")

        assert b"<DOCNUM>0000000000000000</DOCNUM>" in preview.content
        assert (wrong.status, wrong.error["code"]) == ("FAILED", str(Code.DOCUMENT_INVALID))
        assert list(DocumentNumber.objects.values_list("number", "export_id")) == [(1, last.pk)]


class TestMockSap:
    """A peer that nobody here wrote: it files what it is sent, and writes an ORDERS05 of its own."""

    @pytest.fixture
    def server(self) -> Iterator[str]:
        server = mocksap.make_server(mocksap.Config(port=0, basic_auth=f"IDOC:{SECRET}", csrf=False, quiet=True))
        threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()

    def test_takes_an_idoc_and_we_read_its_own(self, server):
        connector = SapIdocConnector()
        by_http = {"base_url": server, "allow_plain_http": True, "http_service": "idoc_xml", "http_path": "sap/bc/idoc"}
        config = connector.Config.parse(BY_HTTP | by_http)
        order, attempt = Order.parse(small()), export_context()

        assert connector.test_connection(config, context()).success
        connector.export(order, config, attempt)

        with urlopen(f"{server}/_mock/idocs") as listing:  # noqa: S310  # a server of ours
            (filed,) = json.load(listing)["results"]
        assert (filed["idoctyp"], filed["mestyp"], filed["status"]) == ("ORDERS05", "ORDERS", "53")
        refused = connector.Config.parse(BY_HTTP | by_http | {"sap_password": "another"})
        with pytest.raises(AuthenticationFailed):
            connector.export(order, refused, export_context())

        ask = Request(f"{server}/sap/bc/idoc/generate?format=xml", data=b'{"SalesOrder": "4712"}')  # noqa: S310  # as above
        ask.add_header("Authorization", f"Basic {b64encode(f'IDOC:{SECRET}'.encode()).decode()}")
        with urlopen(ask) as answer:  # noqa: S310  # as above
            (read,) = idoc.parse(answer.read())
        assert [line.get("POSEX") for line in read.all("E1EDP01")] == ["000010"]
