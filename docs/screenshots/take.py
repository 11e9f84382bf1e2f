"""Takes the screenshots of this folder from the real application: `make screenshots`.

Everything runs in a temporary folder: a PostgreSQL of its own, web server and worker, an OpenSSH server as the partner,
and chromium, which looks at the pages in light and dark, at a desk and on a telephone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
CHROMIUM: Final = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PASSWORD: Final = secrets.token_urlsafe(16)
SIZES: Final = {"desk": {"width": 1280, "height": 900}, "telephone": {"width": 400, "height": 850}}


@contextmanager
def application() -> Iterator[str]:
    """Run the application on a database of its own; yield its address."""
    sys.path.insert(0, str(HERE.parents[1]))
    from erpconfig.embedded_postgres import Cluster

    with tempfile.TemporaryDirectory(prefix="erp-connector-screenshots-") as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "postgres"
        home.mkdir(mode=0o711)
        cluster = Cluster(home=home, durable=False)
        os.environ |= {
            "ENV_FILE": "",
            "DATABASE_URL": cluster.ensure_running(),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ENCRYPTION_MASTER_KEY": secrets.token_hex(32),
            "DROPZONE_ROOT": f"{folder}/dropzone",
            "DOCUMENT_STORAGE": f"{folder}/documents",
            "EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
            "ALLOWED_HOSTS": "127.0.0.1",
            "HTTPS": "false",
            "LOG_LEVEL": "ERROR",
            "DJANGO_ALLOW_ASYNC_UNSAFE": "true",  # playwright's loop lives in this thread
            "DJANGO_SETTINGS_MODULE": "erpconfig.settings",
        }
        try:
            import django

            django.setup()
            from connectors.management.demo_server import running
            from tenants import scope

            scope.enter(scope.EVERYTHING)
            with running() as url:
                yield url
        finally:
            cluster.stop()


def seed(partner: Any) -> dict[str, Any]:
    """Fill the database with what there is to see; return the connections by name."""
    from django.contrib.auth.models import User

    from connectors.services import connections, diagnosis
    from tenants.actors import Actor
    from tenants.models import Organization

    user = User.objects.create_superuser("anna", password=PASSWORD)
    actor = Actor.user(user)
    made = {}
    for slug, name, title, changes in (
        ("acme", "Acme GmbH", "Warehouse Berlin", {}),
        ("globex", "Globex AG", "Partner of Globex", {"host_key": None}),
        (
            "initech",
            "Initech Ltd",
            "Initech's drop",
            {"host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"},
        ),
    ):
        org = Organization.objects.create(slug=slug, name=name)
        connection = connections.create(
            org, actor, connector_type="DROPZONE_JSON_V1", name=title, config=partner.config(**changes)
        )
        diagnosis.test(connection, actor)
        made[slug] = connection
    _live_for_two_days(made["acme"], actor)
    return made


def _live_for_two_days(connection: Any, actor: Any) -> None:
    """Give a connection a past: checks, an edit, orders, and credentials with a last day."""
    from django.utils import timezone

    from connectors.models import ConnectionTest
    from connectors.services import connections, diagnosis, exports
    from connectors.testing import sample_orders

    now = timezone.now()
    report = connection.tests.get().result
    ConnectionTest.objects.bulk_create(
        ConnectionTest(
            org=connection.org,
            connection=connection,
            connector_type=connection.connector_type,
            subject="CHECK",
            revision=1,
            actor_kind="SYSTEM",
            actor_label="scheduled check",
            state="FINISHED",
            success=hour not in (9, 10),
            code="CONNECTION_TIMEOUT" if hour in (9, 10) else "",
            latency_ms=5000 if hour in (9, 10) else 60 + hour * 37 % 90,
            started_at=now - timedelta(hours=hour),
            result=report,
        )
        for hour in range(1, 47)
    )
    connections.change(
        connection, actor, config={"timeout_s": 20}, credentials_expire_on=(now + timedelta(days=12)).date()
    )
    connection.refresh_from_db()
    diagnosis.test(connection, actor)
    for number in range(1, 4):
        exports.submit(
            connection.org, actor, sample_orders.complete(f"SO-10{number}"), idempotency_key=f"screenshot-{number}"
        )


def take(url: str, connections: dict[str, Any]) -> None:
    """Look at every page in every way and write what is seen into this folder."""
    from playwright.sync_api import sync_playwright

    page_of = "/admin/connectors/erpconnection/{}/change/"
    pages = {
        "connection": page_of.format(connections["acme"].pk),
        "host-key-unknown": page_of.format(connections["globex"].pk),
        "host-key-mismatch": page_of.format(connections["initech"].pk),
        "connections": "/admin/connectors/erpconnection/",
        "overview": "/admin/",
    }
    ways = [(theme, place) for theme in ("light", "dark") for place in SIZES]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for theme, place in ways:
            context = browser.new_context(
                base_url=url, viewport=SIZES[place], color_scheme=theme, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto("/admin/")
            page.get_by_label("Username").fill("anna")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            for name, address in pages.items():
                if name == "connection" or (theme == "light") == (place == "desk"):
                    page.goto(address)
                    page.screenshot(path=HERE / f"{name}-{place}-{theme}.png", full_page=name == "connection")
            context.close()
        browser.close()


def main() -> None:
    """Take them all."""
    with application() as url:
        from connectors.tests.peers.openssh import OpenSSH

        with tempfile.TemporaryDirectory(prefix="erp-connector-partner-") as folder:
            Path(folder).chmod(0o755)
            with OpenSSH(folder=Path(folder)) as partner:
                take(url, seed(partner))


if __name__ == "__main__":
    main()
