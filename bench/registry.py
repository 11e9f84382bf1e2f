"""From a connector type to its adapter, and from a cold row to an adapter that is ready to send.

Cold: the row comes from a throw-away PostgreSQL on this machine over a pooled connection, and the key ring is built
anew, so that key derivation, decryption and validation are all paid for. Importing Django and connecting are not.

Run from the root: python -m bench.registry
"""

from __future__ import annotations

import os
import sys

import django
from django.core.management import call_command

from bench.measure import Report, medians
from erpconfig.testing.postgres import TestRun

CONFIG = {
    "mode": "sftp",
    "host": "sftp.erp.example.com",
    "username": "orders",
    "password": "correct horse battery staple",
    "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
    "export_path": "/in/orders",
    "ack_path": "/out/answers",
}


def main() -> int:
    """Print the ratios; return 1 when a target is missed."""
    run = TestRun()
    try:
        run.prepare_environment()
        os.environ |= {"DJANGO_SETTINGS_MODULE": "erpconfig.settings", "LOG_LEVEL": "ERROR"}
        django.setup()
        call_command("migrate", verbosity=0)
        report = Report()
        _measure_lookup(report)
        _measure_cold_row(report)
        return report.exit_code
    finally:
        _disconnect()
        run.end()


def _measure_lookup(report: Report) -> None:
    from connectors.registry import registry

    plain = dict(registry.connectors)
    seconds, floor = medians(lambda: registry.get("DROPZONE_JSON_V1"), lambda: plain["DROPZONE_JSON_V1"])
    report.at_most("registry lookup", seconds, floor=floor, floor_name="dict lookup", times=10)
    report.under("registry lookup", seconds, limit=1e-6)


def _measure_cold_row(report: Report) -> None:
    from django.db import connection

    from connectors.fields import key_ring
    from connectors.models import ERPConnection
    from connectors.services import configurations, connections
    from tenants.actors import Actor
    from tenants.models import Organization

    organization = Organization.objects.create(slug="bench", name="Bench")
    row = connections.create(
        organization, Actor.system("bench"), connector_type="DROPZONE_JSON_V1", config=CONFIG, status="DISABLED"
    )

    def from_cold_row() -> object:
        key_ring.cache_clear()
        return configurations.load(ERPConnection.objects.get(pk=row.pk))

    def bare_select() -> object:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM erp_connection WHERE id = %s", [row.pk])
            return cursor.fetchone()

    seconds, floor = medians(from_cold_row, bare_select)
    report.at_most("cold row to adapter", seconds, floor=floor, floor_name="bare SELECT", times=20)
    report.under("cold row to adapter", seconds, limit=10e-3)


def _disconnect() -> None:
    from django.db import connections as databases

    databases.close_all()
    if (pool := getattr(databases["default"], "pool", None)) is not None:
        pool.close()


if __name__ == "__main__":
    sys.exit(main())
