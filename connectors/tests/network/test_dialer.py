"""Resolve once, check everything, connect to exactly what was checked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from connectors.codes import Code
from connectors.exceptions import TemporaryError
from connectors.network import Dialer, EgressPolicy, Endpoint
from connectors.tests.peers.openssh import free_port
from connectors.tests.peers.proxy import blackhole

PUBLIC_ONLY = Dialer(policy=EgressPolicy())
LOOPBACK = Dialer(policy=EgressPolicy(allowed_networks=("127.0.0.0/8", "::1")))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and their addresses; each question is remembered under the key "asked"."""
    names: dict[str, list[str]] = {"asked": []}

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        names["asked"].append(host)
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in names[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def code_of(call) -> Code:
    with pytest.raises(TemporaryError) as caught:
        call()
    return caught.value.code


def test_connects_with_the_options_of_a_busy_line(listener: socket.socket) -> None:
    with LOOPBACK.connect("127.0.0.1", listener.getsockname()[1], timeout_s=2) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getpeername() == listener.getsockname()


@pytest.mark.parametrize(
    "spelling",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.1",
        "127.0.1", "0", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:7f00:0001", "169.254.169.254",
        "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "64:ff9b::a9fe:a9fe",
    ],
)  # fmt: skip
def test_no_spelling_leads_inside(spelling: str) -> None:
    assert code_of(lambda: PUBLIC_ONLY.resolve(spelling, 22, timeout_s=2)) is Code.EGRESS_DENIED


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_forbidden_address_among_others_is_enough(resolver: dict[str, list[str]], place: int) -> None:
    addresses = ["8.8.8.8", "9.9.9.9"]
    addresses.insert(place, "10.0.0.1")
    resolver["mixed.example.com"] = addresses

    with pytest.raises(TemporaryError) as caught:
        PUBLIC_ONLY.connect("mixed.example.com", 22, timeout_s=2)

    assert caught.value.code is Code.EGRESS_DENIED
    assert "10.0.0.1" in caught.value.message


def test_a_name_is_asked_for_once(resolver: dict[str, list[str]], listener: socket.socket) -> None:
    resolver["rebinding.example.com"] = ["127.0.0.1"]
    resolver["127.0.0.1"] = ["127.0.0.1"]

    LOOPBACK.connect("rebinding.example.com", listener.getsockname()[1], timeout_s=2).close()

    assert resolver["asked"].count("rebinding.example.com") == 1


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a..b", "x" * 64 + ".example.com", ""])
def test_unknown_names(name: str) -> None:
    if name == "":
        assert code_of(lambda: PUBLIC_ONLY.resolve(name, 22, timeout_s=2)) in (Code.DNS_FAILURE, Code.EGRESS_DENIED)
    else:
        assert code_of(lambda: PUBLIC_ONLY.resolve(name, 22, timeout_s=5)) is Code.DNS_FAILURE


def test_a_resolver_that_hangs_does_not_hold_us_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(10) and [])
    started = time.monotonic()

    try:
        assert code_of(lambda: PUBLIC_ONLY.connect("slow.example.com", 22, timeout_s=0.2)) is Code.DNS_FAILURE
        assert time.monotonic() - started < 1
    finally:
        answered.set()


def test_refused() -> None:
    assert code_of(lambda: LOOPBACK.connect("127.0.0.1", free_port(), timeout_s=2)) is Code.CONNECTION_REFUSED


def test_blackhole_ends_in_time() -> None:
    started = time.monotonic()
    with blackhole() as port:
        assert code_of(lambda: LOOPBACK.connect("127.0.0.1", port, timeout_s=0.5)) is Code.CONNECTION_TIMEOUT
    assert 0.5 <= time.monotonic() - started < 1


def test_the_next_address_is_tried(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    endpoint = Endpoint(host="two", port=port, addresses=("::1", "127.0.0.1"))

    with LOOPBACK.connect_to(endpoint, timeout_s=2) as connection:
        assert connection.getpeername() == ("127.0.0.1", port)


def test_a_silent_address_leaves_time_for_the_next() -> None:
    with blackhole() as port, socket.create_server(("127.0.0.2", port)):
        endpoint = Endpoint(host="two", port=port, addresses=("127.0.0.1", "127.0.0.2"))
        with LOOPBACK.connect_to(endpoint, timeout_s=1) as connection:
            assert connection.getpeername()[0] == "127.0.0.2"


def test_no_time_left() -> None:
    endpoint = Endpoint(host="late", port=1, addresses=("127.0.0.1",))

    assert code_of(lambda: LOOPBACK.connect_to(endpoint, timeout_s=-1)) is Code.CONNECTION_TIMEOUT


def test_a_failed_connection_leaves_no_socket_open(recwarn: pytest.WarningsRecorder) -> None:
    port = free_port()
    for _ in range(3):
        code_of(lambda: LOOPBACK.connect("127.0.0.1", port, timeout_s=1))

    assert not [warning for warning in recwarn if warning.category is ResourceWarning]
