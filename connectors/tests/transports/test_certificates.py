"""The last day of every kind of credential, as somebody else's tools wrote it down."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.tests.peers.https import Authority
from connectors.transports.certificates import ssh_certificate_expiry, token_expiry, x509_expiry

SOON = datetime(2027, 3, 1, 12, 30, 15, tzinfo=UTC)
LATER = SOON + timedelta(days=400)
FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class TestX509:
    def test_one_certificate(self, authority: Authority) -> None:
        assert x509_expiry(authority.issue("erp.test", until=SOON).chain) == SOON

    @pytest.mark.parametrize("order", [(SOON, LATER), (LATER, SOON)])
    def test_the_first_of_a_chain_to_expire(self, authority: Authority, order: tuple[datetime, datetime]) -> None:
        chain = "".join(authority.issue("erp.test", until=until).chain for until in order)

        assert x509_expiry(chain) == SOON

    def test_a_certificate_without_a_last_day(self, authority: Authority) -> None:
        assert x509_expiry(authority.issue("erp.test", until=FOREVER).chain) is None

    def test_the_private_key_in_the_same_text_is_passed_over(self, authority: Authority) -> None:
        issued = authority.issue("erp.test", until=SOON)

        assert x509_expiry(issued.private_key + issued.chain) == SOON

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "garbage",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----",
        ],
    )
    def test_anything_else(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^These are no PEM certificates\.$"):
            x509_expiry(text)

    def test_a_key_alone(self, authority: Authority) -> None:
        with pytest.raises(ValueError, match=r"^These are no PEM certificates\.$"):
            x509_expiry(authority.issue("erp.test").private_key)


class TestSsh:
    """Certificates signed by ssh-keygen itself."""

    @pytest.fixture(params=["ed25519", "ecdsa", "rsa"])
    def certificate(self, request: pytest.FixtureRequest, tmp_path: Path):
        def sign(*options: str) -> str:
            for name in ("authority", "user"):
                size = ("-b", "2048") if request.param == "rsa" else ()  # a larger one takes seconds to find
                run("ssh-keygen", "-q", "-t", request.param, *size, "-N", "", "-f", str(tmp_path / name))
            run("ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-I", "orders", "-n", "orders",
                *options, str(tmp_path / "user.pub"))  # fmt: skip
            return (tmp_path / "user-cert.pub").read_text()

        return sign

    def test_a_last_day(self, certificate) -> None:
        assert ssh_certificate_expiry(certificate("-V", "20260101000000Z:20270301123015Z")) == SOON

    def test_forever(self, certificate) -> None:
        assert ssh_certificate_expiry(certificate()) is None

    def test_a_plain_key_is_no_certificate(self, certificate, tmp_path: Path) -> None:
        certificate()

        with pytest.raises(ValueError, match=r"^This is no OpenSSH certificate\.$"):
            ssh_certificate_expiry((tmp_path / "user.pub").read_text())

    @pytest.mark.parametrize(
        "line", ["", "garbage", "ssh-ed25519-cert-v01@openssh.com AAAA", "ssh-dss-cert-v01@openssh.com AAAA", "é é"]
    )
    def test_anything_else(self, line: str) -> None:
        with pytest.raises(ValueError, match=r"^This is no OpenSSH certificate\.$"):
            ssh_certificate_expiry(line)


class TestTokens:
    def test_whole_seconds(self) -> None:
        assert token_expiry(token({"sub": "orders", "exp": 1803904215})) == SOON

    def test_a_fraction(self) -> None:
        assert token_expiry(token({"exp": 1803904215.5})) == SOON + timedelta(seconds=0.5)

    @pytest.mark.parametrize("claims", [{}, {"exp": None}, {"exp": 10**18}])
    def test_without_a_last_moment(self, claims: dict[str, object]) -> None:
        assert token_expiry(token(claims)) is None

    def test_an_unsigned_one(self) -> None:
        assert token_expiry(token({"exp": 1803904215}).rpartition(".")[0] + ".") == SOON

    @pytest.mark.parametrize("exp", ["1803904215", True, [], -1])
    def test_a_last_moment_that_is_no_number(self, exp: object) -> None:
        with pytest.raises(ValueError, match=r"^The token's last moment is no number of seconds\.$"):
            token_expiry(token({"exp": exp}))

    @pytest.mark.parametrize(
        "text",
        ["", "opaque-token", "a.b", "a.b.c.d.e", "a.!.c", "e30.W10.e30", "e30.A.e30", "e30.AAAA.e30", "e30..e30"],
    )
    def test_anything_else(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^This is no JSON Web Token\.$") as caught:
            token_expiry(text)
        assert text == "" or text not in str(caught.value)


def token(claims: dict[str, object]) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2lnbmF0dXJl"])


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
