"""MOCK does what its configuration says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from connectors import exceptions
from connectors.adapters.mock import ErrorName, MockConfig, MockConnector
from connectors.codes import Code
from connectors.exceptions import ConfigurationError, OutcomeUnknown, RateLimited
from connectors.results import Acknowledgement, AckStatus, Settlement
from connectors.testing import fakes, sample_orders

CONNECTOR = MockConnector()
ORDER = sample_orders.minimal()


@pytest.fixture(autouse=True)
def empty_outbox() -> Iterator[None]:
    MockConnector.reset()
    yield
    MockConnector.reset()


def config(**fields: Any) -> MockConfig:
    return MockConfig.parse(fields)


def poll(settlement: Settlement = Settlement.APPLIED, **fields: Any) -> list[Acknowledgement]:
    seen: list[Acknowledgement] = []

    def settle(answer: Acknowledgement) -> Settlement:
        seen.append(answer)
        return settlement

    applied = CONNECTOR.poll_acknowledgements(config(**fields), fakes.context(), settle)
    assert applied == (len(seen) if settlement is Settlement.APPLIED else 0)
    return seen


def test_remembers_what_it_received() -> None:
    context = fakes.export_context()
    CONNECTOR.export(ORDER, config(account="b"), context)

    (received,) = MockConnector.received()

    assert (received.order_id, received.export_id, received.account) == ("SO-1", context.export_id, "b")
    assert b'"draft_order_id":"SO-1"' in received.document.content


def test_forgets_the_oldest() -> None:
    for number in range(1005):
        CONNECTOR.export(sample_orders.minimal(f"SO-{number}"), config(), fakes.export_context())

    assert len(MockConnector.received()) == 1000
    assert MockConnector.received()[0].order_id == "SO-5"


@pytest.mark.parametrize("name", get_args(ErrorName))
def test_fails_as_often_as_asked(name: str) -> None:
    failing = config(fail_with=name, fail_times=2)

    for attempt in (1, 2):
        with pytest.raises(getattr(exceptions, name)):
            CONNECTOR.export(ORDER, failing, fakes.export_context(attempt=attempt))
    assert MockConnector.received() == ()

    assert CONNECTOR.export(ORDER, failing, fakes.export_context(attempt=3))


def test_fails_with_a_code() -> None:
    with pytest.raises(exceptions.TemporaryError) as caught:
        CONNECTOR.export(ORDER, config(fail_with="TemporaryError", fail_code="NO_SPACE"), fakes.export_context())

    assert caught.value.code is Code.NO_SPACE


def test_says_when_to_come_back() -> None:
    with pytest.raises(RateLimited) as caught:
        CONNECTOR.export(ORDER, config(fail_with="RateLimited", retry_after_s=7.5), fakes.export_context())

    assert caught.value.retry_after == 7.5


@pytest.mark.parametrize("delivered", [True, False])
def test_an_unknown_outcome_can_be_looked_up(delivered: bool) -> None:
    scripted, context = config(fail_with="OutcomeUnknown", delivered=delivered), fakes.export_context()

    with pytest.raises(OutcomeUnknown):
        CONNECTOR.export(ORDER, scripted, context)

    assert bool(CONNECTOR.find_export(ORDER, scripted, context)) is delivered


def test_takes_its_time() -> None:
    started = time.monotonic()
    CONNECTOR.export(ORDER, config(latency_ms=50), fakes.export_context())

    assert time.monotonic() - started >= 0.05


def test_answers_at_once() -> None:
    result = CONNECTOR.export(ORDER, config(acknowledgement="immediate"), fakes.export_context())

    assert result.acknowledged
    assert result.erp_order_id
    assert poll(acknowledgement="immediate") == []


@pytest.mark.parametrize(("answer", "status"), [("ack", AckStatus.ACKED), ("reject", AckStatus.REJECTED)])
def test_answers_later_and_once(answer: str, status: AckStatus) -> None:
    CONNECTOR.export(ORDER, config(), fakes.export_context())

    (first,) = poll(acknowledgement=answer)

    assert first.status is status
    assert poll(acknowledgement=answer) == []


@pytest.mark.parametrize("settlement", [Settlement.LATER, Settlement.UNMATCHED])
def test_answers_again_until_it_is_heard(settlement: Settlement) -> None:
    CONNECTOR.export(ORDER, config(), fakes.export_context())

    assert len(poll(settlement, acknowledgement="ack")) == 1
    assert len(poll(acknowledgement="ack")) == 1


def test_answers_only_for_its_account() -> None:
    CONNECTOR.export(ORDER, config(account="a"), fakes.export_context())

    assert poll(account="b", acknowledgement="ack") == []


def test_never_answers_unless_asked_to() -> None:
    CONNECTOR.export(ORDER, config(), fakes.export_context())

    assert poll() == []


@pytest.mark.parametrize("name", ["AuthenticationFailed", "TemporaryError", "RateLimited"])
def test_connection_test_fails_where_the_connection_would(name: str) -> None:
    result = CONNECTOR.test_connection(config(fail_with=name), fakes.context())

    assert result.failed_step is not None
    assert result.failed_step.name == "log_in"


@pytest.mark.parametrize("name", ["RejectedByERP", "DocumentError", "UnsupportedFeature"])
def test_connection_test_knows_nothing_of_orders(name: str) -> None:
    assert CONNECTOR.test_connection(config(fail_with=name), fakes.context()).success


def test_a_script_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        config(retry_after_s=5)
