"""The one way out: an egress policy and the dialer that every transport uses.

A host name is resolved once, every address it stands for is checked, and the connection goes to exactly a checked
address. So neither a name that changes its answer nor an odd spelling (0x7f.1, 2130706433, ::ffff:127.0.0.1) leads
anywhere else.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from dataclasses import dataclass, replace
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Final

from connectors.codes import Code
from connectors.exceptions import TemporaryError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IANA IPv4 Special-Purpose Address Registry, plus multicast. A list of our own, because `is_global` changes between
# Python versions. The loopback, private, shared (100.64/10), link-local and metadata (169.254.169.254) ranges are here.
_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's platform address looks public, but answers with the machine's own secrets
    )
)  # fmt: skip

# Only 2000::/3 is public (RFC 4291), so fd00:ec2::254, ::1, fe80::/10 and ff00::/8 are out; these parts of it are not:
# protocol assignments with Teredo (2001::/23), documentation, and 6to4, which tunnels to any IPv4 address.
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

# RFC 6052: a translator sends these on to the IPv4 address in the last 32 bits. Its local cousin 64:ff9b:1::/48
# (RFC 8215) has no fixed layout and is refused like everything else outside 2000::/3.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True)
class EgressPolicy:
    """Which networks may be reached although they are not public."""

    allowed_networks: tuple[str, ...] = ()
    """CIDR networks such as 10.20.0.0/16. An IPv4 network says nothing about IPv6 addresses that embed it."""
    confined_to: tuple[str, ...] = ()
    """When there are any, nothing outside these networks may be reached, be it public or allowed above."""
    only_allowed: bool = False
    """Whether being public is not enough: what is not encrypted goes to networks that are named and nowhere else."""

    def __post_init__(self) -> None:
        """Raise ValueError when a network is malformed."""
        _ = self._allowed, self._confines

    def admits(self, address: str) -> bool:
        """Return whether connections to this numeric address are allowed."""
        target = _normalised(address)
        if self._confines and not _is_within(target, self._confines):
            return False
        return _is_within(target, self._allowed) or (not self.only_allowed and _is_public(target))

    @cached_property
    def _allowed(self) -> tuple[Network, ...]:
        return _parsed(self.allowed_networks)

    @cached_property
    def _confines(self) -> tuple[Network, ...]:
        return _parsed(self.confined_to)


def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(network.strip()) for network in networks)


def _is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _normalised(address: str) -> Address:
    # A mapped address is the IPv4 address: the kernel connects to that.
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address in _NAT64:
        return _is_public(ipaddress.IPv4Address(address.packed[-4:]))
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A host whose addresses have been resolved and checked."""

    host: str
    port: int
    addresses: tuple[str, ...]
    """Numeric, in the order in which to try them."""


@dataclass(frozen=True, kw_only=True)
class Dialer:
    """Opens TCP connections to addresses that the policy has checked."""

    policy: EgressPolicy

    def to_allowed_networks(self) -> Dialer:
        """Return a dialer for what is not encrypted: it goes only where the policy names the network."""
        return replace(self, policy=replace(self.policy, only_allowed=True))

    def connect(self, host: str, port: int, *, timeout_s: float) -> socket.socket:
        """Return a connected socket with TCP_NODELAY and keepalive set.

        Args:
            host: a name or a numeric address.
            port: 1 to 65535.
            timeout_s: seconds for everything together, name resolution included.

        Raises:
            TemporaryError: DNS_FAILURE, EGRESS_DENIED, CONNECTION_REFUSED or CONNECTION_TIMEOUT.
        """
        deadline = time.monotonic() + timeout_s
        endpoint = self.resolve(host, port, timeout_s=timeout_s)
        return self.connect_to(endpoint, timeout_s=deadline - time.monotonic())

    def resolve(self, host: str, port: int, *, timeout_s: float) -> Endpoint:
        """Resolve the host once and check every address it stands for.

        Raises:
            TemporaryError: DNS_FAILURE, EGRESS_DENIED when any of the addresses is not allowed, or CONNECTION_TIMEOUT
                when no time was left to begin with.
        """
        if timeout_s <= 0:
            raise TemporaryError(Code.CONNECTION_TIMEOUT, host=host, port=port, timeout_s=0)
        addresses = _look_up(host, port, timeout_s)
        if not addresses:
            raise TemporaryError(Code.DNS_FAILURE, host=host)
        for address in addresses:
            if not self.policy.admits(address):
                raise TemporaryError(Code.EGRESS_DENIED, host=host, address=address)
        return Endpoint(host=host, port=port, addresses=addresses)

    def connect_to(self, endpoint: Endpoint, *, timeout_s: float) -> socket.socket:
        """Connect to the first address that answers; each gets an even share of the time that is left.

        Raises:
            TemporaryError: CONNECTION_REFUSED or CONNECTION_TIMEOUT, as the last address failed.
        """
        deadline, code = time.monotonic() + timeout_s, Code.CONNECTION_TIMEOUT
        for tried, address in enumerate(endpoint.addresses):
            share = (deadline - time.monotonic()) / (len(endpoint.addresses) - tried)
            if share <= 0:
                break
            try:
                return _open(address, endpoint.port, share)
            except TimeoutError:
                code = Code.CONNECTION_TIMEOUT
            except OSError:  # refused, or no route: somebody on the way said no
                code = Code.CONNECTION_REFUSED
        raise TemporaryError(code, host=endpoint.host, port=endpoint.port, timeout_s=f"{max(timeout_s, 0):g}")


def _look_up(host: str, port: int, timeout_s: float) -> tuple[str, ...]:
    """Return the addresses of `host`; none when it is unknown or the resolver is slower than `timeout_s`."""
    answers: SimpleQueue[tuple[str, ...]] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):  # UnicodeError: not a name that IDNA can encode
            answers.put(())
        else:
            answers.put(tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found)))

    # getaddrinfo knows no time-out; a daemon thread that is left behind ends with the resolver's own.
    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except Empty:
        return ()


def _open(address: str, port: int, timeout_s: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(timeout_s)
        connection.connect((address, port))
    except BaseException:
        connection.close()
        raise
    return connection
