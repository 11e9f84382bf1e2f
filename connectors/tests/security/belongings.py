"""Everything an organisation can own, one of each, with a word in every text that occurs nowhere else.

Who adds an address with a new kind of id, or an admin page of a new model, adds one here; the tests that walk the URL
table say so when it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import connection as database
from django.db import models

from connectors.models import ERPExport, ExportAttempt
from connectors.services import connections, diagnosis, documents, exports, revisions, webhooks
from connectors.testing import sample_orders
from connectors.tests.rows import an_acknowledgement, an_export, an_invitation
from tenants import scope
from tenants.actors import Actor
from tenants.models import ApiKey, AuditEvent, Membership, Organization, Role, ServiceAccount

HOW = "add one to `Belongings.of` in connectors/tests/security/belongings.py"


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """What one organisation owns."""

    org: Organization
    word: str
    """Stands in every text of the organisation and nowhere else."""
    rows: dict[str, models.Model]
    """One row of each kind, by the name that the place of its id has in the addresses of the API."""
    others: tuple[models.Model, ...]
    """Rows that have no id in any address of the API."""

    @classmethod
    def of(cls, word: str) -> Belongings:
        """Make an organisation that owns one of everything."""
        org = Organization.objects.create(slug=f"{word}-org", name=f"{word} GmbH", digest_email=f"{word}@mail.test")
        actor = Actor.system(f"{word} administrator")
        member = Membership.objects.create(
            user=User.objects.create_user(f"{word}-person", email=f"{word}@mail.test", is_staff=True),
            org=org,
            role=Role.ADMIN,
        )
        connection = connections.create(
            org,
            actor,
            connector_type="MOCK",
            name=f"{word} ERP",
            config={"account": word, "api_key": f"{word}-secret"},
        )
        connections.change(connection, actor, config={"environment": f"{word}-2"})
        revisions.stage(connection, actor, {"api_key": f"{word}-next"})
        webhook, _ = webhooks.create(org, actor, name=f"{word} shop", url=f"https://{word}.test/hook")
        export, _ = exports.submit(org, actor, sample_orders.complete(f"{word}-1"), idempotency_key=f"{word}-key")
        document = exports.preview(org, sample_orders.complete(f"{word}-1"))
        ERPExport.objects.filter(pk=export.pk).update(
            filename=document.filename,
            document_name=documents.store(org.pk, document),
            document_sha256=document.sha256,
            document_size=document.size,
            document_media_type=document.media_type,
        )
        failed = an_export(
            connection,
            "FAILED",
            order_id=f"{word}-2",
            filename=f"{word}.json",
            error={"code": "REMOTE_ERROR", "message": word, "hint": ""},
        )
        attempt = ExportAttempt.objects.create(
            org=org, export=failed, number=1, started_at=failed.created_at, outcome="FAILED", error=failed.error
        )
        key, _ = ApiKey.objects.issue(org=org, role=Role.ADMIN, name=f"{word} key")
        connection.refresh_from_db()
        return cls(
            org=org,
            word=word,
            rows={
                "connection_id": connection,
                "export_id": export,
                "test_id": diagnosis.test(connection, actor),
                "acknowledgement_id": an_acknowledgement(connection, name=f"ack_{word}.json"),
                "webhook_id": webhook,
                "delivery_id": webhook.deliveries.first(),
                "key_id": key,
                "account_id": ServiceAccount.objects.create(org=org, name=f"{word} program", role=Role.OPS),
                "member_id": member,
                "invitation_id": an_invitation(org, email=f"{word}-guest@mail.test", invited_by=f"{word} inviter"),
            },
            others=(org, failed, attempt, member.user, AuditEvent.objects.of(org).first()),
        )

    @property
    def ids(self) -> dict[str, str]:
        """Return what fills the places of an address."""
        return {place: str(row.pk) for place, row in self.rows.items()}

    def row(self, model: type[models.Model]) -> models.Model | None:
        """Return the row of this kind, if there is one."""
        return next((row for row in (*self.rows.values(), *self.others) if isinstance(row, model)), None)

    def betrayed_by(self, text: str, *, said: str = "") -> list[str]:
        """Return what `text` tells of this organisation beyond what the question `said` itself."""
        long_ids = {str(row.pk) for row in (*self.rows.values(), *self.others) if not str(row.pk).isdigit()}
        return [each for each in (self.word, *long_ids) if each in text and each not in said]

    def fingerprint(self) -> dict[str, Any]:
        """Return a digest of all rows that belong to it, by table, and of the jobs that are about it."""
        digests = {}
        with scope.everything(), database.cursor() as cursor:
            for table, condition in _tables_of_an_organization(cursor):
                cursor.execute(
                    f"SELECT count(*), md5(string_agg(row::text, '|' ORDER BY row::text)) FROM {table} AS row"  # noqa: S608
                    f" WHERE {condition}",
                    {"org": self.org.pk, "ids": [f"%{row.pk}%" for row in self.rows.values()]},
                )
                digests[table] = cursor.fetchone()
        return digests


def _tables_of_an_organization(cursor: Any) -> Iterator[tuple[str, str]]:
    cursor.execute(
        "SELECT table_name FROM information_schema.columns"
        "  JOIN information_schema.tables USING (table_name, table_schema)"
        " WHERE column_name = 'org_id' AND table_schema = current_schema AND table_type = 'BASE TABLE'"
    )
    yield from [(f'"{table}"', "org_id = %(org)s") for (table,) in cursor.fetchall()]
    yield '"organization"', "id = %(org)s"
    yield '"auth_user"', "id IN (SELECT user_id FROM membership WHERE org_id = %(org)s)"
    yield '"procrastinate_jobs"', "args::text LIKE ANY (%(ids)s)"
