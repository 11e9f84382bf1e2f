"""The contract is no formality: an adapter that breaks a rule of the diagnosis fails its test."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from connectors.adapters.mock import MockConfig, MockConnector, MockSession
from connectors.config import Expiry
from connectors.exceptions import OutcomeUnknown, RateLimited, TemporaryError
from connectors.order import Order
from connectors.port import Context, Delivery, ExportContext, Guarantee
from connectors.results import ExportResult, TestResult, TestStep
from connectors.tests.adapters import test_contract


class Careless(MockConnector):
    """Recognises nobody, and writes when it may not."""

    def test_connection(self, config: MockConfig, context: Context) -> TestResult:
        with context.steps.step("write"):
            pass
        return super().test_connection(config, replace(context, pinned_identity=None))


class Stubborn(MockConnector):
    """Goes on after it was cancelled, and after a failure."""

    def test_connection(self, config: MockConfig, context: Context) -> TestResult:
        result = super().test_connection(config, context)
        return replace(result, steps=(*result.steps, TestStep(name="more", status="passed")))


class HastySession(MockSession):
    """Takes all it can get, sends the last first, and forgets to say what became of the first."""

    def export_many(self, exports: Iterable[tuple[Order, ExportContext]], *, window: int) -> Iterator[Delivery]:
        deliveries = list(super().export_many(reversed(list(exports)), window=window))
        yield from deliveries[:-1]


class Hasty(MockConnector):
    @contextmanager
    def open_session(self, config: MockConfig, context: Context) -> Iterator[HastySession]:
        with super().open_session(config, context):
            yield HastySession(self, config)


class LookingConnector(MockConnector):
    """Promises to look up, and cannot."""

    guarantee = Guarantee.LOOKUP
    supports_find_export = False


class NaiveConfig(MockConfig):
    """Knows no time zones."""

    def expiries(self) -> list[Expiry]:
        return [Expiry(field="api_key", kind="key", expires_at=datetime(2030, 1, 1))]


class Naive(MockConnector):
    Config = NaiveConfig


class Straying(MockConnector):
    """Connects past the dialer, to whoever the configuration names."""

    def export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult:
        with suppress(OSError):
            socket.create_connection(("192.0.2.1", 9), timeout=0.01)
        return super().export(order, config, context)


class Patient(MockConnector):
    """Waits for the far end beyond every deadline."""

    def export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult:
        with context.dialer.connect("erp.test", 9, timeout_s=9) as connection, suppress(TimeoutError):
            connection.settimeout(3.5)
            connection.recv(1)
        raise OutcomeUnknown

    def test_connection(self, config: MockConfig, context: Context) -> TestResult:
        with context.steps.plan("connect"), context.steps.step("connect"):
            raise OutcomeUnknown
        return context.steps.result()


class Talkative(MockConnector):
    """Tells the log what the key is."""

    def export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult:
        assert config.api_key
        logging.getLogger("talkative").debug("trying %s", config.api_key.get_secret_value())
        return super().export(order, config, context)


class Lying(MockConnector):
    """Says that it knows a limit, and calls it something else."""

    def export(self, order: Order, config: MockConfig, context: ExportContext) -> ExportResult:
        try:
            return super().export(order, config, context)
        except RateLimited:
            raise TemporaryError from None


@pytest.mark.parametrize(
    ("connector", "rule"),
    [
        (Careless, "test_check_that_may_not_write_leaves_no_trace"),
        (Careless, "test_changed_far_end_gets_nothing"),
        (Stubborn, "test_cancelled_connection_test_leaves_nothing_behind"),
        (Stubborn, "test_failed_connection_test_is_a_report_without_secrets"),
        (Naive, "test_expiries_are_moments"),
        (Hasty, "test_many_in_one_session_arrive_each_once"),
        (Hasty, "test_with_a_window_of_one_each_has_arrived_before_the_next_is_taken"),
        (Hasty, "test_many_are_what_they_are_one_by_one"),
        (LookingConnector, "test_says_what_keeps_an_order_from_arriving_twice"),
        (MockConnector, "test_config_says_whom_it_talks_to"),
        (Straying, "test_only_the_dialer_leads_out"),
        (Patient, "test_a_far_end_that_says_nothing_is_left_at_the_deadline"),
        (Talkative, "test_what_goes_wrong_shows_no_secret"),
        (Lying, "test_every_error_it_declares_can_be_provoked"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_rule_that_is_broken_is_noticed(connector: type[Any], rule: str) -> None:
    class Kept(test_contract.TestMock):
        connector_class = connector
        uses_network = True

    with pytest.raises((AssertionError, KeyError)):
        getattr(Kept(), rule)()
