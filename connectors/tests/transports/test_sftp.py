"""SFTP against a real OpenSSH server: logging in, and every way in which that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import paramiko
import pytest

from connectors.codes import CATALOGUE, Code
from connectors.exceptions import AuthenticationFailed, ConnectorError, TemporaryError
from connectors.network import Dialer, EgressPolicy
from connectors.port import StepRecorder
from connectors.results import Document
from connectors.testing.fakes import UNRESTRICTED
from connectors.tests.peers.openssh import PASSPHRASE, PASSWORD, USERNAME, OpenSSH, free_port
from connectors.tests.peers.proxy import CuttingProxy, blackhole, mail_server, silent_server
from connectors.transports.drop import FileDrop
from connectors.transports.sftp import sftp_store
from connectors.transports.ssh import SshTarget
from connectors.transports.ssh_keys import HostKeyPin

pytestmark = pytest.mark.sftp

TIMEOUT_S = 1.0
DOCUMENT = Document(filename="order.json", content=b"x" * 100_000, media_type="application/json")


def target(server: OpenSSH, **changes: object) -> SshTarget:
    fields: dict[str, object] = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": USERNAME,
        "password": PASSWORD,
        "host_key": server.host_key(server.host_keys[0]),
        "timeout_s": 5.0,
    }
    return SshTarget(**(fields | changes))


def log_in(target: SshTarget, dialer: Dialer = UNRESTRICTED) -> StepRecorder:
    steps = StepRecorder()
    with sftp_store(target, dialer, steps, lambda _: None) as store:
        store.folder("inbox")
    return steps


def failure(target: SshTarget, dialer: Dialer = UNRESTRICTED) -> tuple[ConnectorError, str]:
    """Return the error of a login and the name of the step in which it happened."""
    steps = StepRecorder()
    with pytest.raises(ConnectorError) as caught, sftp_store(target, dialer, steps, lambda _: None) as store:
        store.folder("inbox")
    return caught.value, steps.steps[-1].name


class TestLogin:
    def test_records_each_step(self, openssh: OpenSSH) -> None:
        steps = log_in(target(openssh)).steps

        assert [step.name for step in steps] == ["resolve", "connect", "host_key", "authenticate", "identity"]
        assert all(step.status == "passed" for step in steps)

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_with_a_private_key(self, openssh: OpenSSH, kind: str) -> None:
        log_in(target(openssh, password=None, private_key=openssh.client_key(kind)))

    def test_with_an_encrypted_private_key(self, openssh: OpenSSH) -> None:
        key = openssh.client_key("encrypted")

        log_in(target(openssh, password=None, private_key=key, passphrase=PASSPHRASE))

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_with_a_certificate(self, openssh: OpenSSH, kind: str) -> None:
        key, certificate = openssh.certified(kind)

        log_in(target(openssh, password=None, private_key=key, certificate=certificate))

    def test_with_a_certificate_and_a_password_where_both_are_asked_for(
        self, start_openssh: Callable[..., OpenSSH]
    ) -> None:
        server = start_openssh(both=True)
        key, certificate = server.certified()

        log_in(target(server, private_key=key, certificate=certificate))

    @pytest.mark.parametrize(
        "terms", [None, {"valid_before": 1_600_000_000}, {"principals": ["somebody"]}], ids=["none", "expired", "other"]
    )
    def test_refused_without_a_certificate_that_holds(self, openssh: OpenSSH, terms: dict[str, object] | None) -> None:
        key, certificate = openssh.certified(**(terms or {}))

        error, step = failure(
            target(openssh, password=None, private_key=key, certificate=certificate if terms else None)
        )

        assert isinstance(error, AuthenticationFailed)
        assert (error.code, step) == (Code.AUTHENTICATION_FAILED, "authenticate")

    def test_with_keyboard_interactive(self, start_openssh: Callable[..., OpenSSH]) -> None:
        log_in(target(start_openssh(keyboard_interactive=True)))

    def test_with_key_and_password_where_both_are_asked_for(self, start_openssh: Callable[..., OpenSSH]) -> None:
        server = start_openssh(both=True)

        log_in(target(server, private_key=server.client_key("ed25519")))
        error, step = failure(target(server, password=None, private_key=server.client_key("ed25519")))

        assert (error.code, step) == (Code.AUTHENTICATION_FAILED, "authenticate")

    @pytest.mark.parametrize(
        "wrong",
        [{"password": "wrong"}, {"username": "nobody-here"}, {"password": ""}],
        ids=["password", "user", "empty"],
    )
    def test_refused(self, openssh: OpenSSH, wrong: dict[str, str]) -> None:
        error, step = failure(target(openssh, **wrong))

        assert isinstance(error, AuthenticationFailed)
        assert (error.code, step) == (Code.AUTHENTICATION_FAILED, "authenticate")
        assert "wrong" not in f"{error} {error!r} {error.hint}"

    def test_refused_by_a_server_that_hangs_up_at_once(self, start_openssh: Callable[..., OpenSSH]) -> None:
        error, _ = failure(target(start_openssh(extra=("MaxAuthTries 1",)), password="wrong"))

        assert isinstance(error, AuthenticationFailed)

    def test_refused_when_keyboard_interactive_gets_a_wrong_password(
        self, start_openssh: Callable[..., OpenSSH]
    ) -> None:
        error, _ = failure(target(start_openssh(keyboard_interactive=True), password="wrong"))

        assert isinstance(error, AuthenticationFailed)

    def test_key_of_a_stranger(self, openssh: OpenSSH, start_openssh: Callable[..., OpenSSH]) -> None:
        strange = start_openssh().client_key("ed25519")

        error, _ = failure(target(openssh, password=None, private_key=strange))

        assert isinstance(error, AuthenticationFailed)

    def test_uses_nothing_of_this_machine(self, openssh: OpenSSH, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh" / "id_ed25519").write_text(openssh.client_key("ed25519"))
        line = f"[127.0.0.1]:{openssh.port} {openssh.host_key()}\n"
        (tmp_path / ".ssh" / "known_hosts").write_text(line)
        monkeypatch.setenv("HOME", str(tmp_path))

        unpinned, _ = failure(target(openssh, host_key=None))
        without_password, _ = failure(target(openssh, password=None))

        assert unpinned.code is Code.HOST_KEY_UNKNOWN
        assert without_password.code is Code.AUTHENTICATION_FAILED


class TestLogout:
    """Nothing of a login lives on: no thread of paramiko's, and so no connection that the server still sees."""

    def test_after_a_login(self, openssh: OpenSSH) -> None:
        log_in(target(openssh))

        assert self._left_over() == []

    @pytest.mark.parametrize("after", [0, 700])
    def test_after_a_handshake_that_came_to_nothing(self, openssh: OpenSSH, after: int) -> None:
        with CuttingProxy(openssh.port, after=after, how="stall") as proxy:
            failure(target(openssh, port=proxy.port, timeout_s=TIMEOUT_S))

            assert self._left_over() == []

    def _left_over(self) -> list[threading.Thread]:
        time.sleep(0.02)  # a thread that has been told takes a moment
        return [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport | threading.Timer)]


class TestHostKey:
    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    @pytest.mark.parametrize("form", ["line", "fingerprint"])
    def test_any_key_of_the_server_may_be_pinned(self, openssh: OpenSSH, kind: str, form: str) -> None:
        line = openssh.host_key(kind)

        log_in(target(openssh, host_key=line if form == "line" else HostKeyPin.parse(line).fingerprint))

    def test_unknown_shows_the_fingerprint_to_pin(self, openssh: OpenSSH) -> None:
        error, step = failure(target(openssh, host_key=None))

        assert isinstance(error, AuthenticationFailed)
        assert (error.code, step) == (Code.HOST_KEY_UNKNOWN, "host_key")
        assert HostKeyPin.parse(openssh.host_key()).fingerprint in error.message

    @pytest.mark.parametrize("form", ["line", "fingerprint"])
    def test_mismatch_shows_both(self, openssh: OpenSSH, start_openssh: Callable[..., OpenSSH], form: str) -> None:
        other = start_openssh(host_keys=("ed25519",)).host_key()
        pinned = HostKeyPin.parse(other).fingerprint

        error, step = failure(target(openssh, host_key=other if form == "line" else pinned))

        assert isinstance(error, AuthenticationFailed)
        assert (error.code, step) == (Code.HOST_KEY_MISMATCH, "host_key")
        assert pinned in error.message
        assert HostKeyPin.parse(openssh.host_key()).fingerprint in error.message

    def test_mismatch_when_the_server_has_no_key_of_the_pinned_type(
        self, openssh: OpenSSH, start_openssh: Callable[..., OpenSSH]
    ) -> None:
        only_rsa = start_openssh(host_keys=("rsa",))

        error, _ = failure(target(only_rsa, host_key=openssh.host_key("ed25519")))

        assert error.code is Code.HOST_KEY_MISMATCH
        assert HostKeyPin.parse(only_rsa.host_key("rsa")).fingerprint in error.message

    def test_nothing_is_sent_to_a_server_with_another_key(self, start_openssh: Callable[..., OpenSSH]) -> None:
        server = start_openssh(extra=("LogLevel VERBOSE",))

        failure(target(server, host_key="SHA256:" + "A" * 43))

        log = (server.folder / "sshd.log").read_text()
        assert "Connection from" in log
        assert USERNAME not in log


class TestUnreachable:
    def test_refused(self, openssh: OpenSSH) -> None:
        error, step = failure(target(openssh, port=free_port()))

        assert isinstance(error, TemporaryError)
        assert (error.code, step) == (Code.CONNECTION_REFUSED, "connect")

    def test_unknown_name(self, openssh: OpenSSH) -> None:
        error, step = failure(target(openssh, host="no-such-host.invalid"))

        assert (error.code, step) == (Code.DNS_FAILURE, "resolve")

    def test_not_allowed(self, openssh: OpenSSH) -> None:
        error, step = failure(target(openssh), Dialer(policy=EgressPolicy()))

        assert isinstance(error, TemporaryError)
        assert (error.code, step) == (Code.EGRESS_DENIED, "resolve")

    @pytest.mark.parametrize(
        ("hole", "where"), [(blackhole, "connect"), (silent_server, "host_key")], ids=["no answer", "no banner"]
    )
    def test_silence_ends_in_time(self, openssh: OpenSSH, hole, where: str) -> None:
        started = time.monotonic()
        with hole() as port:
            error, step = failure(target(openssh, port=port, timeout_s=TIMEOUT_S))

        assert isinstance(error, TemporaryError)
        assert (error.code, step) == (Code.CONNECTION_TIMEOUT, where)
        assert TIMEOUT_S <= time.monotonic() - started < TIMEOUT_S + 1

    def test_not_an_ssh_server(self, openssh: OpenSSH) -> None:
        with mail_server() as port:
            error, step = failure(target(openssh, port=port))

        assert isinstance(error, TemporaryError)
        assert (error.code, step) == (Code.CONNECTION_LOST, "host_key")
        assert "ESMTP" not in f"{error} {error!r}"

    @pytest.mark.parametrize("after", [0, 30, 700, 950])
    def test_silence_in_the_middle_of_the_handshake(self, openssh: OpenSSH, after: int) -> None:
        started = time.monotonic()
        with CuttingProxy(openssh.port, after=after, how="stall") as proxy:
            error, _ = failure(target(openssh, port=proxy.port, timeout_s=TIMEOUT_S))

        assert error.code is Code.CONNECTION_TIMEOUT
        assert time.monotonic() - started < TIMEOUT_S + 1

    def test_every_code_has_its_own_hint(self) -> None:
        codes = (
            Code.DNS_FAILURE, Code.CONNECTION_REFUSED, Code.CONNECTION_TIMEOUT, Code.CONNECTION_LOST,
            Code.EGRESS_DENIED, Code.HOST_KEY_UNKNOWN, Code.HOST_KEY_MISMATCH, Code.AUTHENTICATION_FAILED,
            Code.PERMISSION_DENIED, Code.PATH_NOT_FOUND, Code.NO_SPACE, Code.REMOTE_ERROR,
        )  # fmt: skip

        assert len({CATALOGUE[code].hint for code in codes}) == len(codes)


class TestFolder:
    @pytest.mark.parametrize(
        ("folder", "code"), [("readonly", Code.PERMISSION_DENIED), ("nowhere", Code.PATH_NOT_FOUND)]
    )
    def test_may_not_be_written(self, openssh: OpenSSH, folder: str, code: Code) -> None:
        assert self._sending_fails(openssh, folder) is code

    def test_full_disk_leaves_nothing_behind(self, openssh: OpenSSH, small_disk) -> None:
        assert self._sending_fails(openssh, "small") is Code.NO_SPACE
        assert list(small_disk.iterdir()) == []

    def test_a_file_is_no_folder(self, openssh: OpenSSH) -> None:
        (openssh.home / "plain").write_text("")

        assert self._sending_fails(openssh, "plain") is Code.PATH_NOT_FOUND

    def _sending_fails(self, openssh: OpenSSH, folder: str) -> Code:
        with (
            sftp_store(target(openssh), UNRESTRICTED, StepRecorder(), lambda _: None) as store,
            pytest.raises(TemporaryError) as caught,
        ):
            FileDrop(folder=store.folder(folder), atomic=True, temp_suffix=".tmp").send(DOCUMENT)
        return caught.value.code


def test_a_folder_of_many_files_is_listed_whole(openssh: OpenSSH) -> None:
    folder = openssh.home / "many"
    folder.mkdir()
    for number in range(1_500):
        (folder / f"{number}.json").touch()
    with sftp_store(target(openssh), UNRESTRICTED, StepRecorder(), lambda _: None) as store:
        found = store.folder("many")

        assert len(found.entries(lambda name: name.endswith(".json"), limit=10_000)) == 1_500
        assert len(found.entries(lambda name: name.startswith("7"), limit=7)) == 7
        assert len(found.entries(lambda name: name == "no such name", limit=7, at_most=10)) == 0
