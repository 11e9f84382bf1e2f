"""Signatures of OAuth 1.0a, compared with those of oauthlib."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from oauthlib.oauth1 import Client
from oauthlib.oauth1.rfc5849 import signature as independent

from connectors.testing.fakes import FakeClock, context
from connectors.transports.http_oauth1 import OAuth1, base_string

SECRETS = {"client_secret": "c&s%=+/ü", "token_secret": "t~s é"}
URLS = [
    "https://erp.test",
    "https://ERP.test:443/a/b",
    "https://erp.test:8443/services/rest/record/v1/salesOrder/eid:1-a?fields=tranId%2Cstatus",
    "http://[::1]:80/x?b=2&a=1&a=0&empty=&=nameless",
    "https://erp.test/a%20b?q=O%27Neill+%26+S%C3%B6hne%2F%7E&limit=1000&a%5B%5D=%25",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_signed(method: str, url: str) -> None:
    parameters = {"oauth_nonce": "7d8f3e4a", "oauth_token": "kkk9d7dh3k39sjv7 &"}
    query = url.partition("?")[2]
    asked = [*independent.collect_parameters(uri_query=query), *parameters.items()]
    normalised = independent.normalize_parameters(asked)

    expected = independent.signature_base_string(method, independent.base_string_uri(url), normalised)

    assert base_string(method, url, parameters) == expected


@pytest.mark.parametrize("url", URLS)
def test_the_signature(url: str) -> None:
    signer = OAuth1(client="shop", token="t0k3n", realm="1234567_SB1", **SECRETS)
    header = signer.signature("GET", url, context(clock=FakeClock()))["Authorization"]

    sent = {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', header)}
    theirs = Client(
        "shop",
        client_secret=SECRETS["client_secret"],
        resource_owner_key="t0k3n",
        resource_owner_secret=SECRETS["token_secret"],
        signature_method="HMAC-SHA256",
        nonce=sent["oauth_nonce"],
        timestamp=sent["oauth_timestamp"],
        realm="1234567_SB1",
    )
    _, signed, _ = theirs.sign(url)

    assert sorted(header.split(", ")) == sorted(signed["Authorization"].split(", "))
    assert sent["oauth_timestamp"] == "1766743200"
    assert header != signer.signature("GET", url, context(clock=FakeClock()))["Authorization"]


def test_nothing_shows_a_secret() -> None:
    signer = OAuth1(client="shop", token="t0k3n", realm="A", client_secret="s3cret", token_secret="s3cret")

    assert "s3cret" not in f"{signer!r} {signer.signature('GET', 'https://erp.test', context())}"
