"""Requests that are signed one by one with OAuth 1.0a and HMAC-SHA256 (RFC 5849).

    class AcmeConfig(OAuth1Fields, HttpConfig):
        auth_kind: Annotated[Literal["oauth1"], AUTH_KIND] = "oauth1"

        def authoriser(self): return self.oauth1(realm="ACME")

The signature covers the method, the address and the query, so nothing may be added to a request after it was signed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode
from typing import Annotated, Final
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import Field

from connectors.config import ConnectorConfig, Secret
from connectors.port import Context
from connectors.transports.http_auth import when
from connectors.transports.http_authoriser import Authoriser
from connectors.validation import Line

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class OAuth1(Authoriser):
    """Signs each request with the secrets of a client and of a token."""

    def __init__(self, *, client: str, client_secret: str, token: str, token_secret: str, realm: str) -> None:
        self._client, self._token, self._realm = client, token, realm
        self._key = f"{_escaped(client_secret)}&{_escaped(token_secret)}".encode()

    def signature(self, method: str, url: str, context: Context) -> dict[str, str]:
        """Return the header that signs a request, with a number that was never used before."""
        parameters = {
            "oauth_consumer_key": self._client,
            "oauth_nonce": secrets.token_hex(12),
            "oauth_signature_method": "HMAC-SHA256",
            "oauth_timestamp": str(int(context.clock.now().timestamp())),
            "oauth_token": self._token,
            "oauth_version": "1.0",
        }
        digest = hmac.digest(self._key, base_string(method, url, parameters).encode(), hashlib.sha256)
        parameters = {"realm": self._realm, **parameters, "oauth_signature": b64encode(digest).decode("ascii")}
        shown = ", ".join(f'{name}="{_escaped(value)}"' for name, value in parameters.items())
        return {"Authorization": f"OAuth {shown}"}


def base_string(method: str, url: str, parameters: dict[str, str]) -> str:
    """Return what is signed (RFC 5849, section 3.4.1).

    Args:
        method: of the request.
        url: its whole address; what stands in the query is a parameter like the others.
        parameters: those of the protocol.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    asked = [*parse_qsl(parts.query, keep_blank_values=True), *parameters.items()]
    pairs = sorted((_escaped(name), _escaped(value)) for name, value in asked)
    joined = "&".join(f"{name}={value}" for name, value in pairs)
    address = f"{parts.scheme}://{host}{parts.path or '/'}"
    return "&".join((method.upper(), _escaped(address), _escaped(joined)))


def _escaped(text: str) -> str:
    return quote(text, safe="~")


class OAuth1Fields(ConnectorConfig):
    """A client and a token, each with its secret."""

    consumer_key: Annotated[
        Annotated[Line, Field(max_length=255)] | None,
        Field(title="Consumer key", description="Names the client.", json_schema_extra=when("oauth1")),
    ] = None
    consumer_secret: Annotated[
        Secret | None,
        Field(
            title="Consumer secret",
            description="The secret of the client.",
            json_schema_extra=when("oauth1"),
            max_length=1024,
        ),
    ] = None
    token_id: Annotated[
        Annotated[Line, Field(max_length=255)] | None,
        Field(title="Token id", description="Names the token.", json_schema_extra=when("oauth1")),
    ] = None
    token_secret: Annotated[
        Secret | None,
        Field(
            title="Token secret",
            description="The secret of the token.",
            json_schema_extra=when("oauth1"),
            max_length=1024,
        ),
    ] = None

    def oauth1(self, *, realm: str) -> OAuth1:
        """Return what signs requests with these fields, which have to be filled."""
        secrets_of = (self.consumer_secret, self.token_secret)
        client_secret, token_secret = (secret.get_secret_value() if secret else "" for secret in secrets_of)
        return OAuth1(
            client=self.consumer_key or "",
            client_secret=client_secret,
            token=self.token_id or "",
            token_secret=token_secret,
            realm=realm,
        )
