"""The overview: what it shows to whom, and where its links lead."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from connectors.admin.chart import draw
from connectors.models import ERPConnection, Installation, Webhook
from connectors.services import webhooks
from connectors.tests.admin.pages import at, text
from connectors.tests.rows import a_connection, an_acknowledgement, an_export
from tenants.models import Membership, Organization, Role

HOME = reverse("admin:index")
LATE = timedelta(hours=2)
REFUSED = {"code": "REJECTED_BY_ERP", "message": "The ERP rejected the order.", "hint": ""}
CONFIGURE = (Role.ADMIN, Role.INTEGRATOR)
OTHERS = (Role.OPS, Role.VIEWER)


def overview(client, query=""):
    """Return the dashboard behind the page."""
    return client.get(f"{HOME}{query}").context["dashboard"]


def sentences(client):
    return [f"{matter.org_name}: {matter.sentence}" for matter in overview(client).matters]


def listed(client, address):
    """Return the rows of the list that a link leads to."""
    return {row.pk for row in client.get(address).context["cl"].result_list}


def one_of_everything(org):
    """Give `org` a connection in every health but one, and an export in every state."""
    active = a_connection(org, health="AUTH_FAILED", name=f"{org.name} main")
    for health in ("HEALTHY", "FAILING", "UNREADABLE"):
        a_connection(org, health=health, status="DISABLED", name=f"{org.name} {health.lower()}")
    for status in ("PENDING", "SENDING", "SENT", "ACKED", "UNCONFIRMED", "REJECTED", "FAILED", "CANCELLED"):
        an_export(active, status, ago=LATE, order_id=f"{org.slug}-{status}", error=REFUSED)
    an_acknowledgement(active)
    return active


@pytest.fixture
def link(acme):
    return a_connection(acme)


class TestMatters:
    def test_nothing_waits(self, superuser, link):
        an_export(link, "SENT")
        an_export(link)

        assert overview(superuser).matters == []
        assert "Nothing waits for you." in text(superuser.get(HOME))

    @pytest.mark.parametrize(
        ("health", "sentence"),
        [
            ("AUTH_FAILED", "Acme GmbH: SAP is paused because the far end refused its sign-in; 2 orders wait."),
            ("UNREADABLE", "Acme GmbH: the configuration of SAP cannot be decrypted; 2 orders wait."),
            ("FAILING", "Acme GmbH: SAP failed its last test; 2 orders wait."),
        ],
    )
    def test_a_broken_connection_and_what_waits_for_it_are_one(self, superuser, acme, health, sentence):
        broken = a_connection(acme, health=health, name="SAP")
        an_export(broken, ago=LATE)
        an_export(broken)

        (matter,) = overview(superuser).matters

        assert sentences(superuser) == [sentence]
        assert matter.url == at("erpconnection", "change", broken.pk)

    def test_a_far_end_that_is_away(self, superuser, acme):
        a_connection(acme, health="FAILING", name="SAP", retry_at=timezone.now() + timedelta(minutes=1))

        assert sentences(superuser) == [
            "Acme GmbH: SAP could not be reached several times in a row and is tried again by itself."
        ]

    @pytest.mark.parametrize(
        ("days", "said"),
        [(-1, "have expired"), (0, "expire today"), (1, "expire tomorrow"), (14, "expire in 14 days"), (31, None)],
    )
    def test_credentials_that_expire(self, superuser, acme, days, said):
        last_day = timezone.now().date() + timedelta(days=days)
        connection = a_connection(acme, name="SAP", credentials_expire_on=last_day)

        assert sentences(superuser) == ([f"Acme GmbH: the credentials of SAP {said}."] if said else [])
        assert [matter.url for matter in overview(superuser).matters] == (
            [at("erpconnection", "change", connection.pk)] if said else []
        )

    @pytest.mark.parametrize("health", ["AUTH_FAILED", "UNREADABLE", "FAILING"])
    def test_a_disabled_connection_needs_nobody(self, superuser, acme, health):
        a_connection(acme, health=health, status="DISABLED")

        assert overview(superuser).matters == []

    def test_orders_without_an_active_connection(self, superuser, acme):
        an_export(a_connection(acme, status="DISABLED", name="Old"))

        (matter,) = overview(superuser).matters

        assert sentences(superuser) == ["Acme GmbH: 1 order waits, but no connection is active."]
        assert listed(superuser, matter.url) == {ERPConnection.objects.get().pk}

    def test_orders_that_wait_for_approval(self, superuser, link):
        """They wait for a person, not for their turn."""
        first = an_export(link, held=True, ago=LATE)
        (one,) = overview(superuser).matters
        assert (one.sentence, one.url) == ("1 order waits for approval.", at("erpexport", "change", first.pk))

        second = an_export(link, held=True)
        an_export(link)

        (several,) = overview(superuser).matters
        assert several.sentence == "2 orders wait for approval."
        assert listed(superuser, several.url) == {first.pk, second.pk}

    def test_a_connection_that_a_person_has_paused(self, superuser, acme):
        paused = a_connection(acme, name="SAP", paused_at=timezone.now(), pause_reason="stocktaking")
        an_export(paused, ago=LATE)

        (matter,) = overview(superuser).matters

        assert sentences(superuser) == ["Acme GmbH: a person has paused SAP; 1 order waits."]
        assert (matter.detail, matter.url) == ("stocktaking", at("erpconnection", "change", paused.pk))

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            ({"enabled": False, "disabled_because": "GONE"}, "is disabled because its receiver is gone"),
            ({"enabled": False, "disabled_because": "FAILING"}, "is disabled because nothing arrived there for days"),
            ({"failures_in_a_row": 5}, "takes no messages"),
            ({"failures_in_a_row": 4}, None),
            ({"enabled": False}, None),
        ],
    )
    def test_a_webhook_that_is_not_told(self, superuser, acme, actor, state, said):
        webhook, _ = webhooks.create(acme, actor, name="Shop", url="https://shop.test")
        Webhook.objects.update(**state)

        assert sentences(superuser) == ([f"Acme GmbH: the webhook Shop {said}."] if said else [])
        assert [matter.url for matter in overview(superuser).matters] == (
            [at("webhook", "change", webhook.pk)] if said else []
        )

    def test_overdue_orders(self, superuser, acme, link):
        overdue = an_export(link, ago=LATE)
        an_export(link, "SENT", ago=LATE)

        (matter,) = overview(superuser).matters

        assert sentences(superuser) == ["Acme GmbH: 1 order has been waiting for more than an hour."]
        assert listed(superuser, matter.url) == {overdue.pk}

    def test_overdue_acknowledgements(self, superuser, acme):
        link = a_connection(acme, ack_expected_within=60)
        late = [an_export(link, "SENT", sent_at=timezone.now() - LATE) for _ in range(2)]
        an_export(link, "SENT", sent_at=timezone.now())

        (matter,) = overview(superuser).matters

        assert sentences(superuser) == ["Acme GmbH: the ERP should have acknowledged 2 orders by now."]
        assert listed(superuser, matter.url) == {export.pk for export in late}

    @pytest.mark.parametrize(
        ("outcome", "sentence"),
        [
            ("SUPERSEDED", "came for what was sent once more: the ERP may have it twice."),
            ("CONTRADICTS", "said otherwise than the order ended."),
            ("MALFORMED", "could not be read."),
            ("UNMATCHED", "came for nothing that was sent."),
        ],
    )
    def test_open_acknowledgements(self, superuser, link, outcome, sentence):
        first = an_acknowledgement(link, outcome=outcome)
        an_acknowledgement(link, outcome=outcome, resolved_at=timezone.now())
        (one,) = overview(superuser).matters
        assert sentences(superuser) == [f"Acme GmbH: 1 acknowledgement {sentence}"]
        assert one.url == at("acknowledgementrecord", "change", first.pk)
        second = an_acknowledgement(link, outcome=outcome)

        (both,) = overview(superuser).matters

        assert sentences(superuser) == [f"Acme GmbH: 2 acknowledgements {sentence}"]
        assert listed(superuser, both.url) == {first.pk, second.pk}

    @pytest.mark.parametrize(
        ("status", "sentence"),
        [
            ("UNCONFIRMED", "may have arrived; look in the ERP before sending again."),
            ("FAILED", "could not be delivered."),
            ("REJECTED", "came back rejected."),
        ],
    )
    def test_unresolved_exports(self, superuser, link, status, sentence):
        """One leads to its page; several lead to the page of their causes, without those that were retried."""
        first = an_export(link, status, order_id="SO-1", error=REFUSED)
        (one,) = overview(superuser).matters
        assert (one.sentence, one.detail) == (f"order SO-1 {sentence}", "The ERP rejected the order.")
        assert one.url == at("erpexport", "change", first.pk)

        second = an_export(link, status)
        an_export(link, status, superseded_at=timezone.now())
        an_export(link, "SENT")
        (several,) = overview(superuser).matters
        assert several.sentence == f"2 orders {sentence}"
        causes = superuser.get(several.url).context["groups"]
        assert sorted(pk for _, _, url, _ in causes for pk in listed(superuser, url)) == sorted([first.pk, second.pk])

    def test_the_most_urgent_comes_first(self, superuser, actor):
        names = ("paused", "unreadable", "unconnected", "unconfirmed", "failing", "failed", "rejected", "overdue")
        orgs = {name: Organization.objects.create(slug=name, name=name) for name in reversed(names)}
        a_connection(orgs["paused"], health="AUTH_FAILED")
        a_connection(orgs["unreadable"], health="UNREADABLE")
        a_connection(orgs["failing"], health="FAILING")
        an_export(a_connection(orgs["unconnected"], status="DISABLED"))
        for name in ("unconfirmed", "failed", "rejected"):
            an_export(a_connection(orgs[name]), name.upper())
        an_export(a_connection(orgs["overdue"]), ago=LATE)

        assert [matter.org_name for matter in overview(superuser).matters] == list(names)

    def test_among_equals_the_oldest_comes_first(self, superuser, link, globex):
        an_export(link, "FAILED", ago=timedelta(minutes=1))
        an_export(a_connection(globex), "FAILED", ago=timedelta(minutes=2))

        assert [matter.org_name for matter in overview(superuser).matters] == ["Globex AG", "Acme GmbH"]

    def test_what_is_less_urgent_is_unfolded(self, superuser):
        for number in range(8):
            org = Organization.objects.create(slug=f"o-{number}", name=f"O {number}")
            a_connection(org, health="FAILING")

        page = text(superuser.get(HOME))

        assert "<summary>2 more</summary>" in page
        assert all(f"O {number} ERP failed its last test." in page for number in range(8))

    def test_a_restored_copy_of_the_database_says_that_it_sends_nothing(self, superuser, link):
        assert "Nothing is sent from here." not in text(superuser.get(HOME))

        Installation.objects.update(name="another one")

        assert "Nothing is sent from here." in text(superuser.get(HOME))


class TestConnections:
    def test_are_counted_by_health_and_lead_to_their_lists(self, superuser, acme, globex):
        healthy = a_connection(acme)
        failing = a_connection(globex, health="FAILING")
        disabled = a_connection(globex, health="FAILING", status="DISABLED")

        lists = [(count.number, listed(superuser, count.url)) for count in overview(superuser).connections]

        assert [rows for _, rows in lists if rows] == [{healthy.pk}, {failing.pk}, {disabled.pk}]
        assert all(number == len(rows) for number, rows in lists)


class TestExports:
    def test_of_a_day_are_drawn_and_listed(self, superuser, link):
        export = an_export(link, "ACKED")
        an_export(link, "FAILED", ago=timedelta(hours=20))
        an_export(link, "SENT", ago=timedelta(hours=25))

        dashboard = overview(superuser)

        assert [(entry.label, entry.number) for entry in dashboard.legend] == [("acknowledged", 1), ("failed", 1)]
        assert listed(superuser, dashboard.legend[0].url) == {export.pk}
        assert [part.status for column in dashboard.chart.columns for part in column.segments] == ["FAILED", "ACKED"]
        latest, url, numbers = dashboard.hours[0]
        assert (listed(superuser, url), numbers) == ({export.pk}, [1, 0])
        assert latest.label.endswith(": 1 acknowledged")

    def test_the_drawing_has_a_text_and_a_table(self, superuser, link):
        an_export(link, "ACKED")

        page = text(superuser.get(HOME))

        assert re.search(r'<svg[^>]*role="img" aria-label="Exports per hour', page)
        assert page.count('<th scope="row"><a') == 24 + 1  # hours, and the organisation

    def test_one_failure_among_thousands_can_be_seen(self, superuser, link):
        an_export(link, "FAILED")
        hour = overview(superuser).chart.columns[-1].hour
        hour.counts["ACKED"] = 9_999

        acknowledged, failed = draw([hour]).columns[0].segments

        assert failed.height >= 2
        assert failed.y + failed.height < acknowledged.y

    def test_none_is_said_in_words(self, superuser, link):
        assert "No order was submitted in the last 24 hours." in text(superuser.get(HOME))


class TestOrganizations:
    def test_a_row_tells_connection_exports_and_what_waits(self, superuser, acme, link):
        pending = an_export(link, ago=LATE)
        sending = an_export(link, "SENDING")
        an_export(link, "SENT", ago=timedelta(hours=30))

        (row,) = overview(superuser).rows

        assert (row.name, row.connection.id, row.waiting.oldest) == ("Acme GmbH", link.pk, pending.created_at)
        assert {count.label: count.number for count in row.counts if count.number} == {"Under way": 2}
        assert listed(superuser, row.counts[2].url) == {pending.pk, sending.pk}

    def test_are_searched_by_name_and_slug(self, superuser, acme, globex):
        assert [row.name for row in overview(superuser, "?q=gmbh").rows] == ["Acme GmbH"]
        assert [row.name for row in overview(superuser, "?q=GLOBEX").rows] == ["Globex AG"]
        page = text(superuser.get(f"{HOME}?q=<b>nobody"))
        assert "No organisation has “<b>nobody” in its name." in page
        assert b"<b>nobody" not in superuser.get(f"{HOME}?q=<b>nobody").content

    def test_are_paged(self, superuser):
        Organization.objects.bulk_create(Organization(slug=f"o-{n:04}", name=f"O {n:04}") for n in range(1_000))

        first, last, beyond = (overview(superuser, f"?page={page}").rows for page in ("1", "50", "x"))

        assert (first[0].name, last[-1].name, beyond[0].name) == ("O 0000", "O 0999", "O 0000")
        assert len(first) == len(last) == 20
        assert 'href="?page=2#organizations"' in text(superuser.get(HOME))

    def test_none_yet(self, superuser):
        assert "There is no organisation yet." in text(superuser.get(HOME))


class TestRoles:
    @pytest.mark.parametrize("role", Role)
    def test_nothing_of_another_organization_is_shown(self, person, sign_in, acme, globex, role):
        one_of_everything(globex)
        client = sign_in(person(acme, role))

        page, dashboard = text(client.get(HOME)), overview(client)

        assert "globex" not in page.lower()
        assert dashboard.matters == []
        assert dashboard.chart.total == 0
        assert sum(count.number for count in dashboard.connections) == 0
        assert [row.name for row in dashboard.rows] == ["Acme GmbH"]

    @pytest.mark.parametrize("role", Role)
    def test_another_organization_changes_no_number(self, person, sign_in, acme, globex, role):
        one_of_everything(acme)
        client = sign_in(person(acme, role))
        before = seen(client)

        one_of_everything(globex)

        assert seen(client) == before

    @pytest.mark.parametrize("role", CONFIGURE)
    def test_who_configures_sees_connections(self, person, sign_in, acme, role):
        link = one_of_everything(acme)
        client = sign_in(person(acme, role))

        page = text(client.get(HOME))

        assert at("erpconnection", "change", link.pk) in page
        assert at("erpconnection", "add") in page
        assert [matter.urgency.name for matter in overview(client).matters] == [
            "PAUSED", "UNCONFIRMED", "FAILED", "REJECTED", "UNMATCHED",
        ]  # fmt: skip

    @pytest.mark.parametrize("role", OTHERS)
    def test_who_does_not_sees_exports_alone(self, person, sign_in, acme, role):
        one_of_everything(acme)
        client = sign_in(person(acme, role))

        page = text(client.get(HOME))

        assert "Acme GmbH main" not in page
        assert reverse("admin:connectors_erpconnection_changelist") not in page
        assert [matter.urgency.name for matter in overview(client).matters] == [
            "UNCONFIRMED", "FAILED", "REJECTED", "OVERDUE", "UNMATCHED",
        ]  # fmt: skip

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
    def test_every_link_opens(self, person, sign_in, acme, role):
        one_of_everything(acme)
        client = sign_in(person(acme, role))

        links = set(re.findall(r'href="(/admin/[^"#]*)', text(client.get(HOME))))

        assert len(links) > 10
        assert {link for link in links if client.get(link).status_code != 200} == set()

    def test_a_role_counts_only_where_it_is_held(self, person, sign_in, acme, globex):
        user = person(acme, Role.VIEWER)
        Membership.objects.create(user=user, org=globex, role=Role.ADMIN)
        one_of_everything(acme)
        one_of_everything(globex)
        client = sign_in(user)

        page = text(client.get(HOME))

        assert "Acme GmbH main" not in page
        assert "not shown to your role" in page
        assert "Globex AG main" in page
        assert sum(count.number for count in overview(client).connections) == 4

    def test_who_is_a_member_nowhere_sees_nothing(self, person, sign_in, acme):
        one_of_everything(acme)

        page = text(sign_in(person()).get(HOME))

        assert "acme" not in page.lower()
        assert "ask an administrator" in page

    def test_a_superuser_reaches_every_page(self, superuser, link):
        page = text(superuser.get(HOME))

        for label in ("connectors", "tenants", "auth"):
            assert reverse("admin:app_list", args=[label]) in page
        assert reverse("docs") in page
        assert "Needs a person now" not in text(superuser.get(reverse("admin:app_list", args=["connectors"])))


def seen(client):
    """Return every number that somebody gets to see."""
    dashboard = overview(client)
    return (
        [(matter.sentence, matter.url) for matter in dashboard.matters],
        [(count.url, count.number) for count in dashboard.connections],
        dashboard.chart.totals,
        [(row.name, [count.number for count in row.counts]) for row in dashboard.rows],
    )


@pytest.mark.parametrize("role", [None, *Role])
def test_the_number_of_queries_is_constant(person, sign_in, acme, role):
    client = sign_in(person(acme, role) if role else person(is_superuser=True))

    def queries():
        with CaptureQueriesContext(
            database,
        ) as captured:
            assert client.get(HOME).status_code == 200
        return len(captured)

    empty = queries()
    one_of_everything(acme)
    for number in range(30):
        one_of_everything(Organization.objects.create(slug=f"o-{number}", name=f"O {number}"))

    assert queries() == empty <= 18


def test_the_page_keeps_to_a_strict_content_security_policy(superuser, acme):
    one_of_everything(acme)

    page = text(superuser.get(HOME))

    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:|<style", page)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
