"""What a connection test of DROPZONE_JSON_V1 finds out, and that nothing of it stays, whatever happens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed
from connectors.port import Context, StepRecorder
from connectors.results import RemoteIdentity, StepStatus, TestResult, TestStep
from connectors.testing import fakes, sample_orders
from connectors.tests.peers.faulty_sftp import CHANGES, FaultySftp
from connectors.tests.peers.openssh import OpenSSH
from connectors.tests.peers.proxy import CuttingProxy

CONNECTOR = DropzoneJsonV1Connector()
OTHER = RemoteIdentity(server="another product")


def diagnose(config: dict[str, object], context: Context | None = None) -> TestResult:
    return CONNECTOR.test_connection(DropzoneConfig.parse(config), context or fakes.context())


def step(result: TestResult, name: str) -> TestStep:
    return next(step for step in result.steps if step.name == name)


def recording(on_step: Callable[[TestStep], None] | None = None, **changes: Any) -> Context:
    """Return a context whose steps are looked at as they end."""
    return replace(fakes.context(**changes), steps=StepRecorder(on_step=on_step))


@pytest.mark.sftp
class TestIdentity:
    def test_the_product_is_the_identity_and_its_greeting_is_shown(self, openssh: OpenSSH, inbox: Path) -> None:
        result = diagnose(openssh.config())

        assert result.identity == RemoteIdentity(server="OpenSSH")
        assert step(result, "identity").detail.startswith("SSH-2.0-OpenSSH_")

    def test_another_product_is_named_and_gets_nothing(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp()

        result = diagnose(server.config(), replace(fakes.context(), pinned_identity=OTHER))

        failed = result.failed_step
        assert failed is not None
        assert (failed.name, failed.code) == ("identity", Code.IDENTITY_CHANGED)
        assert failed.params["pinned_identity"] == "another product"
        assert result.identity is not None
        assert result.identity.server == failed.params["shown_identity"] == "AsyncSSH"
        assert not server.steps

    def test_every_verb_recognises_the_server(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server, order = faulty_sftp(), sample_orders.minimal()
        config = DropzoneConfig.parse(server.config())
        context = replace(fakes.export_context(), pinned_identity=OTHER)

        for verb in (
            lambda: CONNECTOR.export(order, config, context),
            lambda: CONNECTOR.find_export(order, config, context),
            lambda: CONNECTOR.poll_acknowledgements(config, context, lambda _: pytest.fail("settled")),
            lambda: CONNECTOR.open_session(config, context).__enter__(),
        ):
            with pytest.raises(AuthenticationFailed) as caught:
                verb()
            assert caught.value.code is Code.IDENTITY_CHANGED
        assert not server.steps

    def test_asked_for_a_new_identity_it_does_not_compare(self, openssh: OpenSSH) -> None:
        config = DropzoneConfig.parse(openssh.config())

        assert CONNECTOR.identify(config, replace(fakes.context(), pinned_identity=OTHER)).server == "OpenSSH"

    def test_unknown_before_the_login(self, openssh: OpenSSH) -> None:
        assert diagnose(openssh.config(password="wrong")).identity is None


@pytest.mark.sftp
class TestReading:
    def test_a_folder_that_may_not_be_listed_is_a_warning(self, openssh: OpenSSH) -> None:
        result = diagnose(openssh.config(export_path="unlisted"))

        assert result.success
        assert (step(result, "read").status, step(result, "read").code) == ("warning", Code.FOLDER_NOT_LISTED)
        assert "unlisted" in step(result, "read").detail
        assert any("looked up after an unknown outcome" in unproven for unproven in result.not_proven)
        assert list((openssh.home / "unlisted").iterdir()) == []

    def test_a_folder_in_which_nothing_can_be_looked_up_is_a_failure(self, openssh: OpenSSH) -> None:
        result = diagnose(openssh.config(export_path="unsearchable"))

        assert result.failed_step is not None
        assert (result.failed_step.name, result.failed_step.code) == ("read", Code.PERMISSION_DENIED)

    def test_what_can_be_looked_up_is_not_unproven(self, openssh: OpenSSH, inbox: Path) -> None:
        assert not any("looked up" in unproven for unproven in diagnose(openssh.config()).not_proven)


class TestWritingNothing:
    @pytest.mark.sftp
    def test_on_a_server_that_counts(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp()

        result = diagnose(server.config(), replace(fakes.context(), may_write=False))

        assert result.success
        self._assert_says_so(result)
        assert server.steps["stat"]
        assert not CHANGES & server.steps.keys()
        assert diagnose(server.config()).success
        assert CHANGES & server.steps.keys() == {"open", "write", "rename", "remove"}

    def test_on_this_machine(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        os.utime(out, (1, 1))

        result = diagnose(
            {"mode": "filesystem", "export_path": "out"},
            replace(fakes.context(dropzone_root=tmp_path), may_write=False),
        )

        assert result.success
        self._assert_says_so(result)
        assert out.stat().st_mtime == 1

    def _assert_says_so(self, result: TestResult) -> None:
        for name in ("write", "clean_up"):
            assert step(result, name).status is StepStatus.SKIPPED
            assert "writes nothing" in step(result, name).detail
        assert any("can be written" in unproven for unproven in result.not_proven)


@pytest.mark.sftp
class TestNothingStays:
    @pytest.mark.parametrize("fault", ["cut_before", "cut_after"])
    @pytest.mark.parametrize("at", ["open", "write", "close", "stat", "rename", "remove"])
    @pytest.mark.parametrize("atomic", [True, False])
    def test_cut_at_every_step(self, faulty_sftp: Callable[..., FaultySftp], fault: str, at: str, atomic: bool) -> None:
        server = faulty_sftp(**{fault: at}, times=1)

        result = diagnose(server.config(atomic_write=atomic))

        assert list((server.root / "inbox").iterdir()) == []
        assert result.failed_step or (at, atomic) == ("rename", False)
        assert not self._admits_a_file(result)

    @pytest.mark.parametrize("at", ["open", "write", "close", "rename", "remove"])
    def test_refused_once_at_every_step(self, faulty_sftp: Callable[..., FaultySftp], at: str) -> None:
        server = faulty_sftp(fail=at, times=1)

        result = diagnose(server.config())

        assert result.failed_step is not None
        assert result.failed_step.name == ("clean_up" if at == "remove" else "write")
        assert list((server.root / "inbox").iterdir()) == []

    @pytest.mark.parametrize("after", range(1_350, 2_400, 120))
    def test_silence_anywhere(self, openssh: OpenSSH, inbox: Path, after: int) -> None:
        with CuttingProxy(openssh.port, after=after, how="stall", times=1) as proxy:
            result = diagnose(openssh.config(port=proxy.port, timeout_s=1))

        assert result.failed_step is not None
        assert list(inbox.iterdir()) == []

    def test_time_that_is_over_after_the_writing(self, openssh: OpenSSH, inbox: Path) -> None:
        def dawdle(ended: TestStep) -> None:
            if ended.name == "write":
                assert len(list(inbox.iterdir())) == 1
                time.sleep(1.1)

        result = diagnose(openssh.config(), recording(dawdle, budget_s=1))

        assert result.failed_step is not None
        assert (result.failed_step.name, result.failed_step.code) == ("clean_up", Code.CONNECTION_TIMEOUT)
        assert list(inbox.iterdir()) == []

    def test_a_worker_that_is_told_to_stop(self, openssh: OpenSSH, inbox: Path) -> None:
        def stop(ended: TestStep) -> None:
            if ended.name == "write":
                raise SystemExit

        with pytest.raises(SystemExit):
            diagnose(openssh.config(), recording(stop))

        assert list(inbox.iterdir()) == []

    def test_somebody_elses_file_stays(self, openssh: OpenSSH, inbox: Path) -> None:
        clock = fakes.FakeClock()
        theirs = inbox / f"test_connection_{clock.now():%Y%m%dT%H%M%S%fZ}.json"
        theirs.write_text("theirs")

        result = diagnose(openssh.config(), fakes.context(clock=clock))

        assert result.failed_step is not None
        assert result.failed_step.code is Code.TARGET_EXISTS
        assert theirs.read_text() == "theirs"

    def _admits_a_file(self, result: TestResult) -> bool:
        return any("test_connection_" in unproven for unproven in result.not_proven)


@pytest.mark.sftp
class TestWhatMustStayIsNamed:
    @pytest.fixture
    def server(self, start_openssh: Callable[..., OpenSSH]) -> OpenSSH:
        return start_openssh(sftp="-P remove")

    def test_where_nothing_may_be_deleted(self, server: OpenSSH) -> None:
        result = diagnose(server.config())

        (left,) = (server.home / "inbox").iterdir()
        assert result.success
        assert (step(result, "clean_up").status, step(result, "clean_up").code) == ("warning", Code.TEST_FILE_LEFT)
        assert left.name in step(result, "clean_up").hint
        assert left.name in step(result, "clean_up").params["path"]

    def test_cancelled_where_nothing_may_be_deleted(self, server: OpenSSH) -> None:
        asked = iter(range(100))
        steps = StepRecorder(is_cancelled=lambda: next(asked) >= 8)

        result = diagnose(server.config(), replace(fakes.context(), steps=steps))

        (left,) = (server.home / "inbox").iterdir()
        assert result.failed_step is not None
        assert result.failed_step.name == "clean_up"
        assert any(left.name in unproven for unproven in result.not_proven)

    def test_orders_are_delivered_all_the_same(self, server: OpenSSH) -> None:
        config, context = DropzoneConfig.parse(server.config()), fakes.export_context()

        assert not CONNECTOR.export(sample_orders.minimal(), config, context).receipt.already_delivered
        assert CONNECTOR.export(sample_orders.minimal(), config, context).receipt.already_delivered

    def test_cut_again_and_again(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(cut_before="remove")

        result = diagnose(server.config())

        (left,) = (server.root / "inbox").iterdir()
        assert result.failed_step is not None
        assert (result.failed_step.name, result.failed_step.code) == ("clean_up", Code.CONNECTION_LOST)
        assert any(left.name in unproven for unproven in result.not_proven)
