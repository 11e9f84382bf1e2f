"""Other ways to put files on an SFTP server, each under a temporary name first: the floors of our own delivery."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import paramiko

from connectors.tests.peers.openssh import USERNAME, OpenSSH

INBOX: Final = "inbox"

_OPEN, _CLOSE, _WRITE, _LSTAT, _RENAME, _EXTENDED = 3, 4, 6, 7, 18, 200
_STATUS, _HANDLE, _ATTRS = 101, 102, 105
_NEW_FILE: Final = 0x2A  # write, create, fail where it exists


@dataclass(frozen=True)
class Sent:
    """What it took to send some files."""

    files: int
    seconds: float
    cpu_seconds: float

    @property
    def files_per_second(self) -> float:
        """How fast it was."""
        return self.files / self.seconds


@dataclass(frozen=True)
class Server:
    """An OpenSSH server, at its own port or behind a proxy that makes it seem far away."""

    openssh: OpenSSH
    port: int

    @property
    def key_file(self) -> Path:
        """The private key that may log in."""
        return self.openssh.folder / "client_ed25519"

    def log_in(self) -> paramiko.Transport:
        """Return a connection of paramiko's, without any check of the host key."""
        transport = paramiko.Transport(("127.0.0.1", self.port))
        transport.connect(username=USERNAME, pkey=paramiko.Ed25519Key.from_private_key_file(str(self.key_file)))
        return transport


def new_connections(server: Server, names: Sequence[str], content: bytes) -> Sent:
    """Send each file over a connection of its own, as most integrations do."""
    started, cpu = time.perf_counter(), time.process_time()
    for name in names:
        transport = server.log_in()
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        with client.open(f"{INBOX}/{name}.tmp", "wx") as file:
            file.write(content)
        client.rename(f"{INBOX}/{name}.tmp", f"{INBOX}/{name}")
        transport.close()
    return Sent(len(names), time.perf_counter() - started, time.process_time() - cpu)


def openssh_batch(server: Server, names: Sequence[str], content: bytes) -> Sent:
    """Send them with `sftp -b`: one connection, one request after the other."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "content"
        file.write_bytes(content)
        batch = "".join(f"put {file} {INBOX}/{name}.tmp\nrename {INBOX}/{name}.tmp {INBOX}/{name}\n" for name in names)
        return _run(
            ["sftp", "-q", "-b", "-", *_ssh_options(server), f"-P{server.port}", f"{USERNAME}@127.0.0.1"], batch, names
        )


def lftp(server: Server, names: Sequence[str], content: bytes) -> Sent:
    """Send them with lftp: eight transfers at once, each under a temporary name."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / name).write_bytes(content)
        ssh = " ".join(["ssh -a -x", *_ssh_options(server), f"-i {server.key_file}"])
        script = (
            f'set sftp:connect-program "{ssh}"; set net:connection-limit 8; set cmd:parallel 8; '
            "set xfer:log no; set xfer:use-temp-file yes; set xfer:temp-file-name *.tmp; "
            f"open -u {USERNAME},none -p {server.port} sftp://127.0.0.1; "
            f"mirror -R --parallel=8 --no-perms --no-umask {folder} {INBOX}; bye"
        )
        return _run(["lftp", "--norc", "-c", script], "", names)


def bare_window(server: Server, names: Sequence[str], content: bytes, *, window: int) -> Sent:
    """Send them over one connection with so many under way, and look at nothing but the answers.

    Three round trips a file: open; write, fsync, close and size; rename. It keeps no books.
    """
    transport = server.log_in()
    channel = transport.open_session()
    channel.invoke_subsystem("sftp")
    channel.sendall(_packet(1, 3))
    stream = channel.makefile("rb", 65536)
    _receive(stream)
    started, cpu = time.perf_counter(), time.process_time()
    waiting, begun, done, number = iter(names), {}, 0, 0
    expected: dict[int, tuple[Iterator[list[bytes]], list[bytes]]] = {}
    outgoing: list[bytes] = []

    def ask(transfer: Iterator[list[bytes]], questions: list[bytes]) -> None:
        nonlocal number
        answers: list[bytes] = []
        begun[id(transfer)] = [len(questions), answers]
        for question in questions:
            number += 1
            expected[number] = (transfer, answers)
            outgoing.append(_packet(question[0], number, question[1:]))

    for _ in names[:window]:
        transfer = _transfer(next(waiting), content)
        ask(transfer, next(transfer))
    while done < len(names):
        if outgoing:
            channel.sendall(b"".join(outgoing))
            outgoing.clear()
        while True:
            answer = _receive(stream)
            transfer, answers = expected.pop(int.from_bytes(answer[1:5], "big"))
            answers.append(answer)
            if len(answers) == begun[id(transfer)][0]:
                try:
                    ask(transfer, transfer.send(list(answers)))  # type: ignore[attr-defined]
                except StopIteration:
                    done += 1
                    del begun[id(transfer)]
                    if (name := next(waiting, None)) is not None:
                        transfer = _transfer(name, content)
                        ask(transfer, next(transfer))
            if not (channel.recv_ready() and expected):
                break
    sent = Sent(len(names), time.perf_counter() - started, time.process_time() - cpu)
    transport.close()
    return sent


def _transfer(name: str, content: bytes) -> Any:
    path, temporary = _string(f"{INBOX}/{name}".encode()), _string(f"{INBOX}/{name}.tmp".encode())
    (opened,) = yield [bytes([_OPEN]) + temporary + struct.pack(">II", _NEW_FILE, 0)]
    assert opened[0] == _HANDLE, opened
    handle = opened[5:]
    *stored, found = yield [
        bytes([_WRITE]) + handle + struct.pack(">Q", 0) + _string(content),
        bytes([_EXTENDED]) + _string(b"fsync@openssh.com") + handle,
        bytes([_CLOSE]) + handle,
        bytes([_LSTAT]) + temporary,
    ]
    assert all(answer[0] == _STATUS and answer[5:9] == b"\0\0\0\0" for answer in stored)
    assert found[0] == _ATTRS
    assert int.from_bytes(found[9:17], "big") == len(content)
    (renamed,) = yield [bytes([_RENAME]) + temporary + path]
    assert renamed[5:9] == b"\0\0\0\0"


def _packet(kind: int, number: int, body: bytes = b"") -> bytes:
    return struct.pack(">IBI", 5 + len(body), kind, number) + body


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _receive(stream: Any) -> bytes:
    answer: bytes = stream.read(int.from_bytes(stream.read(4), "big"))
    return answer


def _ssh_options(server: Server) -> list[str]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")
    return [f"-o{option}" for option in (*options, f"IdentityFile={server.key_file}")]


def _run(command: list[str], stdin: str, names: Sequence[str]) -> Sent:
    """Run a program and count what it and its children used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    environment = os.environ | {"HOME": "/nonexistent"}
    subprocess.run(command, input=stdin, text=True, check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sent(len(names), seconds, cpu)
