"""The configuration of a connector that drops files or sends them by AS2."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Final, Literal

import httpx2
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict

from connectors.config import INERT, Expiry, Secret
from connectors.exceptions import Fault
from connectors.transports.as2_agreement import Agreement
from connectors.transports.cms import KeyPair, UnusableKey, load_certificates, load_pair
from connectors.transports.drop_config import DropConfig, folder_path
from connectors.transports.http import HttpTarget
from connectors.transports.http_auth import WebAddress
from connectors.transports.tls import UnusableCertificate, client_context
from connectors.validation import ON_ONE_LINE_OR_EMPTY, Line, Paragraphs

_FOR_AS2: Final[JsonDict] = {"x-when": {"mode": ["as2"]}}
_FOR_FOLDERS: Final[JsonDict] = {"x-when": {"mode": ["sftp", "filesystem"]}}
_WITH_A_LOGIN: Final[JsonDict] = {"x-when": {"mode": ["sftp", "as2"]}}
_MULTI_LINE: Final[JsonDict] = {"x-widget": "textarea"}
_PEM_FOR_AS2: Final[JsonDict] = _FOR_AS2 | _MULTI_LINE

As2Name = Annotated[Line, Field(pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$", max_length=128)]
"""Printable ASCII (RFC 4130, section 6.2)."""
Certificates = Annotated[Paragraphs, Field(max_length=50_000)]

_ONLY_FOLDERS: Final = (
    "host", "private_key", "passphrase", "certificate", "host_key", "export_path", "ack_path", "temp_path",
)  # fmt: skip
_NEEDED: Final = ("as2_url", "as2_from", "as2_to", "own_certificate", "own_key", "partner_certificates")
_ONLY_AS2: Final = (*_NEEDED, "own_key_passphrase", "next_own_certificate", "next_own_key", "next_own_from",
    "next_partner_certificate", "next_partner_from", "ca_bundle",
)  # fmt: skip


def _say_when(schema: JsonDict) -> None:
    """Let a form show the settings of folders only for these."""
    shapes: Any = schema["properties"]
    for name in ("ack_path", "atomic_write", "temp_suffix", "temp_path"):
        shapes[name] |= _FOR_FOLDERS


class DropOrAs2Config(DropConfig):
    """Where the files go: into a folder, or to a partner's AS2 station.

    The certificates decide whom we believe and who can read an order. None of them decides where a stored secret goes:
    our private keys go nowhere, and the password only to `as2_url`.
    """

    model_config = ConfigDict(json_schema_extra=_say_when)

    mode: Annotated[  # type: ignore[assignment]  # one mode more than folders have
        Literal["sftp", "filesystem", "as2"],
        Field(
            title="Mode",
            description="sftp: a folder on an SFTP server. filesystem: a folder of this machine. as2: straight to the "
            "partner, over HTTP.",
        ),
    ]
    username: Annotated[
        Annotated[Line, Field(max_length=255)] | None,
        Field(
            title="User name",
            description="SFTP login name; for AS2 only where the partner asks for HTTP Basic.",
            json_schema_extra=_WITH_A_LOGIN,
        ),
    ] = None
    password: Annotated[
        Secret | None,
        Field(
            title="Password",
            description="Of the user name. With a private key as well, an SFTP login uses both where the server asks "
            "for both.",
            json_schema_extra=_WITH_A_LOGIN,
            max_length=1024,
        ),
    ] = None
    export_path: Annotated[
        str,
        Field(
            title="Export folder",
            description="Existing folder for the orders.",
            examples=["/orders/in"],
            json_schema_extra=_FOR_FOLDERS,
            max_length=1024,
        ),
        ON_ONE_LINE_OR_EMPTY,
        AfterValidator(folder_path),
    ] = ""
    as2_url: Annotated[
        WebAddress | None,
        Field(
            title="AS2 address",
            description="Where the partner takes messages.",
            examples=["https://as2.example.com/receive"],
            json_schema_extra=_FOR_AS2,
        ),
    ] = None
    as2_from: Annotated[
        As2Name | None,
        Field(title="Our AS2 name", description="As the partner knows us, case included.", json_schema_extra=_FOR_AS2),
    ] = None
    as2_to: Annotated[
        As2Name | None,
        Field(
            title="Partner's AS2 name",
            description="As the partner calls itself, case included.",
            json_schema_extra=_FOR_AS2,
        ),
    ] = None
    own_certificate: Annotated[
        Certificates | None,
        INERT,
        Field(
            title="Our certificate",
            description="PEM, which the partner has as well: what we sign is verified with it, and answers are "
            "encrypted for it.",
            json_schema_extra=_PEM_FOR_AS2,
        ),
    ] = None
    own_key: Annotated[
        Secret | None,
        Field(
            title="Key of our certificate",
            description="RSA (2048 bits or more) or EC key in PEM, with its BEGIN and END lines.",
            json_schema_extra=_PEM_FOR_AS2,
            max_length=20_000,
        ),
    ] = None
    own_key_passphrase: Annotated[
        Secret | None,
        Field(
            title="Passphrase of our key",
            description="Opens the key if it is encrypted; the next one as well.",
            json_schema_extra=_FOR_AS2,
            max_length=1024,
        ),
    ] = None
    partner_certificates: Annotated[
        Certificates | None,
        INERT,
        Field(
            title="Partner's certificates",
            description="PEM. Receipts signed with any of them are believed; orders are encrypted for the first.",
            json_schema_extra=_PEM_FOR_AS2,
        ),
    ] = None
    next_own_certificate: Annotated[
        Certificates | None,
        INERT,
        Field(
            title="Our next certificate",
            description="Takes the present one's place on its day; until then what is encrypted for it is read.",
            json_schema_extra=_PEM_FOR_AS2,
        ),
    ] = None
    next_own_key: Annotated[
        Secret | None,
        Field(
            title="Key of our next certificate",
            description="PEM, with its BEGIN and END lines.",
            json_schema_extra=_PEM_FOR_AS2,
            max_length=20_000,
        ),
    ] = None
    next_own_from: Annotated[
        date | None,
        INERT,
        Field(
            title="Sign with it from",
            description="The day (UTC) that was agreed with the partner.",
            examples=["2027-01-01"],
            json_schema_extra=_FOR_AS2,
        ),
    ] = None
    next_partner_certificate: Annotated[
        Certificates | None,
        INERT,
        Field(
            title="Partner's next certificate",
            description="PEM; believed at once.",
            json_schema_extra=_PEM_FOR_AS2,
        ),
    ] = None
    next_partner_from: Annotated[
        date | None,
        INERT,
        Field(
            title="Encrypt for it from",
            description="The day (UTC) that was agreed with the partner.",
            examples=["2027-01-01"],
            json_schema_extra=_FOR_AS2,
        ),
    ] = None
    digest: Annotated[
        Literal["sha256", "sha384", "sha512"],
        INERT,
        Field(title="Digest", description="Of signatures and checksums.", json_schema_extra=_FOR_AS2),
    ] = "sha256"
    cipher: Annotated[
        Literal["aes128_cbc", "aes192_cbc", "aes256_cbc", "aes128_gcm", "aes256_gcm", "none"],
        INERT,
        Field(
            title="Encryption",
            description="cbc is understood by all; gcm by newer products. none leaves it to HTTPS.",
            json_schema_extra=_FOR_AS2,
        ),
    ] = "aes256_cbc"
    key_transport: Annotated[
        Literal["pkcs1", "oaep"],
        INERT,
        Field(
            title="Key transport",
            description="How the key of a message is wrapped: pkcs1 is understood by all, oaep is stronger.",
            json_schema_extra=_FOR_AS2,
        ),
    ] = "pkcs1"
    compression: Annotated[
        Literal["none", "before_signing", "after_signing"],
        INERT,
        Field(title="Compression", description="zlib, where the partner can unpack it.", json_schema_extra=_FOR_AS2),
    ] = "none"
    content_type: Annotated[
        Literal["of_the_format", "application/edi-consent", "application/xml", "text/plain"],
        INERT,
        Field(
            title="Content type",
            description="of_the_format: application/EDIFACT or application/EDI-X12; another one where the partner "
            "insists.",
            json_schema_extra=_FOR_AS2,
        ),
    ] = "of_the_format"
    receipt: Annotated[
        Literal["sync", "async"],
        INERT,
        Field(
            title="Signed receipt",
            description="sync: the partner answers with it at once. async: it sends it later, to this application.",
            json_schema_extra=_FOR_AS2,
        ),
    ] = "sync"
    recognises_duplicates: Annotated[
        bool,
        INERT,
        Field(
            title="Partner recognises duplicates",
            description="The partner does not process a message of a Message-ID that it has had. Then an order whose "
            "receipt was lost is sent again by itself; else a person decides.",
            json_schema_extra=_FOR_AS2,
        ),
    ] = False
    ca_bundle: Annotated[
        Certificates | None,
        Field(
            title="Own certificate authorities",
            description="PEM certificates that are believed for HTTPS instead of the public ones.",
            json_schema_extra=_PEM_FOR_AS2,
        ),
    ] = None
    allow_plain_http: Annotated[
        bool,
        Field(
            title="Allow http://",
            description="Messages are encrypted by themselves, names and passwords are not. Only into networks that "
            "the operator has allowed by name.",
            json_schema_extra=_FOR_AS2,
        ),
    ] = False

    def endpoint(self) -> str:
        if self.mode != "as2" or self.as2_url is None:
            return super().endpoint()
        url = httpx2.URL(self.as2_url)
        return f"{url.host}:{url.port or (80 if url.scheme == 'http' else 443)}"

    def expiries(self) -> Iterator[Expiry]:
        if self.mode == "as2":
            yield from self.agreement().expiries()
        else:
            yield from super().expiries()

    def target(self) -> HttpTarget:
        """Return where messages go."""
        assert self.as2_url is not None  # as the configuration demands
        return HttpTarget(
            base_url=self.as2_url,
            ca_bundle=self.ca_bundle,
            allow_plain=self.allow_plain_http,
            timeout_s=float(self.timeout_s),
            max_answer_bytes=1024 * 1024,
        )

    def agreement(self) -> Agreement:
        """Return the names and certificates of both partners, ready for use."""

        def pair(certificate: str | None, key: Secret | None) -> KeyPair | None:
            if certificate is None or key is None:
                return None
            return load_pair(certificate, key.get_secret_value(), _plain(self.own_key_passphrase))

        own, following = pair(self.own_certificate, self.own_key), self.next_partner_certificate
        assert own is not None  # as the configuration demands
        return Agreement(
            own_name=self.as2_from or "",
            partner_name=self.as2_to or "",
            own=own,
            next_own=pair(self.next_own_certificate, self.next_own_key),
            next_own_from=self.next_own_from,
            partner=tuple(load_certificates(self.partner_certificates or "")),
            next_partner=tuple(load_certificates(following)) if following else (),
            next_partner_from=self.next_partner_from,
        )

    def cross_field_faults(self) -> Iterator[Fault]:
        if self.mode == "as2":
            yield from self._as2_faults()
            return
        yield from super().cross_field_faults()
        if not self.export_path:
            yield Fault(path="export_path", message=f"is required for mode {self.mode}", code="missing")
        yield from self._not_applicable(_ONLY_AS2, "as2")

    def _not_applicable(self, names: tuple[str, ...], mode: str) -> Iterator[Fault]:
        for name in names:
            if getattr(self, name) not in (None, ""):
                yield Fault(path=name, message=f"is only for mode {mode}; leave it empty", code="not_applicable")

    def _as2_faults(self) -> Iterator[Fault]:
        yield from self._not_applicable(_ONLY_FOLDERS, "sftp or filesystem")
        for name in _NEEDED:
            if getattr(self, name) is None:
                yield Fault(path=name, message="is required for mode as2", code="missing")
        if (self.username is None) is not (self.password is None):
            missing = "password" if self.password is None else "username"
            yield Fault(path=missing, message="is required: HTTP Basic needs both", code="missing")
        if (self.as2_url or "").startswith("http://") and not self.allow_plain_http:
            yield Fault(
                path="as2_url", message="must begin with https://, or allow_plain_http be set", code="not_https"
            )
        if self.ca_bundle is not None:
            try:
                client_context(self.ca_bundle)
            except UnusableCertificate:
                yield Fault(path="ca_bundle", message="must hold certificates in PEM", code="unusable_certificate")
        yield from self._own_faults("")
        yield from self._own_faults("next_")
        yield from self._partner_faults()

    def _own_faults(self, prefix: str) -> Iterator[Fault]:
        certificate, key = getattr(self, f"{prefix}own_certificate"), getattr(self, f"{prefix}own_key")
        if prefix:
            given = {name: getattr(self, name) for name in ("next_own_certificate", "next_own_key", "next_own_from")}
            missing = [name for name, value in given.items() if value is None]
            if 0 < len(missing) < len(given):
                yield from (Fault(path=name, message="is required with the others", code="missing") for name in missing)
        if certificate is None or key is None:
            return
        try:
            load_certificates(certificate)
        except UnusableKey as fault:
            yield Fault(path=f"{prefix}own_certificate", message=str(fault), code="unusable_certificate")
            return
        try:
            load_pair(certificate, key.get_secret_value(), _plain(self.own_key_passphrase), check=True)
        except UnusableKey as fault:
            yield Fault(path=f"{prefix}own_key", message=str(fault), code="unusable_key")

    def _partner_faults(self) -> Iterator[Fault]:
        for name in ("partner_certificates", "next_partner_certificate"):
            text = getattr(self, name)
            try:
                first = load_certificates(text)[0] if text is not None else None
            except UnusableKey as fault:
                yield Fault(path=name, message=str(fault), code="unusable_certificate")
                continue
            if first and self.cipher != "none" and not isinstance(first.public_key(), rsa.RSAPublicKey):
                message = "must begin with a certificate that has an RSA key, or cipher be none"
                yield Fault(path=name, message=message, code="unusable_certificate")
        if self.next_partner_from is not None and self.next_partner_certificate is None:
            yield Fault(path="next_partner_certificate", message="is required with its day", code="missing")


def _plain(secret: Secret | None) -> str | None:
    return secret.get_secret_value() if secret else None
