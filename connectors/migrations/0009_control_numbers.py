"""Numbers of documents that follow each other without a gap."""

import django.db.models.deletion
from django.db import migrations, models

from tenants.row_security import protect

CONSTRAIN = """
ALTER TABLE erp_document_number ADD CONSTRAINT erp_document_number_same_org
    FOREIGN KEY (org_id, export_id) REFERENCES erp_export (org_id, id) ON DELETE CASCADE
    DEFERRABLE INITIALLY IMMEDIATE;
"""
RELEASE = "ALTER TABLE erp_document_number DROP CONSTRAINT erp_document_number_same_org;"


class Migration(migrations.Migration):

    dependencies = [
        ('connectors', '0008_throttles'),
        ('tenants', '0008_row_security'),
    ]

    operations = [
        migrations.CreateModel(
            name='NumberRangeRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=255)),
                ('last', models.BigIntegerField()),
                ('org', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.organization')),
            ],
            options={
                'db_table': 'erp_number_range',
            },
        ),
        migrations.CreateModel(
            name='DocumentNumber',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.BigIntegerField()),
                ('reference', models.CharField(max_length=255)),
                ('export', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='numbers', to='connectors.erpexport')),
                ('org', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.organization')),
                ('range', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='numbers', to='connectors.numberrangerecord')),
            ],
            options={
                'db_table': 'erp_document_number',
            },
        ),
        migrations.AddConstraint(
            model_name='numberrangerecord',
            constraint=models.UniqueConstraint(fields=('org', 'name'), name='erp_number_range_once'),
        ),
        migrations.AddIndex(
            model_name='documentnumber',
            index=models.Index(fields=['range', 'reference', '-number'], name='erp_document_number_by_ref'),
        ),
        migrations.AddConstraint(
            model_name='documentnumber',
            constraint=models.UniqueConstraint(fields=('range', 'number'), name='erp_document_number_once'),
        ),
        migrations.RunSQL(CONSTRAIN, RELEASE),
        protect('erp_number_range'),
        protect('erp_document_number'),
    ]
