"""The database shows each caller the rows of its own organisations only."""

from django.db import migrations

from tenants.row_security import protect


class Migration(migrations.Migration):
    dependencies = (("tenants", "0007_audit_chain"),)
    operations = (
        protect("organization", column="id"),
        protect("membership"),
        protect("invitation"),
        protect("service_account"),
        protect("api_key"),
        *map(protect, ("audit_event", "audit_link", "audit_chain", "audit_seal")),
    )
