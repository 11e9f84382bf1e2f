"""Access tokens of OAuth 2: asked for with a secret or a signed assertion, kept until shortly before they expire.

A token belongs to one configuration, secrets included: whoever changes any of it gets a token of its own. Of many
threads that need one, a single one asks. The address of the tokens is reached like that of the ERP: by the dialer,
under the same policy, with the same certificates.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import threading
from base64 import b64encode, urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote, urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed, ConnectorError, Fault, TemporaryError
from connectors.port import Context, StepRecorder
from connectors.transports.http import open_session
from connectors.transports.http_answers import Answer, Unusable
from connectors.transports.http_authoriser import Authoriser
from connectors.transports.http_errors import Meaning, judge, rule

if TYPE_CHECKING:
    from connectors.transports.http_auth import HttpConfig

DEFAULT_LIFETIME_S: Final = 300.0
"""Of a token that does not say when it expires."""
MAX_LIFETIME_S: Final = 86_400.0
ASSERTION_LIFETIME_S: Final = 300
"""Servers allow an hour at most; a clock that is a little off has to fit in as well."""

_SKEW_S: Final = 60.0
_SKEW_SHARE: Final = 0.1
_MAX_KEPT: Final = 1000
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16000}", re.ASCII)
_REASONS: Final = {
    "invalid_client": "it does not know the client, or its secret or key is wrong",
    "invalid_grant": "it does not accept the assertion",
    "invalid_scope": "it does not know the scope, or does not allow it",
    "invalid_request": "it does not understand the request",
    "unauthorized_client": "the client may not use client credentials",
    "unsupported_grant_type": "it does not offer client credentials",
    "access_denied": "access is denied",
}
"""The errors of RFC 6749, section 5.2, as the end of a sentence."""

_LEFT_TO_US: Final = (rule((400, 401, 403, 404, 405, 410, 415, 422), Meaning.NOT_FOUND),)


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is sent, and for how long."""

    value: str = field(repr=False)
    expires: float
    """In seconds of the monotonic clock, with something taken off."""


class _Place:
    """Where the token of one configuration is kept."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token: Token | None = None


class _Store:
    """The tokens of this process; those that were not used for the longest time are forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: OrderedDict[bytes, _Place] = OrderedDict()
        self._salt = secrets.token_bytes(32)

    def place_of(self, config: HttpConfig) -> _Place:
        plain = json.dumps(config.reveal(), sort_keys=True, default=str)
        name = hmac.digest(self._salt, plain.encode(), hashlib.sha256)
        with self._lock:
            place = self._places.setdefault(name, _Place())
            self._places.move_to_end(name)
            while len(self._places) > _MAX_KEPT:
                self._places.popitem(last=False)
        return place


_STORE: Final = _Store()


class Tokens(Authoriser):
    """Sends an access token with each request."""

    scheme: ClassVar[str] = "Bearer"

    def __init__(self, config: HttpConfig) -> None:
        self._config = config
        self._place = _STORE.place_of(config)
        self._sent: str | None = None

    def headers(self, context: Context) -> dict[str, str]:
        """Return the header with a token that is valid for a while yet."""
        self._sent = self._token(context, refused=None)
        return {"Authorization": f"{self.scheme} {self._sent}"}

    def renew(self, context: Context) -> bool:
        """Forget the token that was refused, and get another one unless somebody did meanwhile."""
        self._token(context, refused=self._sent)
        return True

    def fetch(self, context: Context) -> Token:
        """Ask for a token. A hook for an ERP that gives them out in a way of its own."""
        return fetch(self._config, context)

    def _token(self, context: Context, *, refused: str | None) -> str:
        place = self._place
        if not place.lock.acquire(timeout=context.remaining_s):
            raise TemporaryError(Code.CONNECTION_TIMEOUT, timeout_s=f"{context.remaining_s:g}")
        try:
            token = place.token
            if token is None or token.value == refused or token.expires <= context.clock.monotonic():
                place.token = None
                place.token = token = self.fetch(context)
            return token.value
        finally:
            place.lock.release()


def fetch(config: HttpConfig, context: Context) -> Token:
    """Ask for a token.

    Raises:
        AuthenticationFailed: TOKEN_REFUSED; the client, its secret or key, or the scope is wrong.
        TemporaryError: the address of the tokens cannot be reached or used; nothing was sent to the ERP.
    """
    form, headers = _request(config, context)
    # The steps of a test are those of the ERP.
    aside = replace(context, steps=StepRecorder(context.clock))
    with open_session(config.target(config.token_address()), aside) as session:
        answer = session.request(
            "POST",
            "",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers},
            content=urlencode(form).encode(),
            safe=True,
        )
    if judge(answer, _LEFT_TO_US, hidden=config.hidden()) is not Meaning.SUCCESS:
        raise _refusal(answer, config)
    return _read(answer, config, context)


def _request(config: HttpConfig, context: Context) -> tuple[dict[str, str], dict[str, str]]:
    """Return the form and the headers of a request for a token."""
    form, headers = {"grant_type": "client_credentials"}, {}
    client_id = str(getattr(config, "client_id", None) or "")
    scope_is_signed = config.auth_kind == "jwt" and getattr(config, "scope_in_assertion", False)
    for name in ("scope", "audience"):
        if (value := getattr(config, name, None)) and not (name == "scope" and scope_is_signed):
            form[name] = value
    if config.auth_kind == "jwt":
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form["client_assertion"] = assertion(config, context)
    elif getattr(config, "client_secret_in", "header") == "header":
        # Each is encoded as in a form before they are joined (RFC 6749, section 2.3.1).
        pair = f"{quote(client_id, safe='')}:{quote(_secret(config, 'client_secret'), safe='')}".encode()
        headers["Authorization"] = f"Basic {b64encode(pair).decode('ascii')}"
    else:
        form |= {"client_id": client_id, "client_secret": _secret(config, "client_secret")}
    return form, headers


def _read(answer: Answer, config: HttpConfig, context: Context) -> Token:
    body = answer.json()
    value = body.get("access_token") if isinstance(body, dict) else None
    if value is None and isinstance(body, dict) and "error" in body:
        raise _refusal(answer, config)  # some answer 200 to everything
    kind = body.get("token_type", "Bearer") if isinstance(body, dict) else None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or str(kind).lower() != "bearer":
        raise answer.unusable(Unusable.NO_TOKEN)
    lifetime = _seconds(body.get("expires_in"))
    skew = min(_SKEW_S, lifetime * _SKEW_SHARE)
    return Token(value=value, expires=context.clock.monotonic() + lifetime - skew)


def _seconds(value: Any) -> float:
    """Return the lifetime of a token; some write the number as text."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value <= 0:
        return DEFAULT_LIFETIME_S
    return min(float(value), MAX_LIFETIME_S)


def _refusal(answer: Answer, config: HttpConfig) -> ConnectorError:
    """Return the error for an address of tokens that gives us none; only what the standard knows is repeated."""
    try:
        body = answer.json()
    except ConnectorError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    if error == "temporarily_unavailable":
        return TemporaryError(Code.REMOTE_ERROR, during=" (it gives no tokens at the moment)")
    reason = _REASONS.get(error) if isinstance(error, str) else None
    return AuthenticationFailed(
        Code.TOKEN_REFUSED,
        host=answer.host,
        username=getattr(config, "client_id", None) or "this client",
        reason=reason or f"it answers with HTTP {answer.status}",
    )


# Signed assertions

_HASHES: Final = {"256": SHA256(), "384": SHA384(), "512": SHA512()}
"""By the end of an algorithm's name (RFC 7518, section 3.1)."""
_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}


def assertion(config: HttpConfig, context: Context) -> str:
    """Return a JSON Web Token that says who we are, signed with our private key (RFC 7523, section 3)."""
    now = int(context.clock.now().timestamp())
    client_id = str(getattr(config, "client_id", None) or "")
    algorithm = getattr(config, "assertion_algorithm", "PS256")
    header: dict[str, Any] = {"alg": algorithm, "typ": "JWT"}
    if key_id := getattr(config, "key_id", None):
        header["kid"] = key_id
    claims: dict[str, Any] = {
        "iss": client_id,
        "aud": config.token_address(),
        "iat": now,
        "exp": now + ASSERTION_LIFETIME_S,
        **config.assertion_claims(),
    }
    signed = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
    return f"{signed}.{_part(_sign(_private_key(config), signed.encode(), algorithm))}"


def key_fault(config: HttpConfig) -> Fault | None:
    """Return what is wrong with the private key of a configuration."""
    wanted = _CURVES.get(getattr(config, "assertion_algorithm", "PS256"))
    try:
        key = _private_key(config)
    except ValueError:
        message = "is not a private key in PEM without a passphrase"
        return Fault(path="private_key", message=message, code="unusable_key")
    if wanted is None:
        fits = isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048
    else:
        fits = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, type(wanted))
    if fits:
        return None
    name = f"P-{wanted.key_size}" if wanted else "RSA"
    return Fault(path="private_key", message=f"must be a {name} key for this signature", code="unusable_key")


def _private_key(config: HttpConfig) -> Any:
    try:
        return load_pem_private_key(_secret(config, "private_key").encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise ValueError("This is no private key.")


def _sign(key: Any, content: bytes, algorithm: str) -> bytes:
    hashed = _HASHES[algorithm[2:]]
    match algorithm[:2]:
        case "ES":
            r, s = decode_dss_signature(key.sign(content, ec.ECDSA(hashed)))
            size = (key.curve.key_size + 7) // 8
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        case "PS":
            return bytes(key.sign(content, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed))
    return bytes(key.sign(content, padding.PKCS1v15(), hashed))


def _part(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _secret(config: HttpConfig, name: str) -> str:
    secret = getattr(config, name, None)
    return str(secret.get_secret_value()) if secret is not None else ""
