"""The app that fills the registry when Django starts."""

from django.apps import AppConfig


class ConnectorsConfig(AppConfig):
    """Connections, exports and everything they need."""

    name = "connectors"
    verbose_name = "ERP connections"

    def ready(self) -> None:
        """Register the built-in adapters, then those of installed packages, then the system checks."""
        from connectors import checks  # noqa: F401  # registers itself
        from connectors.adapters import BUILT_IN
        from connectors.registry import registry

        for connector_class in BUILT_IN:
            registry.register(connector_class)
        registry.load_entry_points()
