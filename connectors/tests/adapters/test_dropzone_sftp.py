"""DROPZONE_JSON_V1 through its port, over SFTP: each fault has its own step, code and hint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.codes import Code, describe
from connectors.exceptions import OutcomeUnknown, TemporaryError
from connectors.results import Acknowledgement, Settlement, TestResult
from connectors.testing import fakes, sample_orders
from connectors.tests.peers.faulty_sftp import FaultySftp
from connectors.tests.peers.openssh import OpenSSH, free_port
from connectors.tests.peers.proxy import CuttingProxy, blackhole, silent_server

pytestmark = pytest.mark.sftp

CONNECTOR = DropzoneJsonV1Connector()
LOGIN = ["resolve", "connect", "host_key", "authenticate", "identity"]
FOLDERS = ["export_path", "read", "write", "clean_up", "ack_path"]


def diagnose(config: dict[str, object]) -> TestResult:
    return CONNECTOR.test_connection(DropzoneConfig.parse(config), fakes.context())


def failed(result: TestResult) -> tuple[str, Code | None]:
    assert result.failed_step is not None
    assert result.failed_step.hint
    return result.failed_step.name, result.failed_step.code


class TestConnectionTest:
    def test_passes_step_by_step_and_leaves_nothing(self, openssh: OpenSSH, inbox: Path) -> None:
        result = diagnose(openssh.config())

        assert [step.name for step in result.steps] == LOGIN + FOLDERS
        assert {step.status for step in result.steps} == {"passed"}
        assert list(inbox.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"password": "wrong"}, ("authenticate", Code.AUTHENTICATION_FAILED)),
            ({"host_key": None}, ("host_key", Code.HOST_KEY_UNKNOWN)),
            ({"host_key": "SHA256:" + "A" * 43}, ("host_key", Code.HOST_KEY_MISMATCH)),
            ({"host": "no-such-host.invalid"}, ("resolve", Code.DNS_FAILURE)),
            ({"export_path": "readonly"}, ("write", Code.PERMISSION_DENIED)),
            ({"export_path": "nowhere"}, ("export_path", Code.PATH_NOT_FOUND)),
            ({"ack_path": "nowhere"}, ("ack_path", Code.PATH_NOT_FOUND)),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
    )
    def test_each_fault_has_its_step_and_code(
        self, openssh: OpenSSH, change: dict[str, object], expected: tuple[str, Code]
    ) -> None:
        result = diagnose(openssh.config(**change))

        assert failed(result) == expected
        assert [step.name for step in result.steps] == LOGIN + FOLDERS
        reached = [step.name for step in result.steps].index(expected[0])
        assert {step.status for step in result.steps[:reached]} <= {"passed"}
        assert {step.status for step in result.steps[reached + 1 :]} <= {"skipped"}

    def test_refused(self, openssh: OpenSSH) -> None:
        assert failed(diagnose(openssh.config(port=free_port()))) == ("connect", Code.CONNECTION_REFUSED)

    @pytest.mark.parametrize(("hole", "step"), [(blackhole, "connect"), (silent_server, "host_key")])
    def test_silence_ends_in_time(self, openssh: OpenSSH, hole, step: str) -> None:
        started = time.monotonic()
        with hole() as port:
            assert failed(diagnose(openssh.config(port=port, timeout_s=1))) == (step, Code.CONNECTION_TIMEOUT)
        assert time.monotonic() - started < 2

    def test_full_disk(self, openssh: OpenSSH, small_disk: Path) -> None:
        (small_disk / "filler").write_bytes(b"x" * 64 * 1024)

        assert failed(diagnose(openssh.config(export_path="small"))) == ("write", Code.NO_SPACE)
        assert [path.name for path in small_disk.iterdir()] == ["filler"]

    @pytest.mark.parametrize("after", range(850, 2_550, 100))
    def test_cut_anywhere_leaves_nothing_behind(self, openssh: OpenSSH, inbox: Path, after: int) -> None:
        with CuttingProxy(openssh.port, after=after, times=1) as proxy:
            result = diagnose(openssh.config(port=proxy.port))

        assert result.success or failed(result)[1] in (Code.CONNECTION_LOST, Code.OUTCOME_UNKNOWN)
        assert list(inbox.iterdir()) == []


class TestExport:
    def test_deliver_find_and_answer(self, openssh: OpenSSH, inbox: Path) -> None:
        config = DropzoneConfig.parse(openssh.config())
        order, context = sample_orders.complete(), fakes.export_context()
        seen: list[Acknowledgement] = []

        sent = CONNECTOR.export(order, config, context)
        name = sent.receipt.location.rsplit("/", 1)[1]
        found = CONNECTOR.find_export(order, config, context)
        answers = openssh.home / "ack"
        (answers / f"ack_{name}").write_text(json.dumps({"status": "ACKED", "erp_order_id": "4711"}))
        (answers / "ack_broken.json").write_text("{")

        def settle(answer: Acknowledgement) -> Settlement:
            seen.append(answer)
            return Settlement.APPLIED

        assert CONNECTOR.poll_acknowledgements(config, fakes.context(), settle) == 1
        assert found is not None
        assert found.receipt.already_delivered
        assert [(answer.filename, answer.erp_order_id) for answer in seen] == [(name, "4711")]
        assert (answers / "processed" / f"ack_{name}").exists()
        assert (answers / "error" / "ack_broken.json").read_text() == "{"
        reason = (answers / "error" / "ack_broken.json.reason.txt").read_text()
        assert describe(Code.ACKNOWLEDGEMENT_MALFORMED, reason="it is not valid JSON").message in reason

    def test_full_disk_in_the_middle(self, openssh: OpenSSH, small_disk: Path) -> None:
        config = DropzoneConfig.parse(openssh.config(export_path="small"))

        with pytest.raises(TemporaryError) as caught:
            CONNECTOR.export(sample_orders.large(), config, fakes.export_context())

        assert caught.value.code is Code.NO_SPACE
        assert list(small_disk.iterdir()) == []

    def test_a_session_logs_in_once(self, openssh: OpenSSH, inbox: Path) -> None:
        context = fakes.context()
        with CONNECTOR.open_session(DropzoneConfig.parse(openssh.config()), context) as session:
            for number in range(5):
                session.export(sample_orders.minimal(f"SO-{number}"), fakes.export_context())

        assert [step.name for step in context.steps.steps] == LOGIN
        assert len(list(inbox.iterdir())) == 5

    def test_one_order_that_fails_does_not_stop_the_session(self, openssh: OpenSSH, inbox: Path) -> None:
        taken = fakes.export_context()
        name = CONNECTOR.render(sample_orders.minimal(), DropzoneConfig.parse(openssh.config()), taken).filename
        (inbox / name).write_text("other")

        with CONNECTOR.open_session(DropzoneConfig.parse(openssh.config()), fakes.context()) as session:
            with pytest.raises(Exception, match="already exists"):
                session.export(sample_orders.minimal(), taken)
            session.export(sample_orders.minimal("SO-2"), fakes.export_context())

        assert len(list(inbox.iterdir())) == 2

    def test_lost_answer_to_the_rename_is_settled_by_looking(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(cut_after="rename", times=1)
        config, context = DropzoneConfig.parse(server.config()), fakes.export_context()

        with pytest.raises(OutcomeUnknown):
            CONNECTOR.export(sample_orders.minimal(), config, context)
        found = CONNECTOR.find_export(sample_orders.minimal(), config, context)

        assert found is not None
        assert found.receipt.already_delivered
        assert server.steps["rename"] == 1

    def test_a_deadline_that_has_passed_sends_nothing(self, openssh: OpenSSH, inbox: Path) -> None:
        config = DropzoneConfig.parse(openssh.config())

        with pytest.raises(TemporaryError) as caught:
            CONNECTOR.export(sample_orders.minimal(), config, fakes.export_context(budget_s=0))

        assert caught.value.code is Code.CONNECTION_TIMEOUT
        assert list(inbox.iterdir()) == []
