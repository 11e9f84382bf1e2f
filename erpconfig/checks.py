"""What `manage.py check --deploy` finds dangerous beyond what Django does; each names the remedy."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections

from erpconfig import embedded_postgres
from erpconfig.parsers import Network
from erpconfig.paths import ENV_FILE

_BROADEST: Final = {4: 8, 6: 7}
"""The shortest prefixes of private networks: 10.0.0.0/8 and fc00::/7."""
_METADATA: Final = ("169.254.169.254", "fd00:ec2::254")
"""Where clouds tell a machine its credentials."""
_SECRET_FILES: Final = tuple(
    f"{name}_FILE"
    for name in ("SECRET_KEY", "ENCRYPTION_MASTER_KEY", "ENCRYPTION_PREVIOUS_KEYS", "DATABASE_URL", "EMAIL_URL")
)
_ONLY_OURS: Final = Path("/run/secrets")
"""Where container runtimes put secrets, readable for everybody in a container of one process."""


@register(Tags.security, deploy=True)
def hosts_are_named(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report names that let any host in."""
    if any(host.lstrip(".") in ("*", "") for host in settings.ALLOWED_HOSTS):
        yield Warning("ALLOWED_HOSTS lets any host in.", hint="List the names we are reached by.", id="erpconfig.W001")


@register(Tags.security, deploy=True)
def networks_are_narrow(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report ways out and in that are open to nearly everything."""
    egress = [ipaddress.ip_network(network) for network in settings.EGRESS_ALLOWED_NETWORKS]
    if _is_broad(egress):
        yield Warning(
            "EGRESS_ALLOWED_NETWORKS allows nearly every private target.",
            hint="List the networks of the ERPs alone, for example 10.20.0.0/16.",
            id="erpconfig.W002",
        )
    if any(ipaddress.ip_address(address) in network for address in _METADATA for network in egress):
        yield Warning(
            "EGRESS_ALLOWED_NETWORKS allows the address at which a cloud hands out the credentials of this machine.",
            hint="Leave 169.254.0.0/16 and fd00:ec2::/32 out.",
            id="erpconfig.W003",
        )
    if _is_broad(settings.METRICS_ALLOWED_NETWORKS):
        yield Warning(
            "METRICS_ALLOWED_NETWORKS shows /metrics to nearly everybody.",
            hint="List the network of the monitoring alone.",
            id="erpconfig.W004",
        )


@register(Tags.security, deploy=True)
def secrets_are_ours(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report files with secrets that every user of this machine may read."""
    named = [Path(os.environ[name]) for name in _SECRET_FILES if os.environ.get(name)]
    for file in dict.fromkeys([Path(os.environ.get("ENV_FILE", ENV_FILE)), *named]):
        if file.is_file() and not file.is_relative_to(_ONLY_OURS) and file.stat().st_mode & stat.S_IRWXO:
            yield Warning(f"Every user of this machine may read {file}.", hint=f"chmod o= {file}", id="erpconfig.W005")


@register(Tags.security, deploy=True)
def database_is_a_server(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """Report the embedded PostgreSQL, which shares its disk and its fate with the application."""
    if settings.DATABASES["default"]["HOST"] == str(embedded_postgres.cluster().socket_folder):
        yield Warning(
            "The database is the embedded PostgreSQL, which is for trying things out.",
            hint="Set DATABASE_URL to a server that is backed up.",
            id="erpconfig.W006",
        )


@register(Tags.database, deploy=True)
def database_account_is_plain(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> Iterator[CheckMessage]:
    """Report an account that no policy of the database binds; asked for by `--database default`."""
    for alias in databases or ():
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user")
            if cursor.fetchone() == (True,):
                yield Warning(
                    "The account of DATABASE_URL is a superuser of PostgreSQL, or passes its row-level security.",
                    hint="Give the application an account of its own: CREATE ROLE … LOGIN NOSUPERUSER NOBYPASSRLS.",
                    id="erpconfig.W007",
                )


def _is_broad(networks: Iterable[Network]) -> bool:
    """Return whether the networks, put together, have one that is larger than any private one."""
    wanted = list(networks)
    joined: list[Network] = [
        *ipaddress.collapse_addresses(network for network in wanted if isinstance(network, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(network for network in wanted if isinstance(network, ipaddress.IPv6Network)),
    ]
    return any(network.prefixlen < _BROADEST[network.version] for network in joined)
