"""A page of fifty connections, in CPU time of the serving process, against a stock ModelViewSet on the same rows.

Ours decrypts fifty configurations, leaves their secrets out and adds the latest test of each. The floor is
`bench.stock`: every column but the encrypted one, and a cursor.

Run from the root: python -m bench.list
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Final

from bench.in_process import Caller, application
from bench.measure import Report, medians

if TYPE_CHECKING:
    from connectors.models import ERPConnection
    from tenants.models import Organization

CONNECTIONS: Final = 50
CONFIG: Final = {
    "mode": "sftp",
    "host": "sftp.erp.example.com",
    "port": 22,
    "username": "orders",
    "password": "correct horse battery staple",
    "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
    "export_path": "/in/orders",
    "ack_path": "/out/answers",
}


def main() -> int:
    """Print the ratio; return 1 when the target is missed."""
    with application():
        from django.test import override_settings

        with override_settings(ROOT_URLCONF="bench.stock"):
            return _measure()


def _measure() -> int:
    from bench import stock
    from tenants.models import ApiKey, Organization, Role

    org = Organization.objects.create(slug="acme", name="Acme GmbH")
    active = connections_of(org)
    _, token = ApiKey.objects.issue(org=org, role=Role.INTEGRATOR, name="bench")
    ours, theirs = Caller(f"Bearer {token}"), stock.StockCaller(stock.sign_in(active))

    def list_ours() -> bytes:
        return ours("GET", "/api/v1/connectors")

    def list_theirs() -> bytes:
        return theirs("GET", "/stock/connectors")

    for call in (list_ours, list_theirs):
        assert len(json.loads(call())["results"]) == CONNECTIONS
    seconds, floor = medians(list_ours, list_theirs, rounds=100, clock=time.process_time)
    report = Report()
    report.at_most(f"list {CONNECTIONS}, CPU", seconds, floor=floor, floor_name="stock ModelViewSet", times=0.5)
    return report.exit_code


def connections_of(org: Organization) -> ERPConnection:
    """Fill the organisation's page and return its active connection; each was tested, as all that are in use are."""
    from connectors.adapters.mock import MockConnector
    from connectors.models import ConnectionTest, TestState
    from connectors.services import connections
    from connectors.testing import fakes
    from tenants.actors import Actor

    report = MockConnector().test_connection(MockConnector.Config(), fakes.context()).as_json()
    actor = Actor.system("bench")
    for number in range(CONNECTIONS):
        connection = connections.create(
            org,
            actor,
            connector_type="DROPZONE_JSON_V1",
            config=CONFIG,
            status="DISABLED" if number else "ACTIVE",
        )
        ConnectionTest.objects.create(
            org=org,
            connection=connection,
            connector_type=connection.connector_type,
            state=TestState.FINISHED,
            success=True,
            result=report,
        )
    return connection


if __name__ == "__main__":
    sys.exit(main())
