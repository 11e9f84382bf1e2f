"""What random requests have found, each in its smallest form."""

from __future__ import annotations

import pytest
from django.urls import reverse

from connectors.api.filters import TimeFilter
from connectors.api.urls import urlpatterns
from connectors.exceptions import InvalidInput, InvalidOrder
from connectors.order import Order
from connectors.testing import sample_orders
from connectors.tests.admin.conftest import person, sign_in, superuser  # noqa: F401  # fixtures
from connectors.tests.api.conftest import _fresh, api, caller, paths  # noqa: F401  # fixtures
from connectors.tests.security.conftest import own  # noqa: F401  # a fixture
from connectors.transports.http_errors import Condition


def test_a_host_is_no_longer_than_a_name_can_be(api):  # noqa: F811
    url = "https://" + ".".join(["a" * 63] * 4) + ".test/"

    assert paths(api.post("webhooks", {"name": "shop", "url": url})) == ["url"]


@pytest.mark.parametrize("time", ["2025-12-26T10:00:00%2B17:40", "2025-12-26T10:00:00-23:59"])
def test_a_time_may_have_any_offset(api, time):  # noqa: F811
    """The database takes none beyond 15:59."""
    assert api.get(f"exports?created_after={time}").status_code == 200


@pytest.mark.parametrize("since", ["2000-01-01T00:00:00%2B16:00", "2000-01-01T00:00:00-23:59"])
def test_the_trail_is_exported_since_any_time(api, since):  # noqa: F811
    answer = api.get(f"audit-events/export?since={since}")

    assert answer.status_code == 200
    list(answer.streaming_content)  # what asks the database


@pytest.mark.parametrize("until", ["2000-99-99T00:00:00Z", "0001-01-01T00:00:00+17:40", "2000-01-01T00:00:00+16:00"])
def test_dead_letters_are_chosen_until_any_time(superuser, own, until):  # noqa: F811
    form = {"connection": own.ids["connection_id"], "status": "FAILED", "code": "REMOTE_ERROR", "until": until}

    assert superuser.post(reverse("admin:connectors_erpexport_dismiss-cause"), form).status_code in (200, 302, 404)


def test_every_filter_of_times_takes_any_offset():
    sets = [getattr(pattern.callback.view_class, "filterset_class", None) for pattern in urlpatterns]
    times = [each for filters in sets if filters for each in filters.base_filters.values() if "Time" in str(type(each))]

    assert times
    assert all(isinstance(each, TimeFilter) for each in times)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00%2B17:40", "9999-12-31T23:00:00-17:40"])
def test_a_time_that_is_none_in_utc_is_refused(api, time):  # noqa: F811
    assert paths(api.get(f"exports?created_after={time}")) == ["created_after"]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+17:40", "9999-12-31T23:00:00-17:40"])
def test_an_order_was_approved_at_a_time_in_utc(time):
    with pytest.raises(InvalidOrder) as refused:
        Order.parse(sample_orders.minimal().as_json() | {"approved_at": time})

    assert [(fault.path, fault.code) for fault in refused.value.faults] == [("approved_at", "datetime_range")]


@pytest.mark.parametrize("reason", ["a\nb", " ", "x" * 501])
def test_a_fault_names_the_field_and_no_part_of_our_code(api, reason):  # noqa: F811
    created = api.post("connectors", {"connector_type": "MOCK", "config": {}}).json()

    assert paths(api.post(f"connectors/{created['id']}/activate", {"reason": reason})) == ["reason"]


def test_what_is_missing_is_called_missing(api):  # noqa: F811
    assert [fault["code"] for fault in api.post("exports/retry", {}).json()["errors"]] == ["missing"]


def test_a_status_that_is_none_is_told_in_our_own_words():
    with pytest.raises(InvalidInput) as refused:
        Condition.parse({"status": ["9xx"]})

    (fault,) = refused.value.faults
    assert (fault.path, fault.code) == ("status.0", "status")
