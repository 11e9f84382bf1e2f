"""Reads settings from the environment and refuses, by name, what it cannot use.

A setting NAME comes from the process environment, else from `.env`; in both, NAME_FILE may name a file that holds the
value instead. Empty means not set. No refusal repeats a value: it is going to be printed and logged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

from erpconfig.paths import ENV_FILE

T = TypeVar("T")

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


class SecretText(str):
    """A string that does not show itself in `repr`, hence neither in `diffsettings` nor among a traceback's locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


class Refused(ValueError):
    """Why a value cannot be used, told without the value."""


class Environment:
    """The settings of one process."""

    def __init__(self, *sources: Mapping[str, str]) -> None:
        """Look a name up in `sources`, the first one that has it wins."""
        self._sources = sources

    def text(self, name: str, *, default: str | None = None, remedy: str = "") -> str:
        """Return the value as it stands.

        Raises:
            ImproperlyConfigured: it is not set and there is no default.
        """
        return self.parsed(name, str, default=default, remedy=remedy)

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return True or False; a misspelt word is refused rather than taken for False."""

        def parse(text: str) -> bool:
            if text.lower() not in _TRUE | _FALSE:
                raise Refused("is neither true nor false")
            return text.lower() in _TRUE

        return self.parsed(name, parse, default=default, remedy=f"Set {name}=true or {name}=false.")

    def integer(self, name: str, *, default: int, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""

        def parse(text: str) -> int:
            if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
                raise Refused(f"is not a whole number from {low} to {high}")
            return int(text)

        return self.parsed(name, parse, default=default, remedy=f"Set for example {name}={default}.")

    def choice(self, name: str, options: tuple[str, ...], *, default: str) -> str:
        """Return one of `options`, in whatever case it was written."""
        by_folded = {option.lower(): option for option in options}

        def parse(text: str) -> str:
            if text.lower() not in by_folded:
                raise Refused("is not a word known here")
            return by_folded[text.lower()]

        return self.parsed(name, parse, default=default, remedy=f"Set one of {', '.join(options)}.")

    def parsed(self, name: str, parse: Callable[[str], T], *, default: T | None = None, remedy: str = "") -> T:
        """Return what `parse` makes of the value.

        Args:
            name: of the setting.
            parse: raises Refused with a reason that does not contain the value.
            default: when it is not set; None makes it required.
            remedy: what to do, as a sentence.

        Raises:
            ImproperlyConfigured: with the name, the reason and the remedy.
        """
        try:
            text = self._lookup(name)
            if text:
                return parse(text)
            reason = "is not set"
        except Refused as refusal:
            text, reason = "", str(refusal)
        else:
            if default is not None:
                return default
        # Raised out here because the handler's exception would keep the value in reach through __context__.
        raise ImproperlyConfigured(f"{name} {reason.rstrip('.')}. {remedy}".rstrip())

    def _lookup(self, name: str) -> str:
        for source in self._sources:
            named, in_file = source.get(name), source.get(f"{name}_FILE")
            if named and in_file:
                raise Refused(f"is set twice, directly and through {name}_FILE")
            if in_file:
                return _content(in_file, f"{name}_FILE")
            if named is not None:
                return named
        return ""


def _content(path: str, name: str) -> str:
    try:
        # A file written by an editor or by `echo` ends with a line break that is not part of the value.
        return Path(path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        pass
    raise Refused(f"cannot be read from the file that {name} names")


def of_process() -> Environment:
    """Return the settings of this process: its environment, completed from `.env`.

    Raises:
        ImproperlyConfigured: there is a `.env` that cannot be read.
    """
    return Environment(os.environ, _dot_env(Path(os.environ.get("ENV_FILE", ENV_FILE))))


def _dot_env(file: Path) -> dict[str, str]:
    class DotEnv(environ.Env):
        # A dict of its own: what `.env` holds must not leak into the environment of child processes.
        ENVIRON: ClassVar[dict[str, str]] = {}

    if file.is_file():
        try:
            with file.open(encoding="utf-8") as lines:
                DotEnv.read_env(lines)
        except (OSError, UnicodeDecodeError):
            raise ImproperlyConfigured(f"{file} cannot be read. Make it UTF-8 text, readable for this user.") from None
    return DotEnv.ENVIRON
