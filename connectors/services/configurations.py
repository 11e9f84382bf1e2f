"""What a connection is configured with: opened for use, shown without its secrets, sealed into its row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from django.utils import timezone

from connectors.config import ConnectorConfig, edit
from connectors.exceptions import EncryptionError, UnknownConnector
from connectors.fields import EncryptedConfigField, Row
from connectors.models import ConnectionRevision, ERPConnection, Health
from connectors.port import ERPConnectorPort
from connectors.registry import registry


class Configured(Row, Protocol):
    """A connection, or as many columns of it as tell how it is configured."""

    connector_type: str
    health: str
    secrets_updated_at: dict[str, str]


def load(connection: ERPConnection) -> tuple[ERPConnectorPort[Any], ConnectorConfig]:
    """Return the adapter and the validated configuration, ready for use.

    Raises:
        UnknownConnector: the adapter is no longer installed.
        EncryptionError: the row cannot be decrypted.
        ConfigurationError: the stored config is not valid for this version of the adapter.
    """
    connector = registry.get(connection.connector_type)
    return connector, edit(connector.Config, connection.read_config(), {})


def stored(connection: ERPConnection) -> dict[str, Any]:
    """Return the configuration in clear; empty when it cannot be read, so that it can be replaced."""
    try:
        return connection.read_config()
    except EncryptionError:
        return {}


def seal(
    row: ERPConnection | ConnectionRevision, config: ConnectorConfig, *, entered: Iterable[str], kept: dict[str, str]
) -> None:
    """Put a configuration into a row, without saving it.

    Args:
        row: where it is sealed into.
        config: what to seal.
        entered: the secrets that somebody entered just now.
        kept: when the others were entered, by name.
    """
    plain, now = config.reveal(), timezone.now().isoformat()
    row.write_config(plain)
    row.secrets_updated_at = {
        name: now if name in entered else kept.get(name, now) for name in config.secret_fields() if plain[name]
    }
    if isinstance(row, ERPConnection):
        row.expiries = [
            {"field": expiry.field, "kind": expiry.kind, "expires_at": expiry.expires_at.isoformat()}
            for expiry in config.expiries()
        ]


def describe(connection: Configured) -> dict[str, Any]:
    """Return what may be shown of a connection: health, config without secrets, and which secrets are set.

    An unreadable row has an empty config; this function never raises for it.
    """
    try:
        plain = EncryptedConfigField.of(ERPConnection).open(connection)
    except EncryptionError:
        return {"health": Health.UNREADABLE, "config": {}, "secrets": {}}
    health = Health.UNTESTED if connection.health == Health.UNREADABLE else Health(connection.health)
    try:
        config_class = registry.get(connection.connector_type).Config
    except UnknownConnector:
        # Without its class nobody can say which fields are secret, so none is shown.
        return {"health": health, "config": {}, "secrets": {}}
    secrets = {
        name: {"set": bool(plain.get(name)), "updated_at": connection.secrets_updated_at.get(name)}
        for name in config_class.secret_fields()
    }
    shown = {name: plain.get(name) for name in config_class.model_fields if name not in secrets}
    return {"health": health, "config": shown, "secrets": secrets}
