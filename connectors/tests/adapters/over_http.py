"""What every connector to an ERP over HTTP goes through: from the front door to the number, and each way to fail.

class TestAcme(FrontDoor):
    connector_type = "ACME"

    @pytest.fixture
    def erp(self): return AcmeErp()

    def config(self): return {"username": "shop", "password": "s3cret"}
    def orders_of(self, erp): return erp.orders
    def refuse(self, erp): erp.password = "another"
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sized
from typing import Any, ClassVar

import pytest

from connectors.models import ERPConnection, ERPExport
from connectors.services import connections, delivery
from connectors.testing import sample_orders
from connectors.tests.peers.https import HttpServer
from connectors.tests.peers.imitation import Imitation, says

SECRET = "s3cret-and-never-shown"
TRACEBACK = f"<html><pre>Traceback (most recent call last):\n  File 'x.py'\nKeyError: '{SECRET}'</pre></html>"


@pytest.mark.usefixtures("host_names")
class FrontDoor(ABC):
    """The shared tests; a subclass says which connector, which ERP and which order."""

    connector_type: ClassVar[str]
    path: ClassVar[str] = ""
    """Below which the interface lies."""
    number: ClassVar[str] = "SO-1000"
    """What the ERP calls its first order."""
    final_status: ClassVar[str] = "ACKED"
    """What becomes of an export that the ERP takes."""

    # Hooks.

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the configuration, without the address; secrets of SECRET where they may be anything."""

    @abstractmethod
    def orders_of(self, erp: Imitation) -> Sized:
        """Return the orders that the ERP has."""

    @abstractmethod
    def refuse(self, erp: Imitation) -> None:
        """Let the ERP refuse our credentials from now on."""

    @abstractmethod
    def double(self, erp: Imitation) -> None:
        """Put a second order of the same origin into the ERP."""

    def order(self) -> dict[str, Any]:
        """Return an order that the ERP takes."""
        return sample_orders.complete("SO-1").as_json()

    # The ERP, the connection and the way to push an order.

    @pytest.fixture(autouse=True)
    def _no_haste(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.EGRESS_ALLOWED_NETWORKS = ["127.0.0.0/8"]
        monkeypatch.setattr("random.random", lambda: 1.0)

    @pytest.fixture
    def http(self, erp: Imitation, start_https: Callable[..., HttpServer]) -> HttpServer:
        return start_https(erp)

    @pytest.fixture
    def connect(self, acme: Any, actor: Any, http: HttpServer, authority: Any) -> Callable[..., ERPConnection]:
        """Make the connection; arguments change its configuration."""

        def connect(**changes: Any) -> ERPConnection:
            base = {"base_url": http.url(path=self.path), "ca_bundle": authority.certificate}
            base |= {"timeout_s": 1, "settle_s": 0} | self.config() | changes
            return connections.create(acme, actor, connector_type=self.connector_type, config=base)

        return connect

    @pytest.fixture
    def push(self, api: Any) -> Callable[..., ERPExport]:
        """Send an order through the API, and let the worker try so many times."""

        def push(connection: ERPConnection, times: int = 1, **changes: Any) -> ERPExport:
            created = api.submit(self.order() | changes)
            assert created.status_code == 202, created.json()
            for _ in range(times):
                ERPExport.objects.update(next_attempt_at=None)
                ERPConnection.objects.update(retry_at=None)
                delivery.drain(connection.pk)
            return ERPExport.objects.get(pk=created.json()["id"])

        return push

    # What has to hold.

    def test_from_the_front_door_to_the_number(self, connect, push, erp):
        export = push(connect())

        assert (export.status, export.erp_order_id, export.attempts) == (self.final_status, self.number, 1), (
            export.error
        )
        assert len(self.orders_of(erp)) == 1

    def test_a_lost_reply_makes_no_second_order(self, connect, push, erp):
        erp.faults.append(erp.drop)

        export = push(connect(), times=2)

        assert (export.status, export.erp_order_id) == (self.final_status, self.number), export.error
        assert len(self.orders_of(erp)) == 1
        assert export.receipt["already_delivered"]

    def test_a_request_that_got_lost_is_sent_again(self, connect, push, erp):
        erp.faults.append(erp.cut)

        export = push(connect(), times=2)

        assert (export.status, export.erp_order_id) == (self.final_status, self.number), export.error
        assert len(self.orders_of(erp)) == 1

    def test_an_order_that_is_made_after_we_stopped_waiting(self, connect, push, erp):
        released = threading.Event()
        erp.faults.append(erp.later(released))
        connection = connect()
        export = push(connection)
        assert (export.status, export.outcome_unknown) == ("PENDING", True)

        released.set()
        until = time.monotonic() + 10
        while not len(self.orders_of(erp)):
            assert time.monotonic() < until, "the order was never made"
            time.sleep(0.01)
        ERPExport.objects.update(next_attempt_at=None)
        ERPConnection.objects.update(retry_at=None)
        delivery.drain(connection.pk)

        export.refresh_from_db()
        assert (export.status, export.erp_order_id) == (self.final_status, self.number), export.error
        assert len(self.orders_of(erp)) == 1

    def test_found_twice_is_for_a_person(self, connect, push, erp):
        erp.faults.append(erp.drop)
        connection = connect()
        export = push(connection)
        self.double(erp)

        ERPExport.objects.update(next_attempt_at=None)
        ERPConnection.objects.update(retry_at=None)
        delivery.drain(connection.pk)

        export.refresh_from_db()
        assert (export.status, export.error["code"]) == ("UNCONFIRMED", "FOUND_TWICE")

    def test_credentials_that_are_refused_pause_the_connection(self, connect, push, erp):
        connection = connect()
        self.refuse(erp)

        export = push(connection)

        assert (export.status, len(self.orders_of(erp))) == ("PENDING", 0)
        assert ERPConnection.objects.get().health == "AUTH_FAILED"
        assert SECRET not in json.dumps(export.error)

    def test_a_limit_is_kept(self, connect, push, erp):
        erp.faults.append(says(429, "", Retry_After="7"))

        export = push(connect())

        assert (export.status, export.error["code"]) == ("PENDING", "RATE_LIMITED")

    def test_a_page_with_a_traceback_is_not_repeated(self, connect, push, erp):
        erp.faults.append(says(500, TRACEBACK, Content_Type="text/html"))

        export = push(connect())

        assert (export.status, export.outcome_unknown) == ("PENDING", True)
        assert SECRET not in json.dumps(export.error)
        assert "Traceback" not in json.dumps(export.error)

    def test_a_page_for_an_answer_is_no_order(self, connect, push, erp):
        erp.faults.append(says(200, "<html>Log in, please</html>", Content_Type="text/html"))

        export = push(connect(), times=2)

        assert (export.status, export.erp_order_id) == (self.final_status, self.number), export.error
        assert len(self.orders_of(erp)) == 1
