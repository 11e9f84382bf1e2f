"""The pytest plugins: skips that count, and test runs that leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from erpconfig.paths import BASE_DIR

pytest_plugins = ["pytester"]

SKIPPING = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="needs apt-get install something")
def test_needs_something():
    pass

@pytest.mark.skip(reason="needs root, to be another user")
def test_needs_root():
    pass

@pytest.mark.xfail
def test_fails_as_expected():
    raise AssertionError
"""


class TestSkips:
    @pytest.fixture(params=[[], ["-p", "xdist", "-n", "1"]], ids=["alone", "xdist"])
    def arguments(self, request: pytest.FixtureRequest) -> list[str]:
        return ["-p", "erpconfig.testing.skips", *request.param]

    @pytest.fixture(autouse=True)
    def importable(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", str(BASE_DIR))
        monkeypatch.delenv("CI", raising=False)
        monkeypatch.delenv("ERPC_FAIL_ON_SKIP", raising=False)
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(SKIPPING)

    def test_they_are_named_at_the_end(self, pytester: pytest.Pytester, arguments: list[str]) -> None:
        result = pytester.runpytest_subprocess(*arguments)

        assert result.ret == 0
        result.stdout.fnmatch_lines(["*not tested here*", "*::test_needs_something: needs apt-get install something"])

    @pytest.mark.parametrize("variable", ["CI", "ERPC_FAIL_ON_SKIP"])
    def test_they_fail_the_run_where_nobody_reads_that(
        self, pytester: pytest.Pytester, arguments: list[str], variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "1")

        assert pytester.runpytest_subprocess(*arguments).ret == 1

    def test_what_no_package_could_help_is_named_and_passes_there(
        self, pytester: pytest.Pytester, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CI", "1")

        result = pytester.runpytest_subprocess(*arguments, "-k", "not something")

        assert result.ret == 0
        result.stdout.fnmatch_lines(["*::test_needs_root: needs root, to be another user"])


RUN_AND_DIE = """
import os, signal
from erpconfig.testing.postgres import TestRun
run = TestRun()
run.prepare_environment()
print(run.folder, (run.folder / "postgres/data/postmaster.pid").read_text().split()[0], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class TestKilledRuns:
    @pytest.fixture
    def environment(self, reachable_folder: Path) -> dict[str, str]:
        return {"PATH": os.defpath, "TMPDIR": str(reachable_folder)}

    def test_the_next_run_clears_up(self, environment: dict[str, str]) -> None:
        killed = run_python(RUN_AND_DIE, environment)
        folder, pid = killed.stdout.split()
        assert killed.returncode == -signal.SIGKILL
        assert runs(pid)

        run_python("from erpconfig.testing.postgres import TestRun; TestRun().end()", environment)

        assert not Path(folder).exists()
        assert not runs(pid)

    def test_a_run_that_lives_is_left_alone(self, environment: dict[str, str]) -> None:
        run_python("from erpconfig.testing.postgres import TestRun; TestRun().end()", environment | ours())

        assert Path(os.environ["DROPZONE_ROOT"]).parent.is_dir()


def runs(pid: str) -> bool:
    """Return whether this process lives; one that ended but was not waited for has no command line any more."""
    command = Path("/proc", pid, "cmdline")
    return command.exists() and command.read_bytes() != b""


def ours() -> dict[str, str]:
    return {"TMPDIR": tempfile.gettempdir()}


def run_python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False
    )
