"""DROPZONE_JSON_V1 through its port, into folders of this machine."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.codes import Code, describe
from connectors.exceptions import RejectedByERP, TemporaryError
from connectors.port import ExportContext
from connectors.results import Acknowledgement, AckStatus, Settlement, StepStatus
from connectors.testing import fakes, sample_orders
from connectors.transports.filesystem import FilesystemFolder

CONNECTOR = DropzoneJsonV1Connector()
ORDER = sample_orders.minimal()
EXPORT_ID = UUID("0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d")
NAME = "sales_order_SO-1_20251226T100000Z_0a1b2c3d.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("out", "ack"):
        (tmp_path / name).mkdir()
    return tmp_path


def config(**changes: Any) -> DropzoneConfig:
    return DropzoneConfig.parse({"mode": "filesystem", "export_path": "out", "ack_path": "ack"} | changes)


def export_context(root: Path) -> ExportContext:
    return fakes.export_context(export_id=EXPORT_ID, dropzone_root=root)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.exists() else []


class TestExport:
    def test_file_name_content_and_receipt(self, root: Path) -> None:
        context = export_context(root)

        result = CONNECTOR.export(ORDER, config(), context)

        content = (root / "out" / NAME).read_bytes()
        assert content == CONNECTOR.render(ORDER, config(), context).content
        assert json.loads(content)["org_slug"] == "acme"
        assert result.receipt.location == f"out/{NAME}"
        assert not result.acknowledged
        assert [step.name for step in context.steps.steps] == ["deliver"]

    def test_the_frozen_document_is_what_is_sent(self, root: Path) -> None:
        frozen = CONNECTOR.render(ORDER, config(), export_context(root))
        frozen = replace(frozen, content=frozen.content + b" ")

        CONNECTOR.export(ORDER, config(), replace(export_context(root), document=frozen))

        assert (root / "out" / NAME).read_bytes() == frozen.content

    def test_says_what_the_format_has_no_place_for(self, root: Path) -> None:
        result = CONNECTOR.export(sample_orders.complete(), config(), export_context(root))

        assert any("ship_to" in warning for warning in result.warnings)

    def test_another_file_of_that_name(self, root: Path) -> None:
        (root / "out" / NAME).write_text("other")

        with pytest.raises(RejectedByERP) as caught:
            CONNECTOR.export(ORDER, config(), export_context(root))

        assert caught.value.code is Code.TARGET_EXISTS
        assert NAME in caught.value.message

    def test_without_a_dropzone_root(self) -> None:
        with pytest.raises(TemporaryError) as caught:
            CONNECTOR.export(ORDER, config(), fakes.export_context(dropzone_root=None))

        assert caught.value.code is Code.PERMISSION_DENIED


class TestConnectionTest:
    def test_steps(self, root: Path) -> None:
        result = CONNECTOR.test_connection(config(), fakes.context(dropzone_root=root))

        assert [(step.name, step.status) for step in result.steps] == [
            ("export_path", "passed"),
            ("read", "passed"),
            ("write", "passed"),
            ("clean_up", "passed"),
            ("ack_path", "passed"),
        ]
        assert any("picks the files up" in unproven for unproven in result.not_proven)
        assert names(root / "out") == []

    def test_without_ack_path(self, root: Path) -> None:
        result = CONNECTOR.test_connection(
            DropzoneConfig.parse({"mode": "filesystem", "export_path": "out"}), fakes.context(dropzone_root=root)
        )

        assert result.success
        assert result.steps[-1].status is StepStatus.SKIPPED
        assert any("cannot answer" in unproven for unproven in result.not_proven)

    @pytest.mark.parametrize(
        ("change", "step", "code"),
        [
            ({"export_path": "nowhere"}, "export_path", Code.PATH_NOT_FOUND),
            ({"export_path": "/etc"}, "export_path", Code.PERMISSION_DENIED),
            ({"ack_path": "nowhere"}, "ack_path", Code.PATH_NOT_FOUND),
        ],
    )
    def test_failures(self, root: Path, change: dict[str, str], step: str, code: Code) -> None:
        result = CONNECTOR.test_connection(config(**change), fakes.context(dropzone_root=root))

        assert result.failed_step is not None
        assert (result.failed_step.name, result.failed_step.code) == (step, code)
        assert names(root / "out") == []

    def test_what_comes_after_a_failure_is_skipped(self, root: Path) -> None:
        result = CONNECTOR.test_connection(config(export_path="nowhere"), fakes.context(dropzone_root=root))

        assert [step.status for step in result.steps] == ["failed", *["skipped"] * 4]


class TestFindExport:
    def test_nothing_there(self, root: Path) -> None:
        assert CONNECTOR.find_export(ORDER, config(), export_context(root)) is None

    @pytest.mark.parametrize("moved_to", ["out", "out/processed", "out/archive", "out/error"])
    def test_found_where_it_was_moved(self, root: Path, moved_to: str) -> None:
        CONNECTOR.export(ORDER, config(), export_context(root))
        (root / moved_to).mkdir(exist_ok=True)
        (root / "out" / NAME).rename(root / moved_to / NAME)

        found = CONNECTOR.find_export(ORDER, config(), export_context(root))

        assert found is not None
        assert found.receipt.already_delivered
        assert found.receipt.location == f"{moved_to}/{NAME}"

    @pytest.mark.parametrize("place", ["ack", "ack/processed"])
    @pytest.mark.parametrize("prefix", ["ack_", "error_"])
    def test_an_answer_proves_that_it_arrived(self, root: Path, place: str, prefix: str) -> None:
        (root / place).mkdir(exist_ok=True)
        (root / place / f"{prefix}{NAME}").write_text("{}")

        found = CONNECTOR.find_export(ORDER, config(), export_context(root))

        assert found is not None
        assert found.receipt.already_delivered


class TestAcknowledgements:
    def drop(self, root: Path, name: str, answer: object) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (root / "ack" / name).write_text(text)

    def poll(
        self, root: Path, settlement: Settlement = Settlement.APPLIED, **changes: Any
    ) -> tuple[int, list[Acknowledgement]]:
        seen: list[Acknowledgement] = []

        def settle(answer: Acknowledgement) -> Settlement:
            seen.append(answer)
            return settlement

        applied = CONNECTOR.poll_acknowledgements(config(**changes), fakes.context(dropzone_root=root), settle)
        return applied, seen

    def test_applied_answers_are_put_away(self, root: Path) -> None:
        self.drop(root, f"ack_{NAME}", {"status": "ACKED", "erp_order_id": "SO-1"})
        self.drop(root, "error_other.json", {"status": "FAILED", "message": "no"})

        applied, seen = self.poll(root)

        assert applied == 2
        assert {(answer.filename, answer.status) for answer in seen} == {
            (NAME, AckStatus.ACKED),
            ("other.json", AckStatus.REJECTED),
        }
        assert names(root / "ack") == []
        assert names(root / "ack" / "processed") == [f"ack_{NAME}", "error_other.json"]

    @pytest.mark.parametrize("settlement", [Settlement.LATER, Settlement.UNMATCHED])
    def test_others_stay(self, root: Path, settlement: Settlement) -> None:
        self.drop(root, f"ack_{NAME}", {"status": "ACKED"})

        applied, _ = self.poll(root, settlement)

        assert applied == 0
        assert names(root / "ack") == [f"ack_{NAME}"]

    def test_malformed_ones_are_put_aside_and_do_not_stop_the_others(self, root: Path) -> None:
        self.drop(root, "ack_a.json", "{")
        self.drop(root, "ack_b.json", {"status": "FAILED"})
        self.drop(root, "ack_c.json", {"status": "ACKED"})
        self.drop(root, "notes.txt", "mine")

        applied, seen = self.poll(root)

        assert (applied, [answer.filename for answer in seen]) == (1, ["c.json"])
        beside = ["ack_a.json", "ack_a.json.reason.txt", "ack_b.json", "ack_b.json.reason.txt"]
        assert names(root / "ack" / "error") == beside
        assert (root / "ack" / "error" / "ack_a.json").read_text() == "{"
        reason = (root / "ack" / "error" / "ack_b.json.reason.txt").read_text()
        text = describe(Code.ACKNOWLEDGEMENT_MALFORMED, reason="status must be 'ACKED'")
        assert reason.split("\n") == ["ACKNOWLEDGEMENT_MALFORMED", text.message, text.hint, ""]
        assert names(root / "ack") == ["notes.txt"]

    def test_one_that_is_still_being_written_stays(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drop(root, "ack_a.json", '{"status": ')
        monkeypatch.setattr("time.sleep", lambda _: self.drop(root, "ack_a.json", '{"status": "ACKED"}'))

        assert self.poll(root) == (0, [])
        assert names(root / "ack") == ["ack_a.json"]
        assert self.poll(root)[0] == 1

    def test_a_name_that_was_used_before(self, root: Path) -> None:
        for number in range(3):
            self.drop(root, "ack_a.json", {"status": "ACKED", "erp_order_id": str(number)})
            self.poll(root)

        assert names(root / "ack" / "processed") == ["ack_a.1.json", "ack_a.2.json", "ack_a.json"]
        assert json.loads((root / "ack" / "processed" / "ack_a.json").read_text())["erp_order_id"] == "0"

    def test_too_big_is_malformed(self, root: Path) -> None:
        self.drop(root, "ack_a.json", '{"status": "ACKED", "x": "' + "x" * 1024 * 1024 + '"}')

        assert self.poll(root) == (0, [])
        assert names(root / "ack" / "error") == ["ack_a.json", "ack_a.json.reason.txt"]

    def test_one_that_grows_while_it_is_read_stays(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drop(root, "ack_a.json", {"status": "ACKED"})
        read = FilesystemFolder.read

        def read_and_grow(folder: FilesystemFolder, name: str, *, limit: int) -> bytes:
            content = read(folder, name, limit=limit)
            (root / "ack" / name).write_bytes(content + b" ")
            return content

        with monkeypatch.context() as patch:
            patch.setattr(FilesystemFolder, "read", read_and_grow)
            assert self.poll(root) == (0, [])
        assert names(root / "ack") == ["ack_a.json"]
        assert self.poll(root)[0] == 1

    def test_a_poll_ends_in_time_and_leaves_the_rest_for_the_next(self, root: Path) -> None:
        for number in range(4):
            self.drop(root, f"ack_{number}.json", {"status": "ACKED"})
        self.drop(root, "ack_x.json", "{")
        clock = fakes.FakeClock()

        def settle(answer: Acknowledgement) -> Settlement:
            clock.advance(25)
            return Settlement.APPLIED

        context = fakes.context(dropzone_root=root, clock=clock, budget_s=60)

        assert CONNECTOR.poll_acknowledgements(config(), context, settle) == 2
        assert len(names(root / "ack" / "processed")) == len(names(root / "ack")) == 2
        assert names(root / "ack" / "error") == ["ack_x.json", "ack_x.json.reason.txt"]

    def test_one_that_is_written_anew_while_it_is_recorded_is_read_again(self, root: Path) -> None:
        self.drop(root, "ack_a.json", {"status": "ACKED", "erp_order_id": "1"})

        def settle(answer: Acknowledgement) -> Settlement:
            if answer.erp_order_id == "1":
                self.drop(root, "ack_a.json", {"status": "ACKED", "erp_order_id": "22"})
            return Settlement.APPLIED

        CONNECTOR.poll_acknowledgements(config(), fakes.context(dropzone_root=root), settle)

        assert names(root / "ack") == ["ack_a.json"]
        assert [answer.erp_order_id for answer in self.poll(root)[1]] == ["22"]

    def test_links_and_pipes_are_left_alone(self, root: Path) -> None:
        (root / "ack" / "ack_link.json").symlink_to("/etc/hostname")
        os.mkfifo(root / "ack" / "ack_pipe.json")

        assert self.poll(root) == (0, [])

    def test_old_files_of_others_do_not_keep_ours_waiting(self, root: Path) -> None:
        for number in range(1100):
            self.drop(root, f"ack_{number:04}.json", {"status": "ACKED"})
            os.utime(root / "ack" / f"ack_{number:04}.json", (1, 1))
        self.drop(root, "ack_zzz.json", {"status": "ACKED"})

        _, seen = self.poll(root, Settlement.UNMATCHED)

        assert len(seen) == 1000
        assert seen[0].filename == "zzz.json"

    def test_a_file_that_cannot_be_put_away_does_not_stop_the_others(self, root: Path) -> None:
        self.drop(root, "ack_a.json", {"status": "ACKED"})
        self.drop(root, "error_b.json", {"status": "FAILED"})
        (root / "ack" / "processed").write_text("in the way")

        with pytest.raises(TemporaryError):
            self.poll(root)

        assert names(root / "ack") == ["ack_a.json", "error_b.json", "processed"]

    def test_nothing_to_do_without_ack_path(self, root: Path) -> None:
        bare = DropzoneConfig.parse({"mode": "filesystem", "export_path": "out"})

        assert (
            CONNECTOR.poll_acknowledgements(bare, fakes.context(dropzone_root=root), lambda _: pytest.fail("settled"))
            == 0
        )
