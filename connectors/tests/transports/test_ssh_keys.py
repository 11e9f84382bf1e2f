"""Pins and private keys in every form in which people have them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from connectors.transports import ssh_keys
from connectors.transports.ssh_keys import HostKeyPin, UnusableKey, WrongPassphrase, load_private_key

ED25519_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl github.com"
ED25519_FINGERPRINT = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
"""Published by GitHub for its SSH service."""

Format = serialization.PrivateFormat

KEYS = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ecdsa-sha2-nistp256": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-nistp384": ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-sha2-nistp521": ec.generate_private_key(ec.SECP521R1()),
    "ssh-rsa": rsa.generate_private_key(65537, 2048),
}


def pem(key, form: Format, passphrase: str | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


class TestHostKeyPin:
    @pytest.mark.parametrize(
        "text", [ED25519_LINE, ED25519_LINE.rsplit(" ", 1)[0], f"  {ED25519_LINE}\n", ED25519_FINGERPRINT]
    )
    def test_reads_lines_and_fingerprints(self, text: str) -> None:
        assert HostKeyPin.parse(text).fingerprint == ED25519_FINGERPRINT

    def test_a_line_knows_its_type(self) -> None:
        assert HostKeyPin.parse(ED25519_LINE).key_types == ("ssh-ed25519",)
        assert "ssh-rsa" in HostKeyPin.parse(ED25519_FINGERPRINT).key_types

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ssh-ed25519",
            "ssh-ed25519 not/base64!",
            ED25519_LINE.replace("ssh-ed25519 ", "ssh-rsa "),
            "ssh-dss AAAAB3NzaC1kc3MAAAA=",
            "SHA256:tooshort",
            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
            "github.com " + ED25519_LINE,
        ],
    )
    def test_refuses_everything_else(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a public key"):
            HostKeyPin.parse(text)


class TestPrivateKey:
    @pytest.mark.parametrize("passphrase", [None, "pässphrase"])
    @pytest.mark.parametrize("form", ["OpenSSH", "PKCS8", "TraditionalOpenSSL"])
    @pytest.mark.parametrize("kind", KEYS)
    def test_every_type_in_every_format(self, kind: str, form: str, passphrase: str | None) -> None:
        if (kind, form) == ("ssh-ed25519", "TraditionalOpenSSL"):
            return  # there is no such format
        text = pem(KEYS[kind], getattr(Format, form), passphrase)

        key = load_private_key(text, passphrase)

        assert key.get_name() == kind
        assert key.can_sign()

    def test_survives_windows_line_ends_and_a_missing_last_one(self) -> None:
        text = pem(KEYS["ssh-ed25519"], Format.OpenSSH)

        for pasted in (text.replace("\n", "\r\n"), text.strip(), f"\n  {text}\n\n"):
            assert load_private_key(pasted, None).get_name() == "ssh-ed25519"

    def test_a_passphrase_that_is_not_needed_does_no_harm(self) -> None:
        assert load_private_key(pem(KEYS["ssh-rsa"], Format.PKCS8), "unneeded")

    @pytest.mark.parametrize("passphrase", [None, "", "wrong"])
    @pytest.mark.parametrize("form", ["OpenSSH", "PKCS8", "TraditionalOpenSSL"])
    def test_wrong_passphrase(self, form: str, passphrase: str | None) -> None:
        text = pem(KEYS["ecdsa-sha2-nistp256"], getattr(Format, form), "right")

        with pytest.raises(WrongPassphrase) as caught:
            load_private_key(text, passphrase)

        assert str(caught.value) == ""

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "hunter2",
            ED25519_LINE,
            pem(KEYS["ssh-ed25519"], Format.OpenSSH)[:200],
            pem(dsa.generate_private_key(2048), Format.PKCS8),
            pem(ec.generate_private_key(ec.SECP256K1()), Format.PKCS8),
            "PuTTY-User-Key-File-3: ssh-ed25519",
        ],
        ids=["empty", "password", "public", "cut", "dsa", "secp256k1", "putty"],
    )
    def test_unusable(self, text: str) -> None:
        with pytest.raises(UnusableKey) as caught:
            load_private_key(text, None)

        assert not isinstance(caught.value, WrongPassphrase)
        assert str(caught.value) == ""

    def test_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = pem(KEYS["ssh-rsa"], Format.OpenSSH, "kept")
        key = load_private_key(text, "kept")

        assert load_private_key(text, "kept") is key
        with pytest.raises(WrongPassphrase):
            load_private_key(text, "another")
        assert "kept" not in repr(ssh_keys._loaded.keys())
        monkeypatch.setattr(ssh_keys, "_MAX_LOADED", 2)
        for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256"):
            load_private_key(pem(KEYS[kind], Format.OpenSSH), None)
        assert load_private_key(text, "kept") is not key
        assert len(ssh_keys._loaded) == 2
