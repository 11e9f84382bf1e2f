"""One count for many processes: each is played by leases of its own, over one table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connectors.services import throttles
from connectors.services.throttles import Limit

LIMIT = Limit(requests=100, seconds=60)


@pytest.fixture(autouse=True)
def _fresh(db, monkeypatch):
    throttles.forget()
    monkeypatch.setattr(throttles, "_next_sweep", 0.0)
    yield
    throttles.forget()


@pytest.fixture
def processes(monkeypatch):
    """Return a function that takes as the process of this number."""
    memories = {}

    def take(number, caller="acme", limit=LIMIT):
        monkeypatch.setattr(throttles, "_leases", memories.setdefault(number, {}))
        return throttles.take("api", caller, limit)

    return take


def let_the_window_pass():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE connectors_throttle SET resets_at = resets_at - interval '61 seconds'")
    for lease in throttles._leases.values():
        lease.ends -= 61


def test_one_process_lets_in_exactly_the_limit():
    verdicts = [throttles.take("api", "acme", LIMIT) for _ in range(150)]

    assert [verdict.allowed for verdict in verdicts] == [True] * 100 + [False] * 50
    assert [verdict.remaining for verdict in verdicts] == [*range(99, -1, -1), *[0] * 50]
    assert all(59 < verdict.resets_in <= 60 for verdict in verdicts)


@pytest.mark.parametrize("many", [2, 7])
def test_many_processes_let_in_no_more(processes, many):
    allowed = sum(processes(number).allowed for number in islice(cycle(range(many)), 400))

    assert allowed == 100  # those that still hold some were asked in the end


def test_what_others_hold_is_a_small_part(processes):
    for number in range(1, 5):
        processes(number)  # and is never asked again

    allowed = sum(processes(0).allowed for _ in range(200))

    assert 80 <= allowed + 4 <= 100


def test_a_request_costs_a_statement_now_and_then():
    limit = Limit(requests=1200, seconds=60)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(600):
            throttles.take("api", "acme", limit)

    assert len(queries) < 20


def test_who_was_refused_does_not_ask_again(processes):
    for _ in range(101):
        processes(0)
    with CaptureQueriesContext(connection) as queries:
        assert not any(processes(0).allowed for _ in range(50))

    assert len(queries) == 0


def test_a_new_window_has_all_of_it(processes):
    for _ in range(120):
        processes(0)
    let_the_window_pass()

    assert [processes(0).allowed for _ in range(101)] == [True] * 100 + [False]


def test_nobody_pays_for_another():
    for _ in range(120):
        throttles.take("api", "acme", LIMIT)

    assert throttles.take("api", "globex", LIMIT).remaining == 99
    assert throttles.take("failures", "acme", LIMIT).remaining == 99


def test_the_table_says_nothing_and_is_swept(monkeypatch):
    throttles.take("failures", "203.0.113.7", LIMIT)
    let_the_window_pass()
    monkeypatch.setattr(throttles, "_next_sweep", 0.0)
    throttles.take("api", "acme", LIMIT)

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM connectors_throttle")
        ((key, _, _),) = cursor.fetchall()
        assert [column.name for column in cursor.description] == ["key", "resets_at", "used"]
        cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'connectors_throttle'")
        assert cursor.fetchone() == ("u",)
    assert len(bytes(key)) == 16


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(throttles, "_MOST_LEASES", 10)
    for number in range(50):
        throttles.take("failures", f"2001:db8:{number}::/64", LIMIT)

    assert len(throttles._leases) <= 10


@pytest.mark.django_db(transaction=True)
def test_threads_let_in_no_more_either():
    def ask(_):
        try:
            return throttles.take("api", "acme", LIMIT).allowed
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(300))) == 100
