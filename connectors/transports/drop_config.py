"""The configuration of every connector that drops files: which folders, and how to reach them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from connectors.config import INERT, ConnectorConfig, Expiry, Secret
from connectors.exceptions import Fault
from connectors.transports.certificates import ssh_certificate_expiry
from connectors.transports.ssh_keys import (
    ForeignCertificate,
    HostCertificate,
    HostKeyPin,
    UnusableCertificate,
    UnusableKey,
    WrongPassphrase,
    load_private_key,
)
from connectors.validation import ON_ONE_LINE

# How a form may show a field; the admin understands these.
_FOR_SFTP: Final[JsonDict] = {"x-when": {"mode": ["sftp"]}}
_MULTI_LINE: Final[JsonDict] = {"x-widget": "textarea"}


def folder_path(path: str) -> str:
    """Return a path that leads nowhere else; refuses all others."""
    if ".." in path.split("/"):
        raise PydanticCustomError("path", "must not contain ..")
    return path


def _host_key(text: str) -> str:
    try:
        HostKeyPin.parse(text)
    except ValueError:
        raise PydanticCustomError(
            "host_key", "must be a public key line (ssh-ed25519 AAAA...) or a fingerprint (SHA256:...)"
        ) from None
    return text


FolderPath = Annotated[str, Field(max_length=1024), ON_ONE_LINE, AfterValidator(folder_path)]


class DropConfig(ConnectorConfig):
    """Where the files go, and how to get there.

    What says whom we reach, as whom, whom we believe or where the files go is a destination. The host key and the
    certificate are so as well: whoever could change them alone could lead the stored secrets past the check of the
    server, or into another account.
    """

    document_suffix: ClassVar[str] = ""
    """How the names of documents end, where that is always the same."""

    mode: Annotated[
        Literal["sftp", "filesystem"],
        Field(title="Mode", description="sftp: a folder on an SFTP server. filesystem: a folder of this machine."),
    ]
    host: Annotated[
        Annotated[str, Field(pattern=r"^[^\s/@\x00-\x1f]+$", max_length=253)] | None,
        Field(
            title="Host",
            description="Name or address of the SFTP server.",
            examples=["sftp.example.com"],
            json_schema_extra=_FOR_SFTP,
        ),
    ] = None
    port: Annotated[
        int,
        Field(title="Port", description="Port of the SFTP server.", ge=1, le=65535, json_schema_extra=_FOR_SFTP),
    ] = 22
    username: Annotated[
        Annotated[str, Field(max_length=255), ON_ONE_LINE] | None,
        Field(title="User name", description="SFTP login name.", json_schema_extra=_FOR_SFTP),
    ] = None
    password: Annotated[
        Secret | None,
        Field(
            title="Password",
            description="SFTP password. With a private key as well, both are used where the server asks for both.",
            json_schema_extra=_FOR_SFTP,
            max_length=1024,
        ),
    ] = None
    private_key: Annotated[
        Secret | None,
        Field(
            title="Private key",
            description="Ed25519, ECDSA or RSA key in OpenSSH, PEM or PKCS #8 format, with its BEGIN and END lines.",
            json_schema_extra=_FOR_SFTP | _MULTI_LINE,
            max_length=20_000,
        ),
    ] = None
    passphrase: Annotated[
        Secret | None,
        Field(
            title="Passphrase",
            description="Opens the private key if it is encrypted.",
            json_schema_extra=_FOR_SFTP,
            max_length=1024,
        ),
    ] = None
    certificate: Annotated[
        Annotated[str, Field(max_length=10_000), ON_ONE_LINE] | None,
        Field(
            title="Certificate",
            description="OpenSSH user certificate for the private key, on one line "
            "(ssh-ed25519-cert-v01@openssh.com AAAA...), where the server trusts an authority instead of single keys.",
            json_schema_extra=_FOR_SFTP,
        ),
    ] = None
    host_key: Annotated[
        Annotated[str, Field(max_length=2000), ON_ONE_LINE, AfterValidator(_host_key)] | None,
        Field(
            title="Host key",
            description="The server's public key (ssh-ed25519 AAAA...) or its fingerprint (SHA256:...). Without it "
            "nothing is sent; the connection test shows the fingerprint to compare and enter.",
            examples=["SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"],
            json_schema_extra=_FOR_SFTP,
        ),
    ] = None
    export_path: Annotated[
        FolderPath, Field(title="Export folder", description="Existing folder for the orders.", examples=["/orders/in"])
    ]
    ack_path: Annotated[
        FolderPath | None,
        Field(
            title="Acknowledgement folder",
            description="Existing folder in which the far end leaves its answers; empty if it never answers.",
            examples=["/orders/ack"],
        ),
    ] = None
    atomic_write: Annotated[
        bool,
        INERT,
        Field(
            title="Write under a temporary name first",
            description="Off only for servers that do not allow renaming: the ERP may then see incomplete files.",
        ),
    ] = True
    temp_suffix: Annotated[
        str,
        INERT,
        Field(
            title="Temporary suffix",
            description="What is added to the name while a file is incomplete; the ERP has to ignore such files.",
            pattern=r"^[A-Za-z0-9._-]{1,32}$",
        ),
    ] = ".tmp"
    temp_path: Annotated[
        FolderPath | None,
        Field(
            title="Temporary folder",
            description="Existing folder for incomplete files, on the same file system as the export folder, where "
            "the ERP takes every file of the export folder at once; empty for the export folder itself.",
            examples=["/orders/tmp"],
        ),
    ] = None
    timeout_s: Annotated[
        int, INERT, Field(title="Time-out (seconds)", description="How long to wait for each answer.", ge=1, le=120)
    ] = 10

    @field_validator("temp_suffix")
    @classmethod
    def _is_no_document(cls, suffix: str) -> str:
        if cls.document_suffix and suffix.lower().endswith(cls.document_suffix):
            raise PydanticCustomError(
                "temp_suffix",
                "must not end in {suffix}: the ERP would read incomplete files",
                {"suffix": cls.document_suffix},
            )
        return suffix

    def endpoint(self) -> str:
        if self.host is None:
            return "filesystem"
        host = self.host.lower().rstrip(".")
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def expiries(self) -> Iterator[Expiry]:
        if self.certificate is not None and (expires_at := ssh_certificate_expiry(self.certificate)):
            yield Expiry(field="certificate", kind="SSH certificate", expires_at=expires_at)

    def cross_field_faults(self) -> Iterator[Fault]:
        if self.temp_path is not None:
            if not self.atomic_write:
                yield Fault(path="temp_path", message="is only for atomic_write; leave it empty", code="not_applicable")
            elif self.temp_path.rstrip("/") == self.export_path.rstrip("/"):
                yield Fault(path="temp_path", message="is the export folder; leave it empty", code="not_applicable")
        if self.mode == "sftp":
            yield from self._sftp_faults()
        else:
            for name in ("host", "username", "password", "private_key", "passphrase", "certificate", "host_key"):
                if getattr(self, name) is not None:
                    yield Fault(path=name, message="is only for mode sftp; leave it empty", code="not_applicable")

    def _sftp_faults(self) -> Iterator[Fault]:
        for name in ("host", "username"):
            if getattr(self, name) is None:
                yield Fault(path=name, message="is required for mode sftp", code="missing")
        if self.password is None and self.private_key is None:
            yield Fault(path="password", message="a password or a private key is required", code="missing")
        if self.private_key is None:
            for name in ("passphrase", "certificate"):
                if getattr(self, name) is not None:
                    yield Fault(path=name, message="is only for a private key", code="not_applicable")
            return
        passphrase = self.passphrase.get_secret_value() if self.passphrase else None
        yield from _key_faults(self.private_key.get_secret_value(), passphrase, self.certificate)


def _key_faults(private_key: str, passphrase: str | None, certificate: str | None) -> Iterator[Fault]:
    try:
        load_private_key(private_key, passphrase, certificate)
    except ForeignCertificate:
        yield Fault(path="certificate", message="was issued for another key", code="foreign_certificate")
    except HostCertificate:
        yield Fault(path="certificate", message="is for a server; a login needs a user's", code="host_certificate")
    except UnusableCertificate:
        message = "must be an OpenSSH certificate on one line (ssh-ed25519-cert-v01@openssh.com AAAA...)"
        yield Fault(path="certificate", message=message, code="unusable_certificate")
    except WrongPassphrase:
        message = "does not open the private key" if passphrase else "is required: the private key is encrypted"
        yield Fault(path="passphrase", message=message, code="wrong_passphrase")
    except UnusableKey:
        yield Fault(path="private_key", message="is not a private key that SSH can use", code="unusable_key")
