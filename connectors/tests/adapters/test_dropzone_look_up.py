"""Where an order is looked for after nobody knows how an attempt ended, and what follows from what is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.codes import Code
from connectors.exceptions import ConfigurationError, OutcomeUnknown, TemporaryError
from connectors.port import ExportContext
from connectors.results import ExportResult
from connectors.testing import fakes, sample_orders
from connectors.tests.peers.faulty_sftp import FaultySftp
from connectors.tests.peers.openssh import OpenSSH

CONNECTOR = DropzoneJsonV1Connector()
ORDER = sample_orders.minimal()
LOST, KILLED = Code.OUTCOME_UNKNOWN, Code.WORKER_LOST


class FarEnd:
    """Folders, and what lies in them when the order is looked up."""

    def __init__(self, home: Path, config: dict[str, Any], context: ExportContext) -> None:
        self.home = home
        self._config = config
        self.document = CONNECTOR.render(ORDER, DropzoneConfig.parse(config), context)
        self._context = replace(context, document=self.document)
        self.name = self.document.filename
        self.stem = self.name.removesuffix(".json")

    def put(self, path: str, content: bytes | None = None) -> None:
        target = self.home / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(self.document.content if content is None else content)

    def find(self, doubt: Code | None, *, landmark: str | None = None, **changes: Any) -> ExportResult | None:
        config = DropzoneConfig.parse(self._config | changes)
        return CONNECTOR.find_export(ORDER, config, replace(self._context, doubt=doubt, landmark=landmark))

    def unknown(self, doubt: Code | None = KILLED, **changes: Any) -> Code:
        with pytest.raises(OutcomeUnknown) as caught:
            self.find(doubt, **changes)
        return caught.value.code


@pytest.fixture(params=["filesystem", pytest.param("sftp", marks=pytest.mark.sftp)])
def far_end(request: pytest.FixtureRequest, tmp_path: Path) -> FarEnd:
    if request.param == "filesystem":
        for name in ("inbox", "ack", "tmp"):
            (tmp_path / name).mkdir()
        config = {"mode": "filesystem", "export_path": "inbox", "ack_path": "ack"}
        return FarEnd(tmp_path, config, fakes.export_context(dropzone_root=tmp_path))
    server: OpenSSH = request.getfixturevalue("openssh")
    request.getfixturevalue("inbox")
    return FarEnd(server.home, server.config(), fakes.export_context())


class TestFound:
    @pytest.mark.parametrize(
        "path",
        [
            "inbox/{name}",
            "inbox/processed/{name}",
            "inbox/archive/{name}",
            "inbox/error/{name}",
            "inbox/archive/20261125T101500_{name}",
            "inbox/processed/{stem}_20261125.json",
            "inbox/archive/{name}.1764065700",
            "inbox/done_{name}",
        ],
    )
    def test_once_is_adopted(self, far_end: FarEnd, path: str) -> None:
        path = path.format(name=far_end.name, stem=far_end.stem)
        far_end.put(path)
        far_end.put(
            "inbox/archive/sales_order_SO-1_20251226T100000Z_ffffffff.json"
        )  # another attempt at the same order

        found = far_end.find(LOST if "processed" in path else KILLED)

        assert found is not None
        assert found.receipt.location.endswith(path)
        assert (found.receipt.already_delivered, found.receipt.taken) == (True, False)

    @pytest.mark.parametrize("path", ["ack/ack_{name}", "ack/error_{name}", "ack/processed/ack_{name}"])
    def test_an_answer_proves_that_it_arrived(self, far_end: FarEnd, path: str) -> None:
        far_end.put(path.format(name=far_end.name), b"{}")

        assert far_end.find(KILLED) is not None

    def test_an_answer_in_the_export_folder_is_not_the_order(self, far_end: FarEnd) -> None:
        far_end.put(f"inbox/ack_{far_end.name}", b"{}")

        assert far_end.find(KILLED, ack_path=None) is None

    @pytest.mark.parametrize(
        "paths",
        [
            ("inbox/{name}", "inbox/archive/{name}"),
            ("inbox/processed/{name}", "inbox/error/{name}"),
            ("inbox/archive/1_{name}", "inbox/archive/2_{name}"),
        ],
    )
    def test_twice_is_for_a_person(self, far_end: FarEnd, paths: tuple[str, str]) -> None:
        for path in paths:
            far_end.put(path.format(name=far_end.name))

        assert far_end.unknown() is Code.FOUND_TWICE

    @pytest.mark.parametrize("path", ["inbox/archive/{name}", "inbox/archive/1_{name}", "inbox/{name}.old"])
    def test_changed_or_of_unclear_origin_is_for_a_person(self, far_end: FarEnd, path: str) -> None:
        far_end.put(path.format(name=far_end.name), b"{}")

        assert far_end.unknown() is Code.OUTCOME_UNKNOWN


class TestNotFound:
    @pytest.mark.parametrize("doubt", [KILLED, None])
    def test_was_not_delivered(self, far_end: FarEnd, doubt: Code | None) -> None:
        assert far_end.find(doubt) is None

    @pytest.mark.parametrize("path", ["inbox/{}", "inbox/processed/{}", "inbox/archive/20261125T101500_{}"])
    def test_was_not_delivered_where_an_earlier_one_is_still_to_be_found(self, far_end: FarEnd, path: str) -> None:
        far_end.put(path.format("earlier.json"))

        assert far_end.find(KILLED, landmark="earlier.json") is None

    def test_where_earlier_ones_are_gone_nobody_can_tell(self, far_end: FarEnd) -> None:
        assert far_end.unknown(landmark="earlier.json") is Code.OUTCOME_UNKNOWN
        far_end.put(f"inbox/{far_end.name}.tmp")
        assert far_end.find(KILLED, landmark="earlier.json") is None

    def test_with_its_temporary_file_it_was_not_accepted(self, far_end: FarEnd) -> None:
        far_end.put(f"inbox/{far_end.name}.tmp")

        assert far_end.find(LOST) is None

    def test_without_its_temporary_file_it_was_accepted_and_taken(self, far_end: FarEnd) -> None:
        found = far_end.find(LOST)

        assert found is not None
        assert (found.receipt.already_delivered, found.receipt.taken) == (True, True)

    def test_the_temporary_file_is_looked_for_where_it_lies(self, far_end: FarEnd) -> None:
        far_end.put(f"tmp/{far_end.name}.part")

        assert far_end.find(LOST, temp_path="tmp", temp_suffix=".part") is None

    def test_without_a_temporary_name_nobody_can_tell(self, far_end: FarEnd) -> None:
        assert far_end.unknown(LOST, atomic_write=False) is Code.OUTCOME_UNKNOWN
        far_end.put(f"inbox/{far_end.name}", far_end.document.content[:5])
        assert far_end.find(LOST, atomic_write=False) is None

    def test_vanished_before_it_was_accepted_nobody_can_tell(self, far_end: FarEnd) -> None:
        assert far_end.unknown(Code.FILE_VANISHED) is Code.FILE_VANISHED


@pytest.mark.sftp
class TestQuirks:
    def test_taken_at_once_it_is_sent_once(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(cut_after="rename", take_on="rename", times=1)
        config, context = DropzoneConfig.parse(server.config()), fakes.export_context()

        with pytest.raises(OutcomeUnknown) as caught:
            CONNECTOR.export(ORDER, config, context)
        found = CONNECTOR.find_export(ORDER, config, replace(context, doubt=caught.value.code))

        assert found is not None
        assert found.receipt.taken
        assert server.steps["rename"] == 1

    def test_a_quota_that_removes_the_file_after_close_is_told(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(take_on="close")
        config, context = DropzoneConfig.parse(server.config()), fakes.export_context()

        with pytest.raises(OutcomeUnknown) as caught:
            CONNECTOR.export(ORDER, config, context)

        assert caught.value.code is Code.FILE_VANISHED
        assert server.steps["rename"] == 0

    def test_where_temporary_files_are_refused_another_suffix_or_folder_helps(
        self, faulty_sftp: Callable[..., FaultySftp]
    ) -> None:
        server = faulty_sftp(refused_suffix=".tmp")
        (server.root / "hidden").mkdir()

        with pytest.raises(TemporaryError) as caught:
            CONNECTOR.export(ORDER, DropzoneConfig.parse(server.config()), fakes.export_context())
        assert caught.value.code is Code.PERMISSION_DENIED

        for change in ({"temp_suffix": ".part"}, {"temp_path": "/hidden", "temp_suffix": ".part"}):
            config = DropzoneConfig.parse(server.config(**change))
            assert CONNECTOR.test_connection(config, fakes.context()).success
            CONNECTOR.export(ORDER, config, fakes.export_context())
        assert len(list((server.root / "inbox").iterdir())) == 2
        assert not list((server.root / "hidden").iterdir())
        assert server.steps["posix_rename"] == 0, "not every server has it"

    def test_a_missing_temporary_folder_is_named(self, openssh: OpenSSH, inbox: Path) -> None:
        result = CONNECTOR.test_connection(DropzoneConfig.parse(openssh.config(temp_path="nowhere")), fakes.context())

        assert result.failed_step is not None
        assert result.failed_step.code is Code.PATH_NOT_FOUND
        assert result.failed_step.params["path"] == "nowhere"


@pytest.mark.parametrize("wrong", [{"atomic_write": False}, {"temp_path": "inbox/"}, {"temp_path": "a/../b"}])
def test_a_temporary_folder_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DropzoneConfig.parse({"mode": "filesystem", "export_path": "inbox", "temp_path": "tmp"} | wrong)

    assert [fault.path for fault in caught.value.faults] == ["temp_path"]
