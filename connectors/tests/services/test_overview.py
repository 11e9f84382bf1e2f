"""What the overview counts, and of whom."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from connectors.models import ERPExport
from connectors.services import overview
from connectors.tests.rows import a_connection, an_acknowledgement, an_export
from tenants.models import Organization

NOON = datetime(2026, 3, 29, 12, 40, tzinfo=UTC)
LATE = timedelta(hours=2)
REFUSED = {"code": "REJECTED_BY_ERP", "message": "The ERP rejected the order.", "hint": ""}


def only(org):
    return Organization.objects.filter(pk=org.pk)


@pytest.fixture
def everything(db):
    return Organization.objects.all()


@pytest.fixture
def link(acme):
    return a_connection(acme)


@pytest.fixture
def foreign(globex):
    """Globex, with one of everything."""
    connection = a_connection(globex, health="AUTH_FAILED")
    a_connection(globex, status="DISABLED")
    for status in ("PENDING", "FAILED", "REJECTED", "UNCONFIRMED", "ACKED"):
        an_export(connection, status, ago=LATE)
    an_acknowledgement(connection)
    return connection


class TestScope:
    """Nothing of another organisation gets in."""

    def test_of_one_organisation(self, acme, link, foreign):
        now = timezone.now()

        assert set(overview.active_connections(only(acme))) == {acme.pk}
        assert overview.disabled_connections(only(acme)) == 0
        assert overview.waiting(only(acme), now=now) == {}
        assert overview.unresolved(only(acme)) == []
        assert overview.answers(only(acme)) == []
        assert sum(hour.counts.total() for hour in overview.by_hour(only(acme), now=now)) == 0
        assert overview.by_organization([acme.pk], now=now) == {acme.pk: {}}

    def test_of_all(self, everything, acme, globex, link, foreign):
        now = timezone.now()

        assert set(overview.active_connections(everything)) == {acme.pk, globex.pk}
        assert overview.disabled_connections(everything) == 1
        assert set(overview.waiting(everything, now=now)) == {globex.pk}
        assert {group.status for group in overview.unresolved(everything)} == {"FAILED", "REJECTED", "UNCONFIRMED"}
        assert [(group.org_id, group.outcome) for group in overview.answers(everything)] == [(globex.pk, "UNMATCHED")]
        assert sum(hour.counts.total() for hour in overview.by_hour(everything, now=now)) == 5
        assert overview.by_organization([globex.pk], now=now)[globex.pk].total() == 5


class TestWaiting:
    def test_counts_what_is_pending_and_what_is_overdue(self, acme, link):
        oldest = an_export(link, ago=LATE)
        an_export(link, ago=timedelta(minutes=59))
        an_export(link, "SENDING", ago=LATE)

        left = overview.waiting(only(acme), now=timezone.now())[acme.pk]

        assert (left.count, left.overdue, left.oldest) == (2, 1, oldest.created_at)

    def test_at_a_disabled_connection_counts_as_well(self, acme):
        an_export(a_connection(acme, status="DISABLED"))

        assert overview.waiting(only(acme), now=timezone.now())[acme.pk].count == 1
        assert overview.active_connections(only(acme)) == {}

    def test_the_longest_comes_first(self, everything, globex, link):
        an_export(link, ago=timedelta(minutes=1))
        an_export(a_connection(globex), ago=timedelta(minutes=2))

        assert [left.org_name for left in overview.waiting(everything, now=timezone.now()).values()] == [
            "Globex AG",
            "Acme GmbH",
        ]


class TestUnresolved:
    def test_one_export_is_named(self, acme, link):
        export = an_export(link, "REJECTED", error=REFUSED)

        (group,) = overview.unresolved(only(acme))

        assert (group.export_id, group.order_id, group.orders) == (str(export.pk), export.order_id, 1)
        assert group.message == "The ERP rejected the order."

    def test_several_of_one_state_are_one_group(self, acme, link):
        for _ in range(3):
            an_export(link, "REJECTED", error=REFUSED)

        (group,) = overview.unresolved(only(acme))

        assert (group.orders, group.export_id, group.message) == (3, "", "The ERP rejected the order.")

    def test_different_reasons_are_not_given_as_one(self, acme, link):
        an_export(link, "FAILED", error=REFUSED)
        an_export(link, "FAILED", error={**REFUSED, "message": "The far end reported an error."})

        (group,) = overview.unresolved(only(acme))

        assert group.message == ""

    @pytest.mark.parametrize("status", ["PENDING", "SENDING", "SENT", "ACKED", "CANCELLED"])
    def test_other_states_wait_for_nobody(self, acme, link, status):
        an_export(link, status)

        assert overview.unresolved(only(acme)) == []

    @pytest.mark.parametrize("status", ["FAILED", "REJECTED", "UNCONFIRMED"])
    def test_what_was_retried_is_settled(self, acme, link, status):
        an_export(link, status, superseded_at=timezone.now())

        assert overview.unresolved(only(acme)) == []

    @pytest.mark.parametrize("status", ["FAILED", "REJECTED"])
    def test_what_was_submitted_anew_is_settled(self, acme, globex, link, status):
        an_export(link, status, order_id="SO-1")
        an_export(a_connection(globex), "SENT", order_id="SO-1")  # another organisation's order
        assert len(overview.unresolved(only(acme))) == 1

        an_export(link, "SENT", order_id="SO-1")

        assert overview.unresolved(only(acme)) == []

    def test_an_order_that_failed_twice_is_one_order(self, acme, link):
        an_export(link, "FAILED", order_id="SO-1")
        an_export(link, "FAILED", order_id="SO-1")

        (group,) = overview.unresolved(only(acme))

        assert (group.orders, group.export_id) == (1, "")


class TestHours:
    def test_are_24_and_end_with_the_present_one(self, acme):
        hours = overview.by_hour(only(acme), now=NOON)

        assert len(hours) == 24
        assert (hours[0].start, hours[-1].start) == (NOON.replace(day=28, hour=13, minute=0), NOON.replace(minute=0))
        assert hours[-1].end == NOON.replace(hour=13, minute=0)

    def test_an_export_counts_in_the_hour_it_was_accepted_in(self, acme, link):
        for at in (NOON, NOON.replace(minute=0), NOON.replace(hour=11, minute=59)):
            export = an_export(link, "SENT")
            ERPExport.objects.filter(pk=export.pk).update(created_at=at)
        too_old = an_export(link, "SENT")
        ERPExport.objects.filter(pk=too_old.pk).update(created_at=NOON.replace(day=28, hour=12, minute=59))

        hours = overview.by_hour(only(acme), now=NOON)

        assert [dict(hour.counts) for hour in hours if hour.counts] == [{"SENT": 1}, {"SENT": 2}]

    def test_states_are_counted_apart(self, acme, link):
        for status in ("SENT", "ACKED", "ACKED"):
            an_export(link, status)

        assert overview.by_organization([acme.pk], now=timezone.now())[acme.pk] == {"SENT": 1, "ACKED": 2}


@pytest.mark.parametrize("rows", [1, 30])
def test_each_answer_is_one_query(django_assert_num_queries, everything, actor, rows):
    for number in range(rows):
        org = Organization.objects.create(slug=f"o-{number}", name=f"O {number}")
        connection = a_connection(org)
        for status in ("PENDING", "FAILED", "ACKED"):
            an_export(connection, status)
    org_ids = list(everything.values_list("pk", flat=True))
    now = timezone.now()

    for ask in (
        lambda: overview.active_connections(everything),
        lambda: overview.disabled_connections(everything),
        lambda: overview.waiting(everything, now=now),
        lambda: overview.unresolved(everything),
        lambda: overview.by_hour(everything, now=now),
        lambda: overview.by_organization(org_ids, now=now),
    ):
        with django_assert_num_queries(1):
            ask()
