"""The database shows each caller the rows of its own organisations only."""

from django.db import migrations

from tenants.row_security import protect


class Migration(migrations.Migration):
    dependencies = (("connectors", "0006_key_registry"), ("tenants", "0008_row_security"))
    operations = tuple(
        map(
            protect,
            (
                "erp_connection",
                "erp_connection_revision",
                "erp_connection_test",
                "erp_export",
                "erp_export_attempt",
                "erp_acknowledgement",
                "erp_webhook",
                "erp_webhook_delivery",
                "erp_quarantined_row",
            ),
        )
    )
