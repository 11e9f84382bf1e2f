"""An SSH server that writes down every credential it is offered, and accepts none."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import paramiko

from connectors.transports.ssh_keys import fingerprint


class Recorder:
    """Listens on an address of loopback until it is closed."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.key = paramiko.ECDSAKey.generate()
        self.knocks = 0
        self.offered: list[str] = []
        self._listener = socket.create_server((host, port))
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint of its host key."""
        return fingerprint(self.key.asbytes())

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.knocks += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(Exception):
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.key)
            transport.start_server(server=_Listener(self.offered))
            transport.join(10)


class _Listener(paramiko.ServerInterface):
    def __init__(self, offered: list[str]) -> None:
        self._offered = offered

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_auth_password(self, username: str, password: str) -> int:
        self._offered.append(password)
        return paramiko.AUTH_FAILED  # type: ignore[no-any-return]

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._offered.append(key.get_base64())
        return paramiko.AUTH_FAILED  # type: ignore[no-any-return]
