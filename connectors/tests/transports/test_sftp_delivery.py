"""What lies under the final name when an SFTP delivery goes wrong, at every byte and at every step."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.network import Dialer, Endpoint
from connectors.port import StepRecorder
from connectors.results import Document, Receipt
from connectors.testing.fakes import UNRESTRICTED
from connectors.tests.peers import faulty_sftp as faulty
from connectors.tests.peers.faulty_sftp import FaultySftp
from connectors.tests.peers.openssh import PASSWORD, USERNAME, OpenSSH
from connectors.tests.peers.proxy import CuttingProxy
from connectors.transports.drop import FileDrop
from connectors.transports.sftp import sftp_store
from connectors.transports.ssh import SshTarget

pytestmark = pytest.mark.sftp

DOCUMENT = Document(filename="order.json", content=bytes(range(256)) * 300, media_type="application/json")
TEMP_NAME = DOCUMENT.filename + ".tmp"


def ssh_target(server: OpenSSH, port: int, timeout_s: float = 5.0) -> SshTarget:
    return SshTarget(
        host="127.0.0.1",
        port=port,
        username=USERNAME,
        password=PASSWORD,
        host_key=server.host_key(),
        timeout_s=timeout_s,
    )


def faulty_target(server: FaultySftp) -> SshTarget:
    return SshTarget(
        host="127.0.0.1",
        port=server.port,
        username=faulty.USERNAME,
        password=faulty.PASSWORD,
        host_key=server.host_key,
        timeout_s=3.0,
    )


def send(target: SshTarget, *, atomic: bool = True, within_s: float = 60, dialer: Dialer = UNRESTRICTED) -> Receipt:
    with sftp_store(target, dialer, StepRecorder(), lambda _: None) as store:
        store.finish_within(within_s)
        drop = FileDrop(folder=store.folder("inbox"), atomic=atomic, temp_suffix=".tmp")
        return drop.send(DOCUMENT)


def find(target: SshTarget) -> Receipt | None:
    with sftp_store(target, UNRESTRICTED, StepRecorder(), lambda _: None) as store:
        folder = store.folder("inbox")
        return FileDrop(folder=folder, atomic=True, temp_suffix=".tmp").find(DOCUMENT)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class TestDelivery:
    def test_exact_bytes_under_the_final_name(self, openssh: OpenSSH, inbox: Path) -> None:
        receipt = send(ssh_target(openssh, openssh.port))

        assert content_of(inbox) == {DOCUMENT.filename: DOCUMENT.content}
        assert receipt == Receipt(
            transport="sftp",
            location=f"sftp://127.0.0.1:{openssh.port}/inbox/order.json",
            size=DOCUMENT.size,
            sha256=DOCUMENT.sha256,
        )

    @pytest.mark.parametrize("atomic", [True, False])
    def test_again_is_already_delivered(self, openssh: OpenSSH, inbox: Path, atomic: bool) -> None:
        send(ssh_target(openssh, openssh.port), atomic=atomic)
        written = (inbox / DOCUMENT.filename).stat()

        assert send(ssh_target(openssh, openssh.port), atomic=atomic).already_delivered
        assert (inbox / DOCUMENT.filename).stat().st_mtime_ns == written.st_mtime_ns

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize("content", [b"other", DOCUMENT.content[:-1] + b"\0"], ids=["size", "content"])
    def test_another_file_of_that_name_is_not_touched(
        self, openssh: OpenSSH, inbox: Path, content: bytes, atomic: bool
    ) -> None:
        (inbox / DOCUMENT.filename).write_bytes(content)

        with pytest.raises(RejectedByERP) as caught:
            send(ssh_target(openssh, openssh.port), atomic=atomic)

        assert caught.value.code is Code.TARGET_EXISTS
        assert content_of(inbox) == {DOCUMENT.filename: content}

    def test_what_a_killed_attempt_left_is_replaced(self, openssh: OpenSSH, inbox: Path) -> None:
        (inbox / TEMP_NAME).write_bytes(b"z" * 200_000)

        send(ssh_target(openssh, openssh.port))

        assert content_of(inbox) == {DOCUMENT.filename: DOCUMENT.content}

    def test_what_a_killed_direct_attempt_left_is_replaced(self, openssh: OpenSSH, inbox: Path) -> None:
        (inbox / DOCUMENT.filename).write_bytes(DOCUMENT.content[:1000])

        assert not send(ssh_target(openssh, openssh.port), atomic=False).already_delivered
        assert content_of(inbox) == {DOCUMENT.filename: DOCUMENT.content}

    @pytest.mark.parametrize("name", ["processed", "archive", "error"])
    def test_found_where_the_far_end_moved_it(self, openssh: OpenSSH, inbox: Path, name: str) -> None:
        target = ssh_target(openssh, openssh.port)
        assert find(target) is None
        moved = inbox / name / DOCUMENT.filename
        moved.parent.mkdir()
        moved.write_bytes(DOCUMENT.content)
        try:
            found = find(target)
        finally:
            moved.unlink()
            moved.parent.rmdir()

        assert found is not None
        assert found.already_delivered
        assert found.location.endswith(f"/inbox/{name}/order.json")

    def test_changed_where_the_far_end_moved_it_is_for_a_human(self, openssh: OpenSSH, inbox: Path) -> None:
        moved = inbox / "processed" / DOCUMENT.filename
        moved.parent.mkdir()
        moved.write_bytes(b"changed")
        try:
            with pytest.raises(OutcomeUnknown):
                find(ssh_target(openssh, openssh.port))
        finally:
            moved.unlink()
            moved.parent.rmdir()


class TestCutAtAByte:
    """Login takes about 980 bytes, everything up to the rename 78 416, and the rename 100."""

    OFFSETS = (
        0,
        25,
        600,
        750,
        1000,
        1200,
        5_000,
        40_000,
        77_600,
        *range(78_120, 78_400, 60),
        *range(78_400, 78_532, 8),
    )

    @pytest.mark.parametrize("how", ["reset", "close"])
    @pytest.mark.parametrize("after", OFFSETS)
    def test_never_a_part_under_the_final_name(self, openssh: OpenSSH, inbox: Path, after: int, how: str) -> None:
        with CuttingProxy(openssh.port, after=after, how=how) as proxy:
            try:
                send(ssh_target(openssh, proxy.port))
            except ConnectorError as error:
                outcome = error
            else:
                outcome = None

        left = content_of(inbox)
        assert left.get(DOCUMENT.filename) in (None, DOCUMENT.content)
        if outcome is None:
            assert DOCUMENT.filename in left
        elif isinstance(outcome, TemporaryError):
            # A reset can be faster than the end of our connect().
            assert outcome.code is Code.CONNECTION_LOST or (after == 0 and outcome.code is Code.CONNECTION_REFUSED)
            assert DOCUMENT.filename not in left
        else:
            assert isinstance(outcome, OutcomeUnknown)
            assert outcome.code is Code.OUTCOME_UNKNOWN
            assert bool(find(ssh_target(openssh, openssh.port))) == (DOCUMENT.filename in left)

    @pytest.mark.parametrize("after", [*range(750, 1_250, 50), 40_000])
    def test_silence_in_the_middle_ends_in_time(self, openssh: OpenSSH, inbox: Path, after: int) -> None:
        started = time.monotonic()
        with (
            CuttingProxy(openssh.port, after=after, how="stall") as proxy,
            pytest.raises(TemporaryError) as caught,
        ):
            send(ssh_target(openssh, proxy.port, timeout_s=0.5))

        assert caught.value.code is Code.CONNECTION_TIMEOUT
        assert time.monotonic() - started < 1.5
        assert DOCUMENT.filename not in content_of(inbox)

    def test_a_far_end_that_reads_no_more_ends_in_time(self, openssh: OpenSSH, inbox: Path) -> None:
        class NarrowDialer(Dialer):
            def connect_to(self, endpoint: Endpoint, *, timeout_s: float) -> socket.socket:
                connection = super().connect_to(endpoint, timeout_s=timeout_s)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                return connection

        narrow = NarrowDialer(policy=UNRESTRICTED.policy)
        started = time.monotonic()
        with (
            CuttingProxy(openssh.port, after=10_000, how="stall", receive_buffer=4096) as proxy,
            pytest.raises(TemporaryError) as caught,
        ):
            send(ssh_target(openssh, proxy.port, timeout_s=0.5), dialer=narrow)

        assert caught.value.code in (Code.CONNECTION_LOST, Code.CONNECTION_TIMEOUT)
        assert time.monotonic() - started < 3

    def test_a_cut_is_repaired_by_the_next_attempt(self, openssh: OpenSSH, inbox: Path) -> None:
        with CuttingProxy(openssh.port, after=40_000, times=1) as proxy:
            with pytest.raises(TemporaryError):
                send(ssh_target(openssh, proxy.port))
            assert list(content_of(inbox)) == [TEMP_NAME]

            assert not send(ssh_target(openssh, proxy.port)).already_delivered
        assert content_of(inbox) == {DOCUMENT.filename: DOCUMENT.content}

    def test_time_that_runs_out_is_no_time_to_send(self, openssh: OpenSSH, inbox: Path) -> None:
        with pytest.raises(TemporaryError) as caught:
            send(ssh_target(openssh, openssh.port), within_s=0)

        assert caught.value.code is Code.CONNECTION_TIMEOUT
        assert content_of(inbox) == {}


class TestFaultAtAStep:
    @pytest.mark.parametrize("step", ["open", "write", "close", "stat", "remove"])
    def test_cut_before_the_rename_is_temporary(self, faulty_sftp: Callable[..., FaultySftp], step: str) -> None:
        server = faulty_sftp(cut_before=step)
        (server.root / "inbox" / TEMP_NAME).write_text("left by a killed attempt, to be removed first")

        with pytest.raises(TemporaryError) as caught:
            send(faulty_target(server))

        assert caught.value.code is Code.CONNECTION_LOST
        assert DOCUMENT.filename not in content_of(server.root / "inbox")

    @pytest.mark.parametrize("fault", ["cut_before", "cut_after"])
    def test_cut_during_the_rename_is_looked_up(self, faulty_sftp: Callable[..., FaultySftp], fault: str) -> None:
        server = faulty_sftp(**{fault: "rename"}, times=1)

        with pytest.raises(OutcomeUnknown):
            send(faulty_target(server))
        found = find(faulty_target(server))
        receipt = send(faulty_target(server))

        assert (found is not None) == (fault == "cut_after") == receipt.already_delivered
        assert content_of(server.root / "inbox") == {DOCUMENT.filename: DOCUMENT.content}

    @pytest.mark.parametrize("step", ["open", "write", "close", "stat", "rename"])
    def test_failure_is_temporary_and_cleans_up(self, faulty_sftp: Callable[..., FaultySftp], step: str) -> None:
        server = faulty_sftp(fail=step, times=1)

        with pytest.raises(TemporaryError) as caught:
            send(faulty_target(server))

        assert caught.value.code is Code.REMOTE_ERROR
        assert "scripted" not in f"{caught.value} {caught.value!r}"
        assert content_of(server.root / "inbox") == {}

    def test_rename_that_worked_but_was_answered_with_failure(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(fail_after="rename")

        assert send(faulty_target(server)).already_delivered
        assert content_of(server.root / "inbox") == {DOCUMENT.filename: DOCUMENT.content}

    def test_rename_that_failed_with_neither_file_left_is_for_the_look_up(
        self, faulty_sftp: Callable[..., FaultySftp]
    ) -> None:
        server = faulty_sftp(fail_after="rename", take_on="rename")

        with pytest.raises(OutcomeUnknown):
            send(faulty_target(server))

    def test_writes_that_were_confirmed_but_lost(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(lose_writes_over=50_000)

        with pytest.raises(TemporaryError) as caught:
            send(faulty_target(server))

        assert caught.value.code is Code.NO_SPACE
        assert content_of(server.root / "inbox") == {}

    @pytest.mark.parametrize("atomic", [True, False])
    def test_disk_that_fills_half_way(self, faulty_sftp: Callable[..., FaultySftp], atomic: bool) -> None:
        server = faulty_sftp(full_after=50_000)

        with pytest.raises(TemporaryError):
            send(faulty_target(server), atomic=atomic)

        assert content_of(server.root / "inbox") == {}

    @pytest.mark.parametrize(("atomic", "step"), [(True, "rename"), (False, "close")])
    def test_taken_at_once_is_delivered(self, faulty_sftp: Callable[..., FaultySftp], atomic: bool, step: str) -> None:
        server = faulty_sftp(take_on=step)

        assert not send(faulty_target(server), atomic=atomic).already_delivered
        assert content_of(server.root / "taken") == {DOCUMENT.filename: DOCUMENT.content}

    def test_temporary_file_that_is_taken_may_have_arrived(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(take_on="close")

        with pytest.raises(OutcomeUnknown):
            send(faulty_target(server))

    def test_a_server_that_overwrites_gets_no_chance_to(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        server = faulty_sftp(overwriting_rename=True)
        (server.root / "inbox" / DOCUMENT.filename).write_bytes(b"other")

        with pytest.raises(RejectedByERP):
            send(faulty_target(server))

        assert server.steps["rename"] == 0

    def test_a_direct_write_that_is_cut_is_looked_up_and_completed(
        self, faulty_sftp: Callable[..., FaultySftp]
    ) -> None:
        server = faulty_sftp(cut_after="write", times=1)

        with pytest.raises(OutcomeUnknown):
            send(faulty_target(server), atomic=False)
        assert find(faulty_target(server)) is None
        send(faulty_target(server), atomic=False)

        assert content_of(server.root / "inbox") == {DOCUMENT.filename: DOCUMENT.content}
