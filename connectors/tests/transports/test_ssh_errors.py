"""No exception of paramiko or of the socket gets past the transport, and none of their words do."""

from __future__ import annotations

import inspect
import socket

import paramiko
import pytest

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, ConnectorError, OutcomeUnknown, TemporaryError
from connectors.transports.sftp_protocol import ProtocolError
from connectors.transports.ssh import SshTarget, translated

TARGET = SshTarget(host="sftp.example.com", port=22, username="orders", password="s3cret")
FOREIGN = "foreign words with s3cret"


def paramiko_exceptions() -> list[type[Exception]]:
    """Every exception class that paramiko defines."""
    modules = [module for _, module in inspect.getmembers(paramiko, inspect.ismodule)]
    found = {
        member
        for module in (paramiko, *modules)
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Exception) and member.__module__.startswith("paramiko.")
    }
    return sorted(found, key=lambda kind: kind.__name__)


HANDLED_WHERE_THEY_ARISE = {
    "NeedRekeyException": "never leaves paramiko's own thread",
    "UnknownKeyType": "only raised by loaders that are not used",
    "SFTPError": "only raised by the SFTP client that is not used",
    "InvalidHostKey": "only raised while reading known_hosts files, which are not read",
}


def instance(kind: type[Exception]) -> Exception:
    """An instance that holds words of its own, made without its constructor's knowledge."""
    error = kind.__new__(kind)
    Exception.__init__(error, FOREIGN)
    return error


@pytest.mark.parametrize("kind", paramiko_exceptions(), ids=lambda kind: kind.__name__)
def test_every_exception_of_paramiko_is_mapped(kind: type[Exception]) -> None:
    if kind.__name__ in HANDLED_WHERE_THEY_ARISE:
        return
    with pytest.raises(ConnectorError) as caught, translated(TARGET, " while testing"):
        raise instance(kind)

    is_refusal = issubclass(kind, paramiko.AuthenticationException)
    assert isinstance(caught.value, AuthenticationFailed if is_refusal else TemporaryError)
    for text in (str(caught.value), repr(caught.value), caught.value.hint):
        assert "foreign" not in text
        assert "s3cret" not in text


def test_the_lists_are_up_to_date() -> None:
    names = {kind.__name__ for kind in paramiko_exceptions()}

    assert names >= {"SSHException", "IncompatiblePeer", "MessageOrderError", *HANDLED_WHERE_THEY_ARISE}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), Code.CONNECTION_TIMEOUT),
        (ConnectionResetError(FOREIGN), Code.CONNECTION_LOST),
        (BrokenPipeError(FOREIGN), Code.CONNECTION_LOST),
        (OSError("Socket is closed"), Code.CONNECTION_LOST),
        (socket.gaierror(FOREIGN), Code.CONNECTION_LOST),
        (EOFError(FOREIGN), Code.CONNECTION_LOST),
        (ProtocolError(FOREIGN), Code.CONNECTION_LOST),
        (paramiko.SSHException(FOREIGN), Code.REMOTE_ERROR),
        (paramiko.AuthenticationException(FOREIGN), Code.AUTHENTICATION_FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_says_what_happened(error: Exception, code: Code) -> None:
    with pytest.raises(ConnectorError) as caught, translated(TARGET, " while testing"):
        raise error

    assert caught.value.code is code
    assert FOREIGN not in caught.value.message


def test_a_break_that_leaves_the_outcome_open_says_so() -> None:
    with pytest.raises(OutcomeUnknown) as caught, translated(TARGET, "", error_class=OutcomeUnknown):
        raise EOFError

    assert caught.value.code is Code.OUTCOME_UNKNOWN


def test_a_target_hides_its_secrets() -> None:
    target = SshTarget(host="h", port=22, username="u", password="pw-1", private_key="key-2", passphrase="pp-3")

    assert not any(secret in repr(target) for secret in ("pw-1", "key-2", "pp-3"))
