"""The database itself writes down what a webhook is to be told: in the transaction of the change, whoever makes it."""

import json
import threading
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction

from connectors.models import ERPExport, Webhook, WebhookDelivery, WebhookEvent
from connectors.services.pooling import give_back
from connectors.tests.rows import a_connection, an_export
from connectors.tests.workers.processes import wait_for
from tenants import scope


def a_webhook(org, **columns):
    webhook = Webhook(org=org, **{"name": "shop", "host": "shop.test"} | columns)
    webhook.write_config({"url": "https://shop.test/hook", "secret": "whsec_"})
    webhook.save(force_insert=True)
    return webhook


def told(webhook):
    return list(webhook.deliveries.order_by("occurred_at").values_list("event", flat=True))


@pytest.fixture
def webhook(acme):
    return a_webhook(acme)


class TestWhichEvents:
    @pytest.mark.parametrize(
        ("status", "event"),
        [
            ("SENT", "export.sent"),
            ("ACKED", "export.acknowledged"),
            ("REJECTED", "export.rejected"),
            ("FAILED", "export.failed"),
            ("UNCONFIRMED", "export.unconfirmed"),
            ("CANCELLED", "export.cancelled"),
            ("SENDING", None),
        ],
    )
    def test_each_state_that_is_entered(self, link, webhook, status, event):
        export = an_export(link)

        for _ in range(2):  # entered once
            ERPExport.objects.filter(pk=export.pk).update(status=status)

        assert told(webhook) == ["export.accepted", *filter(None, [event])]

    def test_back_to_pending_is_none(self, link, webhook):
        export = an_export(link, "SENDING")

        ERPExport.objects.update(status="PENDING")
        export.refresh_from_db()
        export.save()

        assert told(webhook) == ["export.accepted"]

    def test_what_waits_for_a_person_from_the_beginning(self, link, webhook):
        an_export(link, held=True)

        assert told(webhook) == ["export.accepted", "export.held"]

    def test_what_comes_to_wait_for_a_person(self, link, webhook):
        an_export(link)

        ERPExport.objects.update(held=True)
        ERPExport.objects.update(held=False)
        ERPExport.objects.update(held=True)

        assert told(webhook) == ["export.accepted", "export.held", "export.held"]

    def test_there_are_no_others(self, link, webhook):
        an_export(link, held=True)
        for status in ("SENDING", "SENT", "ACKED", "REJECTED", "FAILED", "UNCONFIRMED", "CANCELLED"):
            ERPExport.objects.update(status=status)

        assert set(told(webhook)) == set(WebhookEvent.values)


class TestWhoIsTold:
    def test_who_wants_it_and_is_enabled(self, acme, globex, link, webhook):
        picky, deaf, foreign = (
            a_webhook(acme, events=["export.sent"]),
            a_webhook(acme, enabled=False),
            a_webhook(globex),
        )

        ERPExport.objects.filter(pk=an_export(link).pk).update(status="SENT")

        assert told(webhook) == ["export.accepted", "export.sent"]
        assert told(picky) == ["export.sent"]
        assert (told(deaf), told(foreign)) == ([], [])

    def test_what_is_rolled_back_was_never_told(self, link, webhook):
        export = an_export(link)
        with transaction.atomic():
            ERPExport.objects.filter(pk=export.pk).update(status="SENT")
            transaction.set_rollback(True)

        assert told(webhook) == ["export.accepted"]

    def test_a_message_belongs_to_the_organisation_of_its_webhook_and_export(self, globex, link, webhook):
        delivery = WebhookDelivery.objects.filter(export=an_export(link))

        for change in ({"org": globex}, {"webhook": a_webhook(globex)}):
            with pytest.raises(IntegrityError, match="erp_webhook_delivery"), transaction.atomic():
                delivery.update(**change)


@pytest.mark.django_db(transaction=True)
def test_a_webhook_that_is_deleted_at_this_moment_is_in_nobodys_way(acme):
    link, webhook = a_connection(acme), a_webhook(acme)

    def submit():
        an_export(link)
        give_back()

    submitting = threading.Thread(target=scope.everything()(submit))
    with transaction.atomic():
        webhook.delete()
        submitting.start()
        wait_for(waits_for_a_lock, seconds=10)
    submitting.join(10)

    assert ERPExport.objects.count() == 1
    assert not WebhookDelivery.objects.exists()


def waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


def test_the_message_tells_how_it_was_then(link, webhook):
    export = an_export(link, order_id="SO-1")
    error = {"code": "REJECTED_BY_ERP", "message": 'The ERP "said" no – ünïque.', "hint": "h", "erp_message": "x"}
    ERPExport.objects.update(status="SENT", erp_order_id="4711", filename="so.json")
    ERPExport.objects.update(status="REJECTED", error=error)

    first, second, third = (json.loads(row.body) for row in webhook.deliveries.order_by("occurred_at"))

    assert webhook.deliveries.earliest("occurred_at").body.startswith('{"type":"export.accepted","timestamp":"')
    assert list(first) == ["type", "timestamp", "data"]
    moment = datetime.fromisoformat(first["timestamp"])
    assert (moment.tzinfo, moment) == (UTC, webhook.deliveries.earliest("occurred_at").occurred_at)
    assert first["data"] == {
        "id": str(export.pk),
        "order_id": "SO-1",
        "status": "PENDING",
        "held": False,
        "connector_id": str(link.pk),
        "erp_order_id": None,
        "filename": None,
        "retry_of": None,
        "error": None,
    }
    assert second["data"] == first["data"] | {"status": "SENT", "erp_order_id": "4711", "filename": "so.json"}
    assert third["data"]["error"] == {"code": "REJECTED_BY_ERP", "message": error["message"]}
