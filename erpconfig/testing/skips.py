"""pytest plugin: names every skipped test at the end, and fails for it where nobody would read that.

A test that `needs root` (its reason begins so) is only named: no package that could be installed would help it.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

_FAIL_ON_SKIP: Final = "ERPC_FAIL_ON_SKIP"
_NEEDS_ROOT: Final = "needs root"


class SkippedTests:
    """Collects what was skipped, in the process that prints the summary."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skip; an expected failure is none."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that was skipped as a whole."""
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    def _note(self, node: str, where: object) -> None:
        self._reasons[node] = str(where[2] if isinstance(where, tuple) else where).removeprefix("Skipped: ")

    def _avoidable(self) -> bool:
        return any(not reason.startswith(_NEEDS_ROOT) for reason in self._reasons.values())

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn success into failure when a skip must not pass for one."""
        if self._avoidable() and session.exitstatus == pytest.ExitCode.OK and _must_not_skip():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the skipped tests with their reasons."""
        failing = self._avoidable() and _must_not_skip()
        if self._reasons:
            terminalreporter.section("not tested here", red=failing, bold=True)
            for node, reason in sorted(self._reasons.items()):
                terminalreporter.line(f"{node}: {reason}")
            if failing:
                terminalreporter.line(f"Such a skip is a failure here, because CI or {_FAIL_ON_SKIP} is set.")


def pytest_configure(config: pytest.Config) -> None:
    """Watch in the main process only; workers report to it."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkippedTests())


def _must_not_skip() -> bool:
    return bool(os.environ.get("CI") or os.environ.get(_FAIL_ON_SKIP))
