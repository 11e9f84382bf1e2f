"""The app that knows who may do what."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate


class TenantsConfig(AppConfig):
    """Organisations, members, API keys and the audit trail."""

    name = "tenants"
    verbose_name = "Organisations and access"

    def ready(self) -> None:
        """Listen to sign-ins, register the system checks, and let a migration end with the application's rights."""
        from tenants import checks  # noqa: F401  # registers itself
        from tenants.row_security import grant
        from tenants.sign_in import receivers, trail  # noqa: F401  # as above

        post_migrate.connect(grant, sender=self, dispatch_uid="tenants.grant")


class StaffAdminConfig(AdminConfig):
    """The admin, which asks staff for a second factor."""

    default_site = "tenants.sign_in.site.StaffAdminSite"

    def ready(self) -> None:
        """Put our page of accounts in the place of Django's, which is there once all apps have registered theirs."""
        super().ready()
        from tenants.sign_in import accounts  # noqa: F401  # registers itself
