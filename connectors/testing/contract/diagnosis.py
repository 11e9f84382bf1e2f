"""The connection test: staged, without side effects, and a report whatever happens."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from typing import Final

from connectors.codes import Code
from connectors.port import StepRecorder
from connectors.results import RemoteIdentity, StepStatus, TestResult, TestStep
from connectors.testing import sample_orders
from connectors.testing.contract.hooks import ContractHooks, failure

WRITING_STEPS: Final = ("write", "clean_up")
"""What a connection test calls the steps that change something at the far end, if only for a moment."""


class DiagnosisContract(ContractHooks):
    """What a connection test does and what it leaves alone."""

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

    def _assert_is_refused(self, pinned: RemoteIdentity) -> None:
        result = self._test(replace(self._context(), pinned_identity=pinned))
        assert result.failed_step
        assert result.failed_step.code is Code.IDENTITY_CHANGED
        assert result.identity
        _assert_rest_is_skipped(result)

        attempt = replace(self._export_context(), pinned_identity=pinned)
        order = sample_orders.minimal()
        assert failure(lambda: self._connector().export(order, self._parsed(), attempt)) is Code.IDENTITY_CHANGED
        if self.connector_class.supports_session:
            session = self._connector().open_session(self._parsed(), attempt)
            assert failure(session.__enter__) is Code.IDENTITY_CHANGED


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
