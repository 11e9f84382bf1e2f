"""Which addresses may be reached."""

from __future__ import annotations

import pytest

from connectors.network import EgressPolicy

PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]

NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "link-local": ["169.254.1.1", "fe80::1", "fe80::1%eth0", "febf::1"],
    "site-local": ["fec0::1"],
    "metadata": [
        "169.254.169.254",
        "169.254.170.2",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    ],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.1", "198.18.0.1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe"],
    "compatible": ["::127.0.0.1", "::10.0.0.1"],
    "translated": ["64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8", "64:ff9b:1::1"],
    "tunnelled": ["2002:7f00:1::1", "2002:a9fe:a9fe::", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "relays": ["192.88.99.1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_admitted(address: str) -> None:
    assert EgressPolicy().admits(address)


@pytest.mark.parametrize("address", [address for addresses in NOT_PUBLIC.values() for address in addresses])
def test_everything_else_is_not(address: str) -> None:
    assert not EgressPolicy().admits(address)


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.20.0.0/16", "10.20.3.4", "10.21.0.1"),
        ("127.0.0.1/32", "127.0.0.1", "127.0.0.2"),
        ("169.254.169.254", "169.254.169.254", "169.254.169.253"),
        ("fd00::/8", "fd12::1", "fc00::1"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:192.168.0.1"),
    ],
)
def test_a_listed_network_is_admitted_and_no_more(network: str, inside: str, outside: str) -> None:
    policy = EgressPolicy(allowed_networks=(network,))

    assert policy.admits(inside)
    assert not policy.admits(outside)


@pytest.mark.parametrize("address", ["64:ff9b::10.1.2.3", "2002:a01:203::1", "::10.1.2.3"])
def test_a_listed_network_does_not_admit_addresses_that_embed_it(address: str) -> None:
    assert not EgressPolicy(allowed_networks=("10.0.0.0/8",)).admits(address)


@pytest.mark.parametrize("network", ["10.0.0.1/8", "ten", "10.0.0.0/33", ""])
def test_a_malformed_network_is_refused_at_once(network: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        EgressPolicy(allowed_networks=(network,))
