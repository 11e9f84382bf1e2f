"""A connector's configuration: one class that validates, describes itself, and knows what must stay secret.

A configuration is flat. Each field is of one of three kinds:

    secret       `Secret`: never shown, kept when an edit leaves it out
    inert        marked `INERT`: changes nothing about where a secret is sent (a time-out, a suffix)
    destination  all others: changing one drops every stored secret until it is entered again
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Final, NoReturn, Self, get_args

from pydantic import SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from connectors.exceptions import ConfigurationError, Fault, InvalidInput, SecretsRequired
from connectors.validation import StrictModel

# One character again and again, or a word in brackets or stars: what programs show in a secret's place.
_MASK: Final = re.compile(
    r"\s*(?:([*∗＊•●∙·.…x█■])\1{2,}"
    r"|[<\[({*_]*(?:hidden|redacted|masked|filtered|secret|sensitive(?: value)?|unchanged)[>\])}*_]*)\s*",
    re.IGNORECASE,
)


class _Inert:
    def __repr__(self) -> str:
        return "INERT"


INERT: Final = _Inert()
"""Marks a field that does not decide where a secret is sent: `timeout_s: Annotated[int, INERT] = 10`."""


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """The day on which one credential stops working."""

    field: str
    """The field of the configuration that holds it."""
    kind: str
    """What it is, in words for people, such as "SSH certificate"."""
    expires_at: datetime


class Secret(SecretStr):
    """A text that is never printed, pickled or sent back."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class _Schema(GenerateJsonSchema):
    schema_dialect = "https://json-schema.org/draft/2020-12/schema"


class ConnectorConfig(StrictModel):
    """The base of every connector's configuration."""

    error_class: ClassVar[type[InvalidInput]] = ConfigurationError

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_masks(cls, value: object, info: Any) -> object:
        # A form or client that sends back the dots it was shown would overwrite the real secret with them.
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if info.field_name in cls.secret_fields() and isinstance(text, str) and _MASK.fullmatch(text):
            raise PydanticCustomError("masked", "is a placeholder; leave the field out to keep the stored secret")
        return value

    # Hooks: a subclass says more where there is more to say.

    def endpoint(self) -> str:
        """Return whom this configuration talks to, such as `host:port`; tests are rationed for each."""
        return ""

    def expiries(self) -> Iterable[Expiry]:
        """Return the credentials whose last day can be read from them, such as certificates."""
        return ()

    # Subclasses should not need to override.

    @classmethod
    @cache
    def secret_fields(cls) -> tuple[str, ...]:
        """Return the names of the fields that hold secrets."""
        return tuple(name for name, field in cls.model_fields.items() if _is_secret(field))

    @classmethod
    def destination_fields(cls) -> tuple[str, ...]:
        """Return the names of the fields that decide where secrets are sent."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if not _is_secret(field) and not any(isinstance(mark, _Inert) for mark in field.metadata)
        )

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema (2020-12); secrets are `writeOnly`, destination fields `x-destination`."""
        schema = cls.model_json_schema(schema_generator=_Schema)
        for name in cls.secret_fields():
            schema["properties"][name]["writeOnly"] = True
        for name in cls.destination_fields():
            schema["properties"][name]["x-destination"] = True
        return {"$schema": _Schema.schema_dialect, **schema}

    def leads_elsewhere(self, stored: Mapping[str, Any]) -> bool:
        """Return whether secrets would be sent to another destination than with a stored configuration.

        A field that did not exist when that was stored has had its default ever since.
        """
        now = self.reveal()
        return any(
            now[name] != (stored[name] if name in stored else self._default(name)) for name in self.destination_fields()
        )

    def _default(self, name: str) -> Any:
        field = type(self).model_fields[name]
        return None if field.is_required() else field.get_default(call_default_factory=True)

    def reveal(self) -> dict[str, Any]:
        """Return everything, secrets in clear: what is sealed into the envelope, and nothing else."""
        plain = self.model_dump(mode="json", exclude=set(self.secret_fields()))
        return plain | {
            name: secret.get_secret_value() if (secret := getattr(self, name)) is not None else None
            for name in self.secret_fields()
        }

    def public(self) -> dict[str, Any]:
        """Return everything but the secrets, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.secret_fields()))


def edit(config_class: type[ConnectorConfig], stored: Mapping[str, Any], patch: Mapping[str, Any]) -> ConnectorConfig:
    """Return the configuration that an edit leads to.

    A field that is left out keeps its value, null clears it. When a destination field changes, the stored secrets are
    dropped: each has to be entered again, or cleared, in the same edit.

    Args:
        config_class: the connector's configuration class.
        stored: the present configuration in clear; empty when there is none, or it cannot be read.
        patch: the fields to change.

    Raises:
        ConfigurationError: the result is not valid.
        SecretsRequired: the destination changes and a stored secret was not entered again.
    """
    known = {name: value for name, value in stored.items() if name in config_class.model_fields}
    merged = {name: value for name, value in {**known, **patch}.items() if value is not None}
    kept = [name for name in config_class.secret_fields() if known.get(name) and name not in patch]
    try:
        edited = config_class.parse(merged)
    except ConfigurationError:
        # What is wrong may be just that a stored secret has no place at the new destination.
        if kept and (dropped := _parsed_without(config_class, merged, kept)) and dropped.leads_elsewhere(known):
            raise _required(kept) from None
        raise
    if kept and edited.leads_elsewhere(known):
        raise _required(kept)
    return edited


def _parsed_without(
    config_class: type[ConnectorConfig], values: Mapping[str, Any], names: Iterable[str]
) -> ConnectorConfig | None:
    with suppress(ConfigurationError):
        return config_class.parse({name: value for name, value in values.items() if name not in names})
    return None


def _required(names: Iterable[str]) -> SecretsRequired:
    message = "enter it again: the destination changed"
    return SecretsRequired(Fault(path=name, message=message, code="secret_required") for name in names)


def _is_secret(field: FieldInfo) -> bool:
    kinds = (field.annotation, *get_args(field.annotation))
    return any(isinstance(kind, type) and issubclass(kind, SecretStr) for kind in kinds)
