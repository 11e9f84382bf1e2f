"""What is known of each master key, and rows that none of them opens."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (
        ("connectors", "0005_delivery"),
        ("tenants", "0007_audit_chain"),
    )
    operations: tuple[migrations.operations.base.Operation, ...] = ()
