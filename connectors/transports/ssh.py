"""An SSH login over a socket of the dialer: host key first, then credentials, and nothing of the machine's own.

No agent, no files of ~/.ssh, no known_hosts, no proxy command: what is trusted and what is sent is in the target.
"""

from __future__ import annotations

import logging
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, ConnectorError, TemporaryError
from connectors.network import Dialer, Endpoint
from connectors.port import StepRecorder
from connectors.results import RemoteIdentity
from connectors.transports.ssh_keys import HOST_KEY_ALGORITHMS, HostKeyPin, UnusableKey, fingerprint, load_private_key

BROKEN: Final = (OSError, EOFError, paramiko.SSHException)
"""What says that a connection is gone, or silent for too long."""

LOGIN_STEPS: Final = ("resolve", "connect", "host_key", "authenticate", "identity")

_AGREEING: Final = " while agreeing on encryption"

# Broken or too short; everything else that paramiko offers stays, because partners' servers are old.
_REFUSED: Final = {
    "ciphers": ["3des-cbc"],
    "macs": ["hmac-md5", "hmac-md5-96", "hmac-sha1-96"],
}

_FASTEST: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_CIPHERS: Final[tuple[str, ...]] = paramiko.Transport._preferred_ciphers  # type: ignore[attr-defined]  # not in the stubs
_MAX_TAKEN_IN: Final = 128 * 1024

# `SSH-protoversion-softwareversion SP comments` (RFC 4253, section 4.2), and where a version begins in it.
_GREETING: Final = re.compile(r"SSH-[^-]*-(?P<software>\S*) ?(?P<comments>.*)")
_VERSION: Final = re.compile(r"[-_/ ]v?\d|\d+\.")
_MAX_GREETING: Final = 255

# paramiko logs the server's words and tracebacks; what there is to say is raised, in our words.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, kw_only=True)
class SshTarget:
    """Where to log in, as whom, and whom to believe."""

    host: str
    port: int
    username: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    certificate: str | None = None
    """An OpenSSH user certificate for the private key."""
    host_key: str | None = None
    """A public key line or a SHA256: fingerprint; None trusts nobody."""
    timeout_s: float = 10.0
    """Seconds for each wait: for the connection, for the handshake, for each answer."""


class _PromptSocket(socket.socket):
    """A socket that takes in whatever has come, and confirms it at once.

    Until it has logged us in, OpenSSH sends its next packet only when we have confirmed the one before (Nagle's
    algorithm), and Linux confirms 40 ms late when there is nothing to answer (tcp(7), TCP_QUICKACK: not permanent).
    paramiko asks for a packet in two parts, each of which would be a call of the system.
    """

    _taken_in = b""

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._taken_in:
            self._taken_in = super().recv(_MAX_TAKEN_IN, flags)
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data, self._taken_in = self._taken_in[:size], self._taken_in[size:]
        return data


class SshTransport(paramiko.Transport):
    """paramiko's transport, asking for plain host keys of the given types only."""

    # With these a packet is checked while it is decrypted; paramiko compares any other check byte by byte in Python.
    _preferred_ciphers = (*_FASTEST, *(name for name in _CIPHERS if name not in _FASTEST))

    def __init__(self, connection: socket.socket, key_types: tuple[str, ...], timeout_s: float) -> None:
        # paramiko goes on trying to send for ever; the kernel gives up (tcp(7): also when the far end reads no more).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(timeout_s * 1000)))
        # The socket changes hands: to close the old one closes nothing any more.
        super().__init__(_PromptSocket(fileno=connection.detach()), disabled_algorithms=_REFUSED)
        self._host_key_algorithms = tuple(name for kind in key_types for name in HOST_KEY_ALGORITHMS[kind])
        self.said_goodbye = False
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = self.channel_timeout = timeout_s

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        # Without the certificates that paramiko would add: there is no authority here to check them against.
        return self._host_key_algorithms

    @property
    def greeting(self) -> str:
        """The line with which the server introduced itself, made safe to show; the key exchange has proven it."""
        return printable(self.remote_version)

    def close(self) -> None:
        # paramiko's thread looks up every 0.1 s, and until then the kernel keeps a socket that is only closed.
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.packetizer.complete_handshake()  # a handshake that failed leaves its timer running
        super().close()

    def abort(self) -> None:
        """Close at once and forget what is still to be sent: it shall not arrive when we have already looked."""
        with suppress(OSError):
            assert isinstance(self.sock, socket.socket)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        # A server that ends the login in words has refused it; a link that just dies has not.
        self.said_goodbye = True
        super()._parse_disconnect(message)  # type: ignore[misc]  # missing in the stubs


def log_in(
    target: SshTarget, dialer: Dialer, steps: StepRecorder, recognise: Callable[[RemoteIdentity], None]
) -> SshTransport:
    """Return an authenticated connection; records the LOGIN_STEPS.

    Args:
        target: where, as whom, and whom to believe.
        dialer: opens the connection.
        steps: where the steps are written down.
        recognise: is told who the server says it is; what it raises ends the login.

    Raises:
        TemporaryError: the server cannot be reached, or the link broke.
        AuthenticationFailed: the server showed another host key than the pinned one (HOST_KEY_UNKNOWN,
            HOST_KEY_MISMATCH), or refused the credentials.
    """
    started = time.monotonic()
    with steps.step("resolve") as note:
        endpoint = dialer.resolve(target.host, target.port, timeout_s=target.timeout_s)
        note.detail = ", ".join(endpoint.addresses)
    with steps.step("connect"):
        connection = dialer.connect_to(endpoint, timeout_s=target.timeout_s - (time.monotonic() - started))
    with closing(connection), steps.step("host_key") as note:  # closing is for a test that is cancelled here
        left = target.timeout_s - (time.monotonic() - started)
        transport = _Handshake(target, dialer, endpoint).run(connection, timeout_s=left)
        key = transport.get_remote_server_key()
        note.detail = f"{fingerprint(key.asbytes())} ({key.get_name()})"
    try:
        with steps.step("authenticate") as note:
            note.detail = f"Logged in as {target.username}."
            _authenticate(transport, target)
        with steps.step("identity") as note:
            note.detail = transport.greeting
            recognise(RemoteIdentity(server=product(transport.greeting)))
    except BaseException:
        transport.close()
        raise
    return transport


def printable(greeting: str) -> str:
    """Return a server's greeting as the printable ASCII that it should be, of the length that it may have."""
    return "".join(char if " " <= char <= "~" else "?" for char in greeting[:_MAX_GREETING])


def product(greeting: str) -> str | None:
    """Return the product that a server's greeting names, without its version; None when it names only a version."""
    if parts := _GREETING.fullmatch(greeting):
        for part in (parts["software"], parts["comments"]):
            if name := _VERSION.split(part, maxsplit=1)[0].strip():
                return name
    return None


@dataclass(frozen=True)
class _Handshake:
    """The key exchange, repeated until the server shows the pinned host key or has no other to show."""

    target: SshTarget
    dialer: Dialer
    endpoint: Endpoint

    def run(self, connection: socket.socket, *, timeout_s: float) -> SshTransport:
        pin = HostKeyPin.parse(self.target.host_key) if self.target.host_key else None
        wanted = pin.key_types if pin else tuple(HOST_KEY_ALGORITHMS)
        shown: paramiko.PKey | None = None
        while wanted:
            transport = self._exchange_keys(connection, wanted, timeout_s)
            if transport is None:
                break
            key = transport.get_remote_server_key()
            if pin and fingerprint(key.asbytes()) == pin.fingerprint:
                return transport
            transport.close()
            shown = shown or key
            if pin is None:
                break
            # A server has one host key per type and shows the type we like best: ask for the others.
            wanted = tuple(key_type for key_type in wanted if key_type != key.get_name())
            if wanted:
                connection, timeout_s = self._reconnect(), self.target.timeout_s
        raise self._refusal(pin, shown or self._any_host_key())

    def _exchange_keys(
        self, connection: socket.socket, key_types: tuple[str, ...], timeout_s: float
    ) -> SshTransport | None:
        """Return the encrypted connection, or None when the server has no host key of these types."""
        transport = SshTransport(connection, key_types, self.target.timeout_s)
        agreed = False
        try:
            with translated(self.target, _AGREEING), silence_is_a_timeout(timeout_s), suppress(IncompatiblePeer):
                transport.start_client(timeout=timeout_s)
                if not transport.initial_kex_done:  # start_client returns without a word when its time is up
                    raise TimeoutError
                agreed = True
        finally:
            if not agreed:
                transport.close()
        return transport if agreed else None

    def _any_host_key(self) -> paramiko.PKey:
        """Return what the server shows when it has no key of the pinned type, for the message."""
        transport = self._exchange_keys(self._reconnect(), tuple(HOST_KEY_ALGORITHMS), self.target.timeout_s)
        if transport is None:  # it is not the host key that we cannot agree on
            raise TemporaryError(Code.REMOTE_ERROR, during=_AGREEING)
        key = transport.get_remote_server_key()
        transport.close()
        return key

    def _reconnect(self) -> socket.socket:
        return self.dialer.connect_to(self.endpoint, timeout_s=self.target.timeout_s)

    def _refusal(self, pin: HostKeyPin | None, shown: paramiko.PKey) -> AuthenticationFailed:
        params: dict[str, Any] = {"fingerprint": fingerprint(shown.asbytes()), "key_type": shown.get_name()}
        if pin is None:
            return AuthenticationFailed(Code.HOST_KEY_UNKNOWN, **params)
        return AuthenticationFailed(Code.HOST_KEY_MISMATCH, pinned=pin.fingerprint, **params)


def _authenticate(transport: SshTransport, target: SshTarget) -> None:
    """Log in with the key, then with the password when there is no key or the server asks for both."""
    more_asked_for = True
    if target.private_key:
        try:
            key = load_private_key(target.private_key, target.passphrase, target.certificate)
        except UnusableKey:
            raise AuthenticationFailed(username=target.username) from None
        more_asked_for = _attempt(transport, target, lambda: transport.auth_publickey(target.username, key))
    if more_asked_for and target.password is not None:
        password = target.password
        # Answers keyboard-interactive with the password too, where the server offers only that.
        more_asked_for = _attempt(transport, target, lambda: transport.auth_password(target.username, password))
    if more_asked_for or not transport.is_authenticated():
        raise AuthenticationFailed(username=target.username)


def _attempt(transport: SshTransport, target: SshTarget, method: Callable[[], list[str]]) -> bool:
    """Try one method; return whether the server asks for another one on top."""
    with translated(target, " while logging in"), silence_is_a_timeout(target.timeout_s):
        try:
            return bool(method())
        except paramiko.AuthenticationException:
            # paramiko says the same of a refusal and of a broken link; only the first is the user's fault.
            if not transport.is_active() and not transport.said_goodbye:
                raise EOFError from None
            raise


@contextmanager
def closed_after(timeout_s: float, transport: paramiko.Transport) -> Iterator[None]:
    """End the connection when the body takes longer: paramiko waits for some answers without any time-out."""
    timer = threading.Timer(timeout_s, transport.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def silence_is_a_timeout(timeout_s: float) -> Iterator[None]:
    """Tell the time-outs of paramiko, which look like any other failure of its, by their length."""
    started = time.monotonic()
    try:
        yield
    except (EOFError, paramiko.SSHException):
        if time.monotonic() - started >= timeout_s:
            raise TimeoutError from None
        raise


class translated:  # noqa: N801  # used as a function, and as cheap as can be: several times for every file
    """Turn what paramiko and the socket raise into our errors."""

    __slots__ = ("_during", "_error_class", "_target")

    def __init__(self, target: SshTarget, during: str, *, error_class: type[ConnectorError] = TemporaryError) -> None:
        """Begin something at the far end.

        Args:
            target: whom we talk to.
            during: what is going on, for REMOTE_ERROR.
            error_class: what a broken link means here: TemporaryError, or OutcomeUnknown once the order may have
                arrived.
        """
        self._target, self._during, self._error_class = target, during, error_class

    def __enter__(self) -> None:
        """Watch the body."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise our error in the place of theirs."""
        if error is None or isinstance(error, ConnectorError):
            return
        if isinstance(error, paramiko.AuthenticationException):
            raise AuthenticationFailed(**self._params()) from None
        if isinstance(error, BROKEN):
            code = _code_of(error) if issubclass(self._error_class, TemporaryError) else None
            raise self._error_class(code, **self._params()) from None

    def _params(self) -> dict[str, Any]:
        return {
            "host": self._target.host,
            "port": self._target.port,
            "timeout_s": f"{self._target.timeout_s:g}",
            "username": self._target.username,
            "during": self._during,
        }


def _code_of(error: Exception) -> Code:
    # paramiko wraps what went wrong on the socket while it reads the server's first line.
    cause = error.__context__ if isinstance(error, paramiko.SSHException) and error.__context__ else error
    match cause:
        case TimeoutError():
            return Code.CONNECTION_TIMEOUT
        case OSError() | EOFError():
            return Code.CONNECTION_LOST
        case _:
            return Code.REMOTE_ERROR
