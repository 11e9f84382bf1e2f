"""The app that fills the registry when Django starts."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ConnectorsConfig(AppConfig):
    """Connections, exports and everything they need."""

    name = "connectors"
    verbose_name = "Connections and exports"

    def ready(self) -> None:
        """Register the built-in adapters, then those of installed packages, then the system checks."""
        from connectors import checks  # noqa: F401  # registers itself
        from connectors.adapters import built_in
        from connectors.registry import registry
        from connectors.services import installation, keys
        from erpconfig import checks as deployment  # noqa: F401  # registers itself

        post_migrate.connect(installation.register, sender=self, dispatch_uid="connectors.installation")
        post_migrate.connect(keys.fence, sender=self, dispatch_uid="connectors.fence")
        for connector_class in built_in():
            registry.register(connector_class)
        registry.load_entry_points()
