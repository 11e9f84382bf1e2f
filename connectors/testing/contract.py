"""What every connector keeps to. An adapter proves itself by subclassing `ConnectorContract` in its tests.

class TestAcme(ConnectorContract):
    connector_class = AcmeConnector

    def config(self): return {"base_url": ..., "api_key": "s3cret-key"}
    def far_end(self): return {name: content ...}
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import jsonschema_rs

from connectors.codes import Code
from connectors.config import ConnectorConfig
from connectors.exceptions import ConfigurationError, ConnectorError, Fault
from connectors.order import Order
from connectors.port import Context, Delivery, ERPConnectorPort, ExportContext, Guarantee, StepRecorder
from connectors.registry import ConnectorRegistry
from connectors.results import RemoteIdentity, StepStatus, TestResult, TestStep
from connectors.testing import sample_orders
from connectors.testing.fakes import context, export_context

WRITING_STEPS: Final = ("write", "clean_up")
"""What a connection test calls the steps that change something at the far end, if only for a moment."""


class ConnectorContract(ABC):
    """The shared tests; pytest collects them from the subclass."""

    connector_class: ClassVar[type[ERPConnectorPort[Any]]]
    uses_network: ClassVar[bool] = True
    """Does it connect to anybody? Then its configuration says to whom."""

    # Hooks: what the subclass gives.

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return a complete configuration that works, with a value for every secret it can have."""

    @abstractmethod
    def far_end(self) -> Mapping[str, bytes]:
        """Return everything that lies at the far end now, by name."""

    def broken_configs(self) -> list[dict[str, Any]]:
        """Return valid configurations with which a connection test fails, secrets included."""
        return []

    def dropzone_root(self) -> Path | None:
        """Return the root folder of filesystem connections."""
        return None

    def complete_order(self) -> Order:
        """Return an order with every field that the format can express."""
        return sample_orders.complete()

    # The contract.

    def test_can_be_registered(self) -> None:
        ConnectorRegistry().register(self.connector_class)

    def test_config_describes_itself(self) -> None:
        schema = self.connector_class.Config.json_schema()

        jsonschema_rs.meta.validate(schema)
        for name, field in schema["properties"].items():
            assert field.get("title"), f"{name} has no title"
            assert field.get("description"), f"{name} has no description"

    def test_config_survives_storage(self) -> None:
        parsed = self._parsed()

        assert self.connector_class.Config.parse({k: v for k, v in parsed.reveal().items() if v is not None}) == parsed

    def test_config_refuses_unknown_fields(self) -> None:
        faults: tuple[Fault, ...] = ()
        try:
            self.connector_class.Config.parse(self.config() | {"no_such_field": 1})
        except ConfigurationError as error:
            faults = error.faults

        assert [fault.path for fault in faults] == ["no_such_field"]

    def test_secrets_are_not_shown(self) -> None:
        parsed = self._parsed()

        shown = f"{parsed!r} {parsed} {json.dumps(parsed.public())} {parsed.model_dump_json()}"
        self._assert_no_secret(shown, self.config())

    def test_config_says_whom_it_talks_to(self) -> None:
        assert self._parsed().endpoint() or not self.uses_network

    def test_expiries_are_moments(self) -> None:
        for expiry in self._parsed().expiries():
            assert expiry.field in self.connector_class.Config.model_fields
            assert expiry.kind
            assert expiry.expires_at.utcoffset() is not None

    def test_same_order_renders_the_same_document(self) -> None:
        if not self.connector_class.supports_render:
            return
        first = self._export_context()
        second = export_context(export_id=first.export_id, created_at=first.created_at, attempt=2)

        for order in (sample_orders.minimal(), self.complete_order()):
            rendered = self._connector().render(order, self._parsed(), first)

            assert rendered == self._connector().render(order, self._parsed(), second)
            assert rendered.content

    def test_connection_test_leaves_nothing_behind(self) -> None:
        before = dict(self.far_end())

        result = self._test(self._context())

        assert result.success, result.failed_step
        assert dict(self.far_end()) == before

    def test_check_that_may_not_write_leaves_no_trace(self) -> None:
        before = dict(self.far_end())

        result = self._test(replace(self._context(), may_write=False))

        assert result.success, result.failed_step
        assert result.not_proven
        assert not [step for step in result.steps if step.name in WRITING_STEPS and not _is_explained_skip(step)]
        assert dict(self.far_end()) == before

    def test_cancelled_connection_test_leaves_nothing_behind(self) -> None:
        before = dict(self.far_end())
        whole = [step for step in self._test(self._context()).steps if step.status is not StepStatus.SKIPPED]

        for position, step in enumerate(whole):
            result = self._test(replace(self._context(), steps=_cancelled_before(position)))

            assert result.failed_step, step.name
            assert (result.failed_step.name, result.failed_step.code) == (step.name, Code.TEST_CANCELLED)
            _assert_rest_is_skipped(result)
            assert dict(self.far_end()) == before, step.name

    def test_changed_far_end_gets_nothing(self) -> None:
        if not self.connector_class.supports_identify:
            return
        shown, before = self._connector().identify(self._parsed(), self._context()), dict(self.far_end())
        assert self._test(replace(self._context(), pinned_identity=shown)).success

        for name, value in shown.as_json().items():
            if value is not None:
                self._assert_is_refused(replace(shown, **{name: f"not {value}"}))
        assert dict(self.far_end()) == before

    def test_failed_connection_test_is_a_report_without_secrets(self) -> None:
        for config in self.broken_configs():
            parsed = self.connector_class.Config.parse(config)

            result = self._connector().test_connection(parsed, self._context())

            assert result.failed_step, config.keys()
            assert result.failed_step.code
            assert result.failed_step.hint
            _assert_rest_is_skipped(result)
            self._assert_no_secret(json.dumps(result.as_json()), config)

    def test_export_twice_is_delivered_once(self) -> None:
        order, before, attempt = self.complete_order(), dict(self.far_end()), self._export_context()

        first = self._connector().export(order, self._parsed(), attempt)
        second = self._connector().export(order, self._parsed(), attempt)

        assert not first.receipt.already_delivered
        assert second.receipt.already_delivered
        assert (first.receipt.size, first.receipt.sha256) == (second.receipt.size, second.receipt.sha256)
        assert len(self.far_end()) == len(before) + 1

    def test_rendered_document_is_what_arrives(self) -> None:
        if not self.connector_class.supports_render:
            return
        order, attempt = self.complete_order(), self._export_context()

        self._connector().export(order, self._parsed(), attempt)

        rendered = self._connector().render(order, self._parsed(), attempt)
        assert self.far_end()[rendered.filename] == rendered.content

    def test_find_export_tells_what_arrived(self) -> None:
        if not self.connector_class.supports_find_export:
            return
        order, attempt = sample_orders.minimal(), self._export_context()

        assert self._connector().find_export(order, self._parsed(), attempt) is None
        sent = self._connector().export(order, self._parsed(), attempt)
        found = self._connector().find_export(order, self._parsed(), attempt)

        assert found is not None
        assert found.receipt.already_delivered
        assert found.receipt.sha256 == sent.receipt.sha256

    def test_one_session_takes_many_orders(self) -> None:
        if not self.connector_class.supports_session:
            return
        before = dict(self.far_end())

        with self._connector().open_session(self._parsed(), self._context()) as session:
            for number in range(3):
                session.export(sample_orders.minimal(f"SO-{number}"), self._export_context())

        assert len(self.far_end()) == len(before) + 3

    def test_many_in_one_session_arrive_each_once(self) -> None:
        if not self.connector_class.supports_session:
            return
        exports = [(sample_orders.minimal(f"SO-{number}"), self._export_context()) for number in range(7)]
        source, before = _Source(exports, window=3), dict(self.far_end())

        with self._connector().open_session(self._parsed(), self._context()) as session:
            session.check()
            for delivery in session.export_many(source, window=3):
                source.note(delivery)
            session.check()

        assert [delivery.error for delivery in source.deliveries] == [None] * len(exports)
        settled = {delivery.context.export_id: delivery.result for delivery in source.deliveries}
        assert len(settled) == len(source.deliveries) == len(exports)
        assert len(self.far_end()) == len(before) + len(exports)
        for order, attempt in exports:
            again = self._connector().export(order, self._parsed(), attempt)
            assert again.receipt.already_delivered
            assert settled[attempt.export_id] == replace(again, receipt=replace(again.receipt, already_delivered=False))

    def test_many_are_what_they_are_one_by_one(self) -> None:
        if not self.connector_class.supports_session:
            return
        exports = [(sample_orders.minimal(f"SO-{number}"), self._export_context()) for number in range(4)]
        alone = [self._connector().export(order, self._parsed(), attempt) for order, attempt in exports]
        before = dict(self.far_end())

        with self._connector().open_session(self._parsed(), self._context()) as session:
            together = {delivery.context.export_id: delivery for delivery in session.export_many(exports, window=2)}

        assert dict(self.far_end()) == before
        for (_, attempt), result in zip(exports, alone, strict=True):
            expected = replace(result, receipt=replace(result.receipt, already_delivered=True))
            assert together[attempt.export_id].result == expected

    def test_with_a_window_of_one_each_has_arrived_before_the_next_is_taken(self) -> None:
        if not self.connector_class.supports_session:
            return
        before = len(self.far_end())

        def exports() -> Iterator[tuple[Order, ExportContext]]:
            for number in range(3):
                assert len(self.far_end()) == before + number
                yield sample_orders.minimal(f"SO-{number}"), self._export_context()

        with self._connector().open_session(self._parsed(), self._context()) as session:
            assert all(delivery.result for delivery in session.export_many(exports(), window=1))
        assert len(self.far_end()) == before + 3

    def test_a_session_finds_what_it_sent(self) -> None:
        if not (self.connector_class.supports_session and self.connector_class.supports_find_export):
            return
        sent, missing = ((sample_orders.minimal(name), self._export_context()) for name in ("SO-1", "SO-2"))

        with self._connector().open_session(self._parsed(), self._context()) as session:
            (delivery,) = session.export_many([sent], window=1)
            found = session.find(*sent)

            assert delivery.result
            assert found
            assert found.receipt.sha256 == delivery.result.receipt.sha256
            assert session.find(*missing) is None

    def test_says_what_keeps_an_order_from_arriving_twice(self) -> None:
        assert isinstance(self.connector_class.guarantee, Guarantee)
        if self.connector_class.guarantee is Guarantee.LOOKUP:
            assert self.connector_class.supports_find_export

    def _connector(self) -> ERPConnectorPort[Any]:
        return self.connector_class()

    def _parsed(self) -> ConnectorConfig:
        return self.connector_class.Config.parse(self.config())

    def _test(self, context: Context) -> TestResult:
        return self._connector().test_connection(self._parsed(), context)

    def _assert_is_refused(self, pinned: RemoteIdentity) -> None:
        result = self._test(replace(self._context(), pinned_identity=pinned))
        assert result.failed_step
        assert result.failed_step.code is Code.IDENTITY_CHANGED
        assert result.identity
        _assert_rest_is_skipped(result)

        attempt = replace(self._export_context(), pinned_identity=pinned)
        order = sample_orders.minimal()
        assert _failure(lambda: self._connector().export(order, self._parsed(), attempt)) is Code.IDENTITY_CHANGED
        if self.connector_class.supports_session:
            session = self._connector().open_session(self._parsed(), attempt)
            assert _failure(session.__enter__) is Code.IDENTITY_CHANGED

    def _context(self) -> Context:
        return context(dropzone_root=self.dropzone_root())

    def _export_context(self) -> ExportContext:
        return export_context(dropzone_root=self.dropzone_root())

    def _assert_no_secret(self, text: str, config: Mapping[str, Any]) -> None:
        for name in self.connector_class.Config.secret_fields():
            assert str(config.get(name) or "\0") not in text, f"{name} is shown"


class _Source:
    """Exports to be taken one by one, by somebody who takes no more than he has room for, and never beyond the end."""

    def __init__(self, exports: Sequence[tuple[Order, ExportContext]], *, window: int) -> None:
        self._exports, self._window = exports, window
        self._taken, self._has_ended = 0, False
        self.deliveries: list[Delivery] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Order, ExportContext]:
        assert not self._has_ended, "asked again after the end"
        if self._taken == len(self._exports):
            self._has_ended = True
            raise StopIteration
        self._taken += 1
        assert self._taken - len(self.deliveries) <= self._window, "more under way than allowed"
        return self._exports[self._taken - 1]

    def note(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)


def _cancelled_before(position: int) -> StepRecorder:
    """Return a record of a test that is cancelled before the step at this position, from 0."""
    asked = count()
    return StepRecorder(is_cancelled=lambda: next(asked) >= position)


def _assert_rest_is_skipped(result: TestResult) -> None:
    assert result.failed_step
    for step in result.steps[result.steps.index(result.failed_step) + 1 :]:
        assert step.status is StepStatus.SKIPPED, step.name
        assert result.failed_step.name in step.detail, step.name


def _is_explained_skip(step: TestStep) -> bool:
    return step.status is StepStatus.SKIPPED and bool(step.detail)


def _failure(act: Callable[[], object]) -> Code | None:
    """Return the code with which a call fails; None when it does not."""
    try:
        act()
    except ConnectorError as error:
        return error.code
    return None
