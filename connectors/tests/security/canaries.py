"""Secrets that can be recognised wherever they come out, and however they were written down there.

A canary's cores are runs of letters and digits that occur nowhere else. Escaping leaves such a run alone, Base64, hex
and the like turn it into something just as unique, so a core that cannot be found proves more than a whole secret that
cannot be found: it covers every way of escaping, and half a secret.
"""

from __future__ import annotations

import re
import secrets
import string
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

import asyncssh

_CORE = 12
_ALPHABET = string.ascii_letters + string.digits
_FAST = {"rounds": 50}  # opening a key is slow on purpose
_AWKWARD = "\"'<&>\\ %+/=é€{}$"
"""What HTML, JSON, URLs, shells, templates and character sets each treat in a way of their own."""


@dataclass(frozen=True)
class Canary:
    """One planted secret."""

    name: str
    value: str = field(repr=False)
    cores: tuple[str, ...] = field(repr=False)

    def encodings_in(self, text: bytes) -> Iterator[str]:
        """Yield in which ways this secret stands in a text, whole or in part."""
        unbroken = re.sub(rb"\s|\\r|\\n", b"", text)
        plain = unquote_to_bytes(unbroken.replace(b"+", b" "))
        lower = unbroken.lower()
        for core in self.cores:
            raw = core.encode()
            if raw in unbroken or raw in plain:
                yield "plain"
            if raw.hex().encode() in lower:
                yield "hex"
            for wide in ("utf-16-le", "utf-16-be"):
                if core.encode(wide) in text:
                    yield wide
            for offset in range(3):
                inner = _base64_inside(raw, offset)
                if any(form in unbroken or form in plain for form in (inner, inner.translate(_URL_SAFE))):
                    yield f"Base64 at offset {offset}"


class Canaries:
    """Everything that was planted in one test."""

    def __init__(self) -> None:
        self.planted: list[Canary] = []

    def plant(self, name: str) -> str:
        """Return a new secret with awkward characters before, between and after its cores."""
        cores = tuple("".join(secrets.choice(_ALPHABET) for _ in range(_CORE)) for _ in range(2))
        return self._remember(name, f"{_AWKWARD}{cores[0]}{_AWKWARD}{cores[1]}{_AWKWARD}", cores)

    def plant_key(self, name: str, *, passphrase: str | None = None) -> str:
        """Return a new private key of several lines; what only the secret half of it has are its cores."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        pem = key.export_private_key(passphrase=passphrase, **(_FAST if passphrase else {})).decode()
        body = "".join(pem.splitlines()[1:-1])
        runs = re.findall(f"[A-Za-z0-9]{{{_CORE}}}", body[len(body) // 2 :])
        return self._remember(name, pem, tuple(runs))

    def plant_token(self, name: str) -> str:
        """Return a new secret that may stand in a header as it is."""
        cores = tuple("".join(secrets.choice(_ALPHABET) for _ in range(_CORE)) for _ in range(2))
        return self._remember(name, f"-{cores[0]}._~{cores[1]}+/==", cores)

    def plant_pem(self, name: str, pem: str) -> str:
        """Remember a private key in PEM by what only it has."""
        return self._remember(name, pem, tuple(re.findall(f"[A-Za-z0-9]{{{_CORE}}}", pem[len(pem) // 2 :])))

    def leaks(self, text: object) -> list[str]:
        """Return which secrets stand in a text and how, each with what surrounds the first one."""
        content = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
        return sorted({f"{each.name} ({how})" for each in self.planted for how in each.encodings_in(content)})

    def where(self, text: object) -> str:
        """Return what stands around the first plain leak, for the message of a test that failed."""
        content = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        cores = "|".join(core for each in self.planted for core in each.cores)
        found = re.search(cores, content)
        return content[max(0, found.start() - 300) : found.end() + 60] if found else content[:300]

    def _remember(self, name: str, value: str, cores: tuple[str, ...]) -> str:
        assert cores, "there is nothing to recognise this secret by"
        self.planted.append(Canary(name, value, cores))
        return value


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _base64_inside(raw: bytes, offset: int) -> bytes:
    """Return the characters of Base64 that `raw` decides alone when it begins `offset` bytes into a group of three."""
    begin = (0, 2, 3)[offset]
    return b64encode(b"\0" * offset + raw)[begin : (offset + len(raw)) * 8 // 6]
