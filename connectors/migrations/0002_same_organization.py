"""The database itself refuses a row whose organisation differs from its parent's, and a change to a past attempt."""

from django.db import migrations

CONSTRAIN = """
ALTER TABLE erp_export ADD CONSTRAINT erp_export_same_org
    FOREIGN KEY (org_id, connection_id) REFERENCES erp_connection (org_id, id) DEFERRABLE INITIALLY IMMEDIATE;
ALTER TABLE erp_export ADD CONSTRAINT erp_export_retry_same_org
    FOREIGN KEY (org_id, retry_of_id) REFERENCES erp_export (org_id, id) DEFERRABLE INITIALLY IMMEDIATE;
ALTER TABLE erp_export_attempt ADD CONSTRAINT erp_export_attempt_same_org
    FOREIGN KEY (org_id, export_id) REFERENCES erp_export (org_id, id) DEFERRABLE INITIALLY IMMEDIATE;
ALTER TABLE erp_connection_test ADD CONSTRAINT erp_connection_test_same_org
    FOREIGN KEY (org_id, connection_id) REFERENCES erp_connection (org_id, id) ON DELETE CASCADE
    DEFERRABLE INITIALLY IMMEDIATE;
CREATE TRIGGER erp_export_attempt_append_only BEFORE UPDATE OR DELETE ON erp_export_attempt
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
RELEASE = """
DROP TRIGGER erp_export_attempt_append_only ON erp_export_attempt;
ALTER TABLE erp_connection_test DROP CONSTRAINT erp_connection_test_same_org;
ALTER TABLE erp_export_attempt DROP CONSTRAINT erp_export_attempt_same_org;
ALTER TABLE erp_export DROP CONSTRAINT erp_export_retry_same_org;
ALTER TABLE erp_export DROP CONSTRAINT erp_export_same_org;
"""


class Migration(migrations.Migration):
    dependencies = (("connectors", "0001_initial"), ("tenants", "0002_append_only_audit"))
    operations = (migrations.RunSQL(CONSTRAIN, RELEASE),)
