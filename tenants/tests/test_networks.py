"""Where a request may come from."""

import pytest

from tenants.networks import are_within, is_within, parse


@pytest.mark.parametrize(
    ("address", "network", "expected"),
    [
        ("10.20.3.4", "10.20.0.0/16", True),
        ("10.21.0.1", "10.20.0.0/16", False),
        ("::ffff:10.20.3.4", "10.20.0.0/16", True),
        ("10.20.3.4", "::ffff:10.20.0.0/112", True),
        ("2001:db8::7", "2001:db8::/32", True),
        ("2001:db9::7", "2001:db8::/32", False),
        ("10.20.3.4", "::/0", False),
        ("::ffff:10.20.3.4", "::/0", False),
        ("2001:db8::7", "0.0.0.0/0", False),
        ("10.20.3.4", "10.20.3.4", True),
        ("", "0.0.0.0/0", False),
        (None, "0.0.0.0/0", False),
        ("unix:", "0.0.0.0/0", False),
    ],
)
def test_an_address_lies_in_a_network_of_its_own_kind(address, network, expected):
    assert is_within(address, [network]) is expected


def test_networks_lie_within_networks():
    assert are_within(["10.20.0.0/24", "2001:db8:1::/48"], ["2001:db8::/32", "10.20.0.0/16"])
    assert are_within(["::ffff:10.20.0.0/120"], ["10.20.0.0/16"])
    assert not are_within(["10.0.0.0/8"], ["10.20.0.0/16"])
    assert not are_within(["10.20.0.0/24", "10.21.0.0/24"], ["10.20.0.0/16"])
    assert not are_within(["0.0.0.0/0"], ["::/0"])


@pytest.mark.parametrize("text", ["", "10.20.0.1/16", "10.20.0.0/33", "example.com", "::ffff:10.20.0.1/112"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)
