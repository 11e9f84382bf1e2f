"""Sealing connections anew with another master key, against reading and saving each with the ORM, on the same rows.

Each row is of an organisation of its own, so that no data key serves two of them. PostgreSQL commits to its disk.

Run from the root: python -m bench.rotation [--rows N]
"""

from __future__ import annotations

import secrets
import sys
import time
from argparse import ArgumentParser
from typing import Final

from bench.durable_postgres import durable_postgres
from bench.encryption import CONFIG
from bench.in_process import application
from bench.measure import Report

SAVED_ROW_BY_ROW: Final = 1000
ROUNDS: Final = 3


def main() -> int:
    """Print the ratio; return 1 when a target is missed."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows
    with durable_postgres(), application():
        return _measure(rows)


def _measure(rows: int) -> int:
    from connectors.services import keys

    _fill(rows)
    ours, row_by_row = [], []
    for _ in range(ROUNDS):
        _exchange_key()
        row_by_row.append(_timed(_save_row_by_row) / SAVED_ROW_BY_ROW)
        ours.append(_timed(keys.rotate) / (rows - SAVED_ROW_BY_ROW))
    seconds = sorted(ours)[ROUNDS // 2]
    report = Report()
    report.at_least("rotation", seconds, floor=sorted(row_by_row)[ROUNDS // 2], floor_name="row-by-row saves", times=8)
    report.under("rotation, a row", seconds, limit=1 / 10_000)
    print(f"{1 / seconds:,.0f} rows/s, each of an organisation of its own")
    return report.exit_code


def _fill(rows: int) -> None:
    from connectors.models import ERPConnection
    from tenants.models import Organization

    organizations = [Organization(slug=f"org-{number}", name=f"Organisation {number}") for number in range(rows)]
    Organization.objects.bulk_create(organizations)
    connections = [ERPConnection(org=org, connector_type="DROPZONE_JSON_V1", name="ERP") for org in organizations]
    for connection in connections:
        connection.write_config(CONFIG)
    ERPConnection.objects.bulk_create(connections, batch_size=1000)


def _exchange_key() -> None:
    from django.conf import settings

    from connectors.fields import key_ring

    settings.ENCRYPTION_PREVIOUS_KEYS = [settings.ENCRYPTION_MASTER_KEY]
    settings.ENCRYPTION_MASTER_KEY = secrets.token_hex(32)
    key_ring.cache_clear()


def _save_row_by_row() -> None:
    from connectors.models import ERPConnection

    for connection in ERPConnection.objects.order_by("pk")[:SAVED_ROW_BY_ROW]:
        connection.write_config(connection.read_config())
        connection.save()


def _timed(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]  # one of the two
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
