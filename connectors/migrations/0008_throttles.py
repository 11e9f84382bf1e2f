"""How many requests of whom were let in: one row for each caller, of no use after a minute."""

from django.db import migrations

# Unlogged: after a crash of the server counting begins anew. No row says whose it is.
CREATE = """
CREATE UNLOGGED TABLE connectors_throttle (
    key bytea PRIMARY KEY,
    resets_at timestamptz NOT NULL,
    used bigint NOT NULL
);
"""


class Migration(migrations.Migration):
    dependencies = (
        ("connectors", "0007_row_security"),
        ("tenants", "0008_row_security"),
    )
    operations = (migrations.RunSQL(CREATE, "DROP TABLE connectors_throttle"),)
