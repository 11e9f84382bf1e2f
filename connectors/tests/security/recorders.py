"""Far ends that write down what arrives there: an SSH server that takes any login, a port that takes any bytes."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import asyncssh


@dataclass
class SshRecorder:
    """An SFTP server in a thread of its own; a context manager."""

    root: Path
    refuses: bool = False
    """Take no credentials at all."""
    echoes: bool = False
    """Say the credentials back in every text that the protocol has for a server."""
    logins: list[str] = field(default_factory=list)
    """User name and password, or user name and public key, as they arrived."""
    connections: int = 0
    host_key: str = ""
    port: int = 0

    def __enter__(self) -> Self:
        for name in ("inbox", "other", "ack"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._open: list[asyncssh.SSHServerConnection] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def config(self, **changes: Any) -> dict[str, Any]:
        """Return a dropzone configuration for this server, without credentials."""
        config = {
            "mode": "sftp",
            "host": "127.0.0.1",
            "port": self.port,
            "username": "erp",
            "host_key": self.host_key,
            "export_path": "/inbox",
            "ack_path": "/ack",
            "timeout_s": 5,
        } | changes
        return {name: value for name, value in config.items() if value is not None}

    def forget(self) -> None:
        """Begin anew."""
        self.logins.clear()
        self.connections = 0
        self.refuses = self.echoes = False

    async def _listen(self) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = key.export_public_key().decode().strip()
        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Login(self),
            server_host_keys=[key],
            sftp_factory=lambda channel: _Sftp(channel, self),
        )
        self.port = self._server.get_port()

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        for connection in self._open:
            connection.abort()
            await connection.wait_closed()


@dataclass
class _Login(asyncssh.SSHServer):
    recorder: SshRecorder

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        self.recorder.connections += 1
        self.recorder._open.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return self._note(username, password)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._note(username, key.export_public_key().decode().strip())

    def _note(self, username: str, credential: str) -> bool:
        self.recorder.logins.append(f"{username} {credential}")
        if self.recorder.echoes:
            self.connection.send_auth_banner(f"Welcome {username}, your password is {credential}\n")
        if self.recorder.echoes and self.recorder.refuses:
            self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, f"wrong password: {credential}")
        return not self.recorder.refuses


class _Sftp(asyncssh.SFTPServer):
    def __init__(self, channel: Any, recorder: SshRecorder) -> None:
        super().__init__(channel, chroot=os.fsencode(recorder.root))
        self._recorder = recorder

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if self._recorder.echoes:
            raise asyncssh.SFTPFailure(f"no: {self._recorder.logins}")
        return super().open(path, pflags, attrs)


class TcpRecorder:
    """A port that takes what is sent and never answers; a context manager."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.connections = 0
        self.received = b""
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection, suppress(OSError):
                    connection.settimeout(1)
                    while data := connection.recv(65536):
                        self.received += data
