"""The errors of the port. The class says what happens next, the code says why.

    ConnectorError                     an export or a test failed
     ├─ TemporaryError                 nothing arrived          -> PENDING, again with backoff
     │   └─ RateLimited                … and when to come back  -> PENDING, not before retry_after
     ├─ OutcomeUnknown                 it may have arrived      -> look up first, else UNCONFIRMED
     ├─ AuthenticationFailed           we may not log in        -> PENDING, the connection is paused
     ├─ RejectedByERP                  they said no             -> REJECTED
     ├─ DocumentError                  we cannot say it         -> FAILED
     └─ UnsupportedFeature             we cannot say this part  -> FAILED
    InvalidInput                       what we were given is not valid, field by field
     ├─ InvalidOrder                   … the order
     └─ ConfigurationError             … the configuration
         └─ SecretsRequired            the destination changed: enter the secrets again
    UnknownConnector                   no adapter of this name
    EncryptionError                    a stored config cannot be opened
     ├─ Malformed                      not an envelope at all
     ├─ UnknownFormat                  an envelope of another version
     ├─ UnknownKey                     its master key is not in the key ring
     └─ Tampered                       altered, or moved from another row

The others stand beside ConnectorError so that no retry loop can swallow them. A class's docstring is its default
message. No error carries a secret, a foreign exception's text or plaintext, neither in `str` nor in `repr`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from connectors.codes import Code, describe

_NOT_SHOWN: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_MAX_SAID_CODE: Final = 64
_MAX_SAID: Final = 500


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the far end itself gave as its reason: on one line, bounded, and always shown as its words, not as ours."""

    code: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        """Make both fit to be stored and shown."""
        for name, limit in (("code", _MAX_SAID_CODE), ("message", _MAX_SAID)):
            text = _NOT_SHOWN.sub(" ", getattr(self, name) or "").strip()
            object.__setattr__(self, name, text[:limit].strip() or None)

    def __bool__(self) -> bool:
        return bool(self.code or self.message)


class ConnectorError(Exception):
    """The connector failed."""

    default_code: ClassVar[Code] = Code.REMOTE_ERROR

    def __init__(self, code: Code | None = None, *, said: Said | None = None, **params: Any) -> None:
        """Describe one failure.

        Args:
            code: why; each class has a default.
            said: the far end's own reason, where it gave one.
            params: safe values for the catalogue's text (host, port, path); never a secret.
        """
        self.code = code or self.default_code
        self.said = said or None
        self.params = params
        text = describe(self.code, **params)
        self.message = text.message
        self.hint = text.hint
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.code, self.said, self.params))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code})"


def _rebuild(cls: type[ConnectorError], code: Code, said: Said | None, params: dict[str, Any]) -> ConnectorError:
    return cls(code, said=said, **params)


class TemporaryError(ConnectorError):
    """Nothing arrived; it is safe to send again."""


class RateLimited(TemporaryError):
    """The far end asks us to slow down."""

    default_code = Code.RATE_LIMITED

    def __init__(self, code: Code | None = None, *, retry_after: float | None = None, **params: Any) -> None:
        """Describe the limit.

        Args:
            code: why, RATE_LIMITED by default.
            retry_after: seconds to wait at least, as the far end said (RFC 9110, section 10.2.3).
            params: safe values for the catalogue's text.
        """
        self.retry_after = retry_after
        super().__init__(code, retry_after=retry_after, **params)


class OutcomeUnknown(ConnectorError):
    """The order may have arrived; look it up before sending again."""

    default_code = Code.OUTCOME_UNKNOWN


class AuthenticationFailed(ConnectorError):
    """The far end refused our credentials; no attempt may follow until they change."""

    default_code = Code.AUTHENTICATION_FAILED


class RejectedByERP(ConnectorError):
    """The far end said no, and will say no again."""

    default_code = Code.REJECTED_BY_ERP


class DocumentError(ConnectorError):
    """The order cannot be written in this format."""

    default_code = Code.DOCUMENT_INVALID


class UnsupportedFeature(ConnectorError):
    """The order asks for something that this connector cannot express."""

    default_code = Code.UNSUPPORTED_FEATURE


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong with an input: where, what, and a code for machines."""

    path: str
    message: str
    code: str = "invalid"


class InvalidInput(Exception):
    """The input is not valid."""

    def __init__(self, faults: Iterable[Fault] | str = ()) -> None:
        """List what is wrong.

        Args:
            faults: one per field, or a single sentence that concerns the whole.
        """
        self.faults = (Fault(path="", message=faults),) if isinstance(faults, str) else tuple(faults)
        listed = "; ".join(f"{fault.path}: {fault.message}" if fault.path else fault.message for fault in self.faults)
        super().__init__(listed or self.__doc__)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.faults,))


class InvalidOrder(InvalidInput):
    """The order is not valid."""


class ConfigurationError(InvalidInput):
    """The configuration is not valid."""

    code: ClassVar[Code] = Code.CONFIGURATION_INVALID


class SecretsRequired(ConfigurationError):
    """The destination changed, so every stored secret has to be entered again."""

    code: ClassVar[Code] = Code.SECRETS_REQUIRED


class UnknownConnector(Exception):
    """There is no connector of this type."""

    code: ClassVar[Code] = Code.UNKNOWN_CONNECTOR

    def __init__(self, connector_type: str, known: Iterable[str] = ()) -> None:
        """Name the missing type and what exists instead."""
        self.connector_type = connector_type
        self.known = tuple(known)
        text = describe(self.code, connector_type=connector_type, known=", ".join(self.known) or "none is installed")
        self.message, self.hint = text.message, text.hint
        super().__init__(f"{text.message} {text.hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.connector_type, self.known))


class EncryptionError(Exception):
    """The stored configuration cannot be opened."""

    code: ClassVar[Code] = Code.UNREADABLE_CONFIG

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class Malformed(EncryptionError):
    """These bytes are not an envelope."""


class UnknownFormat(EncryptionError):
    """The envelope was written by another version of this software."""


class UnknownKey(EncryptionError):
    """The envelope was sealed with a master key that is not configured here."""

    def __init__(self, key_id: bytes) -> None:
        """Name the missing key by its public id, which is derived from it one way."""
        self.key_id = key_id
        super().__init__(
            f"The master key with the id {key_id.hex()[:16]}… is not configured; "
            "put it in ENCRYPTION_MASTER_KEY or ENCRYPTION_PREVIOUS_KEYS."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.key_id,))


class Tampered(EncryptionError):
    """The envelope was altered, or belongs to another row."""
