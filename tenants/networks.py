"""Where a request comes from, and the networks it may come from."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as IPv6 writes them (RFC 4291, section 2.5.5.2)."""


def parse(text: str) -> IPv4Network | IPv6Network:
    """Return a network in CIDR notation; one of IPv4-mapped addresses is the IPv4 network that it means.

    Raises:
        ValueError: it is none, or has bits set beyond its prefix.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def is_within(address: str | None, networks: Iterable[str]) -> bool:
    """Return whether an address lies in one of the networks; one that cannot be read lies nowhere."""
    try:
        place: IPv4Address | IPv6Address = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(place, IPv6Address) and place.ipv4_mapped:
        place = place.ipv4_mapped
    return any(place in parse(network) for network in networks)


def are_within(inner: Iterable[str], outer: Iterable[str]) -> bool:
    """Return whether each network of `inner` lies in one network of `outer`."""
    around = [parse(network) for network in outer]
    return all(any(_is_subnet(parse(network), each) for each in around) for network in inner)


def _is_subnet(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)
