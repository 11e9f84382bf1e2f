"""Turns the text of one setting into what Django wants; every refusal is a reason without the value."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import environ

from connectors.encryption import providers
from connectors.exceptions import ConfigurationError
from erpconfig.env import Refused, SecretText

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SECRET_KEY_SIZE: Final = 50
_SECRET_KEY_VARIETY: Final = 5
_MAIL_PORTS: Final = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465, "consolemail": 0, "dummymail": 0}
_S3_OPTIONS: Final = frozenset({"endpoint_url", "region_name", "addressing_style"})


def secret_key(text: str) -> SecretText:
    """Return Django's SECRET_KEY, held to the rule of Django's own check security.W009."""
    if len(text) < _SECRET_KEY_SIZE:
        raise Refused(f"has fewer than {_SECRET_KEY_SIZE} characters")
    if len(set(text)) < _SECRET_KEY_VARIETY or text.startswith("django-insecure-"):
        raise Refused("is too easy to guess")
    return SecretText(text)


def secret_keys(text: str) -> list[str]:
    """Return the keys of a comma-separated list that still open what they sealed or signed."""
    return [secret_key(key) for key in words(text)]


def master_key(text: str, name: str = "ENCRYPTION_MASTER_KEY") -> SecretText:
    """Return a master key of the connection encryption: 64 hexadecimal digits, or wrapped by Vault or AWS KMS."""
    try:
        providers.check(text, name=name)
        return SecretText(text)
    except ConfigurationError as error:
        reason = str(error).removeprefix(f"{name} ")
    raise Refused(reason)


def master_keys(text: str) -> tuple[SecretText, ...]:
    """Return the master keys of a comma-separated list."""
    keys = text.split(",")
    if "" in keys:
        raise Refused("has an empty entry between its commas")
    return tuple(master_key(key, "ENCRYPTION_PREVIOUS_KEYS") for key in keys)


def vault_address(text: str) -> str:
    """Return the address of a Vault; without TLS only on this machine, as its answers are master keys."""
    try:
        url = urlsplit(text)
        is_near = url.hostname in ("localhost", "127.0.0.1", "::1")
        is_usable = url.scheme == "https" or (url.scheme == "http" and is_near)
        is_usable = is_usable and bool(url.hostname) and not (url.username or url.password or url.query or url.fragment)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise Refused("is no URL of the form https://host:port")
    return text.rstrip("/")


def words(text: str) -> list[str]:
    """Return the entries of a comma-separated list."""
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise Refused("has an empty entry between its commas")
    return entries


def hosts(text: str) -> list[str]:
    """Return host names for ALLOWED_HOSTS."""
    entries = words(text)
    if any("/" in entry or " " in entry for entry in entries):
        raise Refused("has an entry that is no host name: leave out the scheme and the path")
    return entries


def networks(text: str) -> list[Network]:
    """Return networks in CIDR notation; a single address is a network of one."""
    found: list[Network] = []
    for position, entry in enumerate(words(text), start=1):
        try:
            found.append(ipaddress.ip_network(entry))
            continue
        except ValueError:
            pass
        raise Refused(f"has an entry (number {position}) that is no network in CIDR notation, or has host bits set")
    return found


def cidrs(text: str) -> list[str]:
    """Return networks in CIDR notation as they are written."""
    return [str(network) for network in networks(text)]


def folder(text: str) -> str:
    """Return the path of a folder, which does not have to exist yet."""
    if not Path(text).is_absolute():
        raise Refused("is not an absolute path")
    return text


def database(text: str) -> dict[str, Any]:
    """Return Django's description of a PostgreSQL database from its URL (libpq's URI form)."""
    config: dict[str, Any] = {}
    if text.startswith(("postgres://", "postgresql://")):
        try:
            config = environ.Env.db_url_config(text, engine="django.db.backends.postgresql")
        except ValueError:
            config = {}
    if not config.get("NAME"):
        raise Refused("is no URL of the form postgresql://user:password@host:5432/database")
    options = config.setdefault("OPTIONS", {})
    # libpq takes the folder of a Unix socket as ?host=; Django's own tools look for it in HOST.
    config["HOST"] = options.pop("host", config["HOST"])
    config["PASSWORD"] = SecretText(config["PASSWORD"])
    return config


def mail(text: str) -> dict[str, Any]:
    """Return Django's settings for sending mail.

    Args:
        text: `smtp+tls://user:password@host:587` (STARTTLS), `smtp+ssl://…`, `smtp://…` without encryption,
            `consolemail://` to write mails to stdout, or `dummymail://` for none.
    """
    scheme = text.partition("://")[0]
    config: dict[str, Any] = {}
    if scheme in _MAIL_PORTS:
        try:
            config = environ.Env.email_url_config(text)
        except ValueError:
            config = {}
    if not config or (scheme.startswith("smtp") and not config["EMAIL_HOST"]):
        raise Refused("is no URL of the form smtp+tls://user:password@host:port")
    return {
        "EMAIL_BACKEND": config["EMAIL_BACKEND"],
        "EMAIL_HOST": config["EMAIL_HOST"] or "",
        "EMAIL_PORT": config["EMAIL_PORT"] or _MAIL_PORTS[scheme],
        "EMAIL_HOST_USER": config["EMAIL_HOST_USER"] or "",
        "EMAIL_HOST_PASSWORD": SecretText(config["EMAIL_HOST_PASSWORD"] or ""),
        "EMAIL_USE_TLS": scheme == "smtp+tls",
        "EMAIL_USE_SSL": scheme == "smtp+ssl",
    }


def public_url(text: str) -> str:
    """Return the address by which people reach the admin, without the slash at its end."""
    try:
        url = urlsplit(text)
        is_usable = url.scheme in ("https", "http") and bool(url.hostname) and not (url.query or url.fragment)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise Refused("is no URL of the form https://host")
    return text.rstrip("/")


def document_storage(text: str) -> dict[str, Any]:
    """Return the STORAGES entry for documents.

    Args:
        text: an absolute folder, or `s3://bucket/prefix` with endpoint_url, region_name or addressing_style as query.
            S3 credentials come from where boto3 looks for them, never from this URL.
    """
    if not text.startswith("s3://"):
        return local_documents(folder(text))
    url = urlsplit(text)
    options = dict(parse_qsl(url.query))
    if not url.hostname or url.username or url.password or not options.keys() <= _S3_OPTIONS:
        raise Refused("is no s3://bucket/prefix with at most endpoint_url, region_name and addressing_style")
    return {
        "BACKEND": "erpconfig.s3.DocumentBucket",
        "OPTIONS": {"bucket_name": url.hostname, "location": url.path.strip("/"), **options},
    }


def local_documents(path: str | Path) -> dict[str, Any]:
    """Return the STORAGES entry for documents in a folder that only this user may enter."""
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": str(path),
            "base_url": None,
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    }
