"""The app that knows who may do what."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Organisations, members, API keys and the audit trail."""

    name = "tenants"
    verbose_name = "Organisations and access"
