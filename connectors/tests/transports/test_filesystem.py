"""Delivery into folders of this machine: confined, durable, never overwriting."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from connectors.codes import Code
from connectors.exceptions import OutcomeUnknown, RejectedByERP, TemporaryError
from connectors.results import Document, Receipt
from connectors.transports import filesystem
from connectors.transports.drop import Entry, FileDrop, put_away
from connectors.transports.filesystem import FilesystemStore

DOCUMENT = Document(filename="order.json", content=b"x" * 50_000, media_type="application/json")
TEMP_NAME = DOCUMENT.filename + ".tmp"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "out").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def out(root: Path) -> Path:
    return root / "out"


def send(root: Path | None, path: str = "out", *, atomic: bool = True, document: Document = DOCUMENT) -> Receipt:
    with FilesystemStore(root) as store:
        drop = FileDrop(folder=store.folder(path), atomic=atomic, temp_suffix=".tmp")
        return drop.send(document)


def refusal(root: Path | None, path: str) -> Code:
    with FilesystemStore(root) as store, pytest.raises(TemporaryError) as caught:
        store.folder(path)
    return caught.value.code


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class TestDelivery:
    @pytest.mark.parametrize("atomic", [True, False])
    def test_exact_bytes_under_the_final_name(self, root: Path, out: Path, atomic: bool) -> None:
        receipt = send(root, atomic=atomic)

        assert content_of(out) == {DOCUMENT.filename: DOCUMENT.content}
        assert receipt == Receipt(
            transport="filesystem", location="out/order.json", size=DOCUMENT.size, sha256=DOCUMENT.sha256
        )

    @pytest.mark.parametrize("atomic", [True, False])
    def test_again_is_already_delivered(self, root: Path, out: Path, atomic: bool) -> None:
        send(root, atomic=atomic)
        inode = (out / DOCUMENT.filename).stat().st_ino

        assert send(root, atomic=atomic).already_delivered
        assert (out / DOCUMENT.filename).stat().st_ino == inode

    @pytest.mark.parametrize("atomic", [True, False])
    @pytest.mark.parametrize("content", [b"other", b"y" * 50_000, b"x" * 50_001], ids=["short", "same size", "longer"])
    def test_another_file_of_that_name_is_not_touched(
        self, root: Path, out: Path, content: bytes, atomic: bool
    ) -> None:
        (out / DOCUMENT.filename).write_bytes(content)

        with pytest.raises(RejectedByERP) as caught:
            send(root, atomic=atomic)

        assert caught.value.code is Code.TARGET_EXISTS
        assert content_of(out) == {DOCUMENT.filename: content}

    def test_what_a_killed_attempt_left_is_replaced(self, root: Path, out: Path) -> None:
        (out / TEMP_NAME).write_bytes(b"z" * 99_999)

        send(root)

        assert content_of(out) == {DOCUMENT.filename: DOCUMENT.content}

    def test_what_a_killed_attempt_left_beside_the_file_goes_too(self, root: Path, out: Path) -> None:
        send(root)
        (out / TEMP_NAME).write_bytes(b"")

        assert send(root).already_delivered
        assert list(content_of(out)) == [DOCUMENT.filename]

    def test_what_a_killed_direct_attempt_left_is_completed(self, root: Path, out: Path) -> None:
        (out / DOCUMENT.filename).write_bytes(DOCUMENT.content[:10])

        assert not send(root, atomic=False).already_delivered
        assert content_of(out) == {DOCUMENT.filename: DOCUMENT.content}

    def test_a_planted_temporary_link_is_replaced_not_followed(self, root: Path, out: Path, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (out / TEMP_NAME).symlink_to(victim)

        send(root)

        assert victim.read_text() == "precious"
        assert content_of(out) == {DOCUMENT.filename: DOCUMENT.content}

    def test_a_planted_final_link_is_not_followed(self, root: Path, out: Path, tmp_path: Path) -> None:
        (out / DOCUMENT.filename).symlink_to(tmp_path / "elsewhere")

        for atomic in (True, False):
            with pytest.raises(TemporaryError) as caught:
                send(root, atomic=atomic)
            assert caught.value.code is Code.PERMISSION_DENIED
        assert not (tmp_path / "elsewhere").exists()

    def test_writers_of_the_same_name_deliver_it_once(self, root: Path, out: Path) -> None:
        outcomes: list[object] = []
        start = threading.Barrier(8)

        def write() -> None:
            start.wait()
            try:
                outcomes.append(send(root).already_delivered)
            except TemporaryError as error:
                outcomes.append(error.code)

        writers = [threading.Thread(target=write) for _ in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()

        assert content_of(out) == {DOCUMENT.filename: DOCUMENT.content}
        assert outcomes.count(False) == 1
        assert send(root).already_delivered

    def test_a_folder_without_hard_links(self, root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "as FAT does")

        monkeypatch.setattr(os, "link", refuse)

        assert not send(root).already_delivered
        assert send(root).already_delivered
        assert content_of(out) == {DOCUMENT.filename: DOCUMENT.content}

    def test_a_failing_disk_after_the_file_got_its_name(
        self, root: Path, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real_fsync = os.fsync

        def fail_for_folders(descriptor: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
                raise OSError(errno.EIO, "broken")
            real_fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail_for_folders)

        with pytest.raises(OutcomeUnknown):
            send(root)
        assert content_of(out) == {DOCUMENT.filename: DOCUMENT.content}


class TestNoSpace:
    def test_full_disk_leaves_nothing_behind(self, root: Path, out: Path) -> None:
        if os.getuid() != 0 or subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=16k", "small", out]).returncode:
            pytest.skip("needs root and the right to mount a tmpfs")
        try:
            for atomic in (True, False):
                with pytest.raises(TemporaryError) as caught:
                    send(root, atomic=atomic)
                assert caught.value.code is Code.NO_SPACE
            assert content_of(out) == {}
        finally:
            subprocess.run(["/bin/umount", out], check=True)

    @pytest.mark.parametrize("atomic", [True, False])
    def test_file_size_limit_leaves_nothing_behind(self, root: Path, out: Path, atomic: bool) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(TemporaryError) as caught:
                send(root, atomic=atomic)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert caught.value.code is Code.NO_SPACE
        assert content_of(out) == {}


class TestPermission:
    def test_folder_that_may_not_be_written(self, folder_for_everybody: Path) -> None:
        out = folder_for_everybody / "out"
        out.mkdir(mode=0o555)
        script = (
            "import os, sys; from pathlib import Path\n"
            "from connectors.tests.transports.test_filesystem import send\n"
            "from connectors.exceptions import TemporaryError\n"
            "os.getuid() == 0 and os.setuid(65534)\n"
            "try: send(Path(sys.argv[1]))\n"
            "except TemporaryError as error: print(error.code)\n"
        )
        answer = subprocess.run(
            [sys.executable, "-c", script, folder_for_everybody], capture_output=True, text=True, check=True
        )

        assert answer.stdout.strip() == "PERMISSION_DENIED"
        assert content_of(out) == {}


class TestConfinement:
    def test_without_a_root_nothing_is_allowed(self) -> None:
        assert refusal(None, "out") is Code.PERMISSION_DENIED

    def test_absolute_paths_below_the_root_are_fine(self, root: Path, out: Path) -> None:
        send(root, str(out))

        assert list(content_of(out)) == [DOCUMENT.filename]

    @pytest.mark.parametrize("path", ["/etc", "/", "..", "out/../../x", "../root-elsewhere", "/no/such/folder"])
    def test_paths_outside_are_refused_alike_whether_they_exist(self, root: Path, path: str) -> None:
        assert refusal(root, path) is Code.PERMISSION_DENIED

    def test_a_sibling_whose_name_begins_alike_is_outside(self, root: Path) -> None:
        sibling = root.parent / "root2"
        sibling.mkdir()

        assert refusal(root, str(sibling)) is Code.PERMISSION_DENIED

    def test_missing_folder(self, root: Path) -> None:
        assert refusal(root, "nowhere") is Code.PATH_NOT_FOUND

    def test_a_file_is_no_folder(self, root: Path) -> None:
        (root / "plain").write_text("")

        assert refusal(root, "plain") is Code.PATH_NOT_FOUND

    def test_missing_root(self, root: Path) -> None:
        assert refusal(root / "gone", "out") is Code.PATH_NOT_FOUND

    def test_nul_in_the_path(self, root: Path) -> None:
        assert refusal(root, "out\0") is Code.PATH_NOT_FOUND

    def test_links_inside_the_root_are_followed(self, root: Path, out: Path) -> None:
        (root / "alias").symlink_to(out)

        send(root, "alias")

        assert list(content_of(out)) == [DOCUMENT.filename]

    @pytest.mark.parametrize("target", ["/tmp", ".."])
    def test_links_out_of_the_root_are_refused(self, root: Path, target: str) -> None:
        (root / "alias").symlink_to(target)

        assert refusal(root, "alias") is Code.PERMISSION_DENIED

    def test_links_in_a_circle(self, root: Path) -> None:
        (root / "a").symlink_to("b")
        (root / "b").symlink_to("a")

        assert refusal(root, "a") in (Code.PATH_NOT_FOUND, Code.PERMISSION_DENIED)

    def test_a_folder_swapped_for_a_link_after_the_check_is_not_followed(
        self, root: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        real_resolve = Path.resolve

        def resolve_then_swap(path: Path, strict: bool = False) -> Path:
            resolved = real_resolve(path, strict)
            if resolved == out:
                out.rmdir()
                out.symlink_to(outside)
            return resolved

        monkeypatch.setattr(Path, "resolve", resolve_then_swap)

        assert refusal(root, "out") in (Code.PERMISSION_DENIED, Code.PATH_NOT_FOUND)
        assert list(outside.iterdir()) == []

    def test_a_folder_swapped_after_it_was_opened_stays_the_one_that_was_checked(
        self, root: Path, out: Path, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        with FilesystemStore(root) as store:
            folder = store.folder("out")
            out.rename(root / "moved")
            out.symlink_to(outside)
            folder.write("file", b"content")

        assert list(outside.iterdir()) == []
        assert content_of(root / "moved") == {"file": b"content"}

    def test_closes_what_it_opened(self, root: Path) -> None:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(5):
            send(root)
            refusal(root, "nowhere")

        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class TestFolder:
    def test_lists_only_regular_files_that_are_wanted(self, root: Path, out: Path) -> None:
        for name in ("b.json", "a.json", "c.txt"):
            (out / name).write_text("12345")
        (out / "folder.json").mkdir()
        (out / "link.json").symlink_to(out / "a.json")
        os.mkfifo(out / "pipe.json")
        with FilesystemStore(root) as store:
            entries = store.folder("out").entries(lambda name: name.endswith(".json"), limit=10)

        assert [(entry.name, entry.size) for entry in entries] == [("a.json", 5), ("b.json", 5)]

    def test_lists_no_more_than_asked_for(self, root: Path, out: Path) -> None:
        for number in range(5):
            (out / str(number)).write_text("")
        with FilesystemStore(root) as store:
            assert len(store.folder("out").entries(lambda _: True, limit=3)) == 3

    def test_reads_no_more_than_asked_for(self, root: Path, out: Path) -> None:
        (out / "file").write_bytes(b"0123456789")
        with FilesystemStore(root) as store:
            assert store.folder("out").read("file", limit=4) == b"0123"

    def test_does_not_read_pipes_links_or_folders(self, root: Path, out: Path) -> None:
        os.mkfifo(out / "pipe")
        (out / "link").symlink_to("/etc/hostname")
        (out / "sub").mkdir()
        with FilesystemStore(root) as store:
            for name in ("pipe", "link", "sub"):
                with pytest.raises(TemporaryError):
                    store.folder("out").read(name, limit=10)

    @pytest.mark.parametrize("can_rename", [True, False], ids=["renameat2", "links only"])
    def test_put_away_never_overwrites(
        self, root: Path, out: Path, monkeypatch: pytest.MonkeyPatch, can_rename: bool
    ) -> None:
        if not can_rename:
            monkeypatch.setattr(filesystem, "_RENAME_NOREPLACE", 1 << 30)  # a flag that no file system knows
        with FilesystemStore(root) as store:
            for number in range(3):
                (out / "ack.json").write_text(str(number))
                put_away(store.folder("out"), "ack.json", "processed")

        assert content_of(out / "processed") == {"ack.json": b"0", "ack.1.json": b"1", "ack.2.json": b"2"}
        assert content_of(out) == {}

    def test_entry_tells_a_file_that_changes(self, root: Path, out: Path) -> None:
        (out / "file").write_text("1")
        with FilesystemStore(root) as store:
            before = store.folder("out").entry("file")
            (out / "file").write_text("12")

            assert isinstance(before, Entry)
            assert store.folder("out").entry("file") != before
            assert store.folder("out").entry("other") is None
