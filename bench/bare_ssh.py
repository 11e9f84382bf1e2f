"""The least that SSH and SFTP need: one fixed set of algorithms, one request after the other, no thread, no option.

It is the floor that a connection test is measured against; for nothing else is it good enough.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# RFC 4253, section 7.1: key exchange, host key, ciphers, MACs (part of the cipher here), compressions, languages.
_ALGORITHMS: Final = (
    "curve25519-sha256", "ssh-ed25519", *["aes128-gcm@openssh.com"] * 2, *["hmac-sha2-256"] * 2, *["none"] * 2, "", "",
)  # fmt: skip
_OUR_BANNER: Final = b"SSH-2.0-bare"
_KEXINIT, _NEWKEYS, _ECDH_INIT, _ECDH_REPLY = 20, 21, 30, 31
_SERVICE_REQUEST, _SERVICE_ACCEPT, _AUTH_REQUEST, _AUTH_SUCCESS = 5, 6, 50, 52
_CHANNEL_OPEN, _CHANNEL_CONFIRMED, _CHANNEL_DATA, _CHANNEL_REQUEST, _CHANNEL_SUCCESS = 90, 91, 94, 98, 99
_STATUS: Final = 101
_FINE: Final = (0, 1, 2)  # done, no more names, no such file

# An ignored message, a debug message, the server's extensions and host keys, a larger window.
_NOT_ASKED_FOR: Final = (2, 4, 7, 80, 93)


class BareSftp:
    """An SFTP session, opened by the constructor; a context manager that closes the connection."""

    def __init__(self, port: int, username: str, key: Ed25519PrivateKey) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")
        self._outgoing: _Plain | _Aes = _Plain()
        self._incoming: _Plain | _Aes = _Plain()
        self._exchange_keys()
        self._log_in(username.encode(), key)
        self._open_sftp()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._socket.close()

    def ask(self, request: int, *fields: bytes) -> bytes:
        """Send one SFTP request and return its answer: the kind, the number, and the body."""
        answer = self._sftp(bytes([request]) + u32(1) + b"".join(fields))
        assert answer[0] != _STATUS or answer[8] in _FINE, answer[8]
        return answer

    def _exchange_keys(self) -> None:
        """RFC 4253, sections 7 and 8, with the method of RFC 8731."""
        self._socket.sendall(_OUR_BANNER + b"\r\n")
        their_banner = self._stream.readline().rstrip()
        our_init = bytes([_KEXINIT]) + os.urandom(16) + b"".join(string(name.encode()) for name in _ALGORITHMS)
        our_init += bytes(5)
        self._send(our_init)
        their_init = self._receive(_KEXINIT)
        secret = X25519PrivateKey.generate()
        ours = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._send(bytes([_ECDH_INIT]) + string(ours))
        host_key, theirs, signature = _strings(self._receive(_ECDH_REPLY)[1:])
        shared = _number(secret.exchange(X25519PublicKey.from_public_bytes(theirs)))
        parts = (_OUR_BANNER, their_banner, our_init, their_init, host_key, ours, theirs)
        self._session = hashlib.sha256(b"".join(string(part) for part in parts) + shared).digest()
        Ed25519PublicKey.from_public_bytes(_strings(host_key)[1]).verify(_strings(signature)[1], self._session)
        self._send(bytes([_NEWKEYS]))
        self._receive(_NEWKEYS)
        derived = {
            letter: hashlib.sha256(shared + self._session + letter + self._session).digest()
            for letter in (b"A", b"B", b"C", b"D")
        }
        self._outgoing, self._incoming = _Aes(derived[b"C"], derived[b"A"]), _Aes(derived[b"D"], derived[b"B"])

    def _log_in(self, username: bytes, key: Ed25519PrivateKey) -> None:
        """RFC 4252, section 7."""
        self._send(bytes([_SERVICE_REQUEST]) + string(b"ssh-userauth"))
        self._receive(_SERVICE_ACCEPT)
        public = string(b"ssh-ed25519") + string(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        request = bytes([_AUTH_REQUEST]) + string(username) + string(b"ssh-connection") + string(b"publickey")
        request += b"\1" + string(b"ssh-ed25519") + string(public)
        signature = key.sign(string(self._session) + request)
        self._send(request + string(string(b"ssh-ed25519") + string(signature)))
        self._receive(_AUTH_SUCCESS)

    def _open_sftp(self) -> None:
        """RFC 4254, sections 5.1 and 6.5; then the version of SFTP."""
        self._send(bytes([_CHANNEL_OPEN]) + string(b"session") + u32(0) + u32(2**31 - 1) + u32(32768))
        self._channel = self._receive(_CHANNEL_CONFIRMED)[5:9]
        self._send(bytes([_CHANNEL_REQUEST]) + self._channel + string(b"subsystem") + b"\1" + string(b"sftp"))
        self._receive(_CHANNEL_SUCCESS)
        self._sftp(b"\1" + u32(3))

    def _sftp(self, packet: bytes) -> bytes:
        self._send(bytes([_CHANNEL_DATA]) + self._channel + string(string(packet)))
        data = b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            data += self._receive(_CHANNEL_DATA)[9:]
        return data[4:]

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(self._outgoing.seal(payload))

    def _receive(self, expected: int) -> bytes:
        payload = bytes([_NOT_ASKED_FOR[0]])
        while payload[0] in _NOT_ASKED_FOR:
            payload = self._incoming.open(self._stream.read)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # else 40 ms are lost near by
        assert payload[0] == expected, payload[0]
        return payload


class _Plain:
    """Packets before the keys are there (RFC 4253, section 6)."""

    def seal(self, payload: bytes) -> bytes:
        padding = 4 + -(len(payload) + 9) % 8
        return u32(1 + len(payload) + padding) + bytes([padding]) + payload + bytes(padding)

    def open(self, read: Callable[[int], bytes]) -> bytes:
        size = int.from_bytes(read(4), "big")
        body = read(size)
        return body[1 : size - body[0]]


class _Aes:
    """Packets under AES-GCM (RFC 5647, with the negotiation of OpenSSH's PROTOCOL, section 1.6)."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._cipher = AESGCM(key[:16])
        self._fixed, self._counter = iv[:4], int.from_bytes(iv[4:12], "big")

    def seal(self, payload: bytes) -> bytes:
        padding = 4 + -(len(payload) + 5) % 16
        size = u32(1 + len(payload) + padding)
        return size + self._cipher.encrypt(self._iv(), bytes([padding]) + payload + bytes(padding), size)

    def open(self, read: Callable[[int], bytes]) -> bytes:
        size = read(4)
        body = self._cipher.decrypt(self._iv(), read(int.from_bytes(size, "big") + 16), size)
        return body[1 : len(body) - body[0]]

    def _iv(self) -> bytes:
        self._counter += 1
        return self._fixed + ((self._counter - 1) % 2**64).to_bytes(8, "big")


def string(data: bytes) -> bytes:
    """Return the SSH string: the length and the bytes."""
    return u32(len(data)) + data


def _strings(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def _number(big_endian: bytes) -> bytes:
    """Return an unsigned number as SSH's mpint."""
    digits = big_endian.lstrip(b"\0")
    return string(b"\0" + digits if digits and digits[0] & 0x80 else digits)


def handle_of(answer: bytes) -> bytes:
    """Return the handle in an SFTP answer, as the string that requests take."""
    return answer[5:]


def u64(number: int) -> bytes:
    """Return a number as eight bytes."""
    return number.to_bytes(8, "big")


def u32(number: int) -> bytes:
    """Return a number as four bytes."""
    return number.to_bytes(4, "big")
