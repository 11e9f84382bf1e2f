"""How we identify ourselves over HTTP: fields for a configuration, and what turns them into headers.

How an adapter uses it: it adds up the groups of fields it needs and says which kinds there are,

    class AcmeConfig(BasicFields, OAuth2Fields, HttpConfig):
        auth_kind: Annotated[Literal["basic", "oauth2"], AUTH_KIND] = "basic"

and opens an authorised session with `http_client.open_client(config, context)`. Fields are flat, as in every
configuration: secrets are kept, masked and dropped one by one, and whatever says where a secret goes (`base_url`,
`token_url`, a CA) is a destination. Which fields belong to a kind says `x-when`; those of another kind stay empty.

    none        nothing, or a client certificate, which goes with every kind     ClientCertificateFields
    basic       user name and password (RFC 7617)                                BasicFields
    bearer      a token that does not change (RFC 6750)                          BearerFields
    api_key     a key in a header or in the query                                ApiKeyFields
    oauth2      client credentials (RFC 6749, section 4.4)                       OAuth2Fields
    jwt         … with a signed assertion for a secret (RFC 7523)                AssertionFields

An ERP with a login of its own overrides `HttpConfig.authoriser`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from secrets import token_urlsafe
from typing import Annotated, Any, ClassVar, Final, Literal

import httpx2
from pydantic import AfterValidator, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from connectors.config import INERT, ConnectorConfig, Expiry, Secret
from connectors.exceptions import Fault
from connectors.transports.certificates import x509_expiry
from connectors.transports.http import HttpTarget
from connectors.transports.http_authoriser import Authoriser, Fixed
from connectors.transports.http_tokens import Tokens, key_fault
from connectors.transports.tls import ClientCertificate, UnusableCertificate, client_context
from connectors.validation import Line, Paragraphs

AUTH_KIND: Final[FieldInfo] = Field(
    title="Authentication", description="How this connection identifies itself to the ERP."
)

_MULTI_LINE: Final[JsonDict] = {"x-widget": "textarea"}
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_RESERVED_HEADERS: Final = (
    "connection", "content-length", "content-type", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip


def when(*kinds: str, **more: Any) -> JsonDict:
    """Return the mark of a field that is only for these kinds of authentication."""
    return {"x-when": {"auth_kind": list(kinds)}, **more}


def web_address(text: str) -> str:
    """Return an address that requests can go below; refuses all others."""
    try:
        HttpTarget(base_url=text, allow_plain=True)
    except ValueError:
        raise PydanticCustomError(
            "url", "must be https://, a host and a path, without user, password, query or fragment"
        ) from None
    return text


def _header_name(name: str) -> str:
    if name.lower() in _RESERVED_HEADERS:
        raise PydanticCustomError("reserved_header", "is a header that belongs to the connection itself")
    return name


def _sendable(secret: Secret | None) -> Secret | None:
    if secret is not None and not _SENDABLE.fullmatch(secret.get_secret_value()):
        raise PydanticCustomError("not_sendable", "must hold printable ASCII without spaces, as a header does")
    return secret


SENDABLE: Final = AfterValidator(_sendable)
"""Marks a secret that is sent as it is, in a header."""
WebAddress = Annotated[Line, Field(max_length=1000), AfterValidator(web_address)]
HeaderName = Annotated[
    str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", max_length=64), AfterValidator(_header_name)
]


def basic(username: str, password: str) -> Authoriser:
    """Return what identifies a user by a password (RFC 7617)."""
    pair = b64encode(f"{username}:{password}".encode()).decode("ascii")
    return Fixed({"Authorization": f"Basic {pair}"})


class HttpConfig(ConnectorConfig):
    """Where an ERP is reached over HTTP, and whom to believe there."""

    needed: ClassVar[dict[str, tuple[str, ...]]] = {
        "basic": ("username", "password"),
        "bearer": ("token",),
        "api_key": ("api_key",),
        "oauth2": ("token_url", "client_id", "client_secret"),
        "jwt": ("token_url", "client_id", "private_key"),
    }
    """What each kind cannot do without."""

    base_url: Annotated[
        WebAddress,
        Field(
            title="Address",
            description="Where the interface of the ERP begins; all requests go below it.",
            examples=["https://erp.example.com/api"],
        ),
    ]
    allow_plain_http: Annotated[
        bool,
        Field(
            title="Allow http://",
            description="Without encryption everybody on the way can read along. Only into networks that the operator "
            "has allowed by name.",
        ),
    ] = False
    ca_bundle: Annotated[
        Annotated[Paragraphs, Field(max_length=100_000)] | None,
        Field(
            title="Own certificate authorities",
            description="PEM certificates that are believed instead of the public ones.",
            json_schema_extra=_MULTI_LINE,
        ),
    ] = None
    auth_kind: Annotated[str, AUTH_KIND] = "none"
    timeout_s: Annotated[
        int, INERT, Field(title="Time-out (seconds)", description="How long to wait for each answer.", ge=1, le=120)
    ] = 30

    def endpoint(self) -> str:
        url = httpx2.URL(self.address())
        return f"{url.host}:{url.port or (80 if url.scheme == 'http' else 443)}"

    def expiries(self) -> Iterator[Expiry]:
        certificate = self.client_certificate_pair()
        if certificate and (expires_at := x509_expiry(certificate.chain)):
            yield Expiry(field="client_certificate", kind="client certificate", expires_at=expires_at)

    def target(self, base_url: str | None = None, *, keep_cookies: bool = False) -> HttpTarget:
        """Return where requests go.

        Args:
            base_url: another address that is reached in the same way, such as that of the tokens.
            keep_cookies: whether the ERP keeps a session by them.
        """
        return HttpTarget(
            base_url=base_url or self.address(),
            ca_bundle=self.ca_bundle,
            client_certificate=self.client_certificate_pair(),
            allow_plain=self.allow_plain_http,
            timeout_s=float(self.timeout_s),
            keep_cookies=keep_cookies,
        )

    def address(self) -> str:
        """Return where the interface begins. A hook for an ERP whose address can be derived."""
        return self.base_url

    def token_address(self) -> str:
        """Return where access tokens are given out. A hook for an ERP whose address can be derived."""
        return str(getattr(self, "token_url", None) or "")

    def assertion_claims(self) -> dict[str, str]:
        """Return what an assertion says beside who asks whom, and until when. A hook for an ERP with its own claims."""
        claims = {"sub": str(getattr(self, "client_id", None) or ""), "jti": token_urlsafe(16)}
        scope = getattr(self, "scope", None) if getattr(self, "scope_in_assertion", False) else None
        return claims | ({"scope": scope} if scope else {})

    def client_certificate_pair(self) -> ClientCertificate | None:
        """Return our certificate and its key; None where the connector has none."""
        chain: str | None = getattr(self, "client_certificate", None)
        key = _plain(self, "client_key")
        if chain is None or key is None:
            return None
        return ClientCertificate(chain=chain, private_key=key, passphrase=_plain(self, "client_key_passphrase"))

    def authoriser(self) -> Authoriser:
        """Return what identifies us, as `auth_kind` says. A hook for an ERP with a login of its own."""
        match self.auth_kind:
            case "basic":
                return basic(getattr(self, "username", None) or "", _plain(self, "password") or "")
            case "bearer":
                return Fixed({"Authorization": f"{getattr(self, 'token_prefix', 'Bearer')} {_plain(self, 'token')}"})
            case "api_key":
                pair_of = {getattr(self, "api_key_name", "X-API-Key"): _plain(self, "api_key") or ""}
                in_query = getattr(self, "api_key_in", "header") == "query"
                return Fixed(params=pair_of) if in_query else Fixed(pair_of)
            case "oauth2" | "jwt":
                return Tokens(self)
        return Authoriser()

    def hidden(self) -> tuple[str, ...]:
        """Return the secrets, which the far end may repeat in what it says."""
        secrets = (_plain(self, name) for name in self.secret_fields())
        return tuple(secret for secret in secrets if secret and len(secret) > 3)

    def cross_field_faults(self) -> Iterable[Fault]:
        for name in ("base_url", "token_url"):
            if str(getattr(self, name, None) or "").startswith("http://") and not self.allow_plain_http:
                yield Fault(path=name, message="must begin with https://, or allow_plain_http be set", code="not_https")
        yield from self._faults_of_the_kind()
        yield from self._faults_of_the_certificates()

    def _faults_of_the_kind(self) -> Iterator[Fault]:
        for name in self.needed.get(self.auth_kind, ()):
            if getattr(self, name, None) is None and name in type(self).model_fields:
                yield Fault(path=name, message=f"is required for {self.auth_kind}", code="missing")
        for name, info in type(self).model_fields.items():
            kinds = _kinds(info)
            if kinds and self.auth_kind not in kinds and getattr(self, name) not in (None, info.default):
                message = f"is only for {' or '.join(kinds)}; leave it empty"
                yield Fault(path=name, message=message, code="not_applicable")
        if self.auth_kind == "basic" and ":" in (getattr(self, "username", None) or ""):
            yield Fault(path="username", message="must not contain a colon", code="colon")
        if self.auth_kind == "jwt" and getattr(self, "private_key", None) and (fault := key_fault(self)):
            yield fault

    def _faults_of_the_certificates(self) -> Iterator[Fault]:
        if self.ca_bundle is not None and not _is_usable(self.ca_bundle):
            yield Fault(path="ca_bundle", message="must hold certificates in PEM", code="unusable_certificate")
        chain, key = getattr(self, "client_certificate", None), getattr(self, "client_key", None)
        if (chain is None) is not (key is None):
            missing = "client_key" if key is None else "client_certificate"
            yield Fault(path=missing, message="is required: a client certificate needs its key", code="missing")
        elif (pair := self.client_certificate_pair()) is not None and not _is_usable(pair.chain):
            yield Fault(path="client_certificate", message="must be certificates in PEM", code="unusable_certificate")
        elif pair is not None and not _is_usable(pair.chain, pair):
            message = "cannot be read with this passphrase, or belongs to another certificate"
            yield Fault(path="client_key", message=message, code="unusable_key")


def _is_usable(ca_bundle: str, pair: ClientCertificate | None = None) -> bool:
    # Believing something given here spares reading the system's authorities, which takes a while.
    try:
        client_context(ca_bundle, pair)
    except UnusableCertificate:
        return False
    return True


class BasicFields(ConnectorConfig):
    """User name and password."""

    username: Annotated[
        Annotated[Line, Field(max_length=255)] | None,
        Field(title="User name", description="Login name of the technical user.", json_schema_extra=when("basic")),
    ] = None
    password: Annotated[
        Secret | None,
        Field(title="Password", description="Its password.", json_schema_extra=when("basic"), max_length=1024),
    ] = None


class BearerFields(ConnectorConfig):
    """A token that does not change."""

    token: Annotated[
        Secret | None,
        Field(
            title="Token",
            description="Sent as Authorization: Bearer.",
            json_schema_extra=when("bearer"),
            max_length=8000,
        ),
        SENDABLE,
    ] = None


class ApiKeyFields(ConnectorConfig):
    """A key in a header or in the query."""

    api_key: Annotated[
        Secret | None,
        Field(
            title="API key",
            description="The key itself.",
            json_schema_extra=when("api_key"),
            max_length=4000,
        ),
        SENDABLE,
    ] = None
    api_key_name: Annotated[
        HeaderName,
        Field(
            title="Name of the API key",
            description="The header or query parameter that carries it.",
            json_schema_extra=when("api_key"),
        ),
    ] = "X-API-Key"
    api_key_in: Annotated[
        Literal["header", "query"],
        Field(
            title="API key in",
            description="Where it is sent. What stands in a query is often written into logs.",
            json_schema_extra=when("api_key"),
        ),
    ] = "header"


class ClientFields(ConnectorConfig):
    """By which the address of the tokens knows us."""

    client_id: Annotated[
        Annotated[Line, Field(max_length=255)] | None,
        Field(title="Client", description="The client id.", json_schema_extra=when("oauth2", "jwt")),
    ] = None


class _TokenFields(ClientFields):
    token_url: Annotated[
        WebAddress | None,
        Field(
            title="Token address",
            description="Where access tokens are given out.",
            examples=["https://login.example.com/oauth2/token"],
            json_schema_extra=when("oauth2", "jwt"),
        ),
    ] = None
    scope: Annotated[
        Annotated[Line, Field(max_length=1000)] | None,
        Field(
            title="Scope",
            description="What the token is to allow, as the ERP names it.",
            json_schema_extra=when("oauth2", "jwt"),
        ),
    ] = None
    audience: Annotated[
        Annotated[Line, Field(max_length=1000)] | None,
        Field(
            title="Audience",
            description="For whom the token is, where the token address asks for it.",
            json_schema_extra=when("oauth2", "jwt"),
        ),
    ] = None


class OAuth2Fields(_TokenFields):
    """OAuth 2 client credentials."""

    client_secret: Annotated[
        Secret | None,
        Field(
            title="Client secret",
            description="The secret of the client.",
            json_schema_extra=when("oauth2"),
            max_length=4000,
        ),
    ] = None
    client_secret_in: Annotated[
        Literal["header", "body"],
        Field(
            title="Client secret in",
            description="header: HTTP Basic, as the standard recommends. body: as form fields.",
            json_schema_extra=when("oauth2"),
        ),
    ] = "header"  # noqa: S105  # a place


class AssertionKeyFields(ClientFields):
    """The key that signs assertions."""

    private_key: Annotated[
        Secret | None,
        Field(
            title="Private key",
            description="Key in PEM, without a passphrase: RSA for PS and RS, on the curve of its signature for ES.",
            json_schema_extra=when("jwt", **_MULTI_LINE),
            max_length=20_000,
        ),
    ] = None
    key_id: Annotated[
        Annotated[Line, Field(max_length=255)] | None,
        Field(
            title="Key id",
            description="By which the token address knows the key or certificate (kid).",
            json_schema_extra=when("jwt"),
        ),
    ] = None


class AssertionFields(AssertionKeyFields, _TokenFields):
    """OAuth 2 client credentials with a signed assertion."""

    assertion_algorithm: Annotated[
        Literal["PS256", "ES256", "RS256"],
        Field(title="Signature", description="How the assertion is signed.", json_schema_extra=when("jwt")),
    ] = "PS256"
    scope_in_assertion: Annotated[
        bool,
        Field(
            title="Scope in the assertion",
            description="Whether the scope stands in the signed assertion instead of beside it.",
            json_schema_extra=when("jwt"),
        ),
    ] = False


class ClientCertificateFields(ConnectorConfig):
    """A client certificate, beside whatever else identifies us."""

    client_certificate: Annotated[
        Annotated[Paragraphs, Field(max_length=50_000)] | None,
        Field(
            title="Client certificate",
            description="PEM, our certificate first; shown to a server that asks for one.",
            json_schema_extra=_MULTI_LINE,
        ),
    ] = None
    client_key: Annotated[
        Secret | None,
        Field(
            title="Key of the client certificate",
            description="PEM, with its BEGIN and END lines.",
            json_schema_extra=_MULTI_LINE,
            max_length=20_000,
        ),
    ] = None
    client_key_passphrase: Annotated[
        Secret | None,
        Field(title="Passphrase of the key", description="Opens the key if it is encrypted.", max_length=1024),
    ] = None


def _plain(config: ConnectorConfig, name: str) -> str | None:
    secret = getattr(config, name, None)
    return secret.get_secret_value() if isinstance(secret, Secret) else None


def _kinds(info: FieldInfo) -> list[str]:
    extra = info.json_schema_extra
    marked: Any = extra.get("x-when") if isinstance(extra, dict) else None
    return list(marked.get("auth_kind", ())) if isinstance(marked, dict) else []
