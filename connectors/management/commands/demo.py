"""The whole journey of one order, on real parts: what `make demo` shows."""

from __future__ import annotations

import json
import logging
import re
import secrets
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone

from connectors.management.base import step_line
from connectors.management.demo_server import DemoFailed, drop, running, submit
from connectors.models import ERPConnection, ERPExport, ExportStatus
from connectors.order import utc_text
from connectors.services import acknowledgements, connections, diagnosis
from connectors.services.errors import ActiveConnectorExists
from erpconfig.paths import BASE_DIR
from tenants.management.base import OperatorCommand
from tenants.models import ApiKey, Organization, Role

SLUG: Final = "acme"
LOGIN: Final = "admin"
KEY_NAME: Final = "demo"
CONNECTION_NAME: Final = "Demo dropzone"
EXPORT_PATH: Final = "acme/outbox"
ACK_PATH: Final = "acme/acks"
ORDER_FILE: Final = BASE_DIR / "docs" / "examples" / "order.json"

_DELIVERY_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.1


class Command(OperatorCommand):
    help = (
        "Set up the organisation acme with a filesystem dropzone, push docs/examples/order.json through the HTTP API, "
        "play the ERP that acknowledges it, and show what happened. May be run again and again."
    )
    examples = ("",)
    exit_codes = ((0, "the order was delivered and acknowledged"), (1, "something went wrong; the reason is on stderr"))

    def handle(self, **_: Any) -> None:
        try:
            self._run()
        except (httpx2.HTTPError, OSError) as error:
            raise DemoFailed(f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}") from None

    def _run(self) -> None:
        logging.getLogger().setLevel(logging.WARNING)  # what is shown here reads better without log lines in between
        call_command("migrate", interactive=False, verbosity=0)
        self._heading("Set-up")
        organization = self._organization()
        self._login()
        connection = self._connection(organization)

        self._heading("Connection test: everything an export needs, without an export")
        self._test(connection)

        with self._api_key(organization) as token, running() as url:
            self._heading("An order arrives at the API, a worker delivers it")
            export = self._push(url, token)
            self._show_file(export)

            self._heading("The ERP answers")
            self._acknowledge(export)
        self._heading("Timeline")
        self._timeline(export)
        self._next_steps()

    # What has to be there

    def _organization(self) -> Organization:
        organization, created = Organization.objects.get_or_create(slug=SLUG, defaults={"name": "Acme GmbH"})
        self._say("organisation", f"{organization.name} ({SLUG}), {'created' if created else 'exists'}")
        return organization

    def _login(self) -> None:
        users = get_user_model()._default_manager
        if users.filter(username=LOGIN).exists():
            self._say("admin login", f"{LOGIN} exists; new password: manage.py changepassword {LOGIN}")
            return
        password = secrets.token_urlsafe(12)
        users.create_superuser(username=LOGIN, email="", password=password)
        self._say("admin login", f"{LOGIN} / {password}   <- shown only now")

    @contextmanager
    def _api_key(self, organization: Organization) -> Iterator[str]:
        """Yield a token: that of the lasting key on the first run, later on that of a key for this run alone."""
        if not ApiKey.objects.of(organization).filter(name=KEY_NAME).exists():
            _, token = ApiKey.objects.issue(org=organization, role=Role.ADMIN, name=KEY_NAME)
            self._say("API key", f"{token}   <- shown only now")
            yield token
            return
        in_an_hour = timezone.now() + timedelta(hours=1)
        key, token = ApiKey.objects.issue(
            org=organization, role=Role.OPS, name=f"{KEY_NAME} run", expires_at=in_an_hour
        )
        another = f"manage.py create_api_key {SLUG} --role ADMIN --name NAME"
        self._say("API key", f"{KEY_NAME} exists; another one: {another}")
        try:
            yield token
        finally:
            ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())

    def _connection(self, organization: Organization) -> ERPConnection:
        for path in (EXPORT_PATH, ACK_PATH):
            _folder(path).mkdir(parents=True, exist_ok=True)
        existing = ERPConnection.objects.of(organization).filter(name=CONNECTION_NAME).first()
        try:
            connection = existing or connections.create(
                organization,
                self.actor,
                connector_type="DROPZONE_JSON_V1",
                name=CONNECTION_NAME,
                config={"mode": "filesystem", "export_path": EXPORT_PATH, "ack_path": ACK_PATH},
            )
            connections.activate(connection, self.actor, replace=False)
        except ActiveConnectorExists:
            raise DemoFailed(f"{SLUG} has another active connection. Disable it in the admin and try again.") from None
        self._say("connection", f"{CONNECTION_NAME}, {'exists' if existing else 'created'}; its config is encrypted")
        self._say("dropzone", str(_folder(EXPORT_PATH)))
        return connection

    # What happens

    def _test(self, connection: ERPConnection) -> None:
        report = diagnosis.test(connection, self.actor, on_step=lambda step: self.stdout.write(step_line(step)))
        if not report.success:
            raise DemoFailed(f"The connection test failed with {report.code}.")

    def _push(self, url: str, token: str) -> ERPExport:
        order = json.loads(ORDER_FILE.read_bytes())
        order["order_id"] += f"-{timezone.now():%Y%m%d-%H%M%S-%f}"
        export_id, answer = submit(url, token, order)
        self._say("POST /api/v1/exports", answer)
        export = ERPExport.objects.get(pk=export_id)
        _wait_for(export, ExportStatus.SENT)
        self._say("status", f"{export.status} after {_seconds(export.created_at, export.sent_at)}")
        return export

    def _show_file(self, export: ERPExport) -> None:
        path = _folder(EXPORT_PATH) / export.filename
        self._say("file", str(path))
        self.stdout.write(textwrap.indent(_pretty(path.read_text("utf-8")), "    "))

    def _acknowledge(self, export: ERPExport) -> None:
        name = f"ack_{export.filename}"
        answer = {"status": "ACKED", "erp_order_id": "SO-100042", "processed_at": utc_text(timezone.now())}
        drop(_folder(ACK_PATH), name, json.dumps(answer).encode())
        self._say("file", str(_folder(ACK_PATH) / name))
        self.stdout.write(textwrap.indent(json.dumps(answer, indent=2), "    "))
        acknowledgements.poll(export.connection_id)
        _wait_for(export, ExportStatus.ACKED)
        self._say("status", f"{export.status}, {export.erp_order_id} in the ERP")

    # What is shown

    def _timeline(self, export: ERPExport) -> None:
        self._event(export.created_at, "accepted", f"{export.order_id} from {export.actor_label}")
        for attempt in export.attempt_log.all():
            self._event(attempt.started_at, f"attempt {attempt.number}", f"ended as {attempt.outcome}")
        receipt = export.receipt or {}
        proof = f"{receipt.get('size')} bytes, SHA-256 {str(receipt.get('sha256'))[:16]}…"
        self._event(export.sent_at, "sent", proof)
        self._event(export.finished_at, "acknowledged", f"as {export.erp_order_id}")

    def _event(self, moment: datetime | None, what: str, details: str) -> None:
        at = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}" if moment else " " * 12
        self.stdout.write(f"  {at}  {what:<14} {details}")

    def _next_steps(self) -> None:
        self._heading("Next")
        self._say("make run", "web server and worker at http://127.0.0.1:8000")
        self._say("admin", f"http://127.0.0.1:8000/admin/ as {LOGIN}")
        self._say("API, Swagger UI", "http://127.0.0.1:8000/api/v1/docs")
        curl = 'curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8000/api/v1/exports'
        self._say("curl", curl)
        self._say("command", f"manage.py push_order docs/examples/order.json --org {SLUG} --wait")

    def _heading(self, text: str) -> None:
        self.stdout.write(f"\n{text}\n{'-' * len(text)}")

    def _say(self, what: str, text: str) -> None:
        self.stdout.write(f"  {what:<22} {text}")
        self.stdout.flush()


def _folder(path: str) -> Path:
    return Path(settings.DROPZONE_ROOT) / path


def _wait_for(export: ERPExport, status: ExportStatus) -> None:
    deadline = time.monotonic() + _DELIVERY_SECONDS
    on_the_way = (ExportStatus.PENDING, ExportStatus.SENDING, ExportStatus.SENT)
    while export.status != status and export.status in on_the_way and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        export.refresh_from_db()
    if export.status != status:
        reason = (export.error or {}).get("message", "")
        raise DemoFailed(f"The order is {export.status} and not {status}. {reason}".rstrip())


def _pretty(text: str) -> str:
    """Return a JSON text with line breaks and every number as it stands there."""
    marked = json.loads(text, parse_float=lambda digits: f"\0{digits}\0")
    return re.sub(r'"\\u0000(.*?)\\u0000"', r"\1", json.dumps(marked, indent=2, ensure_ascii=False))


def _seconds(start: datetime, end: datetime | None) -> str:
    return f"{(end - start).total_seconds():.2f} s" if end else "an unknown time"
