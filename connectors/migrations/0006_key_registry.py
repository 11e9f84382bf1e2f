"""What is known of each master key, a fence against retired ones, and the rows that no key opens."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

# Until now the table was what `encryption_status` last saw, which may be long ago. The first start enters what is true.
FORGET_SNAPSHOT = "DELETE FROM erp_encryption_key"

# A CHECK cannot look into another table, and a trigger can be passed by. So the retired keys stand in the CHECK itself,
# which is made anew from the registry when one retires, or a table with an encrypted column is added. PostgreSQL looks
# at every row before it accepts the CHECK: that a key can retire is proved and not believed. The application's role
# owns no table, hence SECURITY DEFINER.
FENCE = """
CREATE FUNCTION erp_fence_retired_keys(encrypted regclass, field name) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET bytea_output = 'hex' AS $$
DECLARE
    fence name := (SELECT relname FROM pg_class WHERE oid = encrypted) || '_' || field || '_retired';
    retired text[] := (SELECT array_agg(key_id::text ORDER BY key_id) FROM erp_encryption_key WHERE state = 'RETIRED');
    fenced text[] := (
        SELECT array_agg(hit.groups[1] ORDER BY hit.groups[1])
        FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), '\\\\x([0-9a-f]{64})', 'g') AS hit (groups)
        WHERE conrelid = encrypted AND conname = fence
    );
BEGIN
    IF retired IS NOT DISTINCT FROM fenced THEN
        RETURN false;
    END IF;
    IF fenced IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', encrypted, fence);
    END IF;
    IF retired IS NOT NULL THEN
        EXECUTE format(
            'ALTER TABLE %s ADD CONSTRAINT %I CHECK (substr(%I, 6, 32) <> ALL (ARRAY[%s]))', encrypted, fence, field,
            (SELECT string_agg(format('%L::bytea', '\\x' || key_id), ', ') FROM unnest(retired) AS key_id)
        );
    END IF;
    RETURN true;
END $$;

DO $$ BEGIN
    EXECUTE format(
        'ALTER FUNCTION erp_fence_retired_keys(regclass, name) SET search_path = pg_catalog, %I, pg_temp',
        current_schema()
    );
END $$;
"""
NO_FENCE = "DROP FUNCTION erp_fence_retired_keys(regclass, name)"


class Migration(migrations.Migration):
    dependencies = (
        ("connectors", "0005_delivery"),
        ("tenants", "0007_audit_chain"),
    )
    operations = (
        migrations.RunSQL(FORGET_SNAPSHOT, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="encryptionkey",
            name="state",
            field=models.CharField(
                choices=[
                    ("ACTIVE", "active"),
                    ("DECRYPT_ONLY", "decrypt only"),
                    ("RETIRING", "retiring"),
                    ("RETIRED", "retired"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="encryptionkey",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "ACTIVE")), fields=("state",), name="erp_encryption_key_one_active"
            ),
        ),
        migrations.CreateModel(
            name="QuarantinedRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("table", models.CharField(max_length=63)),
                ("column", models.CharField(max_length=63)),
                ("row_id", models.UUIDField()),
                ("reason", models.CharField(max_length=32)),
                ("found_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("tried_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="tenants.organization"
                    ),
                ),
            ],
            options={
                "db_table": "erp_quarantined_row",
                "constraints": [
                    models.UniqueConstraint(fields=("table", "column", "row_id"), name="erp_quarantined_row_once")
                ],
            },
        ),
        migrations.RunSQL(FENCE, NO_FENCE),
    )
