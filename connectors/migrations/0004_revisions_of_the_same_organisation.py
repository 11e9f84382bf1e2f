"""The database itself refuses a revision whose organisation differs from its connection's."""

from django.db import migrations

CONSTRAIN = """
ALTER TABLE erp_connection_revision ADD CONSTRAINT erp_connection_revision_same_org
    FOREIGN KEY (org_id, connection_id) REFERENCES erp_connection (org_id, id) ON DELETE CASCADE
    DEFERRABLE INITIALLY IMMEDIATE;
"""
RELEASE = "ALTER TABLE erp_connection_revision DROP CONSTRAINT erp_connection_revision_same_org;"


class Migration(migrations.Migration):
    dependencies = (("connectors", "0003_diagnosis"),)
    operations = (migrations.RunSQL(CONSTRAIN, RELEASE),)
