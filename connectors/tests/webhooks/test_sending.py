"""Messages on their way: signed, in order, at least once, again after a failure, and no receiver at another's cost."""

import json
import threading
from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone
from standardwebhooks import Webhook as Verifier

from connectors import standard_webhooks
from connectors.models import ERPExport, Installation, Webhook, WebhookDelivery
from connectors.services import keys, webhook_sending, webhooks
from connectors.services.crews import Crew
from connectors.services.webhook_sending import AT_ONCE, LEASE, run_next
from connectors.tests.rows import a_connection, an_export
from tenants.models import AuditEvent


def send_all():
    while run_next():
        pass


def answering(*statuses, **headers):
    """Return an answer with one status after the other; the last one stays."""
    left = list(statuses)

    def answer(request):
        request.reply(left.pop(0) if len(left) > 1 else left[0], **headers)

    return answer


def in_the_future(monkeypatch, **later):
    """Let the clock of the application run ahead."""
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(**later))


def types(server):
    return [json.loads(request.body)["type"] for request in server.requests]


class TestAMessage:
    def test_arrives_signed_and_is_logged(self, receiver, subscribe, link):
        server = receiver()
        _, secret = subscribe(server)
        export = an_export(link, order_id="SO-1")

        send_all()

        (request,) = server.requests
        delivery = WebhookDelivery.objects.get()
        assert Verifier(secret).verify(request.body, request.headers)["data"]["id"] == str(export.pk)
        assert (request.headers["webhook-id"], request.body.decode()) == (str(delivery.pk), delivery.body)
        assert (delivery.state, delivery.attempts, delivery.next_attempt_at) == ("DELIVERED", 1, None)
        (answer,) = delivery.answers
        assert (answer["status"], answer["code"]) == (200, None)
        assert delivery.finished_at

    def test_those_of_a_webhook_go_in_the_order_of_events(self, receiver, subscribe, link):
        server = receiver()
        subscribe(server)
        export = an_export(link)
        for status in ("SENDING", "SENT", "ACKED"):
            ERPExport.objects.filter(pk=export.pk).update(status=status)

        send_all()

        assert types(server) == ["export.accepted", "export.sent", "export.acknowledged"]

    def test_nothing_leaves_a_restored_database(self, receiver, subscribe, link):
        server = receiver()
        subscribe(server)
        an_export(link)
        Installation.objects.update(name="another one")

        assert run_next() is False
        assert server.requests == []

    def test_only_into_the_networks_of_its_organisation(self, receiver, subscribe, acme, link):
        server = receiver()
        subscribe(server)
        acme.egress_networks = ["10.0.0.0/8"]
        acme.save()
        an_export(link)

        send_all()

        assert WebhookDelivery.objects.get().answers[0]["code"] == "EGRESS_DENIED"
        assert server.connections == 0


class TestSecrets:
    def test_after_a_rotation_both_sign_for_a_day(self, receiver, subscribe, actor, link, monkeypatch):
        server = receiver()
        webhook, old = subscribe(server)
        new = webhooks.rotate_secret(webhook, actor)
        an_export(link)
        send_all()
        in_the_future(monkeypatch, hours=25)
        an_export(link)
        send_all()

        first, second = (request.headers["webhook-signature"].split() for request in server.requests)
        for secret in (old, new):
            assert Verifier(secret).verify(server.requests[0].body, server.requests[0].headers)
        assert (len(first), len(second)) == (2, 1)
        webhook.refresh_from_db()
        assert webhook_sending.valid_secrets(webhook.read_config()) == (new,)

    def test_none_follows_to_another_url(self, receiver, subscribe, actor, link):
        before, after = receiver(), receiver()
        webhook, old = subscribe(before)
        webhooks.rotate_secret(webhook, actor)
        an_export(link)

        _, new = webhooks.change(webhook, actor, url=after.url(path="/other"))
        send_all()

        (request,) = after.requests
        assert new not in (None, old)
        assert len(request.headers["webhook-signature"].split()) == 1
        assert Verifier(new).verify(request.body, request.headers)
        assert before.requests == []

    def test_a_new_master_key_takes_them_along(self, receiver, subscribe, link, settings):
        server = receiver()
        _, secret = subscribe(server)
        new = override_settings(
            ENCRYPTION_MASTER_KEY="fedcba9876543210" * 4, ENCRYPTION_PREVIOUS_KEYS=[settings.ENCRYPTION_MASTER_KEY]
        )

        with new:
            assert keys.rotate().remaining == 0
        with new, override_settings(ENCRYPTION_PREVIOUS_KEYS=[]):
            an_export(link)
            send_all()

        (request,) = server.requests
        assert Verifier(secret).verify(request.body, request.headers)

    def test_the_same_url_keeps_it(self, receiver, subscribe, actor):
        server = receiver()
        webhook, secret = subscribe(server)

        row, new = webhooks.change(webhook, actor, url=server.url(path="/hook"), name="other")

        assert (new, row.read_config()["secret"], row.name) == (None, secret, "other")


class TestAfterAFailure:
    def test_the_same_bytes_come_again_with_the_same_id(self, receiver, subscribe, link, monkeypatch):
        server = receiver(answering(500, 200))
        _, secret = subscribe(server)
        export = an_export(link)
        send_all()
        ERPExport.objects.filter(pk=export.pk).update(error={"code": "X"})
        assert run_next() is False
        in_the_future(monkeypatch, seconds=6)

        send_all()

        first, second = server.requests
        assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
        assert Verifier(secret).verify(second.body, second.headers)
        assert [answer["status"] for answer in WebhookDelivery.objects.get().answers] == [500, 200]
        assert Webhook.objects.get().failures_in_a_row == 0

    def test_it_is_tried_for_three_days_and_then_the_webhook_is_disabled(self, receiver, subscribe, link, monkeypatch):
        server = receiver(answering(500))
        webhook, _ = subscribe(server)
        an_export(link)
        began = last = timezone.now()
        waits = []
        for _ in range(20):
            if not run_next():
                due = WebhookDelivery.objects.get().next_attempt_at
                if due is None:
                    break
                waits.append(round((due - last).total_seconds() / 60))
                last = due + timedelta(seconds=1)
                monkeypatch.setattr(timezone, "now", lambda moment=last: moment)

        webhook.refresh_from_db()
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.attempts, len(server.requests)) == ("FAILED", 10, 10)
        assert timedelta(days=3) < last - began < timedelta(days=4)
        assert waits == sorted(waits)
        assert (webhook.enabled, webhook.disabled_because) == (False, "FAILING")
        assert AuditEvent.objects.filter(action="webhook.disabled", target_id=str(webhook.pk)).exists()
        an_export(link)
        assert WebhookDelivery.objects.count() == 1

    def test_one_message_that_cannot_be_taken_keeps_the_others_back_for_minutes_only(
        self, receiver, subscribe, link, monkeypatch
    ):
        def answer(request):
            request.reply(500 if b"SO-poison" in request.body else 200)

        server = receiver(answer)
        subscribe(server)
        for order_id in ("SO-poison", "SO-2"):
            an_export(link, order_id=order_id)
        now = timezone.now()
        for minute in range(30):
            monkeypatch.setattr(timezone, "now", lambda moment=now + timedelta(minutes=minute): moment)
            send_all()

        poison, other = WebhookDelivery.objects.order_by("occurred_at")
        assert (poison.state, other.state) == ("PENDING", "DELIVERED")
        assert other.finished_at < now + timedelta(minutes=15)

    def test_a_receiver_that_asks_for_time_gets_it_for_all_messages(self, receiver, subscribe, link, monkeypatch):
        server = receiver(answering(429, 200, Retry_After="3600"))
        subscribe(server)
        an_export(link)
        an_export(link)
        send_all()
        now = timezone.now

        monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(minutes=59))
        send_all()
        assert len(server.requests) == 1

        monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(minutes=61))
        send_all()
        assert len(server.requests) == 3

    def test_410_is_a_farewell(self, receiver, subscribe, link):
        server = receiver(answering(410))
        webhook, _ = subscribe(server)
        an_export(link)
        an_export(link)

        send_all()

        webhook.refresh_from_db()
        assert (webhook.enabled, webhook.disabled_because, len(server.requests)) == (False, "GONE", 1)
        assert [row.state for row in WebhookDelivery.objects.order_by("occurred_at")] == ["FAILED", "PENDING"]

    @pytest.mark.parametrize("enabled", [True, False])
    def test_a_person_has_seen_why_it_is_disabled(self, receiver, subscribe, actor, enabled):
        webhook, _ = subscribe(receiver())
        Webhook.objects.update(enabled=False, disabled_because="FAILING", failures_in_a_row=10)

        webhooks.change(webhook, actor, name="other")
        assert Webhook.objects.get().disabled_because == "FAILING"
        webhooks.change(webhook, actor, enabled=enabled)

        webhook.refresh_from_db()
        assert (webhook.enabled, webhook.disabled_because) == (enabled, "")

    def test_what_waited_for_a_disabled_webhook_goes_when_it_is_enabled(self, receiver, subscribe, actor, link):
        server = receiver()
        webhook, _ = subscribe(server)
        an_export(link)
        webhooks.change(webhook, actor, enabled=False)
        send_all()
        assert server.requests == []

        webhooks.change(webhook, actor, enabled=True)
        send_all()

        assert len(server.requests) == 1

    def test_a_webhook_that_cannot_be_decrypted_is_a_failure_of_its_own(self, receiver, subscribe, link, globex):
        server = receiver()
        webhook, _ = subscribe(server)
        subscribe(server, org=globex)
        Webhook.objects.filter(pk=webhook.pk).update(config_encrypted=bytes(webhook.config_encrypted[:-1]) + b"\0")
        an_export(link)
        an_export(a_connection(globex))

        send_all()

        assert webhook.deliveries.get().answers[0]["code"] == "UNREADABLE_CONFIG"
        assert len(server.requests) == 1


class TestASenderThatDoesNotComeBack:
    def test_the_message_goes_again_when_its_lease_has_run_out(self, receiver, subscribe, link, monkeypatch):
        """Killed after the receiver has got it, and before that is written down."""
        server = receiver()
        subscribe(server)
        an_export(link)
        with monkeypatch.context() as killed:
            killed.setattr(webhook_sending, "_settle", lambda *_: (_ for _ in ()).throw(SystemExit))
            with pytest.raises(SystemExit):
                run_next()
        assert run_next() is False
        in_the_future(monkeypatch, seconds=LEASE.total_seconds() + 1)

        send_all()

        first, second = (request.headers["webhook-id"] for request in server.requests)
        assert first == second
        assert (WebhookDelivery.objects.get().state, WebhookDelivery.objects.get().attempts) == ("DELIVERED", 2)

    def test_who_has_lost_the_lease_settles_nothing(self, receiver, subscribe, link, monkeypatch):
        server = receiver()
        subscribe(server)
        an_export(link)
        post = standard_webhooks.post

        def slow(*args):
            Webhook.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
            monkeypatch.setattr(standard_webhooks, "post", post)
            run_next()  # somebody else
            raise ValueError("a failure that nobody is to see")

        monkeypatch.setattr(standard_webhooks, "post", slow)
        run_next()

        assert [answer["status"] for answer in WebhookDelivery.objects.get().answers] == [200]
        assert Webhook.objects.get().failures_in_a_row == 0


@pytest.mark.django_db(transaction=True)
class TestSeveralAtOnce:
    def test_receivers_that_do_not_answer_delay_nobody_else(self, receiver, subscribe, acme, globex):
        """All of one organisation hang; the other's message arrives while they do."""
        released, hanging = threading.Event(), threading.Semaphore(0)
        slow = receiver(lambda request: (hanging.release(), released.wait(10), request.reply()))
        fast_got_it = threading.Event()
        fast = receiver(lambda request: (request.reply(), fast_got_it.set()))
        for number in range(AT_ONCE + 2):
            subscribe(slow, path=f"/{number}")
        link = a_connection(acme)
        for _ in range(2):
            an_export(link)
        crew = Crew("sender", AT_ONCE + 1, run_next)
        for _ in range(AT_ONCE):
            crew.call_one()
            assert hanging.acquire(timeout=10)

        subscribe(fast, org=globex)
        an_export(a_connection(globex))
        crew.call_one()

        assert fast_got_it.wait(10)
        assert len({request.path for request in slow.requests}) == len(slow.requests) == AT_ONCE
        released.set()
        for _ in range(AT_ONCE + 1):  # all have come back
            assert crew._free.acquire(timeout=20)
        send_all()
        assert not WebhookDelivery.objects.exclude(state="DELIVERED").exists()

    def test_two_senders_never_have_the_same_webhook(self, receiver, subscribe, acme):
        at_work, most = [], []

        def answer(request):
            at_work.append(request)
            most.append(len(at_work))
            request.reply()
            at_work.remove(request)

        server = receiver(answer)
        subscribe(server)
        link = a_connection(acme)
        for _ in range(10):
            an_export(link)
        crew = Crew("sender", 4, run_next)
        for _ in range(4):
            crew.call_one()
        for _ in range(4):
            assert crew._free.acquire(timeout=20)
        send_all()

        ids = [request.headers["webhook-id"] for request in server.requests]
        sequence = WebhookDelivery.objects.order_by("occurred_at").values_list("pk", flat=True)
        assert ids == [str(pk) for pk in sequence]
        assert max(most) == 1


class TestTheVerbs:
    def test_a_test_says_what_happened(self, receiver, subscribe, actor):
        server = receiver(answering(404))
        webhook, secret = subscribe(server, enabled=False)

        delivery = webhooks.test(webhook, actor)

        (request,) = server.requests
        assert Verifier(secret).verify(request.body, request.headers)["type"] == "webhook.test"
        assert (delivery.state, delivery.answers[0]["status"]) == ("FAILED", 404)
        assert run_next() is False

    def test_a_message_goes_again_when_a_person_says_so(self, receiver, subscribe, actor, link):
        server = receiver()
        subscribe(server)
        an_export(link)
        send_all()

        webhooks.redeliver(WebhookDelivery.objects.get(), actor)
        send_all()

        first, second = server.requests
        assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
        assert [answer["status"] for answer in WebhookDelivery.objects.get().answers] == [200, 200]

    def test_old_messages_are_forgotten(self, receiver, subscribe, link, monkeypatch):
        subscribe(receiver())
        an_export(link)
        assert webhook_sending.forget_old() == 0
        in_the_future(monkeypatch, days=31)

        assert webhook_sending.forget_old() == 1
