"""The database shows each caller the rows of its own organisations only."""

from django.db import migrations

from tenants.row_security import protect

# Who may ask them is granted with the other rights of the application, after each migration.
CLOSE = """
REVOKE ALL ON FUNCTION api_key_with_organization(text), invitation_with_organization(text),
    organizations_of_member(integer) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = (("tenants", "0007_audit_chain"),)
    operations = (
        protect("organization", column="id"),
        protect("membership"),
        protect("invitation"),
        protect("service_account"),
        protect("api_key"),
        migrations.RunSQL(CLOSE, migrations.RunSQL.noop),
        *map(protect, ("audit_event", "audit_link", "audit_chain", "audit_seal")),
    )
