"""The detector finds what leaks, in whatever way it was written down, and nothing else."""

from __future__ import annotations

import base64
import html
import json
import pickle
from urllib.parse import quote, quote_plus

import pytest

from connectors.tests.security.canaries import Canaries

SURROUNDED = {
    f"{name}, {size} bytes in": (lambda secret, encode=encode, size=size: encode(b"x" * size + secret.encode() + b"y"))
    for name, encode in {
        "Base64": base64.b64encode,
        "URL-safe Base64": base64.urlsafe_b64encode,
        "Base64 in lines": base64.encodebytes,
        "hex": lambda content: content.hex(),
        "hex in capitals": lambda content: content.hex().upper(),
    }.items()
    for size in range(3)
}
WRITTEN = SURROUNDED | {
    "as it is": lambda secret: f"before{secret}after",
    "bytes": lambda secret: secret.encode(),
    "repr": repr,
    "repr of bytes": lambda secret: repr(secret.encode()),
    "JSON": lambda secret: json.dumps({"password": secret}),
    "JSON in JSON": lambda secret: json.dumps(json.dumps({"password": secret})),
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "HTML": html.escape,
    "a URL": lambda secret: f"https://user:{quote(secret, safe='')}@host/",
    "a path": quote,
    "a form": quote_plus,
    "every character of a URL escaped": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "Base64 in a URL": lambda secret: quote(base64.b64encode(secret.encode())),
    "Base64 in JSON": lambda secret: json.dumps(base64.encodebytes(secret.encode()).decode()),
    "pickle": pickle.dumps,
    "UTF-16": lambda secret: secret.encode("utf-16"),
    "the first half": lambda secret: secret[: len(secret) // 2 + 4],
    "the second half": lambda secret: secret[len(secret) // 2 - 4 :],
}


@pytest.fixture
def canaries():
    return Canaries()


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN.keys())
class TestFinds:
    def test_a_password(self, canaries, write):
        assert canaries.leaks(write(canaries.plant("password")))

    def test_a_private_key(self, canaries, write):
        secret = canaries.plant_key("private_key", passphrase="opens it")

        written = write(secret)

        # The first half of a key in OpenSSH's format says what it is, and its public half: that is no secret.
        assert canaries.leaks(written) or written == secret[: len(secret) // 2 + 4]


def test_a_line_of_a_key_is_enough(canaries):
    lines = canaries.plant_key("private_key").splitlines()

    assert canaries.leaks(lines[-3])
    assert not canaries.leaks(lines[0])


def test_what_does_not_leak_is_not_found(canaries):
    canaries.plant("password")
    canaries.plant_key("private_key")

    assert not canaries.leaks(json.dumps({"password": {"set": True}, "note": "********", "key": "-----BEGIN"}))
    assert not canaries.leaks(base64.b64encode(bytes(range(256)) * 99))
    assert not canaries.leaks(Canaries().plant("password"))


def test_each_leak_has_the_name_of_its_secret(canaries):
    canaries.plant("password")
    passphrase = canaries.plant("passphrase")

    assert canaries.leaks(passphrase) == ["passphrase (plain)"]
